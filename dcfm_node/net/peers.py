"""Whom we link to, and what the links have to tell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkPeer:
    """An allowed peer. Addresses are "tcp://host:port", None where it only dials out."""

    id: bytes
    """Ed25519 public key, 32 bytes."""
    name: str
    link_key: str
    """Curve25519 public key, Z85, 40 characters."""
    control: str | None
    bulk: str | None


@dataclass(frozen=True, slots=True)
class Up:
    """The first link to a peer stands, in either direction."""

    peer_id: bytes


@dataclass(frozen=True, slots=True)
class Down:
    """The last link to a peer is gone."""

    peer_id: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """An authenticated peer sent a message."""

    peer_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A handshake failed: ours at a peer (it has a name) or a stranger's at our door.

    Attributes:
        reason: empty where ours failed before, and now did not.
    """

    name: str | None
    link_key: str | None
    """Z85; of the peer that we dialled, or of the stranger, who may be waiting for approval."""
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Flooded:
    """An authenticated peer sends more than it may; what is over is dropped.

    Attributes:
        dropped: messages, so far.
    """

    peer_id: bytes
    dropped: int


LinkEvent = Up | Down | Received | Refused | Flooded
