"""The snapshots that this node holds, requests, refuses or gave up (SPEC 5.2)."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.effects import Drop, Effect, Fetch, Unfetch

NO_SIZES: Mapping[bytes, Iterable[int]] = MappingProxyType({})


@dataclass
class Holdings:
    """The snapshots of one node.

    Args:
        held: digests on disk that passed every check.
        stall_s: seconds without a byte of any snapshot after which a requested one is lost.
        duty_s: seconds after which a requested snapshot is lost, whatever arrives.
    """

    held: set[bytes]
    stall_s: float
    duty_s: float
    fetching: dict[bytes, Snapshot] = field(default_factory=dict)
    _asked: dict[bytes, float] = field(default_factory=dict)
    _sizes: dict[bytes, dict[int, None]] = field(default_factory=dict)
    """By digest, the sizes with which each was requested."""
    _unfit: set[bytes] = field(default_factory=set)
    _moved_at: float = 0.0

    def moved(self, now: float) -> None:
        """Record that bytes of some snapshot arrived."""
        self._moved_at = now

    def arrived(self, digest: bytes, now: float) -> None:
        """Record that a snapshot is on disk and passed every check."""
        self._forget(digest)
        self.held.add(digest)
        self.moved(now)

    def gone(self, digest: bytes) -> None:
        """Record that a snapshot is no longer on disk. It is requested again if wanted."""
        self._forget(digest)
        self.held.discard(digest)

    def refuse(self, digest: bytes) -> None:
        """Record that a snapshot failed a check. It is not requested again."""
        self._forget(digest)
        self._unfit.add(digest)

    def lost(self, digest: bytes, now: float) -> bool:
        """Whether a snapshot is unfit, or was requested and no byte of any came for too long."""
        asked = self._asked.get(digest)
        stalled = asked is not None and (
            now > max(asked, self._moved_at) + self.stall_s or now > asked + self.duty_s
        )
        return stalled or digest in self._unfit

    def still_s(self, now: float) -> float | None:
        """For how many seconds no byte of a requested snapshot has come; None without a request."""
        if not self._asked:
            return None
        return now - max(self._moved_at, min(self._asked.values()))

    def undelivered(self, waited_s: float, now: float) -> bool:
        """Whether others have waited too long for what a silo published, under any digest: the silo
        may name another one each time."""
        idle = now - self._moved_at > self.stall_s
        return (waited_s > self.stall_s and idle) or waited_s > self.duty_s

    def seek(
        self,
        wants: Mapping[bytes, Snapshot],
        now: float,
        sizes: Mapping[bytes, Iterable[int]] = NO_SIZES,
    ) -> list[Effect]:
        """Request what is wanted and not held, and stop requesting anything else.

        Args:
            sizes: by digest, other sizes that records state; each is requested.
        """
        effects: list[Effect] = []
        for digest in [digest for digest in self.fetching if digest not in wants]:
            self._forget(digest)
            effects.append(Unfetch(digest))
        for digest in sorted(wants.keys() - self.held - self._unfit):
            if digest not in self.fetching:
                self.fetching[digest], self._asked[digest] = wants[digest], now
                self._sizes[digest] = {}
            asked, named = self._sizes[digest], (wants[digest].size, *sizes.get(digest, ()))
            for size in dict.fromkeys(size for size in named if size not in asked):
                asked[size] = None
                effects.append(Fetch(Snapshot(digest=digest, size=size)))
        return effects

    def drop(self, spent: Set[bytes]) -> list[Effect]:
        """Drop held snapshots that no node needs any more."""
        found = sorted(self.held & spent)
        self.held.difference_update(found)
        return [Drop(digest) for digest in found]

    def _forget(self, digest: bytes) -> None:
        self.fetching.pop(digest, None)
        self._asked.pop(digest, None)
        self._sizes.pop(digest, None)
