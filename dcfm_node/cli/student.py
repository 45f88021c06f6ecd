"""Commands for students: list, fetch, verify, sample. `judge` is in a file of its own."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dcfm_node.api.problems import DEGRADED
from dcfm_node.api.students import Students
from dcfm_node.cli.lineage import earlier_text, superseded_text, verified
from dcfm_node.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    CodecFile,
    Config,
    Correction,
    Count,
    Force,
    NamesColumns,
    OfPeers,
    OfRun,
    Seed,
    Weights,
)
from dcfm_node.cli.output import answer
from dcfm_node.cli.recorded import run_of_files, students_of
from dcfm_node.cli.sampled import sampled_text
from dcfm_node.cli.shown import students_text
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.words import plain

if TYPE_CHECKING:
    from dcfm_node.api.students import Exported
    from dcfm_node.api.verified import Card, Verified

app = typer.Typer(
    help="The distilled students: list, fetch, verify, sample, judge.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The student's folder.")]

Routing = Annotated[
    Literal["mix", "switch"],
    typer.Option(
        help="Of an ensemble of experts (DDM): mix averages all of them at every step; switch"
        " follows one, drawn anew at every step, with one evaluation in place of one for each."
    ),
]


@app.command("list")
def list_students(
    run: OfRun = "",
    peers: OfPeers = None,
    folder: Annotated[
        Path | None, typer.Option(help="A student's folder: says which student it holds.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List the students of the run, and which one is released.

    This works with and without a running daemon. --run shows an earlier run. --folder says which
    student a folder holds, and to which one 'student rollback' goes back.
    """
    found = students_of(config, run, peers)
    if folder is not None:
        from dcfm_node.cli.fetched import folder_students

        found = found.model_copy(update={"fetched": folder_students(folder)})
    answer(found, as_json, _listed_text)


def _listed_text(found: Students) -> str:
    if (here := found.fetched) is None:
        return students_text(found)
    previous = "none is kept" if here.previous is None else here.previous[:12]
    lines = [
        f"current   {here.current[:12]} in {here.folder}",
        f"previous  {previous}" + " ('student rollback' goes back to it)" * bool(here.previous),
    ]
    return "\n".join([students_text(found), "", *lines])


