"""Which entries others built on, so that their authors cannot take them back (SPEC 3.4).

One member's word is not enough, or it could frame a silo whose disk was lost: what counts is what a
majority stands behind, a certified lease and the student under it, or more endorsers than may lie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node.records.entries import Endorse, Lease, Refuse, Student, Vote
from dcfm_node.wire.envelope import Sealed


@dataclass
class Building:
    """Args:
    known: entries that are held, by digest.
    silos: how many the roster has.
    quorum: a majority of them.
    """

    known: Mapping[bytes, Sealed]
    silos: int
    quorum: int
    _by: dict[bytes, dict[bytes, dict[bytes, Sealed]]] = field(default_factory=dict)
    """By entry, what builds on it, by author and digest."""

    def add(self, sealed: Sealed) -> None:
        """An entry is held."""
        author = sealed.entry.author
        for digest in _needed(sealed):
            self._by.setdefault(digest, {}).setdefault(author, {})[sealed.digest] = sealed

    def remove(self, sealed: Sealed) -> None:
        """It is held no more."""
        author = sealed.entry.author
        for digest in _needed(sealed):
            found = self._by[digest]
            del found[author][sealed.digest]
            if not found[author]:
                del found[author]
            if not found:
                del self._by[digest]

    def rests_on(self, first: Sealed) -> bool:
        """Whether what a majority stands behind needs this entry, held or not."""
        # Of its own author's there may be any number, which would cost all others.
        others = [
            said
            for author, by in self._by.get(first.digest, {}).items()
            if author != first.entry.author
            for said in by.values()
        ]
        judges = {s.entry.author for s in others if isinstance(s.entry.body, Endorse | Refuse)}
        return len(judges) > self.silos - self.quorum or any(
            self._elected(said, first) for said in others
        )

    def _elected(self, said: Sealed, first: Sealed) -> bool:
        """Whether a lease is certified, or a student's is, as far as is known with that entry."""
        match said.entry.body:
            case Student(lease=lease):
                claimed = self.known.get(lease)
                same = claimed is not None and claimed.entry.author == said.entry.author
                return claimed is not None and same and self._elected(claimed, first)
            case Lease() as lease:
                votes = [first if d == first.digest else self.known.get(d) for d in lease.votes]
                voters = {
                    vote.entry.author
                    for vote in votes
                    if vote is not None
                    and isinstance(body := vote.entry.body, Vote)
                    and (body.term, body.round) == (lease.term, lease.round)
                    and body.candidate == said.entry.author
                }
                return len(voters) >= self.quorum
        return False


def _needed(sealed: Sealed) -> Sequence[bytes]:
    """Entries without which a record does not count, or is about nothing."""
    match sealed.entry.body:
        case Lease(votes=votes):
            return votes
        case Student(teachers=teachers):
            return teachers
        case Endorse(student=student) | Refuse(student=student):
            return (student,)
    return ()
