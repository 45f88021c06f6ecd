"""Commands that move a node to another machine: export-state, import-state."""

import json
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dcfm_node import __version__
from dcfm_node.api.commands import StateExported, StateImported
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from dcfm_node.cli.output import answer, secret, size
from dcfm_node.config.text import text_of
from dcfm_node.errors import ConfigError, Failed

PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File whose first line is the passphrase; default: ask on the terminal."),
]
MAX_PASSPHRASE_BYTES = 4_096


def register(app: typer.Typer) -> None:
    """Add these commands to the app."""
    app.command("export-state")(export_state)
    app.command("import-state")(import_state)


def export_state(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
    config: Config = DEFAULT_CONFIG,
    peers: Annotated[
        Path | None, typer.Option(help="The peers.toml; default: the one beside node.toml.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run.toml; default: the one beside node.toml.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Do not encrypt the file. It holds the secret keys.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put this node into one file, to move it to another machine: settings, keys and state.

    The node must be stopped. Afterwards it does not start here: two machines with one key would
    sign two histories, and the other silos would exclude this one. 'start' says how to undo the
    move. The private data are not in the file.
    """
    from dcfm_node.config.keys import load_keys
    from dcfm_node.config.node import load_node
    from dcfm_node.store.archive import DATABASE
    from dcfm_node.store.export import export, files_in, refuse_moved
    from dcfm_node.store.lock import lock

    settings = load_node(config)
    load_keys(settings.keys, {})
    state = settings.state
    if not (state / DATABASE).is_file():
        raise Failed(
            "this node took no part in any run yet, so it has no state to move",
            where=str(state),
            fix="copy its folder, and delete the old one",
        )
    found = {
        "node.toml": config,
        "run.toml": _beside(config, run, "run.toml"),
        "peers.toml": _beside(config, peers, "peers.toml"),
    }
    if settings.codec is not None:
        found["codec"] = settings.codec
    with lock(state):
        refuse_moved(state)
        passphrase = None if plain else _passphrase(passphrase_file, new=True)
        kept, strange = files_in(state, "state")
        keys, odd = files_in(settings.keys, "keys")
        contents = export(
            file,
            {**found, **keys, **kept},
            silo=settings.name,
            version=__version__,
            now_ms=time.time_ns() // 1_000_000,
            passphrase=passphrase,
            state=state,
        )
    made = StateExported(
        file=str(file),
        silo=contents.silo,
        files=len(contents.files),
        bytes=contents.size,
        encrypted=not plain,
        left=tuple(map(str, (*odd, *strange))),
    )
    answer(made, as_json, _exported_text)


def import_state(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of 'export-state'.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The node's new folder.")],
    state: Annotated[
        Path | None, typer.Option(help="Another place for the state; default: DIR/state.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make the node of an exported file on this machine. Every byte is checked first, and nothing
    is overwritten.

    Import it on one machine only. The node.toml is the old machine's, with the new places of keys
    and state; change in it what differs here, such as addresses and the path of the private data.
    """
    from dcfm_node.store.export import Import

    places = {"": folder.absolute(), "state": (state or folder / "state").absolute()}
    for place in places.values():
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise Failed(
                "exists already and is not empty", where=str(place), fix="name a new folder"
            )
    opened = Import(file, lambda: _passphrase(passphrase_file, new=False))
    try:
        with _scratch(places[""]) as new, _scratch(places["state"]) as new_state:
            opened.unpack({"": new, "keys": new / "keys", "state": new_state})
            _settle(file, new, state)
            # node.toml comes last: without it there is no node.
            _put(new_state, places["state"] if state else new / "state")
            _put(new, places[""])
    finally:
        opened.close()
    os.sync()
    contents = opened.contents
    imported = StateImported(
        folder=str(folder),
        state=str(places["state"]),
        silo=contents.silo,
        version=contents.version,
        exported_ms=contents.exported_ms,
        files=len(contents.files),
        bytes=contents.size,
    )
    answer(imported, as_json, _imported_text)


def _beside(config: Path, given: Path | None, name: str) -> Path:
    path = given or config.parent / name
    if not path.is_file():
        raise ConfigError(
            "there is no such file", where=str(path), fix=f"name it with --{Path(name).stem}"
        )
    return path


@contextmanager
def _scratch(place: Path) -> Iterator[Path]:
    """A private folder on the disk of a place. What is left of it is deleted."""
    above = place
    while not above.is_dir():
        above = above.parent
    with tempfile.TemporaryDirectory(prefix=".import-", dir=above) as folder:
        made = Path(folder) / "new"
        made.mkdir(mode=0o700)
        yield made


def _put(made: Path, place: Path) -> None:
    """Move a folder to its place, where an empty folder, such as a mount point, may be."""
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        made.rename(place)
        return
    for path in sorted(made.iterdir(), key=lambda path: path.name == "node.toml"):
        path.rename(place / path.name)


def _settle(file: Path, new: Path, state: Path | None) -> None:
    """Give a node.toml its new places, and see that the node can be loaded.

    Raises:
        UserError: it cannot.
    """
    from dcfm_node.config.keys import load_keys
    from dcfm_node.config.node import load_node

    for name in ("node.toml", "run.toml", "peers.toml", "keys/sign.key", "keys/link.key"):
        if not (new / name).is_file():
            raise Failed(f"{name} is not in it", where=str(file), fix="export the node again")
    settings = new / "node.toml"
    text = text_of(settings, "")
    settings.write_text(_placed(text, state, codec=(new / "codec").exists()), encoding="utf-8")
    found = load_node(settings)
    load_keys(found.keys, {})
    wanted = state.absolute() if state else new / "state"
    if (found.keys, found.state) != (new / "keys", wanted):
        raise Failed(
            "its node.toml cannot be given new places of keys and state",
            where=str(file),
            fix="write 'state' and 'keys' there on lines of their own, and export again",
        )


def _placed(text: str, state: Path | None, *, codec: bool) -> str:
    """A node.toml with the places of state, keys and codec on the new machine."""
    start = re.search(r"(?m)^[ \t]*\[", text)  # of the first table
    head, rest = (text[: start.start()], text[start.start() :]) if start else (text, "")
    places = {"state": str(state.absolute()) if state else "state", "keys": "keys"}
    if codec:
        places["codec"] = "codec"
    for key, value in places.items():
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
        before = re.search(rf"(?m)^[ \t]*{key}[ \t]*=.*\n", head)
        if before is not None:
            head = head[: before.start()] + line + head[before.end() :]
        else:
            head = f"{head.rstrip()}\n{line}\n"
    return head + rest


def _passphrase(path: Path | None, *, new: bool) -> str:
    """The passphrase of an exported file.

    Raises:
        ConfigError: it is empty, cannot be read, or there is no terminal to ask on.
    """
    from dcfm_node.files import read_bounded

    if path is None:
        if sys.stdin is None or not sys.stdin.isatty():
            plain = ", or --plain for a file that anybody who has it can use" if new else ""
            raise ConfigError(
                "the exported file is encrypted, and there is no terminal to ask for a passphrase",
                where="--passphrase-file",
                fix=f"name a file with the passphrase{plain}",
            )
        return secret("Passphrase of the exported file", twice=new)
    try:
        text = read_bounded(path, MAX_PASSPHRASE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(f"cannot be read: {why}", where=str(path)) from error
    if not (found := text.split("\n")[0].rstrip("\r")):
        raise ConfigError(
            "its first line is empty", where=str(path), fix="write a passphrase there"
        )
    return found


def _exported_text(made: StateExported) -> str:
    kind = "encrypted" if made.encrypted else "NOT encrypted: whoever has it can be this node"
    lines = [f"wrote {made.silo} to {made.file}: {made.files} files, {size(made.bytes)}, {kind}"]
    lines += [f"left out: {path}" for path in made.left]
    name = Path(made.file).name
    return "\n".join(
        [
            *lines,
            "this node does not start here any more. next:",
            f"  1. on the new machine: dcfm-node import-state {shlex.quote(name)} DIR",
            "  2. bring the private data there, and check [data], [listen] and [advertise] in"
            " DIR/node.toml",
            "  3. start it there, and delete the file",
            "  4. if its address changed, tell the other sites: they edit it in peers.toml",
        ]
    )


def _imported_text(made: StateImported) -> str:
    folder = shlex.quote(made.folder)
    lines = [
        f"made {made.silo} in {made.folder}: {made.files} files, {size(made.bytes)}, state in"
        f" {made.state}, exported by version {made.version}",
        "next:",
        f"  1. check [data], [listen] and [advertise] in {folder}/node.toml; the private data were"
        " not in the file",
        f"  2. dcfm-node start --config {folder}/node.toml --peers {folder}/peers.toml",
        "import the file on no other machine, and delete it once the node runs",
    ]
    if os.geteuid() == 0:
        inside = Path(made.state).is_relative_to(Path(made.folder).absolute())
        places = shlex.join([made.folder] if inside else [made.folder, made.state])
        lines.insert(2, f"  0. if a user of its own runs the node: chown -R USER: {places}")
    return "\n".join(lines)
