"""Journals: every author's hash-chained entries, as one node holds them (SPEC 3).

Trust rules, in order, for an entry that `wire.open_entry` has verified:

1. It belongs to this run, its author is on the roster, and its record fits the run.
2. No entry at or beyond a proven fork of its author is accepted.
3. It extends the chain: its `prev` is the digest of the entry before it, its epoch is not lower.
4. An entry of a higher epoch replaces a tail of a lower one: its author lost that tail.
5. Two entries of one author, epoch and number prove a fork. So do an entry that others built on and
   one of a higher epoch in its place or before it. The chain ends before them, for everyone,
   whether or not they would extend it. Of several forks, the lowest number counts.
6. An author's chain has a limit in bytes and ends there.

The entries held in the end do not depend on the order in which they came.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import Head
from dcfm_node.swarm import admission
from dcfm_node.swarm.admission import journal_budget
from dcfm_node.swarm.building import Building
from dcfm_node.wire.envelope import Sealed, run_id

MAX_SEQ = 100_000
"""The highest number of an entry (SPEC 3.1)."""

Proofs = Iterable[tuple[Sealed, Sealed]]
"""Pairs of entries that prove forks."""


class Offered(Enum):
    """The outcome of offering an entry to the journals."""

    NEW = "new"
    KNOWN = "known"
    REPLACED = "replaced"
    """Accepted, in place of a tail that its author lost."""
    STALE = "stale"
    """Part of a tail that a higher epoch replaced. Its sender should receive the newer entry."""
    GAP = "gap"
    """Cannot be chained yet: entries before it are missing here."""
    FORK = "fork"
    """Proves that its author signed two histories."""
    FOREIGN = "foreign"
    """It belongs to another run, or its author is not on the roster."""
    UNFIT = "unfit"
    """Its record does not fit the run."""
    FULL = "full"
    """Its author's chain has reached its limit in bytes."""
    LATER = "later"
    """It would replace a tail of its author, as another entry did just now. Offer it again
    later."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Two entries of one author that cannot both be in an honest history. Anyone can check this
    proof.

    Attributes:
        seq: the lower number of the two.
    """

    seq: int
    first: Sealed
    second: Sealed

    @property
    def takes_back(self) -> bool:
        """Whether the second replaces the first, on which others built."""
        return self.first.entry.epoch != self.second.entry.epoch


