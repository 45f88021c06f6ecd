"""The command `student compose`: samples of several students at once."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcfm_node.api.document import RunName
from dcfm_node.api.problems import DEGRADED
from dcfm_node.api.students import Composed, ComposedStudent, Expected
from dcfm_node.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    CodecFile,
    Correction,
    Count,
    Force,
    NamesColumns,
    Seed,
    Weights,
)
from dcfm_node.cli.output import answer
from dcfm_node.cli.sampled import progress_of

if TYPE_CHECKING:
    from dcfm_node.student.columns import Columns
    from dcfm_node.student.composing import Composition
    from dcfm_node.student.loaded import Drawn

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="DIR DIR...", help="The students' folders: A, B, C, ... in this order."),
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
    seed: Seed = 0,
    guidance: Weights = "",
    correct: Correction = "none",
    codec: CodecFile = None,
    force: Force = False,
    config: NamesColumns = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Draw samples of several students at once, also of students of different runs.

    The students are called A, B, C, ... in the order of their folders. Write digit=3 if one student
    has the attribute, A.digit=3 if several have it, and A for all that a student knows. 'and'
    multiplies, 'or' takes its sides in turn, 'not ...^0.5' divides by a power. An attribute that is
    not named is free. The first student that is named draws; the others guide it by the attributes
    that are named of them. A student's name alone multiplies by its whole law: without --where,
    all of them.

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
    asked, weights = alternatives_of(both.names, where or []), weights_of(guidance)
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
    found = document(both, drawn, folders, out, columns).model_copy(update={"correct": correct})
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
            f"samples   {_shared(found.count, possible, found.novel)}",
            *(
                f"student   {one.name}: {one.folder}, of run {one.run.name}, {one.standing}"
                for one in found.students
            ),
            *([columns.summary] if columns.names else []),
            "expected  not measured: nobody judged these students together; look at the samples",
        ]
    )


def _shared(count: int, possible: int, novel: int) -> str:
    """How samples are shared among alternatives, in words.

    Args:
        novel: in how many of them no silo of some student trained on what is asked of that student.
    """
    each, some = divmod(count, possible)
    if not each:
        return (
            f"1 each of the first {count} of {possible} combinations: give -n {possible} or more"
            " for all"
        )
    many = f"{each} or {each + 1}" if some else f"{each}"
    of = "all of one combination" if possible == 1 else f"{many} of each of {possible} combinations"
    return of + f"; {novel} ask a student for what no silo of its run trained on" * bool(novel)
