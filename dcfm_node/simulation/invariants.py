"""What must hold after every event of a simulated run, whatever happens to it (SPEC 8)."""

from collections.abc import Collection, Sequence

from dcfm_node.records.entries import (
    Accept,
    Checkpoint,
    Endorse,
    Expert,
    Join,
    Lease,
    Propose,
    Student,
    Vote,
)
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.simulation.ledger import RETAINED, K, weight
from dcfm_node.simulation.trace import Concern
from dcfm_node.simulation.world import World
from dcfm_node.swarm.effects import (
    AuditExperts,
    Distil,
    Durable,
    Effect,
    Persist,
    PersistHeartbeat,
    Received,
    Score,
    Send,
    Start,
    Train,
    Work,
)
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Sealed

MAX_PENDING = 8
"""Most records that wait to be published at one node, in an honest run."""


class ViolationError(AssertionError):
    """An invariant broke.

    Attributes:
        rule: its name, the same for every run that breaks it.
        what: how it broke.
        at: when, in seconds of the fake clock.
        concern: the silos and term that the trace should show.
    """

    def __init__(self, rule: str, what: str, seed: int, at: float, concern: Concern) -> None:
        super().__init__(f"seed {seed}, {at:.1f} s: {what}")
        self.rule, self.what, self.seed, self.at, self.concern = rule, what, seed, at, concern


def check(world: World, key: bytes, effects: Sequence[Effect]) -> None:
    """Check what must hold at every instant, where something just changed.

    Raises:
        ViolationError: it does not hold.
    """
    node = world.hosts[key].node
    world.reached.see(node, key, effects)
    for effect in effects:
        if isinstance(effect, Start):
            _has_what_it_needs(world, key, effect.work)
    _answered_in_proportion(world, key, effects)
    _charged(world, key, effects)
    if node is None or not any(isinstance(e, Durable) for e in effects):
        return
    _durable_before_sent(world, key, effects)
    _one_leader_per_term(world, node)
    _one_preparation(world, node)
    _no_fork(world, node)
    _bounded(world, node)
    _heartbeats_only_rise(world, key, node)
    for sealed in world.history.unchecked:
        _speaks_once(world, sealed)
        if sealed.entry.author == key and key not in world.history.byzantine:
            _no_silent_subset(world, node, sealed)
            _believes_no_lie(world, node, sealed)
            _fenced(world, node, sealed)
            _elected(world, node, sealed)
    world.history.unchecked.clear()


def check_end(world: World) -> None:
    """Check what must hold once faults have stopped and every silo that can finish has finished.

    Raises:
        ViolationError: it does not hold.
    """
    unfinished = world.unfinished()
    names = ", ".join(map(world.manifest.silo_name, unfinished)) or "nobody, but journals differ"
    what = f"the run did not end with one released student everywhere; unfinished: {names}"
    _require(world, world.over(), "the run ends", what, unfinished)
    _nothing_said_is_lost(world)
    _one_view(world)
    _as_expected(world)


def _durable_before_sent(world: World, key: bytes, effects: Sequence[Effect]) -> None:
    """Entries and epochs are on disk before they are sent (SPEC 3.5.6)."""
    volatile = {e.sealed.envelope for e in effects if isinstance(e, Persist)}
    unknown = {
        e.sealed.heartbeat.author: e.sealed.heartbeat.epoch
        for e in effects
        if isinstance(e, PersistHeartbeat)
    }
    for effect in effects:
        if isinstance(effect, Persist):
            volatile.discard(effect.sealed.envelope)
        elif isinstance(effect, PersistHeartbeat):
            unknown.pop(effect.sealed.heartbeat.author, None)
        elif isinstance(effect, Send) and isinstance(effect.message, Sync):
            named = {author: effect.message.beats.get(author, (0, 0))[1] for author in unknown}
            early = [author for author, epoch in unknown.items() if named[author] >= epoch]
            _require(world, not early, "durable before sent", "an epoch was named first", [key])
        elif isinstance(effect, Send) and isinstance(effect.message, Entries) and volatile:
            told = volatile.intersection(effect.message.entries)
            _require(world, not told, "durable before sent", "a record was sent first", [key])


def _one_leader_per_term(world: World, node: Node) -> None:
    """One leader for each term, over all nodes and all time."""
    view = node.replica.view
    for said in view.ballots.certified.values():
        term = said.body.term
        first = world.history.leaders.setdefault(term, said.author)
        what, about = f"two leaders in term {term}", [first, said.author]
        _require(world, first == said.author, "one leader per term", what, about, term=term)


def _one_preparation(world: World, node: Node) -> None:
    """All nodes build on one preparation, over all time, and on no joins that a liar made up."""
    found = node.replica.view.preparation
    if found is not None:
        first = world.history.prepared = world.history.prepared or found
        what = "two nodes hold different preparations"
        _require(world, first == found, "one preparation", what, [node.me])
        made_up = [digest for digest in found.joins if digest not in world.history.said]
        what = "silos build on joins that nobody published"
        _require(world, not made_up, "one preparation", what, [node.me])


