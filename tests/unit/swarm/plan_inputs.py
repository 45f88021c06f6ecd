"""What the plan and the election are given."""

from dataclasses import replace

from dcfm_node.swarm.election import Booth, Stand
from dcfm_node.swarm.plan_input import PlanInput
from tests.unit.swarm.builders import Run


def booth(run: Run, me: int = 0, **changes: object) -> Booth:
    """Everyone in sight and able, nobody late, at the instant a term is first entered."""
    base = Booth(
        run=run.id,
        me=run.keys[me],
        candidates=lambda: run.keys,
        quorate=lambda: True,
        suspected=lambda duty: False,
        stand=Stand,
        timeout=8.0,
        not_before=0,
        now=0.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def plan_input(run: Run, me: int = 0, **changes: object) -> PlanInput:
    """A node that holds every snapshot, in sight of everyone, with nobody late."""
    view = run.view()
    students = [said.body.snapshot.digest for said in view.students.values()]
    experts = [said.body.snapshot.digest for said in view.expert_entries.values()]
    base = PlanInput(
        undelivered=lambda duty: False,
        view=view,
        me=run.keys[me],
        held={*students, *experts},
        suspected=lambda duty: False,
        failed=lambda key: False,
        lost=lambda digest: False,
        booth=booth(run, me=me),
    )
    return replace(base, **changes)  # type: ignore[arg-type]
