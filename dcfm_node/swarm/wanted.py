"""Which snapshots this node should hold, and from which checkpoint a leader resumes (SPEC 5.2)."""

from collections.abc import Mapping, Sequence
from itertools import islice

from dcfm_node.records.entries import Checkpoint, Snapshot
from dcfm_node.swarm.effects import Waiting
from dcfm_node.swarm.plan_input import PlanInput, continued, is_lost, is_refused, is_usable
from dcfm_node.swarm.rounds import current_phase
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.view import View

CHECKPOINT_FACTOR = 8
"""Most bytes of a checkpoint, in snapshots of a teacher, apart from CHECKPOINT_SLACK_BYTES."""
CHECKPOINT_SLACK_BYTES = 1 << 20
"""Room for a checkpoint's header and counters."""


def wanted(s: PlanInput) -> dict[bytes, Snapshot]:
    """Snapshots that this node should hold, by digest: the newest student, the released student,
    the newest experts, and the newest checkpoint of the student under way.

    Every node holds all experts, so the loss of a silo or a leader loses no work.
    """
    published = (s.view.newest_student(), s.view.latest())
    students = [said for said in published if said is not None]
    found = dict(s.view.newest_snapshots())
    if s.view.verdicts:
        newest = s.view.newest_experts.values()
        found = {e.body.snapshot.digest: e.body.snapshot for e in newest if is_usable(s, e)}
    student = s.view.newest_student()
    upto = combined_round(s)
    if student is not None and is_lost(s, student):
        # Its round is distilled again from the experts of that round, not of later rounds.
        upto = student.body.round
    if upto is not None:
        again = (s.view.latest_expert(key, upto) for key in s.view.active())
        kept = [e for e in again if e is not None and is_usable(s, e)]
        found = {e.body.snapshot.digest: e.body.snapshot for e in kept}
    earlier = continued(s.view)
    if earlier is not None and student is None:
        found[earlier.digest] = earlier
    taken = [said.body.snapshot for said in students if not is_refused(s, said)]
    return found | {snapshot.digest: snapshot for snapshot in taken} | _progress(s)


def within(quota: int | None, wants: Mapping[bytes, Snapshot], view: View) -> dict[bytes, Snapshot]:
    """The wanted snapshots whose size can belong to this run. The node reserves no room for others.

    Args:
        quota: most bytes of a snapshot of this run; None if unknown.
    """

    def fits(snapshot: Snapshot, most: int) -> bool:
        progress = snapshot.digest in view.checkpointed
        return snapshot.size <= (
            CHECKPOINT_FACTOR * most + CHECKPOINT_SLACK_BYTES if progress else most
        )

    return {key: named for key, named in wants.items() if quota is None or fits(named, quota)}


def sizes_within(
    quota: int | None, wants: Mapping[bytes, Snapshot], view: View
) -> dict[bytes, Sequence[int]]:
    """By wanted digest, the sizes that experts and students state for it, up to `quota` bytes. A
    record that nobody judges must not make this node fetch more than a judged one."""
    return {
        key: [size for size in view.sizes.get(key, ()) if quota is None or size <= quota]
        for key in wants
    }


def combined_round(s: PlanInput) -> int | None:
    """If a method combines experts of one round: the round that this node combines next while
    others are ahead of it; else None."""
    if not s.view.manifest.method.one_round:
        return None
    phase = current_phase(s.view, s.suspected)
    behind = phase.stage == "refine" and s.me in s.view.missing(phase.round)
    return phase.round - 1 if behind else None


def checkpoints_at_hand(s: PlanInput) -> Sequence[Said[Checkpoint]]:
    """Checkpoints of the student that is being distilled (also if it is distilled again), newest
    first. Larger ones than their tensors allow are left out: weights, their average and two
    moments, each as large as a teacher."""
    phase, newest = current_phase(s.view, s.suspected), s.view.newest_student()
    round_ = phase.round if phase.stage == "distil" else None
    if newest is not None and is_lost(s, newest):
        round_ = newest.body.round
    if round_ is None:
        return []

    def fits(said: Said[Checkpoint]) -> bool:
        teachers = (s.view.expert_entries[entry].body.snapshot for entry in said.body.teachers)
        wide = 4 // s.view.manifest.transfer.width  # a checkpoint is never rounded
        most = 4 * wide * max(teacher.size for teacher in teachers) + CHECKPOINT_SLACK_BYTES
        return said.body.snapshot.size <= most

    return [said for said in reversed(s.view.checkpoints_of(round_)) if fits(said)]


def _progress(s: PlanInput) -> dict[bytes, Snapshot]:
    """The newest checkpoint and, until this node holds it, the newest one that it holds."""
    found = [said.body.snapshot for said in checkpoints_at_hand(s)]
    held = (snapshot for snapshot in found if snapshot.digest in s.held)
    return {snapshot.digest: snapshot for snapshot in (*found[:1], *islice(held, 1))}


def resumable(s: PlanInput, teachers: Sequence[bytes], led_s: float) -> bytes | Waiting | None:
    """Digest of the checkpoint to resume from, if it is of this very student; None to start anew.
    The leader waits at most `stall_s` in total for a missing one, because new ones could appear for
    ever."""
    patient = led_s <= s.view.manifest.policy.stall_s
    found = [said for said in checkpoints_at_hand(s) if list(said.body.teachers) == teachers]
    for said in found:
        digest = said.body.snapshot.digest
        if digest in s.held and not s.lost(digest):
            return digest
        if patient and said is found[0] and not (s.lost(digest) or s.failed(said.author)):
            return Waiting("waiting for the checkpoint of the last leader", on=(said.author,))
    return None
