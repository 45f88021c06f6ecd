"""Commands that write run.toml, and for the step from one run to the next: run merge, run continue,
keys rotate (SPEC 2.7)."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dcfm_node.api.commands import FoundAttribute, KeysRotated, NewKeys, RunContinued, RunMerged
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from dcfm_node.cli.output import answer, say
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.words import plain

COMMENT = "# The run that this one goes on from."

keys = typer.Typer(help="This node's keys: rotate.", no_args_is_help=True, rich_markup_mode=None)
run = typer.Typer(help="The run: merge, continue.", no_args_is_help=True, rich_markup_mode=None)


@keys.callback()
def _keys() -> None:
    """Keeps `rotate` a command of its own."""


@keys.command()
def rotate(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Make new keys, and sign them with the old ones. The new keys are valid from the next run that
    continues this one.

    The old keys move to keys/previous. Until that run starts, set keys = "keys/previous".
    """
    from zmq.utils import z85

    from dcfm_node.config.keys import NodeKeys, rotate_keys
    from dcfm_node.config.node import load_node
    from dcfm_node.config.peers import own_peer, peer_block
    from dcfm_node.wire.envelope import Signer, hand_over

    def sign_over(old: NodeKeys, new: NodeKeys) -> bytes:
        return hand_over(Signer(old.sign), new.sign_public, z85.decode(new.link_public))

    settings = load_node(config)
    peer = own_peer(settings, rotate_keys(settings.keys, sign_over))
    named = NewKeys(name=peer.name, sign_key=peer.sign_key.hex(), link_key=peer.link_key)
    text = (
        f"made new keys in {plain(str(settings.keys))}; the old ones are in its folder 'previous'\n"
        "next: ask every site to replace this site's block in peers.toml with the following, and"
        f" agree on a run that continues this one ('dcfm-node run continue')\n\n{peer_block(peer)}"
    )
    answer(KeysRotated(peer=named, block=peer_block(peer)), as_json, lambda _: text)


