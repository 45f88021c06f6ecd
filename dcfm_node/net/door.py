"""How many may stand at a listener: strangers until it is known who they are, members by key. Pure.

libzmq accepts all who come, until the process has no descriptors left. So those who are too many
are hung up on: with room for all that honest peers need, and so that one address or key never takes
what others need. It also aborts when a client's own routing id is one that it is about to make up,
of 2^32 (libzmq 4.3.5): so few are held at once, and so few made, that none is ever met.
"""

from dcfm_node.net.peers import Crowd
from dcfm_node.swarm.rate_limiter import RateLimiter

LINKS_PER_S, LINKS_AT_ONCE = 1 / 3, 20.0
"""Handshakes that one key may make at a listener. An honest peer's dials are further apart."""
UNKNOWN_S = 10.0
"""A dialler says something as soon as its handshake stands (SPEC 4.1.2), which has 2 s."""
MIN_ROOM = 16


class Door:
    """Who came in by one listener. Descriptors are what connections are told apart by.

    Args:
        room: connections of which it is not known who they are, at most.
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
        """Somebody came; returns whom to hang up on, so that there is room for all others.

        Where one address has more than half of the room, or the room is full, who waited longest of
        the address with most goes: an honest handshake takes a moment.
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
        """It is known who that is."""
        self.gone(descriptor)

    def gone(self, descriptor: int) -> None:
        """It has left, or is another now."""
        host, _ = self._waiting.pop(descriptor, ("", 0.0))
        if descriptor in (there := self._by_host.get(host, {})):
            del there[descriptor]
            if not there:
                del self._by_host[host]

    def overdue(self, now: float) -> list[int]:
        """Who had a handshake, perhaps, and says nothing: to be hung up on."""
        late = [fd for fd, (_, since) in self._waiting.items() if now - since > UNKNOWN_S]
        for descriptor in late:
            self.gone(descriptor)
        return late

    def starved(self, now: float) -> list[int]:
        """No more can be accepted: half of those who wait, the longest there, go."""
        found = list(self._waiting)[: (len(self._waiting) + 1) // 2]
        for descriptor in found:
            self.gone(descriptor)
        self._starved_at = now
        self._count(len(found), now)
        return found

    def admits(self, link_key: str, now: float) -> bool:
        """Whether the holder of an approved key may make another handshake now."""
        limiter = self._limiters.setdefault(link_key, RateLimiter(LINKS_PER_S, LINKS_AT_ONCE, now))
        if not limiter.holds(1.0, now):
            return False
        limiter.tokens -= 1.0
        return True

    def crowd(self, now: float) -> Crowd:
        """What the operator should know."""
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
