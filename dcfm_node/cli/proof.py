"""Commands for proofs that a silo signed two histories (SPEC 9.3)."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dcfm_node.api.client import call
from dcfm_node.api.commands import ProofWritten, Proven
from dcfm_node.api.document import RunName
from dcfm_node.api.requests import ProofRequest
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import answer
from dcfm_node.errors import Failed, PeerError
from dcfm_node.files import read_bounded

app = typer.Typer(
    name="proof",
    help="Prove to others that a silo signed two histories.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def write(
    silo: Annotated[str, typer.Option(help="The silo that 'status' says signed two histories.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Write the proof that this node holds: two signed entries that contradict each other."""
    held = call(state_folder(config), ProofRequest(silo=silo))
    try:
        out.write_bytes(bytes.fromhex(held.proof))
    except OSError as error:
        raise Failed(
            f"the proof cannot be written: {error.strerror}",
            where=str(out),
            fix="choose a file in a folder that exists",
        ) from error
    answer(ProofWritten(silo=silo, file=str(out)), as_json, _written_text)


def _written_text(found: ProofWritten) -> str:
    file = shlex.quote(found.file)
    return f"wrote {found.file}\nnext: dcfm-node proof verify {file}, on any machine"


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What 'proof write' wrote.")], as_json: AsJson = False
) -> None:
    """Check a proof offline. Exits with 1 if it does not prove anything."""
    from dcfm_node.swarm import proof

    try:
        found = proof.verify(read_bounded(file, proof.MAX_BYTES))
    except OSError as error:
        raise Failed(
            f"the proof cannot be read: {error.strerror}",
            where=str(file),
            fix="name the file that 'dcfm-node proof write' wrote",
        ) from error
    except PeerError as error:
        raise Failed(
            f"the file does not prove a fork: {error}",
            where=str(file),
            fix="ask its sender for the file that 'dcfm-node proof write' wrote",
        ) from None
    entry = found.first.entry
    document = Proven(
        silo=found.culprit,
        id=entry.author.hex(),
        run=RunName(name=found.manifest.name, id=entry.run.hex()),
        epoch=entry.epoch,
        seq=entry.seq,
        entries=(found.first.digest.hex(), found.second.digest.hex()),
        kinds=(found.first.entry.body.kind, found.second.entry.body.kind),
    )
    answer(document, as_json, _proven_text)


def _proven_text(found: Proven) -> str:
    one, other = zip(found.kinds, found.entries, strict=True)
    return (
        f"proven    {found.silo} signed two entries as number {found.seq} of epoch {found.epoch}\n"
        f"key       {found.id}\n"
        f"run       {found.run.name} {found.run.id}\n"
        f"one       {' '.join(one)}\n"
        f"other     {' '.join(other)}"
    )
