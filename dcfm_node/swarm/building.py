"""Which entries others built on, so that their authors cannot take them back (SPEC 3.4).

One member's word is not enough: it could frame a silo whose disk was lost. Only what a majority
supports counts: a certified lease, and the student or proposal under it, or more judges than may
lie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node.records.entries import (
    PREPARATION,
    Accept,
    Body,
    Endorse,
    Lease,
    Propose,
    Refuse,
    Student,
    Vote,
)
from dcfm_node.wire.envelope import Sealed

MAX_BUILDERS = 16
"""Most records of one author that build on one entry. No honest author has so many; each costs a
check."""


@dataclass
class Building:
    """Which entries build on which.

    Args:
        known: entries that are held, by digest.
        silos: number of silos on the roster.
        quorum: the number that makes a majority of them.
    """

    known: Mapping[bytes, Sealed]
    silos: int
    quorum: int
    _by: dict[bytes, dict[bytes, dict[bytes, Sealed]]] = field(default_factory=dict)
    """By entry digest, then author: the first entries that build on it, by digest."""
    _preparing: dict[tuple[bytes, int], dict[bytes, Sealed]] = field(default_factory=dict)
    """By author and term: the first leases for who prepares the run, by digest."""

    def add(self, sealed: Sealed) -> None:
        """Add an entry that is now held."""
        author, body = sealed.entry.author, sealed.entry.body
        told = [self._by.setdefault(digest, {}).setdefault(author, {}) for digest in _needed(body)]
        if isinstance(body, Lease) and body.round == PREPARATION:
            told.append(self._preparing.setdefault((author, body.term), {}))
        for said in told:
            if len(said) < MAX_BUILDERS:
                said[sealed.digest] = sealed

    def remove(self, sealed: Sealed) -> None:
        """Remove an entry that is no longer held."""
        author, body = sealed.entry.author, sealed.entry.body
        for digest in _needed(body):
            by = self._by.get(digest, {})
            said = by.get(author, {})
            said.pop(sealed.digest, None)
            if not said:
                by.pop(author, None)
            if not by:
                self._by.pop(digest, None)
        if isinstance(body, Lease):
            claims = self._preparing.get((author, body.term), {})
            claims.pop(sealed.digest, None)
            if not claims:
                self._preparing.pop((author, body.term), None)

    def rests_on(self, first: Sealed, seq: int) -> bool:
        """Whether something that a majority supports needs this entry, held or not.

        Args:
            seq: of its author's other entries, only those below this number count. Whoever holds
                another history from there on must see the same.
        """
        by = self._by.get(first.digest, {})
        others = [s for author in by if author != first.entry.author for s in by[author].values()]
        judge = Endorse | Refuse | Propose | Accept
        judges = {s.entry.author for s in others if isinstance(s.entry.body, judge)}
        return len(judges) > self.silos - self.quorum or any(
            self._elected(said, first, seq) for said in others
        )

    def _elected(self, said: Sealed, first: Sealed, seq: int) -> bool:
        """Whether a lease, or that of a student or proposal, is certified as far as known, with
        `first` counted as held."""
        match said.entry.body:
            case Student(lease=lease):
                claimed = self.known.get(lease)
                same = claimed is not None and claimed.entry.author == said.entry.author
                return claimed is not None and same and self._elected(claimed, first, seq)
            case Propose(term=term):
                claims = self._preparing.get((said.entry.author, term), {}).values()
                return any(self._elected(claimed, first, seq) for claimed in claims)
            case Lease() as lease:
                author = first.entry.author
                votes = [first if d == first.digest else self.known.get(d) for d in lease.votes]
                voters = {
                    vote.entry.author
                    for vote in votes
                    if vote is not None
                    and (vote is first or vote.entry.author != author or vote.entry.seq < seq)
                    and isinstance(body := vote.entry.body, Vote)
                    and (body.term, body.round) == (lease.term, lease.round)
                    and body.candidate == said.entry.author
                }
                return len(voters) >= self.quorum
        return False


def _needed(body: Body) -> Sequence[bytes]:
    """Digests of the entries without which a record does not count."""
    match body:
        case Lease(votes=votes):
            return votes
        case Student(teachers=teachers):
            return teachers
        case Endorse(student=student) | Refuse(student=student):
            return (student,)
        case Propose(preparation=made) | Accept(preparation=made):
            return made.joins
    return ()