def _no_fork(world: World, node: Node) -> None:
    forked = [key for key in node.replica.journals.forks if key not in world.history.equivocators]
    what = "an honest node forked its journal"
    _require(world, not forked, "no fork", what, [node.me, *forked])
    what = "an honest node found that another process uses its key"
    _require(world, not node.exchange.usurped, "no fork", what, [node.me])


def _answered_in_proportion(world: World, key: bytes, effects: Sequence[Effect]) -> None:
    """The effects of one event grow with the roster and the records in the event, and with nothing
    else."""
    match world.cause:
        case Received(_, Entries(entries=entries)):
            bore = len(entries)
        case _:
            bore = 0
    most = 8 * len(world.keys) + 64 + 2 * bore
    what = f"{len(effects)} effects of an event with {bore} records"
    _require(world, len(effects) <= most, "bounded", what, [key])


def _charged(world: World, key: bytes, effects: Sequence[Effect]) -> None:
    """What a byzantine member causes is in proportion to what it sends (`ledger`)."""
    cause, accounts = world.cause, world.ledger.accounts
    if key in world.history.outside or not accounts:
        return
    asker = cause.peer if isinstance(cause, Received) and cause.peer in accounts else None
    world.ledger.charge(key, asker, effects)
    for member, account in accounts.items():
        for what in account.excess(len(world.keys) - 1):
            _require(world, False, "in proportion", what, [key, member])


def _bounded(world: World, node: Node) -> None:
    """What a node keeps and writes by itself grows with the silos, the manifest's rounds and the
    terms that fit in the time so far. No member can change any of these; what a byzantine member
    causes is on its account (`_charged`)."""
    silos, exchange = len(world.keys), node.exchange
    rounds = world.manifest.method.last_round + 2
    terms = 4 + world.clock.now / node.pace.term_s
    debts = sum(account.written[node.me] for account in world.ledger.accounts.values())
    written = len(node.replica.journals.chains[node.me]) - debts
    sizes = {
        "records wait to be published": (len(node.unsaid), MAX_PENDING),
        "downloads at once": (len(node.fetching), silos + 3),
        "duties are watched": (len(exchange.liveness.waiting), 2 * silos * rounds + terms + silos),
        "nodes are heard": (len(exchange.liveness.signs), silos),
        "entries are in its own journal": (written, 8 + silos + 5 * rounds + 12 * terms),
    }
    for what, (size, most) in sizes.items():
        _require(world, size <= most, "bounded", f"{size} {what}, over {most:.0f}", [node.me])


def _speaks_once(world: World, sealed: Sealed) -> None:
    """No vote, expert or student is published twice for one term or round."""
    saying = _saying(sealed)
    if saying is None or world.history.byzantine.get(sealed.entry.author) == "lies as a leader":
        return
    author, kind, number = saying
    known = (
        other for other in world.history.said.values() if other.digest not in world.history.excused
    )
    said = [other for other in known if _saying(other) == saying]
    what = f"a node published {kind} {number} {len(said)} times"
    _require(world, len(said) <= 1, "nothing is said twice", what, [author])


def _saying(sealed: Sealed) -> tuple[bytes, str, int] | None:
    author, body = sealed.entry.author, sealed.entry.body
    match body:
        case Vote() | Student() | Propose() | Accept():
            return author, body.kind, body.term
        case Expert():
            return author, body.kind, body.round
        case Join():
            return author, body.kind, 0
        case _:
            return None


def _no_silent_subset(world: World, node: Node, sealed: Sealed) -> None:
    """A student's teachers and its missing silos together are all silos that had not withdrawn."""
    body, view = sealed.entry.body, node.replica.view
    if isinstance(body, Student):
        said = [view.expert_entries[digest] for digest in body.teachers]
        taught = {expert.author for expert in said if expert.body.round == body.round}
        hidden = [key for key in view.active() if key not in taught | set(body.missing)]
        what = "a student hides who was missing"
        _require(world, not hidden, "nobody is hidden", what, [node.me, *hidden], term=body.term)


def _believes_no_lie(world: World, node: Node, sealed: Sealed) -> None:
    """Readers check what a leader states about its student (SPEC 6.4.1, 6.4.3)."""
    body, view = sealed.entry.body, node.replica.view
    if isinstance(body, Endorse) and body.student in view.students:
        lied = view.students[body.student].body.snapshot.digest in world.history.lies
        what = "a silo endorsed a student whose record is false"
        _require(world, not lied, "lies count for nothing", what, [node.me])


def _fenced(world: World, node: Node, sealed: Sealed) -> None:
    """A leader that saw a later one elected publishes nothing."""
    body, leader = sealed.entry.body, node.replica.view.last_leader()
    if isinstance(body, Student | Checkpoint):
        holds = leader is None or leader.digest == body.lease
        what = f"a fenced leader of term {body.term} published a {body.kind}"
        _require(world, holds, "fenced leaders are silent", what, [node.me], term=body.term)


def _elected(world: World, node: Node, sealed: Sealed) -> None:
    body = sealed.entry.body
    if isinstance(body, Lease):
        certified = node.replica.view.certified(sealed.digest) is not None
        what = f"a lease of term {body.term} was published without a majority's votes"
        _require(world, certified, "leaders are elected", what, [node.me], term=body.term)


