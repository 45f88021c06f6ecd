"""The command `egress`, also called `audit`: what left this site, to whom, and who holds it."""

import csv
import io
import json
import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcfm_node.api.egress import (
    Egress,
    EgressLine,
    EgressVerified,
    EgressWritten,
    SignedEgress,
)
from dcfm_node.cli.egress_text import egress_text
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from dcfm_node.cli.output import answer, say, size
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.files import read_bounded, replacing
from dcfm_node.words import cell, utc

if TYPE_CHECKING:
    from dcfm_node.config.node import NodeConfig
    from dcfm_node.store.archive import Archive

MAX_BYTES = 256 << 20
"""Most bytes of a signed report that is read."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def egress(
    context: typer.Context,
    since: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="Leave out what was sent before: a date or time (UTC) such as 2026-11-30 or"
            " 2026-11-30T08:00, or an age such as 12h, 7d or 4w.",
        ),
    ] = "",
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the lines of the ledger as a CSV table.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the whole report to this new file, signed with the node's key."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what left this site: to whom, of what kind, how much, and who holds it now.

    The node records all that it sends, on both planes, and the bundles that it exports. The ledger
    survives restarts. It is written every 10 seconds; a crash loses at most that, and is told here.
    'dcfm-node audit' is the same command. It works with and without a running daemon.

    --out writes a report that the node's key signs; 'egress verify FILE' checks it on any machine.
    """
    if context.invoked_subcommand is not None:
        return
    if as_csv and (as_json or out is not None):
        raise ConfigError("--csv goes with neither --json nor --out", where="--csv")
    found = _found(config, since)
    if out is not None:
        answer(_written(out, config, found), as_json, _written_text)
    elif as_csv:
        say(*_csv(found.lines))
    else:
        answer(found, as_json, egress_text)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What 'egress --out' wrote.")],
    peers: Annotated[
        Path | None, typer.Option(help="A peers.toml that lists the node which wrote it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a signed report offline: it is unchanged, and the holder of its key signed it.

    With --peers, the key must be listed there; without, compare it with what the site told you.
    Exits with 1 if a check fails.
    """
    from pydantic import ValidationError

    from dcfm_node.config.peers import load_peers
    from dcfm_node.wire.envelope import EGRESS_DOMAIN, ed25519

    refused = "do not rely on it; ask the site for the file that 'egress --out' wrote"
    try:
        raw = json.loads(read_bounded(file, MAX_BYTES))
        signed = SignedEgress.read(json.dumps(raw))
        key, signature = bytes.fromhex(signed.report.key), bytes.fromhex(signed.signature)
        data = EGRESS_DOMAIN + _canonical(raw["report"])
        sound = len(key) == 32 and len(signature) == 64 and ed25519(key, signature, data)
    except OSError as error:
        what = f"the report cannot be read: {error.strerror}"
        raise Failed(what, where=str(file), fix=refused) from error
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Failed("is not a signed report", where=str(file), fix=refused) from error
    if not sound:
        what = "the signature does not fit: the report was changed, or another key signed it"
        raise Failed(what, where=str(file), fix=refused)
    name = signed.report.silo
    if peers is not None:
        listed = {peer.sign_key: peer.name for peer in load_peers(peers)}
        if key not in listed:
            what = f"its key {key.hex()} is not in {peers}"
            raise Failed(what, where=str(file), fix=refused)
        name = listed[key]
    verified = EgressVerified(
        silo=name,
        key=key.hex(),
        listed=peers is not None,
        made_ms=signed.report.made_ms,
        lines=len(signed.report.lines),
        bytes_sent=sum(line.bytes for line in signed.report.lines),
    )
    answer(verified, as_json, _verified_text)


def _found(config: Path, since: str) -> Egress:
    from dcfm_node.config.node import load_node
    from dcfm_node.daemon.egress_facts import egress_facts
    from dcfm_node.store.archive import DATABASE, kept_runs, open_archive
    from dcfm_node.store.egress import Ledger
    from dcfm_node.wire.envelope import run_id

    settings = load_node(config)
    now = time.time_ns() // 1_000_000
    since_ms = when(since, now) if since else None
    state, ledger = settings.state, Ledger(settings.state)
    runs = [run_id(manifest) for manifest in kept_runs(state)]
    archives = [open_archive(state, run) for run in runs] if (state / DATABASE).exists() else []
    return egress_facts(
        settings.name,
        _key(settings, archives),
        ledger.lines(),
        ledger.spans(),
        archives,
        made_ms=now,
        since_ms=since_ms,
        running=_runs(settings),
        told=_told(state, archives),
    )


def _key(settings: "NodeConfig", archives: "list[Archive]") -> bytes:
    """This node's public signing key: from its key file, or, where only the service may read that,
    from the roster of its last run."""
    from dcfm_node.config.keys import load_keys

    try:
        return load_keys(settings.keys).sign_public
    except ConfigError:
        roster = archives[0].manifest.roster if archives else ()
        for silo in roster:
            if silo.name == settings.name:
                return silo.key
        raise


def _told(state: Path, archives: "list[Archive]") -> dict[bytes, str]:
    from dcfm_node.store.archive import DATABASE
    from dcfm_node.store.journals import JournalStore

    if not archives:
        return {}
    store = JournalStore(state / DATABASE, read_only=True)
    try:
        runs = [archive.journals.run for archive in archives]
        found = {run: store.get(f"counts/{run.hex()}") for run in runs}
        return {run: told.decode() for run, told in found.items() if told is not None}
    finally:
        store.close()


def _runs(settings: "NodeConfig") -> bool:
    """Whether the daemon of this state folder runs."""
    from dcfm_node.api.client import Starting, call
    from dcfm_node.api.requests import PeersRequest
    from dcfm_node.errors import Unreachable

    try:
        call(settings.state, PeersRequest(), timeout_s=2.0)
    except Starting:
        return True
    except Unreachable:
        return False
    return True


def when(text: str, now_ms: int) -> int:
    """Unix milliseconds of a time, a date (UTC) or an age.

    Raises:
        ConfigError: the text is none of them.
    """
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            return now_ms - int(
                timedelta(**{_UNITS[text[-1]]: int(text[:-1])}).total_seconds() * 1000
            )
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return int(at.timestamp() * 1_000)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text!r} is not a time",
            where="--since",
            fix="give a date such as 2026-11-30, a time such as 2026-11-30T08:00, or an age such"
            " as 12h, 7d or 4w",
        ) from error


def _canonical(report: Any) -> bytes:
    """The bytes of a report that are signed: they do not depend on how its JSON is laid out."""
    return json.dumps(report, sort_keys=True, separators=(",", ":")).encode("ascii")


def _written(out: Path, config: Path, found: Egress) -> EgressWritten:
    from dcfm_node.config.keys import load_keys
    from dcfm_node.config.node import load_node
    from dcfm_node.wire.envelope import EGRESS_DOMAIN, Signer

    if out.exists():
        raise Failed("exists already", where=str(out), fix="name a new file")
    signer = Signer(load_keys(load_node(config).keys).sign)
    signature = signer.sign(EGRESS_DOMAIN + _canonical(found.plain()))
    signed = SignedEgress(report=found, signature=signature.hex())
    with replacing(out) as scratch:
        scratch.write_text(f"{json.dumps(signed.plain(), indent=1)}\n", encoding="ascii")
    return EgressWritten(
        file=str(out),
        key=found.key,
        lines=len(found.lines),
        bytes_sent=sum(line.bytes for line in found.lines),
    )


def _written_text(found: EgressWritten) -> str:
    file = shlex.quote(found.file)
    return (
        f"wrote {found.file}: {found.lines} lines, {size(found.bytes_sent)} that were sent\n"
        f"signed by key {found.key}\n"
        f"check it on any machine: dcfm-node egress verify {file} --peers peers.toml"
    )


def _verified_text(found: EgressVerified) -> str:
    known = "listed in the peers.toml" if found.listed else "compare it with the site's own word"
    return "\n".join(
        [
            f"verified  what left silo {found.silo}, as its node recorded it until"
            f" {utc(found.made_ms)} UTC",
            f"key       {found.key} ({known})",
            f"lines     {found.lines}, of {size(found.bytes_sent)} in all",
        ]
    )


def _csv(lines: tuple[EgressLine, ...]) -> list[str]:
    """A row for each line. Text is made fit for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in EgressLine.model_fields if name not in ("first_ms", "last_ms")]
    writer.writerow(["from_utc", "until_utc", *names])
    for line in lines:
        values = (getattr(line, name) for name in names)
        row = [utc(line.first_ms), utc(line.last_ms), *values]
        writer.writerow([cell(value) if isinstance(value, str) else value for value in row])
    return text.getvalue().rstrip("\n").split("\n")
