"""Runs scenarios, and shrinks violations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dcfm_node.api.simulation import Violation
from dcfm_node.simulation.fault_injection import schedule
from dcfm_node.simulation.faults import Fault, draw
from dcfm_node.simulation.invariants import ViolationError, check, check_end
from dcfm_node.simulation.liveness import StallClock
from dcfm_node.simulation.scenario import Scenario
from dcfm_node.simulation.trace import Happening, document_of, line_of, relevant
from dcfm_node.simulation.world import World

MAX_TRIES = 60
"""Most runs to shrink one violation."""
GENTLER: tuple[dict[str, Any], ...] = (
    {"loss": 0.0},
    {"stray": 0.0},
    {"duplicate": 0.0},
    {"delay_s": (0.01, 0.2)},
    {"clock_skew_s": 0.0},
)


def simulate(
    scenario: Scenario,
    seed: int,
    faults: Sequence[Fault] | None = None,
    *,
    world: World | None = None,
) -> World:
    """Run a scenario to its end under all invariants.

    Args:
        faults: the faults of the run; drawn from the seed if None.
        world: a fresh world to run in; made if None.

    Raises:
        ViolationError: an invariant broke.
    """
    world = world or World(scenario, seed)
    schedule(world, draw(scenario, seed) if faults is None else faults)
    world.run(check, StallClock(scenario).look)
    check_end(world)
    return world


@dataclass(frozen=True, slots=True)
class Found:
    """A violation, with the smallest cause that was found.

    Attributes:
        faults: the fewest found that still break the rule.
        needs: other settings that it needs, such as "loss 0.3".
        trace: the events that concern it.
    """

    seed: int
    at: float
    rule: str
    what: str
    faults: tuple[Fault, ...]
    needs: tuple[str, ...]
    trace: tuple[Happening, ...]
    names: dict[bytes, str]

    def lines(self) -> list[str]:
        """The trace for people."""
        return [line_of(happening, self.names) for happening in self.trace]

    def document(self, repeat: str) -> Violation:
        """The violation for JSON, with the command that repeats it."""
        return Violation(
            seed=self.seed,
            time=round(self.at, 3),
            rule=self.rule,
            what=self.what,
            faults=tuple(map(str, self.faults)),
            needs=self.needs,
            trace=tuple(document_of(happening, self.names) for happening in self.trace),
            repeat=repeat,
        )


def find(scenario: Scenario, seed: int) -> Found | World:
    """Run a seed. Returns the shrunk violation, or the world at its end."""
    try:
        return simulate(scenario, seed)
    except ViolationError as violation:
        return shrink(scenario, seed, violation.rule)


def shrink(scenario: Scenario, seed: int, rule: str) -> Found:
    """Remove what is not needed to break the same rule."""
    search = _Search(scenario, seed, rule, draw(scenario, seed))
    search.faults_away()
    for gentler in GENTLER:
        search.gentler(gentler)
    world = World(search.scenario, seed, traced=True)
    try:
        simulate(search.scenario, seed, search.faults, world=world)
    except ViolationError as violation:
        given, least = scenario.model_dump(), search.scenario.model_dump()
        changed = [name for change in GENTLER for name in change]
        usual = Scenario.model_fields
        needs = [n for n in changed if given[n] == least[n] != usual[n].default]
        return Found(
            seed,
            violation.at,
            violation.rule,
            violation.what,
            search.faults,
            tuple(f"{name} {given[name]}" for name in needs),
            tuple(relevant(world.history.trace or [], violation.concern)),
            {silo.key: silo.name for silo in world.manifest.roster},
        )
    raise AssertionError("a run that broke a rule did not break it again: it is not deterministic")


@dataclass
class _Search:
    scenario: Scenario
    seed: int
    rule: str
    faults: tuple[Fault, ...]
    tries: int = 0

    def faults_away(self) -> None:
        """Remove halves first, then smaller pieces, then single faults."""
        size = len(self.faults)
        while size:
            start = 0
            while start < len(self.faults):
                kept = self.faults[:start] + self.faults[start + size :]
                if not self._breaks(self.scenario, kept):
                    start += size
            size //= 2

    def gentler(self, change: dict[str, Any]) -> None:
        """Try a milder setting of the network."""
        milder = self.scenario.model_copy(update=change)
        if milder != self.scenario:
            self._breaks(milder, self.faults)

    def _breaks(self, scenario: Scenario, faults: tuple[Fault, ...]) -> bool:
        """Whether the same rule still breaks. If so, the search continues from here."""
        if self.tries >= MAX_TRIES:
            return False
        self.tries += 1
        try:
            simulate(scenario, self.seed, faults)
        except ViolationError as violation:
            if violation.rule == self.rule:
                self.scenario, self.faults = scenario, faults
                return True
        return False
