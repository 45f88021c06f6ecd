"""peers.toml: the nodes that may link to this one. They are the roster unless run.toml names it."""

import struct
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from zmq.utils import z85

from dcfm_node.config import toml
from dcfm_node.config.addresses import DialAddress, check_pair
from dcfm_node.config.advice import Problem
from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.errors import ConfigError
from dcfm_node.records.base import Key, Model, Name
from dcfm_node.records.manifest import MAX_SILOS

_FIX = "take the line from what 'dcfm-node id' prints on that node"


_NEW_KEYS = (
    "put the old keys back from the backup: with other keys this node is not in its run. If they"
    " are lost, continue the run ('dcfm-node run continue FILE --replaced {name}' at another site),"
    " with the block that 'dcfm-node id' prints here in everyone's file. If {name} is another site,"
    " give this node another name"
)
_RENAMED = (
    "give this node that name in node.toml; or, before a run begins, replace that block with what"
    " 'dcfm-node id' prints here, in everyone's file"
)


def _hex(value: Any, digits: int, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = bytes.fromhex(value)
    except ValueError:
        found = b""
    if len(value) != digits or 2 * len(found) != digits:
        raise ValueError(f"is not a {what} of {digits} hex digits; {_FIX}")
    return found


def _z85_key(value: str) -> str:
    try:
        key = z85.decode(value)
    except (ValueError, KeyError, struct.error):
        key = b""
    if len(key) != 32:
        raise ValueError(f"is not a link key of 40 characters of Z85; {_FIX}")
    return value


class Peer(Model):
    """A node as others know it. A node without addresses only dials out."""

    name: Name
    """The silo's name, as in its node.toml."""
    sign_key: Annotated[Key, BeforeValidator(partial(_hex, digits=64, what="signing key"))]
    """Ed25519 public key: 64 hex digits in the file."""
    link_key: Annotated[str, AfterValidator(_z85_key)]
    """Curve25519 public key: 40 characters of Z85."""
    control: DialAddress | None = None
    """Where to dial it for records: "tcp://host:port". Default: none; it only dials out."""
    bulk: DialAddress | None = None
    """Where to dial it for snapshots: "tcp://host:port". Default: none; they use `control`."""
    handover: (
        Annotated[bytes, BeforeValidator(partial(_hex, digits=128, what="signature"))] | None
    ) = None
    """The previous signing key's signature over these keys: 128 hex digits in the file."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        check_pair(self.control, self.bulk)
        return self


class _PeersFile(Model):
    peer: Annotated[tuple[Peer, ...], Field(max_length=MAX_SILOS)] = ()


def load_peers(path: Path) -> tuple[Peer, ...]:
    """Read peers.toml, in its order. It may list the node that reads it.

    Raises:
        ConfigError: names each problem's line, field and fix; also if two peers share a name, key
            or address.
    """
    return peers_of(
        toml.read(
            path,
            "pair the sites: 'dcfm-node invite' at one, 'dcfm-node join CODE' at the other; or"
            " gather the [[peer]] blocks that 'dcfm-node id' prints on every node",
        )
    )


def peers_of(document: toml.Document) -> tuple[Peer, ...]:
    """The peers in a document. Raises ConfigError as `load_peers`."""
    peers = document.parse(_PeersFile).peer
    if twice := _duplicates(document, peers):
        raise document.error(twice)
    return peers


def _duplicates(document: toml.Document, peers: tuple[Peer, ...]) -> list[Problem]:
    found = []
    for field in Peer.model_fields:
        first: dict[Any, int] = {}
        for position, peer in enumerate(peers):
            value = getattr(peer, field)
            if value is None or first.setdefault(value, position) == position:
                continue
            earlier = first[value]
            line = document.line("peer", earlier, field)
            what = f"is the same as that of {peers[earlier].name!r} on line {line}"
            if field == "name":
                what = f"{value!r} is on line {line} already"
            fix = (
                "remove one of the two blocks, or correct it from what 'dcfm-node id' prints there"
            )
            found.append(Problem(("peer", position, field), what, fix))
    return found


def own_peer(config: NodeConfig, keys: NodeKeys) -> Peer:
    """This node's own entry for everyone's peers.toml."""
    return Peer(
        name=config.name,
        sign_key=keys.sign_public,
        link_key=keys.link_public,
        control=config.advertise.control,
        bulk=config.advertise.bulk,
        handover=keys.handover,
    )


def peer_block(peer: Peer) -> str:
    """The `[[peer]]` block of a node, for everyone's peers.toml."""
    fields = {
        "name": peer.name,
        "sign_key": peer.sign_key.hex(),
        "link_key": peer.link_key,
        "control": peer.control,
        "bulk": peer.bulk,
        "handover": peer.handover.hex() if peer.handover is not None else None,
    }
    lines = [f"{key} = {toml.written(value)}" for key, value in fields.items() if value is not None]
    return "\n".join(["[[peer]]", *lines, ""])


def merged(peers: tuple[Peer, ...], me: Peer, listed: Path) -> dict[str, Peer]:
    """All nodes by name, with this node.

    Args:
        listed: the file that peers were read from, for messages.

    Raises:
        ConfigError: peers.toml gives this node's name to another key, or gives this node's key
            another name or another link key. Peers would refuse its links.
    """
    for peer in peers:
        if peer.sign_key == me.sign_key and peer.name != me.name and peer.link_key != me.link_key:
            raise ConfigError(
                f"lists {peer.name!r} with the sign_key of this node, {me.name!r}, and with"
                " another link_key: one of the two key files belongs to another node",
                where=str(listed),
                fix=f"restore both key files of {me.name!r} from the same copy",
            )
        if peer.sign_key == me.sign_key and peer.link_key != me.link_key:
            raise ConfigError(
                f"gives {peer.name!r} the link_key {peer.link_key}, but it is {me.link_key} here:"
                " nodes with that file refuse this node's links",
                where=str(listed),
                fix="put the old keys back from the backup; or replace that block with what"
                " 'dcfm-node id' prints here, in everyone's file",
            )
        if (peer.name == me.name) != (peer.sign_key == me.sign_key):
            raise ConfigError(
                f"lists {peer.name!r} with sign_key {peer.sign_key.hex()[:8]}…, "
                f"but this node is {me.name!r} with {me.sign_key.hex()[:8]}…",
                where=str(listed),
                fix=_NEW_KEYS.format(name=me.name) if peer.name == me.name else _RENAMED,
            )
    return {peer.name: peer for peer in (*peers, me)}
