"""Changes peers.toml and run.toml in place: whole blocks come and go, comments stay."""

import re
from collections.abc import Sequence
from pathlib import Path

from zmq.utils import z85

from dcfm_node.config import toml
from dcfm_node.config.peers import Peer, load_peers, peer_block
from dcfm_node.config.text import text_of
from dcfm_node.errors import ConfigError
from dcfm_node.files import replacing, sync
from dcfm_node.records.pairing import Card

HEADER = (
    "# The nodes that may link to this one. 'dcfm-node peers approve', 'add' and 'remove' edit this"
    "\n# file; a running node takes up the change. Comments stay.\n"
)
PINNED = "# The silos of the present run, kept here by 'dcfm-node peers' when peers.toml changed."
_BLOCK = re.compile(r"^\[\[\s*peer\s*\]\]\s*(#.*)?$")
_TABLE = re.compile(r"^\s*\[")


def peer_of(card: Card) -> Peer:
    """A site's card as its block of peers.toml.

    Raises:
        ValueError: an address is not valid. (pydantic.ValidationError)
    """
    return Peer(
        name=card.name,
        sign_key=card.sign_key,
        link_key=z85.encode(card.link_key).decode(),
        control=card.control,
        bulk=card.bulk,
        handover=card.handover,
    )


def card_of(peer: Peer) -> Card:
    """The other way round.

    Raises:
        ValueError: an address has characters that do not travel. (pydantic.ValidationError)
    """
    return Card(
        name=peer.name,
        sign_key=peer.sign_key,
        link_key=z85.decode(peer.link_key),
        control=peer.control,
        bulk=peer.bulk,
        handover=peer.handover,
    )


def listed_peers(path: Path) -> tuple[Peer, ...]:
    """The peers of a peers.toml; () if the file does not exist.

    Raises:
        ConfigError: as `load_peers`.
    """
    return load_peers(path) if path.exists() else ()


def add_peers(path: Path, added: Sequence[Peer]) -> None:
    """Write blocks into a peers.toml, which is made if it does not exist: in place of the block of
    the same name and signing key, else at its end. Comments above it stay. All or none.

    Raises:
        ConfigError: the file would not be valid: a name, key or address is taken.
        OSError: it cannot be written.
    """
    listed = [(peer.name, peer.sign_key) for peer in listed_peers(path)]
    lines = text_of(path, "").rstrip().splitlines() if path.exists() else HEADER.splitlines()
    new = []
    for peer in added:
        if (who := (peer.name, peer.sign_key)) in listed:
            first, end = _block(path, lines, listed.index(who), peer.name)
            lines[first:end] = peer_block(peer).rstrip().splitlines()
        else:
            new.append(peer_block(peer))
    _replace_peers(path, "\n".join(["\n".join(lines) + "\n", *new]))


def remove_peer(path: Path, name: str) -> None:
    """Remove one block from a peers.toml, with the comment directly above it.

    Raises:
        ConfigError: the file has no such peer, or is not valid.
        OSError: it cannot be written.
    """
    position = next((i for i, peer in enumerate(load_peers(path)) if peer.name == name), None)
    if position is None:
        raise ConfigError(
            f"has no {name!r}", where=str(path), fix="'dcfm-node peers' shows all names"
        )
    lines = text_of(path, "").splitlines()
    first, end = _block(path, lines, position, name)
    while first and lines[first - 1].startswith("#"):
        first -= 1
    if first == 0 or not lines[first - 1].strip():
        while end < len(lines) and not lines[end].strip():
            end += 1
    kept = "\n".join([*lines[:first], *lines[end:]]).strip()
    _replace_peers(path, f"{kept}\n" if kept else "")


def _block(path: Path, lines: Sequence[str], position: int, name: str) -> tuple[int, int]:
    """The first line of a block, and the line after its last."""
    begins = [number for number, line in enumerate(lines) if _BLOCK.match(line.strip())]
    if position >= len(begins):
        raise ConfigError(
            "its blocks are not written as [[peer]] tables",
            where=str(path),
            fix=f"change the block of {name!r} in an editor, then 'dcfm-node reload'",
        )
    first, end = begins[position], len(lines)
    for number in range(first + 1, len(lines)):
        if _TABLE.match(lines[number]):
            end = number
            break
    while end > first + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1  # blanks and comments before the next block are the next block's
    return first, end


def _replace_peers(path: Path, text: str) -> None:
    """Write a peers.toml, if it is valid."""
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
        if path.exists():
            scratch.chmod(path.stat().st_mode & 0o777)
        try:
            load_peers(scratch)
        except ConfigError as error:
            more = [line.replace(str(scratch), str(path)) for line in error.more]
            where = error.where.replace(str(scratch), str(path))
            raise ConfigError(error.what, where=where, fix=error.fix, more=more) from None
        sync(scratch)


def named_roster(run: Path) -> tuple[str, ...]:
    """The roster that a run.toml names; () if it names none or does not exist.

    Raises:
        ConfigError: it is not TOML.
    """
    named = toml.read(run, "").values.get("roster") if run.exists() else None
    return tuple(map(str, named)) if isinstance(named, tuple) else ()


def pin_roster(run: Path, names: Sequence[str]) -> None:
    """Write the names of the present run's silos into its run.toml, which names none. The run stays
    the same: its manifest has those names already."""
    text = text_of(run, "")
    line = f"{PINNED}\nroster = {toml.written(sorted(names))}\n"
    head = re.search(r"(?m)^name\s*=.*$\n?", text)
    if head is None:
        raise ConfigError("has no name", where=str(run), fix=f"add {line.splitlines()[1]} to it")
    with replacing(run) as scratch:
        scratch.write_text(text[: head.end()] + line + text[head.end() :], encoding="utf-8")
        scratch.chmod(run.stat().st_mode & 0o777)
        sync(scratch)


def unpinned(text: str) -> str:
    """A run.toml's text without a roster that `pin_roster` wrote."""
    return re.sub(rf"(?m)^{re.escape(PINNED)}\nroster = \[.*\]\n", "", text)