@run.command()
def merge(
    out: Annotated[
        Path | None, typer.Argument(metavar="[FILE", help="The run.toml to write.")
    ] = None,
    sites: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...]", help="The run.toml of each site.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    peers: Annotated[
        Path | None,
        typer.Option("--peers", help="The peers.toml; default: the one beside node.toml."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Join the run.toml files of all sites, as 'init --data' wrote them, into one for all.

    Attributes get the values of all sites, and a robot's channels the ranges of all. All else must
    be equal.

    Without files, joins this site's with those of its peers, as they came when the sites paired,
    and writes the run.toml beside node.toml. This site's own is kept as run.site.toml. Every site
    gets the same file, whoever merges it.

    Exit codes: 0 written; 1 FILE exists, or a peer's file has not come; 2 a file is wrong or the
    files do not fit together.
    """
    if out is None:
        answer(_merged_at_home(config, peers), as_json, _merged_text)
        return
    if not sites:
        raise ConfigError(
            "FILE is given without the files to join",
            where=str(out),
            fix="name the run.toml of each site, or give no file at all",
        )
    from dcfm_node.config.template import merged_runs
    from dcfm_node.config.toml import read

    if out.exists():
        raise Failed("the file exists already", where=str(out), fix="name a new file")
    merged = merged_runs([read(site, "name the run.toml of each site") for site in sites])
    out.write_text(merged.text)
    named = tuple(FoundAttribute(name=name, values=values) for name, values in merged.attributes)
    found = RunMerged(file=str(out), attributes=named, notes=merged.notes)
    answer(found, as_json, _merged_text)


def _merged_at_home(config: Path, peers: Path | None) -> RunMerged:
    """Join the files that came by pairing, and start from them next time."""
    from dcfm_node.config.pairing import SITE_RUN_FILE, home, sent_run
    from dcfm_node.config.template import merged_runs
    from dcfm_node.config.toml import read
    from dcfm_node.files import replacing
    from dcfm_node.store.archive import last_run
    from dcfm_node.store.pairing import PairingStore

    here = home(config, peers)
    if last_run(here.config.state) is not None:
        raise Failed(
            "this node takes part in a run already, and goes on with its run.toml",
            where=str(here.run),
            fix="'dcfm-node run continue' makes the file of the next run; or name FILE and RUN...",
        )
    store, listed = PairingStore(here.config.state), here.listed()
    files = {here.config.name: here.site_run}
    files |= {peer.name: store.run_path(peer.name) for peer in listed}
    absent = [name for name, file in files.items() if not file.is_file()]
    if absent or not listed:
        what = f"the run.toml of {', '.join(absent)} has not come"
        raise Failed(
            what if listed else "no peer is approved yet",
            where=str(here.peers),
            fix="'dcfm-node join' asks the sites again that invited this one; a site whose code you"
            " made joins again there"
            if listed
            else "see 'dcfm-node peers pending'",
        )
    # In the order of the names, which is the same at all sites: so is the file.
    own = here.config.name
    documents = [
        read(files[name], "'dcfm-node init' makes one") if name == own else sent_run(files[name])
        for name in sorted(files)
    ]
    merged = merged_runs(documents)
    if here.site_run == here.run:
        with replacing(here.run.with_name(SITE_RUN_FILE)) as kept:
            kept.write_text(read(here.run, "").text, encoding="utf-8")
    with replacing(here.run) as scratch:
        scratch.write_text(merged.text, encoding="utf-8")
    named = tuple(FoundAttribute(name=name, values=values) for name, values in merged.attributes)
    left_out = [n for n, site in store.sites().items() if not site.rejected and n not in files]
    return RunMerged(
        file=str(here.run),
        attributes=named,
        notes=(*merged.notes, *map(_left_out, left_out)),
        sites=tuple(sorted(files)),
    )


def _left_out(name: str) -> str:
    return (
        f"{name} is not in it, because it waits for approval here: if it takes part, first"
        f" 'dcfm-node peers approve {name}', then merge again at all sites"
    )


def _merged_text(found: RunMerged) -> str:
    return "\n".join(
        [
            f"wrote {found.file}, from {', '.join(found.sites) or 'all sites'}:",
            *(f"  {one.name}: {', '.join(one.values)}" for one in found.attributes),
            *(f"note: {one}" for one in found.notes),
            "next: run the same at these sites; then, at each, 'dcfm-node stop' if the node runs,"
            " and 'dcfm-node start'"
            if found.sites
            else "next: give it and peers.toml to every site",
        ]
    )


@run.command("continue")
def go_on(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The new run.toml to write.")],
    config: Config = DEFAULT_CONFIG,
    old: Annotated[
        Path | None,
        typer.Option("--run", help="The present run.toml; default: the one beside node.toml."),
    ] = None,
    replaced: Annotated[
        list[str] | None, typer.Option(help="A silo that lost its old keys; repeat for each.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the run.toml of a run that continues this node's present one.

    Change the roster or the settings in it, and send it to every site. Training continues from the
    present student.
    """
    from dcfm_node.config.node import load_node
    from dcfm_node.config.run import differing
    from dcfm_node.config.toml import read
    from dcfm_node.store.archive import open_archive
    from dcfm_node.swarm.verdicts import departed

    if out.exists():
        raise Failed("the file exists already", where=str(out), fix="name a new file")
    archive = open_archive(load_node(config).state)
    student = archive.view.latest() or archive.view.newest_student()
    document = read(old or config.parent / "run.toml", "name the present run's file with --run")
    if wrong := differing(document, archive.manifest):
        raise ConfigError(
            f"is not the file of this node's run: {', '.join(wrong)} differ",
            where=str(document.path),
            fix="set --run to the file that the node was started with",
        )
    if not archive.manifest.method.may_continue:
        raise ConfigError(
            f"a run of {archive.manifest.method.name!r} cannot be continued",
            where=str(document.path),
            fix="begin a new run",
        )
    lines = [f'run = "{archive.journals.run.hex()}"']
    if student is not None:
        digest, size = student.body.snapshot.digest.hex(), student.body.snapshot.size
        lines.append(f'student = {{ digest = "{digest}", size = {size} }}')
    if (scale := archive.view.scale) is not None:
        mean, deviation = list(scale.mean), list(scale.deviation)
        lines.append(f"scale = {{ mean = {mean}, deviation = {deviation} }}")
    if replaced:
        lines.append("replaced = [" + ", ".join(f'"{name}"' for name in replaced) + "]")
    from dcfm_node.config.roster import unpinned

    out.write_text(_continued(unpinned(document.text), lines))
    gone = departed(archive.view)
    for silo, why in gone.items():
        say(*_still_named(silo, why, out), err=True)
    continued = RunContinued(
        file=str(out),
        continues=archive.journals.run.hex(),
        student=student.body.snapshot.digest.hex() if student is not None else None,
        departed=dict(gone),
    )
    answer(continued, as_json, _continued_text)


def _continued_text(found: RunContinued) -> str:
    return (
        f"wrote {found.file}\n"
        "next: change its roster and settings, send it to every site with the new peers.toml, stop"
        " the nodes and run\n"
        f"  dcfm-node start --peers peers.toml --run {shlex.quote(found.file)}"
    )


def _still_named(silo: str, why: str, out: Path) -> list[str]:
    """A warning about a silo that left the run but is on the new run's roster."""
    return [
        f"warning: {silo} {why}",
        "  it is still on the new run's roster, and that run waits for it. Unless it comes back,",
        f"  remove it from 'roster' in {out}, or, if that has no roster, from peers.toml",
    ]


def _continued(text: str, lines: Sequence[str]) -> str:
    """A run.toml that ends with [continues] and these lines, in place of its own [continues]."""
    before = re.sub(rf"(?ms)^(?:{COMMENT}\n)*^\[continues\]$.*?(?=^\[|\Z)", "", text).rstrip()
    return "\n".join([before, "", COMMENT, "[continues]", *lines, ""])