def _has_what_it_needs(world: World, key: bytes, work: Work) -> None:
    """No node trains from, distils or scores (and so endorses) a snapshot that it does not hold and
    has not checked."""
    match work:
        case Train():
            needed = [work.init, work.anchor, *(digest for _, digest in work.peers)]
        case Distil():
            needed = [work.resume, *(digest for _, _, digest in work.teachers)]
        case Score():
            needed = [work.snapshot, work.reference]
        case AuditExperts():
            needed = [digest for _, _, digest in work.experts]
    held = world.hosts[key].disk.held
    lacking = [digest for digest in needed if digest is not None and digest not in held]
    what = f"{type(work).__name__} started without {len(lacking)} snapshots that it needs"
    _require(world, not lacking, "work has what it needs", what, [key])
    spoilt = isinstance(work, Train) and not world.history.spoilt.isdisjoint(needed)
    what = f"round {getattr(work, 'round', 0)} is trained from a student that silos must refuse"
    _require(world, not spoilt, "bad students teach nobody", what, [key])
    believed = isinstance(work, Train) and not world.history.lies.isdisjoint(needed)
    what = f"round {getattr(work, 'round', 0)} is trained from a student whose record is false"
    _require(world, not believed, "lies count for nothing", what, [key])


def _heartbeats_only_rise(world: World, key: bytes, node: Node) -> None:
    """Known heartbeat counters only rise (SPEC 4.6.1)."""
    known, counts = world.hosts[key].counts, node.exchange.liveness.counters
    fell = [author for author, count in known.items() if counts.get(author, -1) < count]
    what = "a node accepted a replayed heartbeat"
    _require(world, not fell, "heartbeats only rise", what, [key, *fell])
    known.update(counts)


def _nothing_said_is_lost(world: World) -> None:
    core = world.core()
    for host in world.living():
        if host.node is not None:
            chains = host.node.replica.journals.chains.values()
            held = {sealed.digest for chain in chains for sealed in chain}
            lost = [said for digest, said in world.history.said.items() if digest not in held]
            loud = [
                said.entry.author
                for said in lost
                if said.entry.author in core and said.digest not in world.history.excused
            ]
            _require(world, not loud, "nothing is lost", f"{len(loud)} records were lost", loud)
            strange = held - world.history.said.keys()
            what = "a node holds a record that no one published"
            _require(world, not strange, "nothing is lost", what, [host.node.me])


def _one_view(world: World) -> None:
    """Every node holds the same view, whatever the order of entries, and so the same student."""
    nodes = [host.node for host in world.living() if host.node is not None]
    first = nodes[0].replica
    folded = View.of(world.manifest, [s for c in first.journals.chains.values() for s in c])
    for node in nodes:
        same = _facts(node.replica.view) == _facts(folded)
        _require(world, same, "one view", "views of the same journals differ", [node.me])
        what = "a run ended without a preparation"
        _require(world, node.replica.view.is_prepared, "one preparation", what, [node.me])
        latest = node.replica.view.latest()
        what = "different students were released"
        _require(world, latest == nodes[0].replica.view.latest(), "one student", what, [node.me])
        bad = latest is not None and latest.body.snapshot.digest in world.history.spoilt
        what = "a released student is one that silos must refuse"
        _require(world, not bad, "bad students teach nobody", what, [node.me])
        lied = latest is not None and latest.body.snapshot.digest in world.history.lies
        what = "a released student has a false record"
        _require(world, not lied, "lies count for nothing", what, [node.me])
        for member, account in world.ledger.accounts.items():
            size = weight(node.replica.journals.chains[member], node.replica.journals.forks)
            what = f"{size} bytes of memory hold the {account.size} bytes that one member sent"
            most = K * account.size + RETAINED
            _require(world, size <= most, "in proportion", what, [node.me, member])


def _facts(view: View) -> tuple[object, ...]:
    return (
        view.preparation,
        *(view.joins, view.experts, view.ballots, view.checkpoints, view.students),
        *(view.endorsed, view.refused, view.verdicts, view.withdrawn, view.newest_experts),
    )


def _as_expected(world: World) -> None:
    """What this scenario promises in addition."""
    scenario = world.scenario
    for sealed in world.history.said.values():
        body = sealed.entry.body
        if scenario.whole and isinstance(body, Student):
            names = ", ".join(map(world.manifest.silo_name, body.missing))
            what = f"a student lacks {names}, who did nothing wrong"
            about = [sealed.entry.author, *body.missing]
            _require(world, not body.missing, "nobody is left out", what, about, term=body.term)
    last = max(world.history.leaders, default=0)
    if scenario.max_terms is not None:
        what = f"{last} terms were needed, over {scenario.max_terms}"
        _require(world, last <= scenario.max_terms, "no storm of votes", what, term=last)


def _require(
    world: World,
    holds: bool,
    rule: str,
    what: str,
    about: Collection[bytes] = (),
    *,
    term: int | None = None,
) -> None:
    if not holds:
        raise ViolationError(rule, what, world.seed, world.clock.now, Concern(about, term))
