"""Which requested chunk is sent next, and when: peers take turns, within the operator's rate."""

from collections import deque
from math import inf

from dcfm_node.swarm.chunks import CHUNK_BYTES
from dcfm_node.swarm.transfer import WINDOW


class Uploads:
    """A queue of requested chunks behind a token bucket. A chunk may go while the balance is not
    negative.

    Args:
        rate: bytes per second; `inf` for no limit (default).
    """

    def __init__(self, rate: float = inf) -> None:
        self._rate = rate
        self._balance, self._at = 0.0, 0.0
        self._queues: dict[bytes, deque[tuple[bytes, int]]] = {}
        """(digest, index) of requested chunks by peer; the first peer is served next."""

    def set_rate(self, rate: float) -> None:
        """Use another rate from now on, in bytes per second."""
        self._rate, self._balance = rate, 0.0

    def want(self, peer: bytes, digest: bytes, index: int) -> None:
        """Queue a peer's request for a chunk. Requests beyond its window are dropped (SPEC
        5.3.2)."""
        queue = self._queues.setdefault(peer, deque())
        if len(queue) < WINDOW and (digest, index) not in queue:
            queue.append((digest, index))

    def forget(self, peer: bytes) -> None:
        """Drop a peer's requests: its last link is gone."""
        self._queues.pop(peer, None)

    def next_at(self, now: float) -> float:
        """When `take` will return a chunk: `now`, later, or never (`inf`)."""
        if not self._queues:
            return inf
        self._refill(now)
        return now if self._balance >= 0 else now - self._balance / self._rate

    def take(self, now: float) -> tuple[bytes, bytes, int] | None:
        """(peer, digest, index) of a chunk to send now, or None."""
        if self.next_at(now) > now:
            return None
        peer = next(iter(self._queues))
        queue = self._queues.pop(peer)
        digest, index = queue.popleft()
        if queue:
            self._queues[peer] = queue  # behind the others
        if self._rate < inf:
            self._balance -= CHUNK_BYTES
        return peer, digest, index

    def _refill(self, now: float) -> None:
        if self._rate < inf:
            self._balance = min(0.0, self._balance + (now - self._at) * self._rate)
        self._at = now
