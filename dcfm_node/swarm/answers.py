"""Which entries are sent to peers that lack them, and how many (SPEC 4.3.2, 4.4, 4.7). Limits for
each peer bound them, whatever the journals hold."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node.records.entries import Entry
from dcfm_node.records.messages import MAX_ENTRIES, MAX_ENTRIES_BYTES, Head
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.rate_limiter import RateLimiter
from dcfm_node.wire.envelope import Sealed

BYTES_PER_S, BYTES_AT_ONCE = 256.0 * 2**10, 8.0 * 2**20
"""Bytes of entries for one peer that asks: rate and burst. At most half of what a peer accepts from
this node (SPEC 4.7), so an honest node never floods, even if another member made the journals
large."""
ASKS_PER_S, ASKS_AT_ONCE = 5.0, 50.0
"""Messages of one peer that are answered: rate and burst. An honest peer asks less than once a
second."""


@dataclass
class Answers:
    """How much each peer may still receive from this node, and where to continue."""

    journals: Journals
    _bytes: dict[bytes, RateLimiter] = field(default_factory=dict)
    _asks: dict[bytes, RateLimiter] = field(default_factory=dict)
    _greetings: dict[bytes, RateLimiter] = field(default_factory=dict)
    _resent: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    """By (peer, author), the number from which to continue sending a chain whose end differs
    there."""

    def may_ask(self, peer: bytes, now: float) -> bool:
        """Whether to answer a peer's question at `now`, in seconds; if not, the peer asks again."""
        return self._asks.setdefault(peer, RateLimiter(ASKS_PER_S, ASKS_AT_ONCE, now)).take(
            1.0, now
        )

    def may_greet(self, peer: bytes, now: float) -> bool:
        """Whether to send a `sync` to a peer whose link came up. The rate is limited, however often
        links come up."""
        limiter = self._greetings.setdefault(peer, RateLimiter(ASKS_PER_S, ASKS_AT_ONCE, now))
        return limiter.take(1.0, now)

    def entries(self, peer: bytes, lacking: Iterable[Sealed], now: float) -> tuple[bytes, ...]:
        """Envelopes of the lacking entries, as many as fit in a message and in the peer's limit.
        The peer asks again for the rest."""
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
        """Entries that a peer with these heads lacks. If the peer's tail differs and the chain does
        not fit in one message, the next call continues where this one ended, because the peer may
        hold all entries before that."""
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
        """For each author of stale entries, the entry of ours that replaced their tail. The peer
        asks for the following ones once it knows that entry. Heads alone do not show this: a longer
        tail of one epoch may follow an entry that was replaced here."""
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
    """Envelopes of entries, from `first` on, that fit in one message (SPEC 4.4).

    Returns:
        The envelopes, at least one, and the next entry; None if there is none.
    """
    fitting, room = [first.envelope], MAX_ENTRIES_BYTES - len(first.envelope)
    for sealed in rest:
        room -= len(sealed.envelope) + 5
        if room < 0 or len(fitting) == MAX_ENTRIES:
            return tuple(fitting), sealed
        fitting.append(sealed.envelope)
    return tuple(fitting), None
