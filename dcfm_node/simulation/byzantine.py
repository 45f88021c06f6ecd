"""Members whose key a byzantine program holds. Its records fit SPEC 3.6 and serve nobody.

Each is of a kind that real nodes met. Its node has ended. Its messages go to every peer that has a
link with it, as over a link, and are charged to it (see `ledger`).
"""

from collections.abc import Iterable, Sequence
from functools import partial

from dcfm_node.records.base import MAX_TERM
from dcfm_node.records.entries import (
    Body,
    Endorse,
    Entry,
    Expert,
    Join,
    Label,
    Refuse,
    Snapshot,
    Student,
    Vote,
)
from dcfm_node.records.manifest import MAX_COMBINATIONS
from dcfm_node.records.messages import MAX_ENTRIES_BYTES, Entries, Mismatch
from dcfm_node.simulation.host import made_up_snapshot
from dcfm_node.simulation.world import World
from dcfm_node.swarm.effects import Foreign, Received
from dcfm_node.wire.envelope import Sealed, run_id, seal_entry

MANY = 240
"""Records of a fat journal, and replacements under rising epochs."""
JOINS = 4
PIECE = 60
"""Records in one message. Several, so that amplification shows by message as well as by record."""


CHASE_S = 0.2
"""Seconds between two votes of a member that tries to prevent elections."""


class Member:
    """The byzantine program of one silo. It continues the chain on its disk."""

    def __init__(self, world: World, key: bytes) -> None:
        self._world, self.key = world, key
        host = world.hosts[key]
        self._signer = host.signer
        self.chain = list(host.disk.chains.get(key, ()))
        self._run = run_id(world.manifest)

    def say(self, body: Body, *, at: int | None = None, epoch: int | None = None) -> Sealed:
        """Sign the next entry, or one in place of another under a higher epoch."""
        kept = self.chain[:at]
        entry = Entry(
            run=self._run,
            author=self.key,
            epoch=epoch if epoch is not None else kept[-1].entry.epoch if kept else 1,
            seq=len(kept),
            prev=kept[-1].digest if kept else self._run,
            time_ms=0,
            body=body,
        )
        sealed = seal_entry(entry, self._signer)
        self.chain = [*kept, sealed]
        self._world.ledger.said(sealed)
        self._world.history.said[sealed.digest] = sealed
        return sealed

    def offend(self) -> None:
        """Commit every offence of SPEC 6.7 once, as far as a record or message can show it."""
        digest = bytes(32)
        experts = (made_up_snapshot("one"), made_up_snapshot("another"))
        bodies: tuple[Body, ...] = (
            *(Vote(term=1, round=0, candidate=peer) for peer in self._world.keys[:2]),
            *(Expert(round=0, snapshot=made, parents=(), metrics={}) for made in experts),
            Endorse(student=digest, metrics={}),
            Refuse(student=digest, reason="", metrics={}),
            Vote(term=MAX_TERM, round=0, candidate=self.key),
        )
        self.tell(self.say(body) for body in bodies)
        no_record = Entries(run=self._run, entries=(b"no record",), beats=())
        other = Mismatch(run=digest, version="", manifest=b"no manifest", reason="")
        for peer in self._world.network.links[self.key]:
            self._world.deliver(peer, Received(self.key, no_record))
            self._world.deliver(peer, Received(self.key, other))
            self._world.deliver(peer, Foreign(self.key, 0, "0.1"))

    def tell(self, said: Iterable[Sealed], to: Sequence[bytes] | None = None) -> None:
        """Send entries to these peers or all, in as many messages as needed."""
        waiting = [sealed.envelope for sealed in said]
        while waiting:
            large = len(waiting[0]) > MAX_ENTRIES_BYTES // PIECE
            size = 1 if large else PIECE
            piece, waiting = tuple(waiting[:size]), waiting[size:]
            message = Entries(run=self._run, entries=piece, beats=())
            self._world.ledger.sent(self.key, piece)
            for peer in self._world.network.links[self.key] if to is None else to:
                if self._world.network.passes(self.key, peer):
                    self._world.deliver(peer, Received(self.key, message))


REJOIN_S = 1.0
"""Seconds between two joins of a member that takes them back."""


