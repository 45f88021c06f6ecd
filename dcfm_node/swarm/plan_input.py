"""Everything that a node's decisions depend on, and what follows from it for one record."""

from collections.abc import Callable, Set
from dataclasses import dataclass

from dcfm_node.records.entries import Checkpoint, Expert, Snapshot, Student
from dcfm_node.swarm.effects import Work
from dcfm_node.swarm.election import Booth
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.rounds import Suspected
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.view import View


@dataclass(frozen=True, slots=True)
class PlanInput:
    """Everything that the decision depends on.

    Attributes:
        held: digests of the snapshots on this node's disk that passed every check.
        suspected: whether a silo made no progress for `policy.stall_s`; never this node itself.
        failed: whether a silo showed no sign of life for that time; never this node itself.
        lost: whether no one delivered a snapshot, by digest, for that time.
        undelivered: whether no one delivered what a silo published for a round or term, under any
            digest.
        booth: what an election depends on.
        work: what this node's worker does now.
        led_for: seconds for which this node has led a term.
        inherited: this silo's expert of the run that this one continues. It publishes that in place
            of training for round 0.
    """

    view: View
    me: bytes
    held: Set[bytes]
    suspected: Suspected
    failed: Callable[[bytes], bool]
    lost: Callable[[bytes], bool]
    undelivered: Callable[[Duty], bool]
    booth: Booth
    work: Work | None = None
    led_for: Callable[[int], float] = lambda term: 0.0
    inherited: Expert | None = None


def is_lost(s: PlanInput, student: Said[Student]) -> bool:
    """Whether a student is lost: its leader or its leader's disk failed before this node got the
    snapshot, or this node cannot load it. Then another leader must distil again."""
    digest = student.body.snapshot.digest
    if is_refused(s, student):
        return True
    late = s.lost(digest) or s.undelivered(Duty(student.author, "student", student.body.term))
    return digest not in s.held and (s.failed(student.author) or late)


def is_usable(s: PlanInput, said: Said[Expert]) -> bool:
    """Whether this node can load an expert, and not too many silos refused it."""
    return not (is_refused(s, said) or s.view.condemned(said.digest))


def is_refused(s: PlanInput, said: Said[Expert] | Said[Student] | Said[Checkpoint]) -> bool:
    """Whether this node cannot load a snapshot. A bad score does not count here: others may judge
    better."""
    said_here = s.view.verdicts.get(said.digest, {}).get(s.me)
    return said_here is not None and said_here.body.cause != "score"


def continued(view: View) -> Snapshot | None:
    """The student of the run that this one continues."""
    return view.manifest.continues.student if view.manifest.continues is not None else None
