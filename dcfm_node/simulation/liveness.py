"""The liveness phase: once faults have stopped, a sound core finishes, whatever the others do (as
in TigerBeetle's vopr.zig).

Only final progress counts: a closed round, a finished silo. Endless heartbeats, votes, records and
downloads do not count.
"""

from dcfm_node.simulation.invariants import ViolationError
from dcfm_node.simulation.scenario import Scenario
from dcfm_node.simulation.trace import Concern
from dcfm_node.simulation.world import World
from dcfm_node.swarm.election import MAX_DOUBLINGS

TURNS = 2
"""Times in a row that a term or a piece of work may fail by bad luck alone."""


def patience_s(scenario: Scenario) -> float:
    """Most seconds that the core may take to close one round.

    It trains, elects, distils and endorses. Each may first wait for a silo or leader outside the
    core until that is late. No peer can raise any of these times.
    """
    outside = scenario.nodes - scenario.quorum
    slowness = scenario.slowness if scenario.slow else 1.0
    work = scenario.stall_s + slowness * scenario.work_s[1]
    term = 8.0 * scenario.gossip_s * (1 << min(outside, MAX_DOUBLINGS))
    return TURNS * (outside + 2) * (work + term) + scenario.nodes * work


class StallClock:
    """Checks a world now and then for progress."""

    def __init__(self, scenario: Scenario) -> None:
        self._patience_s = patience_s(scenario)
        self._best = (-1, -1)
        self._since = scenario.quiet_s

    def look(self, world: World) -> None:
        """Check for progress.

        Raises:
            ViolationError: the core closed no round for too long.
        """
        nodes = [host.node for host in world.living() if host.node is not None]
        steps = [node.step.phase for node in nodes if node.step is not None]
        closed = max((phase.round + (phase.stage == "done") for phase in steps), default=-1)
        reached = (closed, len(world.core()) - len(world.unfinished()))
        if reached > self._best:
            self._best, self._since = reached, world.clock.now
        elif world.clock.now - self._since > self._patience_s:
            unfinished = world.unfinished()
            names = ", ".join(map(world.manifest.silo_name, unfinished)) or "nobody"
            what = f"no round closed for {self._patience_s:.0f} s; unfinished: {names}"
            raise ViolationError(
                "the run goes on", what, world.seed, world.clock.now, Concern(unfinished)
            )
