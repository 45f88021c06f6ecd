"""Commands that move a run's records and snapshots as a folder: export, import, verify."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcfm_node.api.client import call
from dcfm_node.api.commands import BundleExported, BundleVerified
from dcfm_node.api.document import RunName
from dcfm_node.api.requests import ImportedBundle, ImportRequest
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import answer, size
from dcfm_node.errors import Failed, PeerError

if TYPE_CHECKING:
    from dcfm_node.records.manifest import Manifest
    from dcfm_node.records.messages import Bundle
    from dcfm_node.store.audit import Audit

IMPORT_TIMEOUT_S = 3_600.0
_COPY = "copy the whole bundle again, or ask its site for another"

app = typer.Typer(
    help="Records and snapshots as a folder, for a site without a network: export, import, verify.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The bundle's folder.")]


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder to write.")],
    since: Annotated[
        Path | None,
        typer.Option(help="A bundle from the receiving site; what it holds is left out."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Write this node's records and snapshots of its run, for sites without a link to it.

    This works with and without a running daemon.
    """
    from dcfm_node.config.keys import load_keys
    from dcfm_node.config.node import load_node
    from dcfm_node.daemon.egress import record_bundle
    from dcfm_node.store.archive import open_archive
    from dcfm_node.store.bundles import write_bundle
    from dcfm_node.swarm.bundle import label, messages, snapshots
    from dcfm_node.wire.envelope import Signer, seal_bundle

    settings = load_node(config)
    signer = Signer(load_keys(settings.keys).sign)
    archive = open_archive(settings.state)
    known = _label(since, archive.manifest) if since is not None else None
    wanted = snapshots(archive.view)
    paths = {digest: path for digest in wanted if (path := archive.snapshot(digest)) is not None}
    carried = {d: p for d, p in paths.items() if known is None or d not in known.held}
    held, journals = {digest: digest in carried for digest in paths}, archive.journals
    write_bundle(
        folder,
        messages(journals, known.heads if known is not None else {}),
        carried,
        lambda entries: seal_bundle(
            label(archive.manifest, signer.key, journals, held, entries), signer
        ),
    )
    receiver = known.author if known is not None else b""
    names = {silo.key: silo.name for silo in archive.manifest.roster}
    record_bundle(settings.state, folder, receiver, names, run=journals.run, me=signer.key)
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    exported = BundleExported(
        run=journals.run.hex(),
        folder=str(folder),
        records=sum(1 for _ in journals.missing(known.heads if known is not None else {})),
        snapshots=len(carried),
        bytes=total,
    )
    answer(exported, as_json, _exported_text)


def _exported_text(found: BundleExported) -> str:
    folder = shlex.quote(found.folder)
    return (
        f"wrote {found.folder}: {found.records} records, {found.snapshots} snapshots,"
        f" {size(found.bytes)}\nat the other site: dcfm-node bundle import {folder}"
    )


@app.command("import")
def take_in(folder: Folder, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Import another site's bundle into this site's running node."""
    request = ImportRequest(folder=str(folder.absolute()))
    found = call(state_folder(config), request, timeout_s=IMPORT_TIMEOUT_S)
    answer(found, as_json, _imported_text)


def _imported_text(found: ImportedBundle) -> str:
    text = (
        f"from {found.author}: {found.records} records, {found.new_records} of them new here;"
        f" {found.snapshots} snapshots, {found.new_snapshots} of them wanted here"
    )
    if found.wanted:
        text += f"\n{found.wanted} more snapshots are wanted; ask the other site for a new bundle"
    return text


@app.command()
def verify(
    folder: Folder,
    run: Annotated[Path, typer.Option(help="The run's run.toml.")],
    peers: Annotated[Path, typer.Option(help="The peers.toml that goes with it.")],
    as_json: AsJson = False,
) -> None:
    """Check a bundle offline: its signer, every record and every snapshot.

    This needs no node, no keys and no network. Exits with 1 if a check fails.
    """
    from dcfm_node.config.peers import load_peers
    from dcfm_node.config.run import load_run
    from dcfm_node.store.audit import audit
    from dcfm_node.store.bundles import read_bundle

    manifest = load_run(run, load_peers(peers), None, listed=peers)
    try:
        found = audit(read_bundle(folder, manifest), manifest)
    except PeerError as error:
        raise _refused(folder, error) from error
    except OSError as error:
        where = str(error.filename or folder)
        raise Failed(f"cannot be read: {error.strerror}", where=where, fix=_COPY) from error
    answer(_document(found, manifest), as_json, _verified_text)


def _verified_text(found: BundleVerified) -> str:
    silos = [f"{name} {n}" for name, n in found.records.items() if n]
    lines = [
        f"verified  bundle of {found.author} for run {found.run.name} {found.run.id[:16]}",
        f"records   {', '.join(silos) or 'none'}",
        f"snapshots {found.snapshots}, each matches its digest",
    ]
    if found.continuing:
        lines.append(f"          {found.continuing} records continue those of the receiver")
    lines += [f"forked    {name} signed two histories" for name in found.forked]
    return "\n".join(lines)


def _label(folder: Path, manifest: "Manifest") -> "Bundle":
    from dcfm_node.store.bundles import read_envelope
    from dcfm_node.swarm.bundle import read_label

    try:
        return read_label(read_envelope(folder), manifest)
    except PeerError as error:
        raise _refused(folder, error) from error


def _refused(folder: Path, error: PeerError) -> Failed:
    return Failed(
        f"the bundle is not valid: {error}",
        where=str(folder),
        fix=f"do not import it; {_COPY}",
    )


def _document(found: "Audit", manifest: "Manifest") -> BundleVerified:
    return BundleVerified(
        run=RunName(name=manifest.name, id=found.run.hex()),
        author=found.author,
        records=dict(found.records),
        continuing=found.unchained,
        snapshots=found.snapshots,
        forked=tuple(found.forked),
    )
