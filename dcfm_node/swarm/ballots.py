"""Votes and leases, by term: which terms count, and which leases a majority certified (SPEC 6.1.3,
7.1).

The cost of one record does not grow with the number of earlier records.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush

from dcfm_node.records.entries import Lease, Vote
from dcfm_node.swarm.faults import MAX_TERM_GAP, Fault
from dcfm_node.swarm.said import Said


@dataclass
class Ballots:
    """Votes and leases of one run.

    Args:
        silos: number of silos on the roster.
        quorum: the number that makes a majority of them.
    """

    silos: int
    quorum: int
    votes: dict[int, dict[bytes, Said[Vote]]] = field(default_factory=dict)
    """Term, then voter; a second vote in one term does not count."""
    last_term: int = 0
    """The highest term that counts (SPEC 7.1); 0 before the first."""
    certified: dict[bytes, Said[Lease]] = field(default_factory=dict)
    """Certified leases, by entry digest: a majority voted for their authors in their terms."""
    won: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """By round and candidate, the highest term in which a quorum voted for it."""
    _joined: dict[int, list[int]] = field(default_factory=dict)
    """By round, the terms with more than `silos - quorum` voters, so that one of them is honest;
    ascending."""
    _leases: dict[int, dict[bytes, Said[Lease]]] = field(default_factory=dict)
    """Term, then author: a second lease in one term does not count."""
    _leaders: dict[int, Said[Lease]] = field(default_factory=dict)
    _newest: dict[int | None, Said[Lease]] = field(default_factory=dict)
    """The certified lease of the highest term, by round; over all rounds under None."""
    _terms: dict[int, list[int]] = field(default_factory=dict)
    """By round, the terms in which anyone voted for it, ascending."""
    _beyond: dict[bytes, list[tuple[int, bytes]]] = field(default_factory=dict)
    """By author, its votes in terms that do not count: a heap of (term, entry digest)."""

    def vote(self, said: Said[Vote]) -> bool:
        """Add a vote. Returns True if it may change which silos voted too far ahead."""
        term, round_ = said.body.term, said.body.round
        cast = self.votes.setdefault(term, {})
        if said.author in cast:
            return False
        if all(vote.body.round != round_ for vote in cast.values()):
            insort(self._terms.setdefault(round_, []), term)
        cast[said.author] = said
        self._tally(term, round_, said.body.candidate)
        if term > self.last_term:
            heappush(self._beyond.setdefault(said.author, []), (term, said.digest))
            self._advance()
            return True
        self._certify(term)
        return False

    def lease(self, said: Said[Lease]) -> None:
        """Add a lease."""
        self._leases.setdefault(said.body.term, {}).setdefault(said.author, said)
        if said.body.term <= self.last_term:
            self._certify(said.body.term)

    def claimed(self, term: int, author: bytes) -> bool:
        """Whether a silo published a lease of a term, certified or not."""
        return author in self._leases.get(term, {})

    def leader(self, term: int) -> Said[Lease] | None:
        """The certified lease of a term, or None. Majorities intersect, so there is at most one."""
        return self._leaders.get(term)

    def last_leader(self, round_: int | None = None) -> Said[Lease] | None:
        """The certified lease of the highest term that has one; with `round_`, of that round."""
        return self._newest.get(round_)

    def contested(self, round_: int, above: int) -> int | None:
        """The lowest term above `above` in which anyone voted for a leader of this round, or
        None."""
        found = self._terms.get(round_, [])
        place = bisect_right(found, above)
        within = place < len(found) and found[place] <= self.last_term
        return found[place] if within else None

    def beyond(self) -> dict[bytes, Fault]:
        """By author, its lowest-term vote that does not count, as a fault."""
        return {
            author: Fault("term", heap[0][1], f"voted in term {heap[0][0]}, far above the last")
            for author, heap in self._beyond.items()
        }

    def joined(self, round_: int) -> int:
        """The highest term in which an honest silo must have voted for a round; 0 if there is
        none."""
        found = self._joined.get(round_, [])
        place = bisect_right(found, self.last_term)
        return found[place - 1] if place else 0

    def attempts(self, round_: int, below: int) -> int:
        """Number of terms below `below` in which an honest silo must have voted for a round."""
        return bisect_left(self._joined.get(round_, []), below)

    def tally(self, term: int, round_: int) -> Counter[bytes]:
        """Votes of a term for a round, counted by candidate."""
        cast = self.votes.get(term, {}).values()
        return Counter(vote.body.candidate for vote in cast if vote.body.round == round_)

    def _tally(self, term: int, round_: int, candidate: bytes) -> None:
        found = self.tally(term, round_)
        if found[candidate] >= self.quorum:
            key = (round_, candidate)
            self.won[key] = max(term, self.won.get(key, 0))
        if found.total() == self.silos - self.quorum + 1:
            insort(self._joined.setdefault(round_, []), term)

    def _advance(self) -> None:
        """Count every term that is near enough to the term before it, from the first term on."""
        while self._beyond:
            term = min(heap[0][0] for heap in self._beyond.values())
            if term > self.last_term + MAX_TERM_GAP:
                return
            self.last_term = term
            for author, heap in list(self._beyond.items()):
                while heap and heap[0][0] <= term:
                    heappop(heap)
                if not heap:
                    del self._beyond[author]
            self._certify(term)

    def _certify(self, term: int) -> None:
        if term in self._leaders:
            return
        for said in self._leases.get(term, {}).values():
            if self._wins(said):
                self._leaders[term] = self.certified[said.digest] = said
                for round_ in (None, said.body.round):
                    newest = self._newest.get(round_)
                    if newest is None or newest.body.term < term:
                        self._newest[round_] = said

    def _wins(self, said: Said[Lease]) -> bool:
        cited = set(said.body.votes)
        voters = sum(
            vote.digest in cited
            and vote.body.candidate == said.author
            and vote.body.round == said.body.round
            for vote in self.votes.get(said.body.term, {}).values()
        )
        return voters >= self.quorum
