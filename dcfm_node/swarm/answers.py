"""What peers that lack entries are sent, and how much of it (SPEC 4.3.2, 4.4, 4.7): bounded by what
one peer may ask, whatever is in the journals that this node passes on."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node.records.entries import Entry
from dcfm_node.records.messages import MAX_ENTRIES, MAX_ENTRIES_BYTES, Head
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.rate_limiter import RateLimiter
from dcfm_node.wire.envelope import Sealed

BYTES_PER_S, BYTES_AT_ONCE = 256.0 * 2**10, 8.0 * 2**20
"""Of entries that a peer gets by asking. Half of what it takes of us at least (SPEC 4.7): an honest
node does not flood, whoever fattened the journals that it passes on."""
ASKS_PER_S, ASKS_AT_ONCE = 5.0, 50.0
"""Messages of a peer that are answered. An honest one asks less than once a second."""


@dataclass
class Answers:
    """What each peer may still have of this node, and from where on it is sent."""

    journals: Journals
    _bytes: dict[bytes, RateLimiter] = field(default_factory=dict)
    _asks: dict[bytes, RateLimiter] = field(default_factory=dict)
    _greetings: dict[bytes, RateLimiter] = field(default_factory=dict)
    _resent: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    """By peer and author, from where to send on a chain whose end differs there."""

    def may_ask(self, peer: bytes, now: float) -> bool:
        """Whether a question of a peer is answered, at `now` in seconds; else it asks again."""
        return self._asks.setdefault(peer, RateLimiter(ASKS_PER_S, ASKS_AT_ONCE, now)).take(
            1.0, now
        )

    def may_greet(self, peer: bytes, now: float) -> bool:
        """Whether a peer whose link came up is told what is held: not as often as it may do so."""
        limiter = self._greetings.setdefault(peer, RateLimiter(ASKS_PER_S, ASKS_AT_ONCE, now))
        return limiter.take(1.0, now)

    def entries(self, peer: bytes, lacking: Iterable[Sealed], now: float) -> tuple[bytes, ...]:
        """Envelopes of it, as much as a message bears and as that peer may still be sent: it asks
        again for the rest."""
        limiter = self._bytes.setdefault(peer, RateLimiter(BYTES_PER_S, BYTES_AT_ONCE, now))
        if not limiter.holds(MAX_ENTRIES_BYTES, now):
            return ()
        rest = iter(lacking)
        if (first := next(rest, None)) is None:
            return ()
        found, _ = as_many_as_fit(first, rest)
        limiter.tokens -= sum(map(len, found))
        return found

    def lacking(self, peer: bytes, heads: Mapping[bytes, Head]) -> Iterator[Sealed]:
        """What a peer with these heads lacks. Where its tail differs from ours and one message does
        not bear the chain, the next goes on where that ended: it may hold all before."""
        for author, chain in self.journals.chains.items():
            head = heads.get(author)
            if head is None or not self.journals.conflicts(author, head):
                yield from self.journals.missing_from(author, head)
                continue
            yield from self.journals.proof_for(author, head)
            first = self._resent.get((peer, author), 0)
            for seq in range(first if first < len(chain) else 0, len(chain)):
                self._resent[peer, author] = seq
                yield chain[seq]
            self._resent[peer, author] = 0

    def in_place_of(self, stale: Sequence[Entry]) -> Iterator[Sealed]:
        """Of each author the entry of ours that took the place of a tail that it lost; what follows
        is asked for once that is known. Heads do not always tell: a longer tail of one epoch may
        follow an entry that gave way here."""
        epochs: dict[bytes, int] = {}
        for entry in stale:
            epochs[entry.author] = min(entry.epoch, epochs.get(entry.author, entry.epoch))
        for author, epoch in epochs.items():
            chain = self.journals.chains[author]
            place = bisect_right(chain, epoch, key=lambda said: said.entry.epoch)
            yield from chain[place : place + 1]


def as_many_as_fit(
    first: Sealed, rest: Iterator[Sealed]
) -> tuple[tuple[bytes, ...], Sealed | None]:
    """Envelopes of some entries, from the first on, that one message bears (SPEC 4.4).

    Returns:
        The envelopes, one at least, and the next entry, if there is one.
    """
    fitting, room = [first.envelope], MAX_ENTRIES_BYTES - len(first.envelope)
    for sealed in rest:
        room -= len(sealed.envelope) + 5
        if room < 0 or len(fitting) == MAX_ENTRIES:
            return tuple(fitting), sealed
        fitting.append(sealed.envelope)
    return tuple(fitting), None
