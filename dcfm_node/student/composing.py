"""`compose`: several students as one, whose laws are multiplied, mixed and divided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcfm_node.domains import base as domains
from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Samples
from dcfm_node.student.asked import Correct
from dcfm_node.student.loaded import PLACE, Drawn, Student, guided
from dcfm_node.student.several import (
    Alternative,
    Names,
    alternatives_of,
    fitting,
    refused,
    shown,
)


def compose(*students: Student) -> "Composition":
    """Several students of any runs, to draw from at once: A, B, C, … in this order.

    ```python
    both = dcfm_node.compose(dcfm_node.load_student("digits"), dcfm_node.load_student("colours"))
    both.sample("digit=3 and colour=red", n=16).save("red-threes.png")
    ```

    Raises:
        dcfm_node.errors.ConfigError: two students have samples of other kinds, other paths, codecs
            or columns, or there are fewer than 2 or more than 8.
    """
    return Composition(students)


@dataclass(frozen=True)
class Composition:
    """Verified students that fit each other. `compose` makes it; `sample` draws from it."""

    students: tuple[Student, ...]

    def __post_init__(self) -> None:
        refused(self.names, [str(one.model.parent) for one in self.students], _in_own_units)
        named = [(k, one) for k, one in enumerate(self.students) if one.columns]
        for k, one in named[1:]:
            if one.columns != named[0][1].columns:
                letters = self.names.students
                what = f"the columns of student {letters[k]} are not those of"
                raise ConfigError(
                    f"{what} {letters[named[0][0]]}: {', '.join(one.columns)}, and"
                    f" {', '.join(named[0][1].columns)}",
                    where=str(one.model.parent / "columns.json"),
                    fix="compose students of the same columns",
                )

    @property
    def names(self) -> Names:
        """What the students and their attributes are called."""
        return Names([one.manifest for one in self.students])

    @property
    def attributes(self) -> dict[str, tuple[str, ...]]:
        """The values of each attribute, by the name that an expression uses."""
        names = self.names
        return {
            names.of((k, i)): one.values
            for k, student in enumerate(self.students)
            for i, one in enumerate(student.manifest.attributes)
        }

    def __repr__(self) -> str:
        pairs = zip(self.names.students, self.students, strict=True)
        return f"<{', '.join(f'{name}: {one!r}' for name, one in pairs)}>"

    def sample(
        self,
        where: str | Sequence[str] = (),
        *,
        n: int = 64,
        seed: int = 0,
        guidance: float | tuple[float, float] | None = None,
        correct: Correct | None = None,
        codec: Path | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Drawn:
        """Draw samples. The same arguments give the same samples on one machine.

        Args:
            where: an expression, or several that all hold, as `student compose --where` takes; none
                multiplies the laws of all students.
            n: number of samples in all. Alternatives, such as both sides of an `or`, take turns.
            seed: of the random source, at least 0.
            guidance: weights as in `Student.sample`, of all students; None takes each run's own.
            correct: how the bias of composition is corrected, as in `Student.sample`.
            codec: the codec's file, in place of that in a student's folder.
            progress: is given the share that is done, 0 to 1, after each step of the solver.

        Raises:
            dcfm_node.errors.ConfigError: an expression names what does not exist, with the column,
                or another argument is wrong.
            dcfm_node.errors.Failed: weights do not fit their run, or memory is short.
        """
        texts = [where] if isinstance(where, str) else list(where)
        asked = alternatives_of(self.names, texts, PLACE)
        return self.draw(
            asked,
            n=n,
            seed=seed,
            guidance=guidance,
            correct=correct,
            codec=codec,
            progress=progress,
        )

    def draw(
        self,
        asked: Sequence[Alternative],
        *,
        n: int,
        seed: int,
        guidance: float | tuple[float, float] | None = None,
        correct: Correct | None = None,
        codec: Path | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Drawn:
        """As `sample`, of alternatives that `several.alternatives_of` read."""
        from dcfm_node.student.multiplying import Source, draw

        if n < 1 or seed < 0:
            raise ConfigError("n must be at least 1, and seed at least 0", where=PLACE)
        if correct not in (None, "langevin", "mala", "smc"):
            fix = 'give "langevin", "mala" or "smc"'
            raise ConfigError(f"there is no corrector {correct!r}", where=PLACE, fix=fix)
        sources = [
            Source(
                guided(one.manifest, guidance), one.model, one.counts, one.lineage.view.scale
            )
            for one in self.students
        ]  # fmt: skip
        x = draw(
            sources,
            asked,
            count=n,
            seed=seed,
            codec=codec or next((one.codec for one in self.students if one.codec), None),
            correct=correct,
            report=progress,
        )
        look = shown(self.names, asked)
        c = [look.labels[row % len(asked)] for row in range(n)]
        held = self._held()
        novel = [
            label
            for label, alternative in zip(look.labels, asked, strict=True)
            if self._novel(alternative, held)
        ]
        run = self.students[0].manifest.model_copy(
            update={"attributes": look.attributes, "feasible": ()}
        )
        samples = Samples(x, np.array(c, np.int64))
        columns = next((one.columns for one in self.students if one.columns), ())
        return Drawn(run, samples, tuple(novel), tuple(look.labels[:n]), columns)

    def _held(self) -> list[Callable[[Label], bool]]:
        """Of each student, which labels some silo trained on."""
        return [
            fitting({c for of in one.counts.values() for c, k in of.items() if k > 0}, one.manifest)
            for one in self.students
        ]

    def _novel(self, alternative: Alternative, held: Sequence[Callable[[Label], bool]]) -> bool:
        """Whether no silo of some student trained on what is asked of it."""
        return any(
            part is not None and part.label != one.manifest.cardinalities and not fits(part.label)
            for part, one, fits in zip(alternative, self.students, held, strict=True)
        )


def _in_own_units(run: Manifest) -> bool:
    """Whether the numbers of samples mean what the settings of the run's domain say."""
    return type(domains.of(run)).measured is not domains.Domain.measured
