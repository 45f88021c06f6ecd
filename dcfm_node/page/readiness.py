"""Whether this silo takes part in its run. Pure."""

from collections.abc import Iterator

from dcfm_node.api.page import Ready
from dcfm_node.api.status import StartingStatus, Status


def readiness(status: Status | StartingStatus | None, unreachable: str) -> Ready:
    """Whether this silo takes part: its daemon answers, nothing critical is wrong, it has not left
    the run, and it hears of a majority of the roster, itself included.

    Args:
        status: None if no daemon answers.
        unreachable: why none does.
    """
    why = tuple(_hindrances(status, unreachable))
    return Ready(ready=not why, why=why)


def _hindrances(status: Status | StartingStatus | None, unreachable: str) -> Iterator[str]:
    if status is None:
        yield unreachable or "no daemon answers"
        return
    if isinstance(status, StartingStatus):
        yield f"the node is starting: {status.doing.why}"
        return
    yield from (p.sentence for p in status.problems if p.severity == "critical")
    if any(silo.own and silo.withdrawn for silo in status.silos):
        yield "this silo has withdrawn from the run"
    heard, majority = sum(silo.live for silo in status.silos), len(status.silos) // 2 + 1
    if heard < majority:
        yield f"this node hears of {heard} of {len(status.silos)} silos; a majority is {majority}"
