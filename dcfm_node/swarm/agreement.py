"""What silos propose and accept to build on, and whether most of them agreed (SPEC 6.11).

Single-decree Paxos on journals. A vote for who proposes is a promise: its author accepts no
proposal of an earlier term any more. Since a journal is a chain, everyone sees what a voter had
accepted before its vote.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from dcfm_node.records.entries import PREPARATION, Accept, Preparation, Propose, Vote
from dcfm_node.swarm.said import Said

Voice = Said[Propose] | Said[Accept]
"""A leader's proposal, or another silo's word that it accepts it."""


@dataclass
class Agreement:
    """Proposals, and who accepted them. Each author's records must come in chain order.

    Args:
        quorum: the number of silos that makes a majority of the roster.
    """

    quorum: int
    voices: dict[int, dict[bytes, Voice]] = field(default_factory=dict)
    """Those that count, by term, then author."""
    prepared: Voice | None = None
    """One of those by which most silos agreed; of several terms, the first one."""
    promised: dict[bytes, int] = field(default_factory=dict)
    """By author, the highest term in which it voted for who proposes."""
    _of: dict[bytes, list[Voice]] = field(default_factory=dict)
    """By author, in chain order. Their terms rise."""

    def vote(self, author: bytes, body: Vote) -> None:
        """Add a vote."""
        if body.round == PREPARATION:
            self.promised[author] = max(body.term, self.promised.get(author, 0))

    def add(self, said: Voice) -> None:
        """Add a proposal or acceptance. It counts if its author had promised nothing else, and
        accepted nothing of this term or a later one."""
        term, said_before = said.body.term, self._of.setdefault(said.author, [])
        if not self.may_accept(said.author, term):
            return
        said_before.append(said)
        of_term = self.voices.setdefault(term, {})
        of_term[said.author] = said
        alike = sum(s.body.preparation == said.body.preparation for s in of_term.values())
        earlier = self.prepared is None or term < self.prepared.body.term
        if alike >= self.quorum and earlier:
            self.prepared = said

    def may_accept(self, author: bytes, term: int) -> bool:
        """Whether what an author says next of this term would count."""
        said = self._of.get(author)
        risen = not said or said[-1].body.term < term
        return risen and self.promised.get(author, 0) <= term

    def last(self, author: bytes, before: int) -> Voice | None:
        """What an author accepted last before its entry number `before`."""
        said = self._of.get(author, [])
        place = bisect_left(said, before, key=lambda voice: voice.seq)
        return said[place - 1] if place else None

    def proposal(self, term: int, leader: bytes) -> Preparation | None:
        """What the leader of a term proposed."""
        said = self.voices.get(term, {}).get(leader)
        return said.body.preparation if said and isinstance(said.body, Propose) else None
