"""Commands about proofs that a silo signed two histories."""

from pathlib import Path
from typing import Annotated

import typer

from dcfm_node.api.client import call
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import print_json
from dcfm_node.errors import Failed, PeerError

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
    answer = call(state_folder(config), "proof", silo=silo)
    try:
        out.write_bytes(bytes.fromhex(answer["proof"]))
    except OSError as error:
        raise Failed(
            f"the proof cannot be written: {error.strerror}",
            where=str(out),
            fix="choose a file in a folder that exists",
        ) from error
    if as_json:
        print_json({"schema": "dcfm-node/proof/1", "silo": silo, "file": str(out)})
        return
    typer.echo(f"wrote {out}\nnext: dcfm-node proof verify {out}, on any machine")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What 'proof write' wrote.")], as_json: AsJson = False
) -> None:
    """Check a proof offline. Exits with 1 if it proves nothing."""
    from dcfm_node.swarm import proof

    try:
        found = proof.verify(file.read_bytes())
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
    if as_json:
        print_json(
            {
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
        )
        return
    typer.echo(
        f"proven    {found.culprit} signed two entries as number {entry.seq} of epoch"
        f" {entry.epoch}\nkey       {entry.author.hex()}\n"
        f"run       {found.manifest.name} {entry.run.hex()}\n"
        f"one       {found.first.entry.body.kind} {found.first.digest.hex()}\n"
        f"other     {found.second.entry.body.kind} {found.second.digest.hex()}"
    )
