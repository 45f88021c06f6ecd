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
class Misframed:
    """An authenticated peer sent something other than one frame of a message's size (SPEC 4.1.2).

    Attributes:
        frames: how many; no more are counted than tell that there were too many.
        size: of those together, in bytes.
    """

    peer_id: bytes
    frames: int
    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A dial of ours failed (the peer has a name), or we turned somebody away at our door.

    Attributes:
        reason: empty where dials failed before, and now one did not.
        times: how often our dial failed in a row.
    """

    name: str | None
    link_key: str | None
    """Z85; of the peer that we dialled, of the stranger, who may be waiting for approval, or of the
    peer that breaks SPEC 4.1.5."""
    address: str
    reason: str
    times: int = 0


@dataclass(frozen=True, slots=True)
class Flooded:
    """An authenticated peer sends more than it may; what is over is dropped.

    Attributes:
        dropped: messages, so far.
    """

    peer_id: bytes
    dropped: int


@dataclass(frozen=True, slots=True)
class Faulted:
    """Something that this machine or program did wrong with one message or dial; all else goes on.

    Attributes:
        times: how often that happened on this plane, so far.
    """

    reason: str
    times: int


@dataclass(frozen=True, slots=True)
class Twice:
    """Two nodes began to use a peer's keys at once, from these hosts."""

    peer_id: bytes
    hosts: tuple[str, ...]


LinkEvent = Up | Down | Received | Misframed | Refused | Flooded | Faulted | Twice


@dataclass(frozen=True, slots=True)
class Failure:
    """Dials to one address that failed in a row."""

    address: str
    times: int
    reason: str


@dataclass(frozen=True, slots=True)
class Way:
    """How a peer is linked on one plane.

    Attributes:
        via: "own" where a link of this plane stands, "control port" where bulk has none and goes
            by a link of its own to that port (SPEC 4.1.4), "" where none stands.
        for_s: for how long that has been so: that any does, or none.
        failures: our dials that fail, also while the peer's own dial stands.
        hosts: where those are that hold the peer's key, if two use it at once.
    """

    via: str
    for_s: float = 0.0
    failures: tuple[Failure, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who is at a listener.

    Attributes:
        waiting: connections of which nobody knows yet who they are.
        hung_up: how many of those were cut off because there were too many, ever.
        hung_up_ago_s: how long ago that last was; None if never.
        starved_ago_s: how long ago the process last had no descriptor left; None if never.
    """

    waiting: int = 0
    hung_up: int = 0
    hung_up_ago_s: float | None = None
    starved_ago_s: float | None = None
