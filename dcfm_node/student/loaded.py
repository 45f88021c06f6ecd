"""`load_student` and what it gives: a student, and samples drawn from it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import ConfigError
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Combination, Floats, Samples
from dcfm_node.store.student_check import read_columns
from dcfm_node.student.asked import (
    Correct,
    asked_for,
    asked_of,
    chosen_values,
    correctable,
    met,
    novel_of,
    plainly,
    switches,
)
from dcfm_node.student.expression import Asked
from dcfm_node.student.facts import standing_of
from dcfm_node.student.folder import counts_of, opened
from dcfm_node.swarm.lineage import Lineage
from dcfm_node.swarm.quality import Announcement

if TYPE_CHECKING:
    from dcfm_node.flow.inpainting import Given, Inpainter
    from dcfm_node.student.columns import Columns

PLACE = "sample()"
"""Where an error of a call in Python is, as a flag names it for a command."""


def load_student(path: str | os.PathLike[str]) -> "Student":
    """Load a student from the folder that `dcfm-node student fetch` wrote, and verify it.

    The check is that of `dcfm-node student verify`: digest, signatures, lineage. It does not say
    whose keys signed: compare `student.run` with that of your sites. Nothing is drawn yet.

    Raises:
        dcfm_node.errors.Failed: a file cannot be read or does not match the signed lineage.
    """
    folder, lineage = opened(Path(path))
    columns = read_columns(Path(path), lineage.view.manifest)
    return Student(folder.model, lineage, folder.codec, columns)


@dataclass(frozen=True)
class Student:
    """A verified student. `load_student` makes it; `sample` draws from it.

    Attributes:
        model: path of its weights (safetensors).
        lineage: what its signed records prove.
        codec: path of the codec's file, if the run has one.
        columns: names of the numbers of a sample, in order, from the run.toml or the table of the
            site that fetched it; () if these have none. Nothing proves them.
    """

    model: Path
    lineage: Lineage
    codec: Path | None = None
    columns: tuple[str, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """All settings of its run."""
        return self.lineage.view.manifest

    @property
    def digest(self) -> str:
        """SHA-256 digest of the model's snapshot, in hex (SPEC 5.1)."""
        return self.lineage.student.body.snapshot.digest.hex()

    @property
    def run(self) -> str:
        """The id of its run, in hex: 64 digits, as `dcfm-node status --json` has it."""
        return self.lineage.run.hex()

    @property
    def round(self) -> int:
        """The round that it was made in, from 0."""
        return self.lineage.student.body.round

    @property
    def standing(self) -> str:
        """Released, not released, interim or superseded, as of when the folder was written."""
        return standing_of(self.lineage)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (features,), (channels, length) or (channels, height, width)."""
        return self.manifest.sample_shape

    @property
    def attributes(self) -> dict[str, tuple[str, ...]]:
        """The values of each attribute, by its name."""
        return {one.name: one.values for one in self.manifest.attributes}

    @property
    def expected(self) -> Announcement:
        """Share of draws that are expected to be right, of known and of novel combinations."""
        return self.lineage.view.announcement(self.lineage.student)

    @cached_property
    def counts(self) -> dict[str, dict[Combination, int]]:
        """How often each of its teachers trained on each combination, by silo."""
        return counts_of(self.lineage)

    @property
    def unseen_values(self) -> tuple[tuple[str, str], ...]:
        """(attribute, value) that no silo of the run holds. A student cannot have learned them."""
        joins = self.lineage.view.joins.values()
        held = {
            (i, v) for join in joins for label, n in join.counts if n for i, v in enumerate(label)
        }
        return tuple(
            (one.name, value)
            for i, one in enumerate(self.manifest.attributes)
            for v, value in enumerate(one.values)
            if (i, v) not in held
        )

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{name}: {len(values)} values" for name, values in self.attributes.items()
        )
        return f"<student {self.digest[:12]} of run {self.manifest.name}; {sizes}>"

    def sample(
        self,
        where: object = None,
        *,
        n: int = 64,
        seed: int = 0,
        guidance: float | tuple[float, float] | None = None,
        routing: Literal["mix", "switch"] = "mix",
        correct: Correct | None = None,
        progress: Callable[[float], None] | None = None,
        **values: object,
    ) -> "Drawn":
        """Draw samples. The same arguments give the same samples on one machine.

        `student.sample(digit="3", n=16)` draws 16 threes, of all colours in turn.

        Args:
            where: value by attribute, for attributes whose names are not Python names, or are names
                of the arguments here: `student.sample(where={"n": "two"}, n=16)`. Or an expression,
                as `student sample --where` takes: "digit=3 and not colour=red". If the run has an
                attribute with the name "where", a value that is no dict is that of it.
            n: number of samples in all. Several combinations share it: they take turns.
            seed: of the random source, at least 0.
            guidance: weight of all combinations, or (trained on, novel), 0 to 100; None takes the
                run's. More than 1 follows the attributes more closely, with less variety.
            routing: of an ensemble of experts, "mix" averages all of them at every step, and
                "switch" follows one, drawn anew at every step: a K-th of the time, less exact.
            correct: how the bias of composition is corrected: "langevin", "mala" or "smc"
                (`flow.correcting`); samples are then composed. None does not correct.
            progress: is given the share that is done, 0 to 1, after each step of the solver.
            values: value by attribute. An attribute without one takes all its values.

        Raises:
            dcfm_node.errors.ConfigError: there is no such attribute or value (the error lists what
                there is), or another argument is wrong.
            dcfm_node.errors.Failed: the weights do not fit the run, or memory is short.
        """
        expressions: list[str] = []
        if not isinstance(where, Mapping):
            if isinstance(where, str) and "=" in where and "where" not in self.attributes:
                expressions = [where]
            where = {} if where is None or expressions else {"where": where}
        given = dict(where)
        if twice := given.keys() & values.keys():
            raise ConfigError(f"{min(twice)} is given twice", where=PLACE, fix="give it once")
        chosen = chosen_values(self.manifest, given | values, PLACE)
        asked = plainly(asked_for(self.manifest, chosen))
        if expressions:
            asked = met(asked, asked_of(self.manifest, expressions, PLACE), PLACE)
        return self.draw(
            asked,
            n=n,
            seed=seed,
            guidance=guidance,
            routing=routing,
            correct=correct,
            progress=progress,
        )

    def draw(
        self,
        asked: Sequence[Asked],
        *,
        n: int,
        seed: int,
        guidance: float | tuple[float, float] | None = None,
        routing: Literal["mix", "switch"] = "mix",
        correct: Correct | None = None,
        codec: Path | None = None,
        given: "Given | None" = None,
        progress: Callable[[float], None] | None = None,
    ) -> "Drawn":
        """As `sample`, of combinations with their weights.

        Args:
            codec: the codec's file, in place of that in the folder.
            given: numbers that the samples shall have; from the same noise as without (inpainting).
                `inpainter` makes it.
        """
        from dcfm_node.student.drawing import draw

        if n < 1 or seed < 0:
            raise ConfigError("n must be at least 1, and seed at least 0", where=PLACE)
        manifest = guided(self.manifest, guidance)
        possible = list(dict.fromkeys(one.label for one in asked))
        samples = draw(
            manifest,
            self.model,
            [one.label for one in asked],
            counts=self.counts,
            count=n,
            seed=seed,
            codec=codec or self.codec,
            scale=self.lineage.view.scale,
            given=given,
            own=() if all(one.plain for one in asked) else asked,
            switch=switches(manifest, routing),
            correct=correctable(manifest, correct),
            report=progress,
        )
        novel = novel_of(possible, self.counts.values())
        drawn = tuple(dict.fromkeys(one.label for one in asked[:n]))
        return Drawn(manifest, samples, novel, combinations=drawn, columns=self.columns)

    def inpainter(
        self, *, guidance: float | tuple[float, float] | None = None, codec: Path | None = None
    ) -> "Inpainter":
        """What `given` of `draw` is made by, with the same guidance and codec."""
        from dcfm_node.student.drawing import inpainter

        manifest = guided(self.manifest, guidance)
        return inpainter(
            manifest,
            self.model,
            asked_for(manifest, {}),
            counts=self.counts,
            codec=codec or self.codec,
            scale=self.lineage.view.scale,
        )

    def export_onnx(
        self, folder: str | os.PathLike[str], *, codec: Path | None = None
    ) -> list[str]:
        """Write the student as ONNX into a new folder, with a sampler in numpy (`student.sampler`).

        Args:
            codec: the codec's file, in place of that in the student's folder.

        Returns: the names of the files.

        Raises:
            dcfm_node.errors.UserError: `pip install 'dcfm-node[onnx]'` is missing, the folder
                exists, or the student is an ensemble or of another package's path.
        """
        from dcfm_node.student.exporting import export

        return export(self, Path(folder), codec=codec)


def guided(manifest: Manifest, guidance: float | tuple[float, float] | None) -> Manifest:
    """The run with other guidance weights; None keeps its own.

    Raises:
        ConfigError: a weight is not a number from 0 to 100.
    """
    if guidance is None:
        return manifest
    known, novel = guidance if isinstance(guidance, tuple) else (guidance, guidance)
    try:
        type(manifest.method.guidance)(known=known, novel=novel)
    except ValueError as error:
        raise ConfigError(
            f"{guidance!r} is not a guidance weight, or two of them",
            where=PLACE,
            fix="give numbers from 0 to 100, such as 1.3 or (1.3, 1.6)",
        ) from error
    return manifest.guided(known, novel)


@dataclass(frozen=True)
class Drawn:
    """Samples that a student drew.

    `drawn.x` are the samples, `drawn["digit"]` the values of an attribute, `len(drawn)` is N.

    Attributes:
        manifest: of the run, with the guidance weights that were used.
        samples: the same arrays, with labels as indices.
        novel_combinations: of the combinations that were asked for, those that no silo trained on.
        combinations: the combinations that were drawn, in turn.
        columns: names of the numbers of a sample, in order, as the student's folder has them.
    """

    manifest: Manifest
    samples: Samples
    novel_combinations: tuple[Combination, ...]
    combinations: tuple[Combination, ...] = field(repr=False)
    columns: tuple[str, ...] = ()

    @property
    def x(self) -> Floats:
        """Samples (N, *sample_shape), float32, in the units of the silos' data. Pixels are about in
        [-1, 1]; some are a little beyond."""
        x: Floats = self.samples.x  # type: ignore[assignment]  # drawn samples are never bytes
        return x

    @property
    def labels(self) -> dict[str, NDArray[np.str_]]:
        """The value of each sample, (N,), by attribute."""
        return {
            one.name: np.asarray(one.values, np.str_)[self.samples.c[:, i]]
            for i, one in enumerate(self.manifest.attributes)
        }

    @property
    def novel(self) -> NDArray[np.bool_]:
        """Whether no silo trained on the combination of a sample, (N,)."""
        found = set(self.novel_combinations)
        return np.array([tuple(row) in found for row in self.samples.c.tolist()], np.bool_)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, attribute: str) -> NDArray[np.str_]:
        return self.labels[attribute]

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.samples.x.shape[1:]))
        return f"<{len(self)} samples of shape {shape}, {int(self.novel.sum())} of them novel>"

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        columns: "Sequence[str] | Columns" = (),
        force: bool = False,
    ) -> None:
        """Write all samples into a file, completely or not at all.

        `.png` is a picture with the values beside the samples. `.csv` is a table with a column for
        each number and each attribute. `.npz` holds `x`, and each attribute's values by its name.

        Args:
            columns: names of the numbers of a sample, in order, for a table or a picture of
                vectors; by default `drawn.columns`, else x1, x2, ….
            force: replace the file if it exists.

        Raises:
            dcfm_node.errors.UserError: the suffix is another one, the file exists, or a package for
                pictures is missing.
        """
        from dcfm_node.student.columns import Columns, named, numbered
        from dcfm_node.student.saving import check_form, write

        out = Path(path)
        check_form(self.manifest, out, len(self), len(self.combinations), force=force)
        if not isinstance(columns, Columns):
            columns = columns or self.columns
            columns = named(self.manifest, columns) if columns else numbered(self.manifest, "")
        write(out, self.manifest, self.samples, self.novel_combinations, columns)
