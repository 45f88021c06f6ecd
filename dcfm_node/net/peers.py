"""The peers of the links, and the events of the links."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkPeer:
    """An allowed peer. Addresses are "tcp://host:port", or None if it only dials out."""

    id: bytes
    """Ed25519 public key, 32 bytes."""
    name: str
    link_key: str
    """Curve25519 public key, Z85, 40 characters."""
    control: str | None
    bulk: str | None


@dataclass(frozen=True, slots=True)
class Up:
    """The first link to a peer came up, in either direction."""

    peer_id: bytes


@dataclass(frozen=True, slots=True)
class Down:
    """The last link to a peer went down."""

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
        frames: number of frames, counted up to the first that is too many.
        size: bytes of those frames together.
    """

    peer_id: bytes
    frames: int
    size: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A dial of ours failed (the peer has a name), or our listener refused a connection.

    Attributes:
        reason: empty if a dial succeeded after failures.
        times: failures of our dial in a row.
    """

    name: str | None
    link_key: str | None
    """Z85: the key of the peer that we dialled, of an unknown caller (who may wait for approval),
    or of a peer that breaks SPEC 4.1.5."""
    address: str
    reason: str
    times: int = 0


@dataclass(frozen=True, slots=True)
class Flooded:
    """An authenticated peer sends more than it may. The excess is dropped.

    Attributes:
        dropped: messages dropped so far.
    """

    peer_id: bytes
    dropped: int


@dataclass(frozen=True, slots=True)
class Faulted:
    """This machine or program failed at one message or dial. All other work continues.

    Attributes:
        times: failures on this plane so far.
    """

    reason: str
    times: int


@dataclass(frozen=True, slots=True)
class Twice:
    """Two nodes use a peer's keys at the same time, from these hosts."""

    peer_id: bytes
    hosts: tuple[str, ...]


LinkEvent = Up | Down | Received | Misframed | Refused | Flooded | Faulted | Twice


@dataclass(frozen=True, slots=True)
class Failure:
    """Failed dials to one address, in a row."""

    address: str
    times: int
    reason: str


@dataclass(frozen=True, slots=True)
class Way:
    """How a peer is linked on one plane.

    Attributes:
        via: "own" if a link of this plane is up; "control port" if bulk uses a guest's link to
            that port (SPEC 4.1.4); "" if no link is up.
        for_s: seconds since a link came up, or since the last one went down.
        failures: our failing dials, also while a link that the peer dialled is up.
        hosts: hosts of the nodes that use the peer's key, if there are two.
        dialled: whether a link stands that this node dialled.
        accepted: whether a link stands that the peer dialled.
        rtt_s: round-trip time of the link in use, in seconds; None if it was not measured.
        sent_bytes_s: rate at which it last sent, in bytes a second; None before enough was sent.
        received_bytes_s: the most that came in a second since the start; None before enough came.
    """

    via: str
    for_s: float = 0.0
    failures: tuple[Failure, ...] = ()
    hosts: tuple[str, ...] = ()
    dialled: bool = False
    accepted: bool = False
    rtt_s: float | None = None
    sent_bytes_s: float | None = None
    received_bytes_s: float | None = None


@dataclass(frozen=True, slots=True)
class Crowd:
    """Unknown connections at a listener.

    Attributes:
        waiting: connections whose peer is still unknown.
        hung_up: connections closed because there were too many, since the start.
        hung_up_ago_s: seconds since the last of those; None if there was none.
        starved_ago_s: seconds since the process last had no descriptor left; None if never.
    """

    waiting: int = 0
    hung_up: int = 0
    hung_up_ago_s: float | None = None
    starved_ago_s: float | None = None
