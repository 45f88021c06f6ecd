"""What a node sent, sorted by peer, plane and kind. Pure.

A message of records is looked into: each record in it counts as its own kind, and what is left, the
envelope of the message, as `entries`. So the bytes of all kinds add up to the bytes that were sent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dcfm_node.errors import PeerError
from dcfm_node.wire.canonical import sha256, unpack
from dcfm_node.wire.envelope import ENTRY_DOMAIN

Plane = Literal["control", "bulk", "hand"]
"""The plane of a link; "hand" is a bundle, which an operator carries."""
UNSORTED = "unsorted"
"""A kind of its own: messages that were counted and not looked into."""
MAX_KEPT = 20_000
"""Most different lines that a tally keeps. Beyond them it adds up without kind and digest."""


class What(NamedTuple):
    """What was sent to whom.

    Attributes:
        peer: its signing key; empty where the receiver of a bundle is not known.
        kind: of `records.carried.CARRIED`, or UNSORTED.
        author: of a record: the silo that signed it. Otherwise empty.
        digest: of an own record, or of the snapshot that a chunk belongs to. Otherwise empty.
    """

    peer: bytes
    plane: Plane
    kind: str
    author: bytes = b""
    digest: bytes = b""


@dataclass(slots=True)
class Sum:
    """When it was sent (Unix milliseconds), how many records or messages, and their bytes."""

    first_ms: int
    last_ms: int
    items: int = 0
    size: int = 0

    def add(self, now_ms: int, items: int, size: int) -> None:
        self.first_ms, self.last_ms = min(self.first_ms, now_ms), max(self.last_ms, now_ms)
        self.items += items
        self.size += size


def sort(
    peer: bytes, plane: Plane, head: bytes, size: int, me: bytes
) -> Iterator[tuple[What, int]]:
    """The parts of a sent message, with their bytes. These add up to `size`.

    Args:
        head: the message's first frame: all of a control message, a bulk message's header.
        size: bytes of all frames.
        me: this node's key. Own records are listed by digest, those that it passes on by author.
    """
    try:
        parts = list(_parts(peer, plane, head, size, me))
    except (PeerError, KeyError, TypeError, ValueError, IndexError):
        parts = [(What(peer, plane, UNSORTED), size)]
    yield from parts


def _parts(
    peer: bytes, plane: Plane, head: bytes, size: int, me: bytes
) -> Iterator[tuple[What, int]]:
    found = unpack(head)
    if isinstance(found, tuple):
        kind = str(found[0])
        yield What(peer, plane, kind, b"", found[1] if kind == "chunk" else b""), size
        return
    kind, left = str(found["kind"]), size
    for envelope in found.get("entries", ()) if kind == "entries" else ():
        body = unpack(envelope)[0]
        entry = unpack(body)
        author = entry["author"]
        digest = sha256(ENTRY_DOMAIN, body) if author == me else b""
        yield What(peer, plane, str(entry["body"]["kind"]), author, digest), len(envelope)
        left -= len(envelope)
    for beat in found.get("beats", ()) if kind == "entries" else ():
        yield What(peer, plane, "heartbeat"), len(beat)
        left -= len(beat)
    yield What(peer, plane, kind), left


@dataclass(slots=True)
class Tally:
    """Sums by what was sent; of bounded size, whatever is sent."""

    most: int = MAX_KEPT
    sums: dict[What, Sum] = field(default_factory=dict)

    def add(self, what: What, now_ms: int, items: int, size: int) -> None:
        """Count something."""
        if what not in self.sums and len(self.sums) >= self.most:
            what = What(what.peer, what.plane, UNSORTED)
        self.sums.setdefault(what, Sum(now_ms, now_ms)).add(now_ms, items, size)

    def merge(self, lines: Iterable[tuple[What, Sum]]) -> None:
        """Count what another tally counted."""
        for what, of in lines:
            self.add(what, of.first_ms, of.items, of.size)
            self.add(what, of.last_ms, 0, 0)

    @property
    def items(self) -> int:
        return sum(of.items for of in self.sums.values())

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(of.size for of in self.sums.values())
