"""Commands about students: list, fetch, verify, sample."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcfm_node.api.client import call
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, OfPeers, OfRun, state_folder
from dcfm_node.cli.output import print_json, size, table
from dcfm_node.cli.recorded import students_of
from dcfm_node.errors import ConfigError, Failed, PeerError

if TYPE_CHECKING:
    from dcfm_node.records.manifest import Manifest
    from dcfm_node.store.student import StudentFacts
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
    card = model_card(manifest, _facts(proven))
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
    keys they are; with them its run must be yours. Exits with 1 if anything does not hold.
    """
    from dcfm_node.store.student import INDIRECT

    manifest, proven = _verified(folder)
    if (run is None) is not (peers is None):
        raise ConfigError("one without the other", where="--run, --peers", fix="name both files")
    if run is not None and peers is not None:
        _require_run(folder, proven.run, run, peers)
    facts = _facts(proven)
    if as_json:
        document: dict[str, Any] = {
            "schema": "dcfm-node/verified/1",
            "verified": True,
            "of_given_run": run is not None,
            "run": {"name": manifest.name, "id": proven.run.hex()},
        }
        more = {"superseded": _superseded(proven), "continues": _earlier(proven)}
        print_json(document | asdict(facts) | more)
        return
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
    if (superseded := _superseded(proven)) is not None:
        typer.echo(_superseded_text(superseded))
    if (earlier := _earlier(proven)) is not None:
        typer.echo(_earlier_text(earlier))


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
        if value not in values:
            raise ConfigError(
                f"{name} has no value {value!r}", where="--where", fix=f"one of {', '.join(values)}"
            )
        chosen[index] = values.index(value)
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


def _superseded(proven: "Lineage") -> dict[str, Any] | None:
    """Whose leaving or refusal took the student back, and what counts instead; None if it counts.

    As far as this lineage goes: it ends when the folder was written.
    """
    from dcfm_node.swarm.verdicts import superseding

    view = proven.view
    if not (why := superseding(view, proven.student.body)):
        return None
    newest = view.latest() or view.newest_student()
    return {
        "by": dict(why),
        "newest": None
        if newest is None
        else {
            "digest": newest.body.snapshot.digest.hex(),
            "round": newest.body.round,
            "released": view.released(newest),
        },
    }


def _superseded_text(superseded: dict[str, Any]) -> str:
    lines = [f"SUPERSEDED: {silo} {why}" for silo, why in superseded["by"].items()]
    newest = superseded["newest"]
    if newest is None:
        lines.append("          no other student was there when this folder was written")
    else:
        standing = "released" if newest["released"] else "not released yet"
        lines.append(
            f"          newest is {newest['digest'][:12]} of round {newest['round']}, {standing}"
        )
    return "\n".join([*lines, "          get it: dcfm-node student fetch --latest --out DIR"])


def _earlier(proven: "Lineage") -> dict[str, Any] | None:
    """The run that the student's goes on from, and what was found of it."""
    continues = proven.view.manifest.continues
    if continues is None:
        return None
    before = proven.earlier
    teachers = _facts(before).teachers if before is not None else []
    return {
        "run": continues.run.hex(),
        "student": continues.student.digest.hex() if continues.student is not None else None,
        "verified": before is not None,
        "teachers": [silo for silo, _, _ in teachers],
        "changed_keys": {silo.name: silo.how for silo in proven.changed},
        "continues": _earlier(before) if before is not None else None,
    }


def _earlier_text(earlier: dict[str, Any]) -> str:
    lines = [f"continues run {earlier['run']}"]
    if earlier["verified"]:
        lines.append(
            f"          from student {earlier['student'][:12]} of {', '.join(earlier['teachers'])}"
        )
    else:
        lines.append("          whose records are not in this folder")
    lines += [f"new key   {name}: {how}" for name, how in earlier["changed_keys"].items()]
    if earlier["continues"] is not None:
        lines.append(_earlier_text(earlier["continues"]))
    return "\n".join(lines)


def _counts(proven: "Lineage") -> dict[str, dict[tuple[int, ...], int]]:
    """Label counts of the student's teachers, by silo: what an ensemble is mixed by."""
    view = proven.view
    authors = [view.expert_entries[entry].author for entry in proven.student.body.teachers]
    return {view.manifest.silo_name(key): dict(view.joins[key].counts) for key in authors}


def _facts(proven: "Lineage") -> "StudentFacts":
    from dcfm_node.store.student import StudentFacts

    view, said = proven.view, proven.student
    name, body = view.manifest.silo_name, said.body
    experts = [view.expert_entries[digest] for digest in body.teachers]
    return StudentFacts(
        round=body.round,
        term=body.term,
        digest=body.snapshot.digest.hex(),
        outcome="DEGRADED" if body.missing else "COMPLETE",
        teachers=[(name(e.author), e.body.round, e.body.snapshot.digest.hex()) for e in experts],
        missing=[name(key) for key in body.missing],
        endorsed_by=sorted(name(key) for key in view.endorsed.get(said.digest, ())),
        refused_by=sorted(name(key) for key in view.refused.get(said.digest, ())),
        withdrawn=sorted(name(key) for key in view.withdrawn),
        metrics=dict(body.metrics),
        version=body.version,
    )