@app.command()
def fetch(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    which: Annotated[
        str, typer.Argument(metavar="[DIGEST]", help="Any student, by the start of its digest.")
    ] = "",
    latest: Annotated[bool, typer.Option("--latest", help="The newest endorsed student.")] = False,
    digest: Annotated[str, typer.Option(help="The same as DIGEST.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace any student that the folder holds.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Write a student's folder: model, config, model card, lineage, and the run's codec if any.

    --latest replaces an earlier student of this run, or of the run that it continues, as a whole.
    Any other student in the folder stays unless --force is given.
    """
    from dcfm_node.cli.fetched import fetched, fetched_text

    if [latest, bool(digest), bool(which)].count(True) != 1:
        raise ConfigError(
            "name exactly one student", where="student fetch", fix="give --latest or a DIGEST"
        )
    answer(fetched(config, out, digest or which, force=force), as_json, fetched_text)


@app.command()
def rollback(folder: Folder, as_json: AsJson = False) -> None:
    """Go back to the student that the folder held before the last fetch.

    Both are kept: a second rollback returns. The next 'student fetch --latest' leaves the folder
    as it is until there is a newer student. Exits with 3 if the student is superseded.
    """
    from dcfm_node.cli.fetched import rolled_back, rolled_back_text

    found = rolled_back(folder)
    answer(found, as_json, rolled_back_text)
    raise typer.Exit(DEGRADED if found.standing == "superseded" else 0)


@app.command()
def verify(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The student's folder, or its downloaded archive."),
    ],
    run: Annotated[
        Path | None, typer.Option(help="The run.toml of the run it must come from.")
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(help="The peers.toml that goes with that run.toml.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check offline who made this model, from which experts, and who endorses it.

    This needs no daemon and no network. DIR may also be the archive that a node's page offers;
    'tar xf' unpacks it. Without --run and --peers it checks that the folder is
    consistent, but not whose keys signed it. With them, it also checks that the model is from your
    run. Exits with 1 if a check fails, with 3 if the student is superseded, or below the floor, or
    if README.md is not what this version writes for it.
    """
    from dcfm_node.store.card import model_card
    from dcfm_node.student.facts import facts_of
    from dcfm_node.student.folder import opened, unpacked

    if (run is None) is not (peers is None):
        raise ConfigError("--run and --peers must be given together", where="student verify")
    with unpacked(folder) as at:
        student, proven = opened(at)
        text = model_card(proven.view.manifest, facts_of(proven)).encode()
    if run is not None and peers is not None:
        _require_run(folder, proven.run, run, peers)
    card: Card = "same" if student.card == text else "other"
    found = verified(
        proven,
        compared=run is not None,
        unchecked=student.others,
        card="none" if student.card is None else card,
    )
    answer(found, as_json, partial(verified_text, keys=_compared(run, peers)))
    poor = found.standing == "interim" and found.expected.below
    raise typer.Exit(DEGRADED if found.superseded or poor or found.card == "other" else 0)


_OTHER_CARD = (
    "README.md is not the card that this version writes for the student: another version wrote it,"
    " or somebody changed it. Do not trust it; 'dcfm-node student fetch' writes a new one"
)


def verified_text(found: "Verified", *, keys: str) -> str:
    """A verified student as text.

    Args:
        keys: what the keys of the model's run were compared with.
    """
    from dcfm_node.store.card import INDIRECT

    teachers = ", ".join(f"{silo} (round {round_})" for silo, round_, _ in found.teachers)
    # An endorsement says that a student is what it should be, not that it is good enough.
    of_work = ", as an interim student" if found.standing == "interim" else ""
    lines = [
        *_warned(found),
        f"verified  model {found.digest} of round {found.round}, {found.outcome}",
        f"run       {found.run.name} {found.run.id}",
        f"keys      {plain(keys)}",
        f"leader    elected by a majority in term {found.term}",
        f"teachers  {teachers}",
        f"missing   {', '.join(found.missing) or 'nobody'}",
        f"expected  {found.expected.text}{' (below the floor)' if found.expected.below else ''}",
        f"endorsed  {', '.join(found.endorsed_by) or 'by nobody'}{of_work}",
        f"refused   {', '.join(found.refused_by) or 'by nobody'}",
        f"withdrawn {', '.join(found.withdrawn) or 'nobody'}",
    ]
    if found.withdrawn and any(round_ for _, round_, _ in found.teachers):
        lines.append(f"          {INDIRECT}")
    if found.unchecked:
        lines.append(
            f"beside it {', '.join(found.unchecked)}: not part of the student, not checked"
        )
    if found.card == "other":
        lines.append(_OTHER_CARD)
    if found.superseded is not None:
        lines.append(superseded_text(found.superseded))
    if found.continues is not None:
        lines.append(earlier_text(found.continues))
    return "\n".join(lines)


def _warned(found: "Verified") -> list[str]:
    """That a student is below the floor, before anything else is said of it."""
    if found.standing != "interim" or not found.expected.below:
        return []
    return [
        f"interim   below the floor of {found.expected.floor:.0%}: it was made as the run"
        " prescribes, but its draws are expected to be right in too few cases"
    ]


@app.command()
def sample(
    folder: Folder,
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: .png for a picture with the combinations' names, .csv for a table"
            " with named columns, .npz for arrays, .txt for texts."
        ),
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="attribute=value, one for each attribute that you choose; or an expression:"
            " 'digit=3 and (colour=red or colour=blue)', 'not colour=red', 'colour=red^1.6'."
        ),
    ] = None,
    count: Count = 64,
    seed: Seed = 0,
    guidance: Weights = "",
    routing: Routing = "mix",
    correct: Correction = "none",
    codec: CodecFile = None,
    force: Force = False,
    config: NamesColumns = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Draw samples of combinations. An attribute that --where does not set takes all its values.

    A combination is novel if no silo trained on it: no silo holds it, or it is a probe. Exits with
    3 if all combinations that are drawn are novel: the samples are written, and the answer says
    what to expect of them. In Python: dcfm_node.load_student(DIR).sample(ATTRIBUTE=VALUE, n=64).
    """
    from dcfm_node.cli.sampled import document, progress_of
    from dcfm_node.student.asked import asked_of, weights_of
    from dcfm_node.student.columns import columns_of
    from dcfm_node.student.loaded import load_student
    from dcfm_node.student.saving import check_form, names_columns

    student = load_student(folder)
    run = student.manifest
    asked, weights = asked_of(run, where or []), weights_of(guidance)
    possible = len({one.label for one in asked})
    check_form(run, out, count, min(count, possible), force=force)
    drawn = student.draw(
        asked,
        n=count,
        seed=seed,
        guidance=weights,
        routing=routing,
        correct=None if correct == "none" else correct,
        codec=codec,
        progress=progress_of(count, as_json),
    )
    columns = columns_of(config, run, folder) if names_columns(run, out) else None
    drawn.save(out, columns=columns or (), force=force)
    found = document(student, drawn, out, columns)
    used = drawn.manifest.method.guidance
    guided_by = "" if used.null else f", guided by {used.summary}"
    guided_by += ", with weights of their own" * (not all(one.plain for one in asked))
    answer(found, as_json, partial(sampled_text, possible=possible, guided_by=guided_by))
    raise typer.Exit(DEGRADED if found.all_novel else 0)


@app.command()
def export(
    folder: Folder,
    onnx: Annotated[Path, typer.Option(help="New folder to write.")],
    codec: Annotated[
        Path | None, typer.Option(help="The codec's file, in place of that in the folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a student as ONNX, for programs without torch and dcfm-node.

    The folder gets velocity.onnx (one evaluation of the field, with composition), sampler.json (all
    settings) and sampler.py, which draws with numpy and onnxruntime. Needs 'dcfm-node[onnx]'.
    """
    from dcfm_node.api.students import Exported
    from dcfm_node.student.loaded import load_student

    student = load_student(folder)
    files = student.export_onnx(onnx, codec=codec)
    found = Exported(folder=str(onnx), digest=student.digest, files=tuple(files))
    answer(found, as_json, _exported_text)


def _exported_text(found: "Exported") -> str:
    return (
        f"wrote {', '.join(found.files)} to {found.folder}\n"
        f"next: python {shlex.quote(found.folder)}/sampler.py -n 16 --out samples.npz"
        "   (needs numpy and onnxruntime)"
    )


def _require_run(folder: Path, made_in: bytes, run: Path, peers: Path) -> None:
    """Raises Failed if the model is from another run than that of these files."""
    if (given := run_of_files(run, peers)) != made_in:
        raise Failed(
            f"this model is from run {made_in.hex()[:16]}, but {run} with {peers} is run"
            f" {given.hex()[:16]}",
            where=str(folder),
            fix="give the files of the model's own run, or do not use the model",
        )


def _compared(run: Path | None, peers: Path | None) -> str:
    if run is None:
        return "not compared with yours: give --run and --peers"
    return f"match {peers}, and the run matches {run}"
