"""`dcfm-node domain`: makes data, codecs and labels, and runs students in a simulator."""

import os
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcfm_node.api.domains import (
    DomainCodec,
    DomainDiscovered,
    DomainMade,
    FoundFactor,
    FoundValue,
    LeftOut,
    MadePlans,
)
from dcfm_node.api.problems import DEGRADED
from dcfm_node.cli.options import AsJson, Seed, Weights
from dcfm_node.cli.output import ago, answer, table
from dcfm_node.cli.progress import Progress
from dcfm_node.errors import UserError

if TYPE_CHECKING:
    from dcfm_node.domains.discovering import Labelled

app = typer.Typer(
    help="Make data and codecs, find factors in samples without labels, and execute what a student"
    " plans.",
    no_args_is_help=True,
)
KINDS = ("cube",)
LEAST_STEPS = 300
"""Fewest frames of an episode, so that it holds a whole pick-and-place even if the robot misses."""


@app.command("make")
def make(
    kind: Annotated[str, typer.Argument(help="The domain: cube.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the episodes. One that was begun is continued.")
    ],
    episodes: Annotated[int, typer.Option(min=1, max=100_000, help="Number of episodes.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31, help="The same seed gives the same episodes.")
    ] = 0,
    steps: Annotated[
        int, typer.Option(min=LEAST_STEPS, max=100_000, help="Frames of an episode, 20 a second.")
    ] = 1_001,
    move: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE:DESTINATION",
            help="A move between quadrants, such as top-left:top-right. Repeat it for more: the"
            " robot then makes no others. Default: all moves.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a simulated robot play, and write its episodes as OGBench does. After an interruption,
    run it again to continue."""
    _check_kind(kind)
    from dcfm_node.domains.robots import making, moves, plan

    began, progress = time.monotonic(), Progress(episodes)
    found: list[int] = []

    def tell(done: int) -> None:
        found.append(done)
        new = done - found[0]
        left = (time.monotonic() - began) / new * (episodes - done) if new else None
        line = f"{done} of {episodes} episodes"
        progress.tell(done, f"{line}, {ago(left)} left   " if left is not None else line)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    request = making.Request(episodes, seed, steps, moves.named(move or ()))
    held = making.make(out, request, jobs or cores or 1, tell)
    values = list(enumerate(plan.QUADRANTS))
    document = DomainMade(
        domain=kind,
        folder=str(out.absolute()),
        seed=seed,
        moves=tuple(map(moves.text, request.moves)),
        episodes=held.episodes,
        new=held.episodes - found[0],
        frames=held.frames,
        attributes=("source", "destination"),
        combinations=tuple(
            MadePlans(values=(source, destination), plans=held.plans[a, b])
            for (a, source), (b, destination) in product(values, values)
        ),
        left_out=tuple(LeftOut(why=why, pieces=n) for why, n in held.dropped.most_common()),
        seconds=round(time.monotonic() - began, 1),
    )
    answer(document, as_json, _made_text)


@app.command("codec")
def codec(
    kind: Annotated[str, typer.Argument(help="The domain: chest-xray.")],
    data: Annotated[Path, typer.Option(help="Folder of the domain's files.")],
    out: Annotated[
        Path, typer.Option(help="New folder for codec.safetensors and codec.png, a picture.")
    ],
    codec_kind: Annotated[
        str, typer.Option("--kind", help="autoencoder, or linear: principal components.")
    ] = "autoencoder",
    size: Annotated[int, typer.Option(min=8, max=1_024, help="Height and width, in pixels.")] = 64,
    steps: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Training steps of the autoencoder.")
    ] = 2_000,
    features: Annotated[
        int, typer.Option(min=1, max=4_096, help="Principal components of a linear codec.")
    ] = 256,
    given: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder with diffusers' AutoencoderKL. Nothing is fitted; it is only tried.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a codec to the public samples of a domain, and say what it loses.

    All sites of a run need the file: run.toml names it by digest, node.toml by path.
    """
    from dcfm_node.domains.codec_report import CODED, report
    from dcfm_node.domains.fitting import CodecFit, Fitted

    if kind not in CODED:
        raise UserError(
            f"the domain {kind!r} has no public samples", fix=f"choose one of {', '.join(CODED)}"
        )
    if codec_kind not in ("autoencoder", "linear"):
        raise UserError(
            f"{codec_kind!r} is not a codec that can be fitted", fix="use autoencoder or linear"
        )
    if out.exists():
        raise UserError("this exists already", where=str(out), fix="name a new folder with --out")
    began, progress = time.monotonic(), Progress(2 * steps)
    wish = CodecFit.model_validate({"kind": codec_kind, "steps": steps, "features": features})
    made = None
    if given is not None:
        from dcfm_node.networks.autoencoder_kl import WEIGHTS, settings_of

        made = Fitted(settings_of(given), given / WEIGHTS)
    found = report(kind, data, size, wish, out, tell=progress.tell, given=made)
    document = DomainCodec(domain=kind, seconds=round(time.monotonic() - began, 1), **found)
    answer(document, as_json, _codec_text)


def _codec_text(found: DomainCodec) -> str:
    section = "\n".join(found.section)
    how = "tried on" if found.kind == "autoencoder-kl" else "fitted to"
    return (
        f"wrote {found.file} and {found.picture} in {ago(found.seconds)}\n"
        f"{how} {found.samples} public samples; encoded, they have shape {list(found.shape)}\n"
        f"error of the range: {found.error_fitted:.3f} of these, {found.error:.3f} of others\n"
        f"for run.toml, at all sites:\n\n{section}"
    )


@app.command("discover")
def discover(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder of pictures, or an .npz file.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="New folder for data.npz, the samples with their found values;"
            " finder.safetensors; and factors.png, examples of every value."
        ),
    ],
    factor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUES[:SEES]",
            help="A factor to find: how many values it has, and what it may see of a picture:"
            " everything, brightness (not colour), mean-colour (not place). Repeat it for each.",
        ),
    ] = None,
    finder: Annotated[
        Path | None,
        typer.Option(help="Another site's finder.safetensors, in place of --factor."),
    ] = None,
    digest: Annotated[
        str, typer.Option(metavar="SHA256", help="That the file of --finder must have.")
    ] = "",
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTOR[.VALUE]=NAME",
            help="A name for a factor or a value that you recognise, such as factor-1=colour or"
            " factor-1.v3=red. Repeat it for more.",
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Training steps of a new finder.")
    ] = 800,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of a new finder.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Find factors in samples without labels, and write them as data that `init --data` accepts.

    One site makes the finder; the others label their own samples with it, by --finder. Look at
    factors.png, and run it again with --finder and --name to name what you recognise.
    """
    if bool(factor) == (finder is not None):
        fix = "write --factor 10:brightness --factor 6:mean-colour, or --finder FILE"
        raise UserError("give either --factor or --finder", fix=fix)
    if digest and finder is None:
        raise UserError("--digest is of a finder's file", fix="give --finder FILE too")
    from dcfm_node.domains import discovering

    began, progress = time.monotonic(), Progress(steps)

    def tell(done: int, total: int) -> None:
        progress.tell(done, f"{done} of {total} steps")

    how = (finder, digest) if finder is not None else discovering.Sought(factor or (), steps, seed)
    found = discovering.labelled(data, out, how, name or (), tell)
    document = _discovered(found, out, time.monotonic() - began)
    answer(document, as_json, _discovered_text)


def _discovered(found: "Labelled", out: Path, seconds: float) -> DomainDiscovered:
    from dcfm_node.domains import discovering

    picture, counts = out / discovering.SHEET, discovering.counts_of(found)
    return DomainDiscovered(
        folder=str(out.absolute()),
        data=str(out / discovering.DATA),
        finder=str(out / discovering.FINDER),
        digest=found.made.digest,
        picture=str(picture) if picture.exists() else "",
        samples=len(found.x),
        shape=found.x.shape[1:],
        note=found.note,
        factors=tuple(
            FoundFactor(
                name=one.name,
                sees=one.sees,
                values=tuple(
                    FoundValue(value=value, samples=samples)
                    for value, samples in counts[one.name].items()
                ),
            )
            for one in found.made.said.factors
        ),
        seconds=round(seconds, 1),
    )


def _discovered_text(found: DomainDiscovered) -> str:
    rows = [(one.name, v.value, v.samples) for one in found.factors for v in one.values]
    first = found.factors[0]
    unused = [f"{one.name}={v.value}" for one in found.factors for v in one.values if not v.samples]
    look = f"look at {found.picture}: " if found.picture else ""
    return "\n".join(
        [
            table(("factor", "value", "samples"), rows),
            "",
            *([f"note: {found.note}"] if found.note else []),
            f"labelled {found.samples} samples in {ago(found.seconds)}: {found.data}",
            *([f"note: no sample here has {', '.join(unused)}"] if unused else []),
            f"{look}what you recognise gets a name by --finder {found.finder}"
            f" --name {first.name}=NAME --name {first.name}.{first.values[0].value}=NAME",
            f"other sites label with the same file: --finder {found.finder} --digest"
            f" {found.digest}",
            f"then: dcfm-node init SITE --data {found.data}",
        ]
    )


@app.command("run")
def run(
    kind: Annotated[str, typer.Argument(help="The domain: cube.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The student's folder.")],
    where: Annotated[
        list[str] | None,
        typer.Option(help="attribute=value; one for each attribute that you choose."),
    ] = None,
    plans: Annotated[int, typer.Option(min=1, max=1_000, help="Plans of each combination.")] = 8,
    seed: Seed = 0,
    guidance: Weights = "",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for paths.png, planned and executed paths from above, and cube.gif, a film"
            " of one plan, of a novel combination if there is one."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the pictures if they exist.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a student plan, and execute its plans in the simulator: by the planner, which plans again
    as the arm moves, and by the plan's own commands.

    An attribute that --where does not set takes all its values. Exits with 3 if a picture could not
    be made; the answer says why.
    """
    _check_kind(kind)
    from dcfm_node.cli import executed
    from dcfm_node.domains.robots import simulator
    from dcfm_node.student.asked import chosen_values, pairs_of, weights_of

    simulator.needed()
    student = executed.student_of(folder)
    chosen = chosen_values(student.manifest, pairs_of(student.manifest, where or []))
    weights = weights_of(guidance)
    if out is not None:
        executed.check_out(out, student, force=force)
    found = executed.run(student, chosen, plans=plans, seed=seed, guidance=weights, out=out)
    answer(found, as_json, executed.text_of)
    raise typer.Exit(DEGRADED if found.missing else 0)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(
            f"the domain {kind!r} has no simulator", fix=f"choose one of {', '.join(KINDS)}"
        )


def _made_text(made: DomainMade) -> str:
    rows = [(*one.values, one.plans) for one in made.combinations]
    plans = sum(one.plans for one in made.combinations)
    left = "; ".join(f"{one.pieces} x {one.why}" for one in made.left_out)
    pieces = sum(one.pieces for one in made.left_out)
    share = f", {100 * plans / (plans + pieces):.1f} % of all pieces" if pieces else ""
    lines = [
        table((*made.attributes, "plans"), rows),
        "",
        f"{plans} plans in {made.episodes} episodes ({made.frames} frames){share}",
        *([f"left out: {left}"] if left else []),
        f"wrote {made.new} episodes to {made.folder} in {ago(made.seconds)}"
        if made.new
        else f"{made.folder} has them all",
    ]
    return "\n".join(lines)