def fatten(world: World, key: bytes, how: str) -> None:
    """Write as many useless records as the protocol allows.

    Args:
        how: "students" without a lease, over quota; "joins" with as many counts as possible;
            "rejoins" that take its join back, for each peer another one;
            "epochs": one entry replaced again and again under rising ones; "stale": the same, then
            the replaced entries again; "votes" of ever later terms; "offences": everything that its
            own records or messages prove.
    """
    member = Member(world, key)
    member.tell(member.chain)
    match how:
        case "epochs":
            member.tell([member.say(_nothing(0))])
            at, epoch = len(member.chain) - 1, member.chain[-1].entry.epoch
            member.tell(member.say(_nothing(n), at=at, epoch=epoch + n) for n in range(1, MANY))
        case "stale":
            old = [member.say(_nothing(0))]
            at, epoch = old[0].entry.seq, old[0].entry.epoch
            old += [member.say(_nothing(n), at=at, epoch=epoch + n) for n in range(1, PIECE)]
            newer = [member.say(_nothing(1), at=at, epoch=epoch + PIECE)]
            member.tell([*newer, *(member.say(_nothing(n)) for n in range(2, MANY))])
            for _ in range(2):
                member.tell(old)
        case "votes":
            _chase(world, member, MANY)
        case "rejoins":
            _rejoin(world, member)
        case "joins":
            member.tell(member.say(_join(n)) for n in range(JOINS))
        case "offences":
            member.offend()
        case "students":
            member.tell(member.say(_student(n)) for n in range(MANY))


def _chase(world: World, member: Member, left: int) -> None:
    """Open a later term for a round whenever it may have a leader."""
    nodes = [host.node for host in world.living() if host.node is not None]
    views = [(node.replica.view, node.step) for node in nodes if node.step is not None]
    rounds = [step.phase.round for _, step in views if step.phase.stage == "distil"]
    if rounds:
        term = 1 + max(view.last_term() for view, _ in views)
        vote = Vote(term=term, round=rounds[0], candidate=member.key)
        member.tell([member.say(vote)])
    if left and world.unfinished():
        world.clock.at(
            world.clock.now + CHASE_S, partial(_chase, world, member, left - bool(rounds))
        )


def _rejoin(world: World, member: Member) -> None:
    """Take back its join for others, under ever higher epochs, and tell each peer another one: no
    two hold the join on which the others build."""
    world.history.equivocators.add(member.key)  # once they build on one of its joins
    name = world.manifest.silo_name(member.key)
    peers = list(world.network.links[member.key])
    world.rng.shuffle(peers)
    for peer in peers:
        epoch = member.chain[-1].entry.epoch + 1
        join = Join(name=name, distils=True, version="", counts=(((0, 0), epoch),))
        member.tell([member.say(join, at=0, epoch=epoch)], [peer])
    if world.unfinished():
        world.clock.at(world.clock.now + REJOIN_S, partial(_rejoin, world, member))


def _nothing(number: int) -> Endorse:
    """An endorsement of an unknown student."""
    return Endorse(student=number.to_bytes(32, "big"), metrics={})


def _join(number: int) -> Join:
    counts = tuple(((n % 1_000,), number) for n in range(MAX_COMBINATIONS))
    return Join(name="silo", distils=False, version=str(number), counts=counts)


def _student(number: int) -> Student:
    """A student without a lease, larger than any snapshot of the run."""
    digest = number.to_bytes(32, "big")
    return Student(
        term=1,
        round=0,
        lease=digest,
        snapshot=Snapshot(digest=digest, size=2**33),
        teachers=(digest,),
        missing=(),
        resumed=None,
        final=False,
        seed=0,
        version="",
        metrics={},
    )


def misjoin(world: World, key: bytes, how: str) -> None:
    """Join with counts that fit no silo of the run, and publish an expert that anyone can fetch.

    Args:
        how: an index out of "range", a label of another "length", no counts ("empty"), or none
            above "zero".
    """
    member = Member(world, key)
    counts: dict[str, tuple[tuple[Label, int], ...]] = {
        "range": (((0, 0), 10), ((1_000, 1_000), 500)),
        "length": (((0, 0, 0), 10),),
        "empty": (),
        "zero": (((0, 0), 0),),
    }
    snapshot = made_up_snapshot(f"{key.hex()} misjoined")
    world.history.offered.add(snapshot.digest)
    member.tell(
        [
            member.say(Join(name="silo", distils=False, version="", counts=counts[how])),
            member.say(Expert(round=0, snapshot=snapshot, parents=(), metrics={})),
        ]
    )
