"""One download: which chunks are here, which peers can give the others, and which are rare."""

from dataclasses import dataclass, field

from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import chunk_count, chunk_hash, chunk_length, snapshot_digest

RANKS = 8
"""Chunks that more peers than this have are all equally common."""

Buffer = bytes | memoryview


@dataclass(slots=True)
class Download:
    """The state of one download. A set of chunks is an integer: chunk i is bit i."""

    snapshot: Snapshot
    others: dict[int, None] = field(default_factory=dict)
    """Sizes that other records state for it, until a hash list shows the true one."""
    hashes: bytes = b""
    resumed: bool = False
    """Whether the chunks on disk are known."""
    wanted: int = 0
    """Chunks that are neither stored nor requested."""
    stored: int = 0
    left: int = 0
    done_bytes: int = 0
    holders: dict[bytes, int] = field(default_factory=dict)
    """By peer, the chunks that it can give."""
    banned: dict[bytes, None] = field(default_factory=dict)
    asks: dict[bytes, tuple[float, float]] = field(default_factory=dict)
    """By peer asked before: (time of the next question, pause after that), in seconds."""
    askers: dict[bytes, int] = field(default_factory=dict)
    """By peer that asks this node for the snapshot: the chunks last offered to it."""
    _common: list[int] | None = None

    def accepts(self, hashes: bytes) -> bool:
        """Whether this is the hash list of the signed digest. If so, its size is kept."""
        for size in (self.snapshot.size, *self.others):
            fits = len(hashes) == 32 * chunk_count(size)
            if fits and snapshot_digest(size, hashes) == self.snapshot.digest:
                self.snapshot = Snapshot(digest=self.snapshot.digest, size=size)
                self.others = {}
                return True
        return False

    def hold(self, peer: bytes, have: int) -> None:
        """Record that a peer can give these chunks and no others."""
        self.holders[peer] = have
        self._common = None

    def drop(self, peer: bytes) -> None:
        """Record that a peer gives nothing."""
        if self.holders.pop(peer, None) is not None:
            self._common = None

    def rarest(self, peer: bytes) -> int:
        """The wanted chunks that this peer and the fewest others can give."""
        found = self.wanted & self.holders.get(peer, 0)
        return next((found & ~c for c in self._held_by() if found & ~c), found)

    def _held_by(self) -> list[int]:
        """Chunks that at least 2, 3, ... peers can give."""
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
        """Whether the data match the signed hash of chunk `index`."""
        size = self.snapshot.size
        return (
            0 <= index < chunk_count(size)
            and len(data) == chunk_length(size, index)
            and chunk_hash(data) == self.hashes[32 * index : 32 * index + 32]
        )


def bits_of(have: bytes, count: int) -> int | None:
    """The set of chunks in a message, out of `count`; None if it names others."""
    if not have:
        return (1 << count) - 1
    bits = int.from_bytes(have, "little")
    return bits if len(have) == -(-count // 8) and bits < 1 << count else None


def bytes_of(chunks: int, count: int) -> bytes:
    """The bytes of a set of chunks, out of `count`: chunk i is bit i % 8 of byte i // 8."""
    return chunks.to_bytes(-(-count // 8), "little")
