"""Commands about students: list, fetch, verify, sample."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcfm_node.api.client import call
from dcfm_node.cli.lineage import earlier_text, facts_of, superseded_by, superseded_text
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, OfPeers, OfRun, state_folder
from dcfm_node.cli.output import print_json, size, table
from dcfm_node.cli.query import DEGRADED
from dcfm_node.cli.recorded import students_of
from dcfm_node.data.names import normal
from dcfm_node.errors import ConfigError, Failed, PeerError

if TYPE_CHECKING:
    from dcfm_node.records.manifest import Manifest
    from dcfm_node.swarm.lineage import Lineage

app = typer.Typer(
    help="The distilled students: list, fetch, verify, sample.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A student's folder.")]


@app.command("list")
def list_students(
    run: OfRun = "",
    peers: OfPeers = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Every student of the run, and which one is released.

    The daemon may run or not; --run shows an earlier run.
    """
    answer = students_of(config, run, peers)
    if as_json:
        print_json(answer)
        return
    header = ("student", "round", "term", "leader", "outcome", "size", "endorsed by", "")
    rows = [
        (
            student["digest"][:12],
            student["round"],
            student["term"],
            student["leader"],
            student["outcome"],
            size(student["bytes"]),
            ", ".join(student["endorsed_by"]) or "-",
            _standing(student),
        )
        for student in answer["students"]
    ]
    typer.echo(table(header, rows) if rows else "no student yet")


def _standing(student: dict[str, Any]) -> str:
    """Whether a student is released, or what it was taken back for."""
    if student["superseded"]:
        whys = (f"{silo} {why}" for silo, why in student["superseded"].items())
        return f"superseded: {'; '.join(whys)}"
    if student["rejected"]:
        return f"rejected: {', '.join(student['refused_by'])} refused it"
    if not student["final"]:
        return "interim"
    return "released" if student["released"] else ""


