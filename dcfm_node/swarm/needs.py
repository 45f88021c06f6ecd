"""Which snapshots on disk the run can still request (SPEC 5.2). The others are dropped."""

from collections.abc import Set

from dcfm_node.swarm.effects import AuditExperts, Distil, Score, Train, Work
from dcfm_node.swarm.plan import Step
from dcfm_node.swarm.plan_input import PlanInput
from dcfm_node.swarm.wanted import wanted


def spent(s: PlanInput, step: Step, work: Work | None) -> Set[bytes]:
    """Held snapshots of this run that no record of the view needs any more.

    Args:
        work: what the worker does now; its inputs stay until it is done.
    """
    return (s.held & s.view.named) - needed(s, step) - inputs(work)


def needed(s: PlanInput, step: Step) -> set[bytes]:
    """Digests of the snapshots to keep: those that are wanted (SPEC 5.2), every released student,
    and the experts that the newest student needs if it must be made again.

    The experts of this phase's round and of the round before are kept too: a silo that is behind
    averages them. So the number does not grow with the rounds.
    """
    view = s.view
    rounds = {step.phase.round, step.phase.round - 1, view.distilled_round()}
    upto = [round_ for round_ in rounds if round_ is not None]
    experts = [view.latest_expert(key, round_) for key in view.experts for round_ in upto]
    students = [said for said in view.valid_students() if view.released(said)]
    found = {said.body.snapshot.digest for said in experts if said is not None}
    found |= {said.body.snapshot.digest for said in students}
    newest = view.valid_students()[-1:]
    found |= {said.body.snapshot.digest for said in newest}
    coming = wanted(s).keys() - s.held
    found |= {view.deltas[digest].base for digest in coming if digest in view.deltas}
    return found | wanted(s).keys() | inputs(step.action)


def inputs(action: object) -> set[bytes]:
    """Digests of the snapshots that a piece of work reads; empty for anything else."""
    match action:
        case Train(init=init, anchor=anchor, peers=peers):
            named = [init, anchor, *(digest for _, digest in peers)]
        case Distil(resume=resume, teachers=teachers):
            named = [resume, *(digest for _, _, digest in teachers)]
        case Score(snapshot=snapshot, reference=reference):
            named = [snapshot, reference]
        case AuditExperts(experts=experts):
            named = [digest for _, _, digest in experts]
        case _:
            named = []
    return {digest for digest in named if digest is not None}
