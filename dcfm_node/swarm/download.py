"""One download: which chunks are here, who can give the others, and which of them are rare."""

from dataclasses import dataclass, field

from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import chunk_count, chunk_hash, chunk_length, snapshot_digest

RANKS = 8
"""Chunks that more peers have are all as common."""

Buffer = bytes | memoryview


@dataclass(slots=True)
class Download:
    """What is known of one download. Sets of chunks are integers: chunk i is bit i."""

    snapshot: Snapshot
    others: dict[int, None] = field(default_factory=dict)
    """Sizes that other records name it with, until a hash list tells which is true."""
    hashes: bytes = b""
    resumed: bool = False
    """It is known what is on disk."""
    wanted: int = 0
    """Neither stored nor asked of anyone."""
    stored: int = 0
    left: int = 0
    done_bytes: int = 0
    holders: dict[bytes, int] = field(default_factory=dict)
    """What each peer can give."""
    banned: dict[bytes, None] = field(default_factory=dict)
    asks: dict[bytes, tuple[float, float]] = field(default_factory=dict)
    """(when to ask, pause after that) of every peer asked before."""
    askers: dict[bytes, int] = field(default_factory=dict)
    """Who asks us for it, and what they were told that we can give."""
    _common: list[int] | None = None

    def accepts(self, hashes: bytes) -> bool:
        """Whether this is the list of the signed digest; then its size is the one that is kept."""
        for size in (self.snapshot.size, *self.others):
            fits = len(hashes) == 32 * chunk_count(size)
            if fits and snapshot_digest(size, hashes) == self.snapshot.digest:
                self.snapshot = Snapshot(digest=self.snapshot.digest, size=size)
                self.others = {}
                return True
        return False

    def hold(self, peer: bytes, have: int) -> None:
        """A peer can give these, and no others."""
        self.holders[peer] = have
        self._common = None

    def drop(self, peer: bytes) -> None:
        """A peer gives nothing."""
        if self.holders.pop(peer, None) is not None:
            self._common = None

    def rarest(self, peer: bytes) -> int:
        """Of what is wanted and this peer can give, what fewest can."""
        found = self.wanted & self.holders.get(peer, 0)
        return next((found & ~c for c in self._held_by() if found & ~c), found)

    def _held_by(self) -> list[int]:
        """What at least 2, 3, ... peers can give."""
        if self._common is None:
            held: list[int] = [0]
            for have in self.holders.values():
                if len(held) < RANKS:
                    held.append(0)
                for times in range(len(held) - 1, 0, -1):
                    held[times] |= held[times - 1] & have
                held[0] |= have
            self._common = held[1:]
        return self._common

    def fits(self, index: int, data: Buffer) -> bool:
        """Whether this is chunk `index` as its author signed it."""
        size = self.snapshot.size
        return (
            0 <= index < chunk_count(size)
            and len(data) == chunk_length(size, index)
            and chunk_hash(data) == self.hashes[32 * index : 32 * index + 32]
        )


def bits_of(have: bytes, count: int) -> int | None:
    """The set of chunks that a message names, of `count`; None where it names others."""
    if not have:
        return (1 << count) - 1
    bits = int.from_bytes(have, "little")
    return bits if len(have) == -(-count // 8) and bits < 1 << count else None


def bytes_of(chunks: int, count: int) -> bytes:
    """How a message names a set of chunks, of `count`: bit i of byte i // 8 is chunk i."""
    return chunks.to_bytes(-(-count // 8), "little")
