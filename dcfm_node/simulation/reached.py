""" "Sometimes" assertions: they count what should happen in some run. So a limit, refusal or
fallback that no sweep ever reaches is found: a test compares the counts with the points in the
source."""

from collections import Counter
from collections.abc import Iterable, Iterator

from dcfm_node.records.entries import Verdict
from dcfm_node.swarm.effects import Effect, Persist, Report, Waiting
from dcfm_node.swarm.node import Node


class Reached:
    """Counts of points, by name, of one run or many."""

    def __init__(self) -> None:
        self.points: Counter[str] = Counter()

    def see(self, node: Node | None, key: bytes, effects: Iterable[Effect]) -> None:
        """Count what one event caused at one node."""
        for effect in effects:
            self.points.update(_of(key, effect))
        action = node.step.action if node is not None and node.step is not None else None
        if isinstance(action, Waiting):
            self.points[waiting(action.why)] += 1


def waiting(why: str) -> str:
    """The name of a reason to wait, without the part that differs between runs."""
    return f"waits: {why.split(':', maxsplit=1)[0]}"


def _of(key: bytes, effect: Effect) -> Iterator[str]:
    yield f"effect {type(effect).__name__}"
    if isinstance(effect, Report):
        yield f"reports {effect.event}"
    if isinstance(effect, Persist) and effect.sealed.entry.author == key:
        body = effect.sealed.entry.body
        yield f"says {body.kind}"
        if isinstance(body, Verdict):
            yield f"verdict {body.cause}"
