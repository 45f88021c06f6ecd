"""Snapshots this node holds, asks for, has refused, or gave up hope of (SPEC 5.2)."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.effects import Drop, Effect, Fetch, Unfetch

NO_SIZES: Mapping[bytes, Iterable[int]] = MappingProxyType({})


@dataclass
class Holdings:
    """Args:
    held: digests on disk that passed every check.
    stall_s: a snapshot is lost after this long without a byte of any.
    duty_s: a snapshot is lost after this long, whatever comes: a byte now and then is no delivery.
    """

    held: set[bytes]
    stall_s: float
    duty_s: float
    fetching: dict[bytes, Snapshot] = field(default_factory=dict)
    _asked: dict[bytes, float] = field(default_factory=dict)
    _sizes: dict[bytes, dict[int, None]] = field(default_factory=dict)
    """With which sizes each was asked for."""
    _unfit: set[bytes] = field(default_factory=set)
    _moved_at: float = 0.0

    def moved(self, now: float) -> None:
        """Bytes of some snapshot arrived."""
        self._moved_at = now

    def arrived(self, digest: bytes, now: float) -> None:
        """A snapshot is on disk and passed every check."""
        self._forget(digest)
        self.held.add(digest)
        self.moved(now)

    def gone(self, digest: bytes) -> None:
        """A snapshot is not on disk any more: it is asked for anew where it is wanted."""
        self._forget(digest)
        self.held.discard(digest)

    def refuse(self, digest: bytes) -> None:
        """A snapshot failed a check; it is not asked for again."""
        self._forget(digest)
        self._unfit.add(digest)

    def lost(self, digest: bytes, now: float) -> bool:
        """Whether a snapshot is of no use, or was asked for and no byte of any came for long."""
        asked = self._asked.get(digest)
        stalled = asked is not None and (
            now > max(asked, self._moved_at) + self.stall_s or now > asked + self.duty_s
        )
        return stalled or digest in self._unfit

    def undelivered(self, waited_s: float, now: float) -> bool:
        """Whether a silo has let others wait so long for what it published, under whatever digests,
        that it is lost as well: it may name another each time."""
        idle = now - self._moved_at > self.stall_s
        return (waited_s > self.stall_s and idle) or waited_s > self.duty_s

    def seek(
        self,
        wants: Mapping[bytes, Snapshot],
        now: float,
        sizes: Mapping[bytes, Iterable[int]] = NO_SIZES,
    ) -> list[Effect]:
        """Ask for what is wanted and not held, and for nothing else any more.

        Args:
            sizes: by digest, others that records name it with: it is asked for with each.
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
        """Give up what is held and of no more use to anyone."""
        found = sorted(self.held & spent)
        self.held.difference_update(found)
        return [Drop(digest) for digest in found]

    def _forget(self, digest: bytes) -> None:
        self.fetching.pop(digest, None)
        self._asked.pop(digest, None)
        self._sizes.pop(digest, None)
