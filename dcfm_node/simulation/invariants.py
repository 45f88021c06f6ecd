"""What must hold after every event of a simulated run, whatever befell it (SPEC 8)."""

from dcfm_node.records.entries import Checkpoint, Expert, Join, Student, Vote
from dcfm_node.simulation.world import World
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import Sealed

MAX_PENDING = 8
"""Records a node may hold back, in an honest run."""


class ViolationError(AssertionError):
    """An invariant broke; the message names the scenario, the seed and the time."""


def check(world: World, key: bytes) -> None:
    """What holds at every instant, looked at where something just changed."""
    node = world.hosts[key].node
    if node is None:
        return
    _one_leader_per_term(world, node)
    _no_fork(world, node)
    _bounded(world, node)
    for sealed in world.unchecked:
        _speaks_once(world, sealed)
        if sealed.entry.author == key:
            _no_silent_subset(world, node, sealed)
            _fenced(world, node, sealed)
    world.unchecked.clear()


def check_end(world: World) -> None:
    """What holds once faults have stopped and everybody who will ever be is done."""
    _require(world, world.over(), "the run did not end with one released student everywhere")
    _nothing_said_is_lost(world)
    _one_student(world)


def _one_leader_per_term(world: World, node: Node) -> None:
    """Over all nodes and all time, not only at one instant."""
    view = node.exchange.view
    for digest in view.leases:
        said = view.certified(digest)
        if said is not None:
            first = world.leaders.setdefault(said.body.term, said.author)
            _require(world, first == said.author, f"two leaders in term {said.body.term}")


def _no_fork(world: World, node: Node) -> None:
    _require(world, not node.exchange.journals.forks, "an honest node forked its journal")
    _require(world, not node.exchange.usurped, "an honest node found its key used")


def _bounded(world: World, node: Node) -> None:
    waiting = len(node.unsaid)
    _require(world, waiting <= MAX_PENDING, f"{waiting} records wait to be said")
    wanted = len(node.fetching)
    _require(world, wanted <= len(world.hosts) + 3, f"{wanted} downloads at once")


def _speaks_once(world: World, sealed: Sealed) -> None:
    """No vote, expert or student is said twice for one term or round."""
    saying = _saying(sealed)
    if saying is None:
        return
    said = [other for other in world.said.values() if _saying(other) == saying]
    _require(world, len(said) == 1, f"a node said {saying[1]} {saying[2]} {len(said)} times")


def _saying(sealed: Sealed) -> tuple[bytes, str, int] | None:
    author, body = sealed.entry.author, sealed.entry.body
    match body:
        case Vote() | Student():
            return author, body.kind, body.term
        case Expert():
            return author, body.kind, body.round
        case Join():
            return author, body.kind, 0
        case _:
            return None


def _no_silent_subset(world: World, node: Node, sealed: Sealed) -> None:
    """Who taught a student and who is named missing are everyone who had not withdrawn."""
    body, view = sealed.entry.body, node.exchange.view
    if isinstance(body, Student):
        said = [view.expert_entries[digest] for digest in body.teachers]
        taught = {expert.author for expert in said if expert.body.round == body.round}
        named = taught | set(body.missing)
        _require(world, named >= set(view.active()), "a student hides who was missing")


def _fenced(world: World, node: Node, sealed: Sealed) -> None:
    """A leader that saw a later one elected publishes nothing."""
    body, leader = sealed.entry.body, node.exchange.view.last_leader()
    if isinstance(body, Student | Checkpoint):
        fenced = leader is None or leader.digest != body.lease
        _require(world, not fenced, f"a fenced leader of term {body.term} published a {body.kind}")


def _nothing_said_is_lost(world: World) -> None:
    for host in world.living():
        if host.node is not None:
            chains = host.node.exchange.journals.chains.values()
            held = {sealed.digest for chain in chains for sealed in chain}
            lost = [sealed for digest, sealed in world.said.items() if digest not in held]
            loud = [sealed for sealed in lost if not world.hosts[sealed.entry.author].dead]
            _require(world, not loud, f"{len(loud)} records were lost")
            _require(world, held <= world.said.keys(), "a record is held that nobody said")


def _one_student(world: World) -> None:
    released = {
        said.digest
        for host in world.living()
        if host.node is not None and (said := host.node.exchange.view.latest()) is not None
    }
    _require(world, len(released) == 1, f"{len(released)} different students were released")


def _require(world: World, holds: bool, what: str) -> None:
    if not holds:
        raise ViolationError(f"{world.scenario}, seed {world.seed}, {world.now:.1f} s: {what}")
