"""Limits connections at a listener: unknown callers by address, members by key. Pure.

libzmq accepts every connection until the process has no descriptors left. This class says which
connections to close, so that honest peers have the room that they need, and no address or key takes
the room of others. libzmq 4.3.5 also aborts if a client chose the routing id, one of 2^32, that it
makes up next. A key therefore has few links at once, and makes few, so that this does not happen.
"""

from dcfm_node.net.peers import Crowd
from dcfm_node.swarm.rate_limiter import RateLimiter

LINKS_PER_S, LINKS_AT_ONCE = 1 / 3, 20.0
"""Handshakes of one key at a listener, per second and at once. Honest peers dial less often."""
UNKNOWN_S = 10.0
"""Seconds until an unknown connection is closed. A dialler sends a message as soon as its handshake
is complete (SPEC 4.1.2), which may take 2 s."""
MIN_ROOM = 16


class Door:
    """The connections of one listener, identified by their descriptors.

    Args:
        room: most unknown connections; at least `MIN_ROOM`.
    """

    def __init__(self, room: int) -> None:
        self._room = max(room, MIN_ROOM)
        self._waiting: dict[int, tuple[str, float]] = {}
        self._by_host: dict[str, dict[int, None]] = {}
        self._limiters: dict[str, RateLimiter] = {}
        self._hung_up = 0
        self._hung_up_at: float | None = None
        self._starved_at: float | None = None

    def accepted(self, descriptor: int, host: str, now: float) -> list[int]:
        """Note a new connection; returns the descriptors to close, so that others have room.

        If one address has more than half of the room, its longest-waiting connection is closed. If
        the room is full, that of the address with most is: honest handshakes take a moment.
        """
        self.gone(descriptor)
        self._waiting[descriptor] = (host, now)
        self._by_host.setdefault(host, {})[descriptor] = None
        if len(self._by_host[host]) > self._room // 2:
            return self._cut(host, now)
        if len(self._waiting) > self._room:
            return self._cut(max(self._by_host, key=lambda key: len(self._by_host[key])), now)
        return []

    def heard(self, descriptor: int) -> None:
        """The peer behind the connection is known."""
        self.gone(descriptor)

    def gone(self, descriptor: int) -> None:
        """The connection ended, or its descriptor has another one now."""
        host, _ = self._waiting.pop(descriptor, ("", 0.0))
        if descriptor in (there := self._by_host.get(host, {})):
            del there[descriptor]
            if not there:
                del self._by_host[host]

    def overdue(self, now: float) -> list[int]:
        """Connections to close, because their peer is still unknown after `UNKNOWN_S`."""
        late = [fd for fd, (_, since) in self._waiting.items() if now - since > UNKNOWN_S]
        for descriptor in late:
            self.gone(descriptor)
        return late

    def starved(self, now: float) -> list[int]:
        """No connection can be accepted; returns the older half of the unknown ones, to close."""
        found = list(self._waiting)[: (len(self._waiting) + 1) // 2]
        for descriptor in found:
            self.gone(descriptor)
        self._starved_at = now
        self._count(len(found), now)
        return found

    def admits(self, link_key: str, now: float) -> bool:
        """Whether the holder of an allowed key may make another handshake now."""
        limiter = self._limiters.setdefault(link_key, RateLimiter(LINKS_PER_S, LINKS_AT_ONCE, now))
        if not limiter.holds(1.0, now):
            return False
        limiter.tokens -= 1.0
        return True

    def crowd(self, now: float) -> Crowd:
        """The counts that the operator sees."""
        cut, starved = _ago(self._hung_up_at, now), _ago(self._starved_at, now)
        return Crowd(len(self._waiting), self._hung_up, cut, starved)

    def _cut(self, host: str, now: float) -> list[int]:
        first = next(iter(self._by_host[host]))
        self.gone(first)
        self._count(1, now)
        return [first]

    def _count(self, hung_up: int, now: float) -> None:
        self._hung_up += hung_up
        if hung_up:
            self._hung_up_at = now


def _ago(at: float | None, now: float) -> float | None:
    return None if at is None else round(now - at, 1)
