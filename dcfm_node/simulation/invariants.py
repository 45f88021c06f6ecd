"""What must hold after every event of a simulated run, whatever befell it (SPEC 8)."""

from dcfm_node.records.entries import Student
from dcfm_node.simulation.world import World


class ViolationError(AssertionError):
    """An invariant broke; the message names the seed and the time."""


def check(world: World) -> None:
    """The invariants that hold at every instant."""
    _one_leader_per_term(world)
    _no_fork(world)
    _no_silent_subset(world)


def check_end(world: World) -> None:
    """The invariants that hold once faults have stopped and everybody is done."""
    _require(world, world.over(), "the run did not end with one released student everywhere")
    _nothing_said_is_lost(world)
    _one_student(world)


def _one_leader_per_term(world: World) -> None:
    leaders: dict[int, bytes] = {}
    for host in world.hosts.values():
        if host.node is None:
            continue
        view = host.node.exchange.view
        for digest in view.leases:
            said = view.certified(digest)
            if said is not None:
                first = leaders.setdefault(said.body.term, said.author)
                _require(world, first == said.author, f"two leaders in term {said.body.term}")


def _no_fork(world: World) -> None:
    for host in world.hosts.values():
        if host.node is not None:
            forks = host.node.exchange.journals.forks
            _require(world, not forks, "an honest node forked its journal")
            _require(world, not host.node.exchange.usurped, "an honest node found its key used")


def _no_silent_subset(world: World) -> None:
    """Who taught a student and who is named missing are everyone who had not withdrawn."""
    for sealed in world.said[-1:]:
        body = sealed.entry.body
        if not isinstance(body, Student):
            continue
        host = world.hosts[sealed.entry.author]
        if host.node is None:
            continue
        view = host.node.exchange.view
        said = [view.expert_entries[digest] for digest in body.teachers]
        taught = {expert.author for expert in said if expert.body.round == body.round}
        named = taught | set(body.missing)
        _require(world, named >= set(view.active()), "a student hides who was missing")


def _nothing_said_is_lost(world: World) -> None:
    kept = {sealed.digest for sealed in world.said}
    for host in world.hosts.values():
        if host.node is not None:
            chains = host.node.exchange.journals.chains.values()
            held = {sealed.digest for chain in chains for sealed in chain}
            _require(world, held == kept, f"{len(kept - held)} records were lost")


def _one_student(world: World) -> None:
    released = {
        said.digest
        for host in world.hosts.values()
        if host.node is not None and (said := host.node.exchange.view.latest()) is not None
    }
    _require(world, len(released) == 1, f"{len(released)} different students were released")


def _require(world: World, holds: bool, what: str) -> None:
    if not holds:
        raise ViolationError(f"seed {world.seed}, {world.now:.1f} s: {what}")
