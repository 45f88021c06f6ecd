"""What the journals say about silos: who takes part, what each published, its weight, and who
leads.

A question that needs several records (does a majority certify this lease?) is answered when asked,
because the records arrive in any order.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dcfm_node.records.entries import Expert, Label, Lease, Preparation, Snapshot
from dcfm_node.records.moments import Scale
from dcfm_node.swarm import shares
from dcfm_node.swarm.audit import too_many
from dcfm_node.swarm.faults import Fault
from dcfm_node.swarm.fold import Fold
from dcfm_node.swarm.preparation import Derived, derive
from dcfm_node.swarm.said import Said

MAX_DERIVED = 16
"""Preparations that are kept. Each costs a search over all combinations."""


class Members(Fold):
    """Every record of the run, and what follows from them about its members."""

    # Silos

    def active(self) -> Sequence[bytes]:
        """Keys of the roster's silos that did not withdraw and are not in quarantine, in roster
        order."""
        if self._active is None:
            out = self.withdrawn.keys() | self.quarantined().keys()
            self._active = [silo.key for silo in self.manifest.roster if silo.key not in out]
        return self._active

    def condemned(self, entry: bytes) -> bool:
        """Whether nodes no longer use an expert or student (SPEC 6.7.2)."""
        return self.refused_by_quorum(entry) or self._refused_by_comparers(entry)

    def refused_by_quorum(self, entry: bytes) -> bool:
        """Whether a quorum refused an expert, or could not load a student."""
        return entry in self.crowded

    def _refused_by_comparers(self, entry: bytes) -> bool:
        expert, verdicts = self.expert_entries.get(entry), self.verdicts.get(entry, {})
        refusers = {judge for judge, said in verdicts.items() if said.body.cause == "score"}
        if expert is None or not refusers:
            return False
        return too_many(refusers, self.comparers(expert.author), len(self.manifest.roster))

    def comparers(self, author: bytes) -> set[bytes]:
        """Other silos that hold a combination which this silo also holds, by their joins."""
        if author not in self._comparers:
            held = {key: set(self.trained_on(key)) for key in self.joins}
            own = held.pop(author, set())
            self._comparers[author] = {key for key, labels in held.items() if own & labels}
        return self._comparers[author]

    def quarantined(self) -> Mapping[bytes, str]:
        """Members that no longer take part, and why: a fault is proven, or a quorum refused two of
        their experts or students."""
        if self._quarantined is None:
            found = {author: faults[0].why for author, faults in self.proven().items()}
            refused: dict[bytes, int] = {}
            for entry in self.crowded:
                said = self.expert_entries.get(entry) or self.students.get(entry)
                author = said.author if said is not None else self._named(entry)
                if author is not None:
                    refused[author] = refused.get(author, 0) + 1
            why = "a quorum refused two of its experts or students"
            again = {author: why for author, times in sorted(refused.items()) if times > 1}
            self._quarantined = again | found
        return self._quarantined

    def _named(self, entry: bytes) -> bytes | None:
        """The author of an entry that a quorum refused, as the verdicts name it, if the entry is
        not held. Its author may have taken it back to publish another."""
        subjects = Counter(said.body.subject for said in self.verdicts[entry].values())
        subject, times = subjects.most_common(1)[0]
        return subject if times >= self.manifest.quorum else None

    def proven(self) -> Mapping[bytes, Sequence[Fault]]:
        """Faults that members' own records prove, by member: one of each cause (SPEC 6.7)."""
        beyond = self.ballots.beyond()
        found = {
            silo.key: [
                *self.faults.proven.get(silo.key, {}).values(),
                *([beyond[silo.key]] if silo.key in beyond else ()),
                *([self.forked[silo.key]] if silo.key in self.forked else ()),
            ]
            for silo in self.manifest.roster
        }
        return {author: faults for author, faults in found.items() if faults}

    def missing(self, round_: int) -> Sequence[bytes]:
        """Active silos that published no expert of this round or a later one, in roster order."""
        if round_ not in self._missing:
            newest = self.newest_experts
            self._missing[round_] = [
                key for key in self.active() if key not in newest or newest[key].body.round < round_
            ]
        return self._missing[round_]

    def newest_snapshots(self) -> Mapping[bytes, Snapshot]:
        """Snapshots of the newest experts of active silos, by digest."""
        if self._snapshots is None:
            newest = (self.newest_experts.get(key) for key in self.active())
            found = (said.body.snapshot for said in newest if said is not None)
            self._snapshots = {snapshot.digest: snapshot for snapshot in found}
        return self._snapshots

    def latest_expert(self, author: bytes, at_most: int | None = None) -> Said[Expert] | None:
        """An author's newest expert, of round `at_most` or earlier if given."""
        newest = self.newest_experts.get(author)
        if newest is None or at_most is None or newest.body.round <= at_most:
            return newest
        rounds = [r for r in self.experts[author] if r <= at_most]
        return self.experts[author][max(rounds)] if rounds else None

    def weighed(self, authors: Iterable[bytes]) -> Mapping[bytes, Mapping[Label, int]]:
        """Label counts by silo, without probes, weighted among these silos (SPEC 6.9). Silos
        without a join are left out."""
        counts = {key: self.trained_on(key) for key in authors if key in self.joins}
        return shares.capped(counts, self.manifest.policy.max_share)

    def trained_on(self, author: bytes) -> Mapping[Label, int]:
        """How often a silo holds each combination that it trains on, as its join says; empty before
        it. A silo that holds probes alone keeps them."""
        join, agreed = self.joins.get(author), self.preparation
        counts = dict(join.counts) if join is not None else {}
        probes = frozenset(agreed.probes if agreed is not None else ())
        return {label: n for label, n in counts.items() if label not in probes} or counts

    def holds_probes_alone(self, author: bytes) -> bool:
        """Whether a silo that joined has nothing to train on."""
        agreed, join = self.preparation, self.joins.get(author)
        probes = frozenset(agreed.probes if agreed is not None else ())
        return join is not None and all(label in probes for label, _ in join.counts)

    def samples(self, author: bytes) -> int:
        """Number of training samples that a silo states; 0 before its join."""
        return sum(self.trained_on(author).values())

    def share(self, author: bytes) -> float:
        """A silo's weight among all that take part, from 0 to 1 (SPEC 6.9)."""
        if author not in self.joins or author not in self.active():
            return 0.0
        totals = {key: self.samples(key) for key in self.active() if key in self.joins}
        scale = shares.factors(totals, self.manifest.policy.max_share)
        weights = {key: totals[key] * scale[key] for key in totals}
        return weights[author] / math.fsum(weights.values())

    # The preparation

    @property
    def preparation(self) -> Preparation | None:
        """What most silos agreed to build on; None before that, and where the run needs none."""
        voice = self.agreement.prepared
        return voice.body.preparation if voice is not None else None

    @property
    def scale(self) -> Scale | None:
        """What all silos standardise their data by; None if samples stay as they are, and before
        silos agreed."""
        if (before := self.manifest.continues) is not None:
            return before.scale
        return self.preparation.scale if self.preparation is not None else None

    @property
    def is_prepared(self) -> bool:
        """Whether silos may train."""
        return self.preparation is not None or not self.manifest.prepares

    def founded(self, proposed: Preparation) -> bool | None:
        """Whether a preparation is what follows from its joins; None if one of them is not here."""
        found = self.derived(proposed.joins)
        return None if found is None else found.preparation == proposed

    def derived(self, joins: tuple[bytes, ...]) -> Derived | None:
        """The preparation that follows from these join entries; None if one of them is not here."""
        if any(digest not in self.join_entries for digest in joins):
            return None
        kept = self.derivations
        if joins not in kept:
            while len(kept) >= MAX_DERIVED:
                del kept[next(iter(kept))]
            kept[joins] = derive(self.manifest, [self.join_entries[digest] for digest in joins])
        return kept[joins]

    # Leaders

    def certified(self, lease: bytes) -> Said[Lease] | None:
        """The lease with that entry digest, if a majority's votes of its term name its author; else
        None."""
        return self.ballots.certified.get(lease)

    def leader(self, term: int) -> Said[Lease] | None:
        """The certified lease of a term, or None. Majorities intersect, so there is at most one
        leader."""
        return self.ballots.leader(term)

    def last_leader(self, round_: int | None = None) -> Said[Lease] | None:
        """The certified lease of the highest term that has one; with `round_`, of that round."""
        return self.ballots.last_leader(round_)

    def led(self, round_: int) -> set[bytes]:
        """Silos that already led a round, whatever the outcome. Others are tried first."""
        return {s.author for s in self.ballots.certified.values() if s.body.round == round_}

    def last_term(self) -> int:
        """The highest term that counts (SPEC 7.1); 0 before the first."""
        return self.ballots.last_term