@app.command()
def fetch(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    latest: Annotated[bool, typer.Option("--latest", help="The newest endorsed student.")] = False,
    digest: Annotated[str, typer.Option(help="Another one, by the start of its digest.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace whatever student the folder holds.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Write a student's folder: model, config, model card, lineage.

    With --latest, an earlier student of this run, or of the one it continues, is replaced, whole or
    not at all. Any other student stays, unless --force is given.
    """
    from dcfm_node.store.student import model_card, write_student
    from dcfm_node.swarm.lineage import verify as verify_lineage

    if latest == bool(digest):
        raise ConfigError("name one student", where="student fetch", fix="--latest or --digest HEX")
    answer = call(state_folder(config), "student", digest=digest or "latest")
    lineage = bytes.fromhex(answer["lineage"])
    proven = verify_lineage(lineage, bytes.fromhex(answer["student"]["digest"]))
    manifest = proven.view.manifest
    new, old = answer["student"]["digest"], _replaced(out, answer, manifest, latest, force)
    card = model_card(manifest, facts_of(proven))
    write_student(out, model=Path(answer["path"]), manifest=manifest, lineage=lineage, card=card)
    if as_json:
        facts = {"schema": "dcfm-node/fetched/1", "folder": str(out), "replaced": old}
        print_json(answer["student"] | facts)
        return
    told = f"wrote {out}: student {new[:12]} of round {answer['student']['round']}"
    if old == new:
        told = f"{out} holds student {new[:12]} already; its lineage is as of now"
    elif old is not None:
        told += f", in place of {old[:12]}"
    typer.echo(f"{told}\nnext: dcfm-node student verify {out}")


def _replaced(
    out: Path, answer: dict[str, Any], manifest: "Manifest", latest: bool, force: bool
) -> str | None:
    """Digest of the student that lies in a folder and may go, hex; None if none is there.

    Raises:
        Failed: it is not an earlier one of the same run, and nobody said to replace it.
    """
    from dcfm_node.store.snapshots import describe
    from dcfm_node.store.student import CONFIG, MODEL, read_student
    from dcfm_node.wire.envelope import run_id

    if not (out / CONFIG).is_file() or not (out / MODEL).is_file():
        return None
    old = describe(out / MODEL).digest.hex()
    if force or old == answer["student"]["digest"]:
        return old
    before, runs = read_student(out).manifest, [run_id(manifest)]
    if manifest.continues is not None:
        runs.append(manifest.continues.run)
    if not latest or run_id(before) not in runs:
        raise Failed(
            f"holds another student: {old[:12]} of run {before.name} {run_id(before).hex()[:8]}",
            where=str(out),
            fix="name another folder with --out, or replace it with --force",
        )
    return old


@app.command()
def verify(
    folder: Folder,
    run: Annotated[Path | None, typer.Option(help="The manifest it must be of.")] = None,
    peers: Annotated[Path | None, typer.Option(help="Everyone's [[peer]] block.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check offline who made this model, from which experts, and who endorses it.

    Needs no daemon and no network. Without --run and --peers it is consistent in itself, whoever's
    keys they are; with them its run must be yours. Exits with 1 if anything does not hold, with 3
    if the student is superseded.
    """
    from dcfm_node.store.student import INDIRECT

    manifest, proven = _verified(folder)
    if (run is None) is not (peers is None):
        raise ConfigError("one without the other", where="--run, --peers", fix="name both files")
    if run is not None and peers is not None:
        _require_run(folder, proven.run, run, peers)
    facts, superseded = facts_of(proven), superseded_by(proven)
    if as_json:
        document: dict[str, Any] = {
            "schema": "dcfm-node/verified/1",
            "verified": True,
            "of_given_run": run is not None,
            "run": {"name": manifest.name, "id": proven.run.hex()},
        }
        print_json(document | asdict(facts) | {"superseded": superseded})
        raise typer.Exit(DEGRADED if superseded else 0)
    teachers = ", ".join(f"{silo} (round {round_})" for silo, round_, _ in facts.teachers)
    typer.echo(
        f"verified  model {facts.digest} of round {facts.round}, {facts.outcome}\n"
        f"run       {manifest.name} {proven.run.hex()}\n"
        f"keys      {_compared(run, peers)}\n"
        f"leader    elected by a majority in term {facts.term}\n"
        f"teachers  {teachers}\n"
        f"missing   {', '.join(facts.missing) or 'nobody'}\n"
        f"endorsed  {', '.join(facts.endorsed_by) or 'by nobody'}\n"
        f"refused   {', '.join(facts.refused_by) or 'by nobody'}\n"
        f"withdrawn {', '.join(facts.withdrawn) or 'nobody'}"
    )
    if facts.withdrawn and any(round_ for _, round_, _ in facts.teachers):
        typer.echo(f"          {INDIRECT}")
    if superseded is not None:
        typer.echo(superseded_text(superseded))
    if facts.continues is not None:
        typer.echo(earlier_text(facts.continues))
    raise typer.Exit(DEGRADED if superseded else 0)


@app.command()
def sample(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="grid.png for images, samples.npz for any data.")],
    where: Annotated[
        list[str] | None, typer.Option(help="attribute=value; again for each attribute.")
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, max=65_536, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Names the samples.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw samples of a combination. Attributes not named take all their values in turn."""
    from dcfm_node.cli.drawing import draw

    manifest, proven = _verified(folder)
    chosen, counts = _chosen(manifest, where or []), _counts(proven)
    model = folder / "model.safetensors"
    draw(manifest, model, chosen, counts=counts, count=count, seed=seed, out=out)
    if as_json:
        print_json({"schema": "dcfm-node/sampled/1", "count": count, "out": str(out)})
    else:
        typer.echo(f"wrote {count} samples to {out}")


def _chosen(manifest: "Manifest", where: list[str]) -> dict[int, int]:
    """Attribute index -> value index, from `attribute=value` texts."""
    names = [attribute.name for attribute in manifest.attributes]
    chosen: dict[int, int] = {}
    for text in where:
        name, equals, value = text.partition("=")
        if not equals or name not in names:
            raise ConfigError(
                f"{text!r} names no attribute", where="--where", fix=f"one of {', '.join(names)}"
            )
        index = names.index(name)
        values = manifest.attributes[index].values
        meant = [value] if value in values else [v for v in values if normal(v) == normal(value)]
        if len(meant) != 1:
            raise ConfigError(
                f"{name} has no value {value!r}", where="--where", fix=f"one of {', '.join(values)}"
            )
        chosen[index] = values.index(meant[0])
    return chosen


def _verified(folder: Path) -> "tuple[Manifest, Lineage]":
    from dcfm_node.store.snapshots import describe
    from dcfm_node.store.student import read_student
    from dcfm_node.swarm.lineage import verify as verify_lineage

    student = read_student(folder)
    try:
        proven = verify_lineage(student.lineage, describe(student.model).digest)
    except PeerError as error:
        raise Failed(
            f"the lineage does not hold: {error}",
            where=str(folder),
            fix="do not use this model; fetch the student again",
        ) from error
    if proven.view.manifest != student.manifest:
        raise Failed(
            "config.json is not the manifest of the run that made this model",
            where=str(folder / "config.json"),
            fix="do not use this model; fetch the student again",
        )
    return student.manifest, proven


def _require_run(folder: Path, made_in: bytes, run: Path, peers: Path) -> None:
    """Raises Failed: the model is of another run than these files make."""
    from dcfm_node.config.peers import load_peers
    from dcfm_node.config.run import load_run
    from dcfm_node.wire.envelope import run_id

    given = run_id(load_run(run, load_peers(peers), None, listed=peers))
    if given != made_in:
        raise Failed(
            f"this model is of run {made_in.hex()[:16]}, and {run} with {peers} makes run"
            f" {given.hex()[:16]}",
            where=str(folder),
            fix="name the files as they were when it was made, or do not use this model",
        )


def _compared(run: Path | None, peers: Path | None) -> str:
    if run is None:
        return "not compared with yours; --run and --peers do"
    return f"those of {peers}, and the run is that of {run}"


def _counts(proven: "Lineage") -> dict[str, dict[tuple[int, ...], int]]:
    """Label counts of the student's teachers, by silo: what an ensemble is mixed by."""
    view = proven.view
    authors = [view.expert_entries[entry].author for entry in proven.student.body.teachers]
    weighed = view.weighed(authors)
    return {view.manifest.silo_name(key): dict(counts) for key, counts in weighed.items()}
