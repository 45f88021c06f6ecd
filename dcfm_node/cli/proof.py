"""Commands about proofs that a silo signed two histories."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dcfm_node.api.client import call
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import answer, print_json, say
from dcfm_node.errors import Failed, PeerError
from dcfm_node.files import read_bounded

app = typer.Typer(
    name="proof",
    help="Show others that a silo signed two histories.",
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
    """Write the proof that this node holds: two entries that contradict each other, signed."""
    held = call(state_folder(config), "proof", silo=silo)
    try:
        out.write_bytes(bytes.fromhex(held["proof"]))
    except OSError as error:
        raise Failed(
            f"the proof cannot be written: {error.strerror}",
            where=str(out),
            fix="choose a file in a folder that exists",
        ) from error
    if as_json:
        print_json({"schema": "dcfm-node/proof/1", "silo": silo, "file": str(out)})
        return
    say(f"wrote {out}", f"next: dcfm-node proof verify {out}, on any machine")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What 'proof write' wrote.")], as_json: AsJson = False
) -> None:
    """Check a proof offline. Exits with 1 if it proves nothing."""
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
            f"the file proves nothing: {error}",
            where=str(file),
            fix="ask whoever sent it for what 'dcfm-node proof write' wrote",
        ) from None
    entry = found.first.entry
    document = {
        "schema": "dcfm-node/proven/1",
        "proven": True,
        "silo": found.culprit,
        "id": entry.author.hex(),
        "run": {"name": found.manifest.name, "id": entry.run.hex()},
        "epoch": entry.epoch,
        "seq": entry.seq,
        "entries": [found.first.digest.hex(), found.second.digest.hex()],
        "kinds": [found.first.entry.body.kind, found.second.entry.body.kind],
    }
    answer(document, as_json, _proven_text)


def _proven_text(found: dict[str, Any]) -> str:
    one, other = zip(found["kinds"], found["entries"], strict=True)
    return (
        f"proven    {found['silo']} signed two entries as number {found['seq']} of epoch"
        f" {found['epoch']}\nkey       {found['id']}\n"
        f"run       {found['run']['name']} {found['run']['id']}\n"
        f"one       {' '.join(one)}\n"
        f"other     {' '.join(other)}"
    )