class Journals:
    """All journals of one run, in memory."""

    def __init__(self, manifest: Manifest) -> None:
        self.run = run_id(manifest)
        self.budget = journal_budget(manifest)
        self._fits = admission.Run(manifest)
        self.chains: dict[bytes, list[Sealed]] = {silo.key: [] for silo in manifest.roster}
        self.forks: dict[bytes, Fork] = {}
        self.known: dict[bytes, Sealed] = {}
        """The entries held, by digest."""
        self._building = Building(self.known, len(manifest.roster), manifest.quorum)
        self._used: dict[bytes, list[int]] = {author: [] for author in self.chains}
        """By author, the bytes of the chain up to each entry."""
        self._heads: dict[bytes, Head] = {author: self._head(author) for author in self.chains}
        self._stray: dict[bytes, Sealed] = {}
        """By author, the last entry that did not fit. With the next one, it may prove a fork."""
        self._replaced: set[bytes] = set()
        """Authors whose tails were replaced or cut since the last `breathe`."""

    def foreign(self, sealed: Sealed) -> bool:
        """Whether an entry belongs to another run, or its author is not on the roster."""
        return sealed.entry.author not in self.chains or sealed.entry.run != self.run

    def flaw(self, sealed: Sealed) -> str:
        """Why a member's entry does not fit the run; empty if it fits (SPEC 3.7)."""
        return admission.flaw(sealed.entry, self._fits)

    def breathe(self) -> None:
        """Let every author's tail be replaced once more. Each replacement rebuilds the view."""
        self._replaced.clear()

    def room(self, author: bytes) -> int:
        """Bytes of envelopes that an author may still add; 0 if no number is left."""
        used = self._used[author]
        return self.budget - used[-1] if 0 < len(used) <= MAX_SEQ else self.budget * (not used)

    def offer(self, sealed: Sealed) -> Offered:
        """Apply the trust rules to one verified entry."""
        if self.foreign(sealed):
            return Offered.FOREIGN
        if self.flaw(sealed):
            return Offered.UNFIT
        author, seq = sealed.entry.author, sealed.entry.seq
        fork = self.forks.get(author)
        if fork is not None and seq >= fork.seq:
            return Offered.KNOWN
        outcome = self._place(sealed, self.chains[author])
        if outcome in (Offered.GAP, Offered.STALE):
            stray, self._stray[author] = self._stray.get(author), sealed
            if stray is not None and self._conflict(stray, sealed):
                return self._fork(stray, sealed)
        elif outcome in (Offered.NEW, Offered.REPLACED):
            self._heads[author] = self._head(author)
        return outcome

    def _place(self, sealed: Sealed, chain: list[Sealed]) -> Offered:
        entry = sealed.entry
        held = chain[entry.seq] if entry.seq < len(chain) else None
        if held is not None and held.digest == sealed.digest:
            return Offered.KNOWN
        if held is not None and entry.epoch == held.entry.epoch:
            return self._fork(held, sealed)
        later = bisect_right(chain, entry.epoch, key=lambda said: said.entry.epoch)
        if later < len(chain) and self._conflict(chain[later], sealed):
            return self._fork(chain[later], sealed)
        if held is not None and entry.epoch < held.entry.epoch:
            return Offered.STALE
        if not self._extends(chain, sealed):
            return Offered.GAP
        used = self._used[entry.author]
        size = len(sealed.envelope) + (used[entry.seq - 1] if entry.seq else 0)
        if size > self.budget:
            return Offered.FULL
        if held is not None and entry.author in self._replaced:
            return Offered.LATER
        for said in chain[entry.seq :]:
            if self._conflict(said, sealed):
                return self._fork(said, sealed)
        self._cut(entry.author, entry.seq)
        chain.append(sealed)
        used.append(size)
        self.known[sealed.digest] = sealed
        self._building.add(sealed)
        if held is None:
            return Offered.NEW
        self._replaced.add(entry.author)
        return Offered.REPLACED

    def _cut(self, author: bytes, seq: int) -> None:
        for sealed in self.chains[author][seq:]:
            del self.known[sealed.digest]
            self._building.remove(sealed)
        del self.chains[author][seq:]
        del self._used[author][seq:]

    def _fork(self, one: Sealed, other: Sealed) -> Offered:
        """Mark a proven fork: an author's first one at once, lower ones later, because each
        rebuilds the view."""
        author = one.entry.author
        if author in self.forks and author in self._replaced:
            return Offered.LATER
        self._replaced.add(author)
        self.mark_fork(*sorted((one, other), key=lambda said: said.entry.epoch))
        return Offered.FORK

    def _conflict(self, a: Sealed, b: Sealed) -> bool:
        """Whether no honest history holds both: two entries of one epoch and number; or one that
        others built on, and one of a later epoch in its place or before it."""
        one, other = a.entry, b.entry
        if one.epoch == other.epoch:
            return one.seq == other.seq and a.digest != b.digest
        first, second = (a, b) if one.epoch < other.epoch else (b, a)
        seq = second.entry.seq
        return seq <= first.entry.seq and self._building.rests_on(first, seq)

    def _extends(self, chain: list[Sealed], sealed: Sealed) -> bool:
        entry = sealed.entry
        if not 0 < entry.seq <= len(chain):
            return entry.seq == 0 and entry.prev == self.run
        before = chain[entry.seq - 1]
        return entry.prev == before.digest and entry.epoch >= before.entry.epoch

    def mark_fork(self, first: Sealed, second: Sealed) -> None:
        """End an author's chain before two conflicting entries, if it does not end sooner."""
        author, seq = first.entry.author, min(first.entry.seq, second.entry.seq)
        known = self.forks.get(author)
        if known is None or seq < known.seq:
            self.forks[author] = Fork(seq, first, second)
            self._cut(author, seq)
            self._heads[author] = self._head(author)

    def head(self, author: bytes) -> Head:
        """How far this node holds an author's journal."""
        return self._heads[author]

    def heads(self) -> dict[bytes, Head]:
        """The heads of all journals, by author."""
        return dict(self._heads)

    def _head(self, author: bytes) -> Head:
        chain = self.chains[author]
        fork = self.forks.get(author)
        epoch = chain[-1].entry.epoch if chain else 0
        digest = chain[-1].digest if chain else self.run
        return Head(epoch=epoch, seq=len(chain) - 1, digest=digest, forked=fork.seq if fork else -1)

    def lacking(self, theirs: Mapping[bytes, Head]) -> int:
        """Number of entries that a peer with these heads holds beyond ours."""
        found = 0
        for author, ours in self._heads.items():
            head = theirs.get(author, ours)
            if head.digest != ours.digest and (head.epoch, head.seq) > (ours.epoch, ours.seq):
                found += max(1, head.seq - ours.seq)
        return found

    def missing(self, theirs: Mapping[bytes, Head]) -> Iterator[Sealed]:
        """Entries of all authors that a peer with these heads lacks, author by author."""
        for author, ours in self._heads.items():
            head = theirs.get(author)
            if head is None or head.digest != ours.digest or head.forked != ours.forked:
                yield from self.missing_from(author, head)

    def missing_from(self, author: bytes, theirs: Head | None) -> Iterator[Sealed]:
        """Entries of an author that a peer with head `theirs` lacks: the proof of a fork that it
        does not know, then the journal in chain order."""
        yield from self.proof_for(author, theirs)
        chain = self.chains[author]
        for seq in range(self._beyond(author, theirs), len(chain)):
            yield chain[seq]

    def proof_for(self, author: bytes, theirs: Head | None) -> Sequence[Sealed]:
        """The two entries of an author's fork; none if the peer knows this fork or a lower one."""
        fork = self.forks.get(author)
        if fork is None or (theirs is not None and 0 <= theirs.forked <= fork.seq):
            return ()
        return (fork.first, fork.second)

    def conflicts(self, author: bytes, theirs: Head) -> bool:
        """Whether a peer holds another tail of an author, which ours replaces."""
        ours = self._heads[author]
        ahead = (ours.epoch, ours.seq) >= (theirs.epoch, theirs.seq)
        return ahead and not self._shares(author, theirs)

    def _shares(self, author: bytes, theirs: Head) -> bool:
        """Whether a peer's chain of an author is the beginning of ours."""
        chain = self.chains[author]
        if theirs.seq < 0:
            return True
        return theirs.seq < len(chain) and chain[theirs.seq].digest == theirs.digest

    def _beyond(self, author: bytes, theirs: Head | None) -> int:
        """The first number that a peer lacks of a chain."""
        if theirs is None or self.conflicts(author, theirs):
            return 0
        return theirs.seq + 1 if self._shares(author, theirs) else len(self.chains[author])
