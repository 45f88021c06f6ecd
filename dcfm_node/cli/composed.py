"""The command `student compose`: samples of several students at once."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dcfm_node.api.document import RunName
from dcfm_node.api.problems import DEGRADED
from dcfm_node.api.students import Composed, ComposedStudent, Expected
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Count, Weights
from dcfm_node.cli.output import answer
from dcfm_node.cli.sampled import progress_of, shared
from dcfm_node.cli.student import Correction

if TYPE_CHECKING:
    from dcfm_node.student.columns import Columns
    from dcfm_node.student.composing import Composition
    from dcfm_node.student.loaded import Drawn

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="DIR DIR...", help="The students' folders: A, B, C, ... in this order."),
]
Rule = Annotated[
    Literal["multiply", "guide"],
    typer.Option(
        help="What the students but the first that is named do: multiply by their whole laws, or"
        " guide by what they say of their attributes alone, which suits students of the same kind"
        " of samples: what all of them know then counts once."
    ),
]


def register(app: typer.Typer) -> None:
    """Add this command to the app."""
    app.command()(compose)


def compose(
    folders: Folders,
    out: Annotated[
        Path, typer.Option(help="File to write: .png, .csv, .npz or .txt, as 'student sample'.")
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="An expression: 'digit=3 and colour=red', 'A.digit=3 and not B.digit=5^0.5', or of"
            " whole students, 'A and B', 'A or B^0.5'. Several must all hold."
        ),
    ] = None,
    count: Count = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random source.")] = 0,
    guidance: Weights = "",
    others: Rule = "multiply",
    correct: Correction = "none",
    codec: Annotated[
        Path | None, typer.Option(help="The codec's file, in place of that in the folders.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="The node's settings; its table names the columns."),
    ] = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Draw samples of several students at once, also of students of different runs.

    The students are called A, B, C, ... in the order of their folders. Write digit=3 if one student
    has the attribute, A.digit=3 if several have it, and A for the whole law of a student. 'and'
    multiplies laws, 'or' takes its sides in turn, 'not ...^0.5' divides by a power of a law. An
    attribute that is not named is free. Without --where all students' laws are multiplied.

    Exits with 3 if all combinations that are drawn are novel: no silo of some student trained on
    what is asked of it. In Python: dcfm_node.compose(a, b).sample('digit=3 and colour=red', n=64).
    """
    from dcfm_node.student.asked import weights_of
    from dcfm_node.student.columns import columns_of
    from dcfm_node.student.composing import Composition
    from dcfm_node.student.loaded import load_student
    from dcfm_node.student.saving import check_form, names_columns
    from dcfm_node.student.several import alternatives_of, require_few

    require_few(len(folders))
    both = Composition(tuple(map(load_student, folders)))
    asked, weights = alternatives_of(both.names, where or [], others=others), weights_of(guidance)
    first = both.students[0].manifest
    check_form(first, out, count, min(count, len(asked)), force=force)
    drawn = both.draw(
        asked,
        n=count,
        seed=seed,
        guidance=weights,
        correct=None if correct == "none" else correct,
        codec=codec,
        progress=progress_of(count, as_json),
    )
    columns = (
        columns_of(config, first, _named(folders, both)) if names_columns(first, out) else None
    )
    drawn.save(out, columns=columns or (), force=force)
    found = document(both, drawn, folders, out, columns).model_copy(
        update={"others": others, "correct": correct}
    )
    answer(found, as_json, partial(composed_text, possible=len(asked)))
    raise typer.Exit(DEGRADED if found.all_novel else 0)


def _named(folders: list[Path], both: "Composition") -> Path:
    """The folder that names the columns, if one does."""
    pairs = zip(folders, both.students, strict=True)
    return next((folder for folder, one in pairs if one.columns), folders[0])


def document(
    both: "Composition", drawn: "Drawn", folders: list[Path], out: Path, columns: "Columns | None"
) -> Composed:
    """The document of samples in a file."""
    novel, seen = set(drawn.novel_combinations), set(drawn.combinations)
    return Composed(
        count=len(drawn),
        out=str(out),
        students=tuple(
            ComposedStudent(
                name=name,
                folder=str(folder),
                digest=one.digest,
                run=RunName(id=one.run, name=one.manifest.name),
                standing=one.standing,
                expected=Expected.of(one.expected, one.manifest.policy.novel_floor),
            )
            for name, folder, one in zip(both.names.students, folders, both.students, strict=True)
        ),
        combinations=len(seen),
        novel=len(seen & novel),
        all_novel=seen <= novel,
        others="multiply",
        correct="none",
        columns=columns.names if columns is not None else (),
        columns_from=columns.origin if columns is not None else "",
    )


def composed_text(found: Composed, *, possible: int) -> str:
    """What was drawn, as text.

    Args:
        possible: number of alternatives that were asked for.
    """
    from dcfm_node.student.columns import Columns

    columns = Columns(found.columns, found.columns_from)
    return "\n".join(
        [
            f"wrote {found.count} samples to {found.out}",
            f"samples   {shared(found.count, possible, found.novel)}",
            *(
                f"student   {one.name}: {one.folder}, of run {one.run.name}, {one.standing};"
                f" its own draws are right: {one.expected.text}"
                for one in found.students
            ),
            *([columns.summary] if columns.names else []),
            "expected  not measured: nobody judged these students together; look at the samples",
        ]
    )
