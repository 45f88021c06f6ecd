"""What silos build on: which probes they withhold (SPEC 6.12), on what they agreed, and what a node
answers to a proposal (6.11)."""

from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from dcfm_node.records import entries as rec
from dcfm_node.records import manifest as man
from dcfm_node.records.moments import Moments, Scale
from dcfm_node.swarm.preparation import derive
from dcfm_node.swarm.probes import choose
from dcfm_node.swarm.view import View
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import sha256
from vectors.common import NAMES, SIGNERS, Json, case, make_manifest, shared
from vectors.common import plain as tag
from vectors.readers import KEYS, Tale, join

SPACE = tuple(product(range(2), range(2)))
COUNTS = tuple((label, 10 + label[0]) for label in SPACE)
ANOTHER = Scale(mean=(0.0, 0.0), deviation=(1.0, 1.0))
MANIFESTS = {
    name: make_manifest(
        probes=man.Probes(), standardise="auto", policy=man.Policy(participation=name)
    )
    for name in ("strict", "tolerant")
}


class Plot(Tale):
    """The silos of a run agree, or do not."""

    def __init__(self, name: str = "strict", joined: str = "01234") -> None:
        super().__init__(MANIFESTS[name])
        self.name, self.joins = name, dict[str, bytes]()
        for author in joined:
            self.join(author)

    def join(self, author: str, **changes: Any) -> None:
        place = float(author)
        moments = Moments(mean=(place, -place), deviation=(1.0, 1.0 + place))
        fields = {"counts": COUNTS, "moments": moments} | changes
        self.joins[author] = self.say(int(author), join(int(author), **fields))

    def elect(self, leader: int, term: int = 1, voters: str = "012") -> None:
        ballot = rec.Vote(term=term, round=rec.PREPARATION, candidate=KEYS[leader])
        votes = sorted(self.say(int(voter), ballot) for voter in voters)
        self.say(leader, rec.Lease(term=term, round=rec.PREPARATION, votes=tuple(votes)))

    def made(self, authors: str = "01234", **changes: Any) -> rec.Preparation:
        """What follows from these silos' joins, with these fields changed."""
        view = View.of(self.manifest, self.entries)
        said = [view.join_entries[self.joins[author]] for author in authors]
        return derive(self.manifest, said).preparation.model_copy(update=changes)

    def propose(self, leader: int, made: rec.Preparation, term: int = 1) -> None:
        self.say(leader, rec.Propose(term=term, preparation=made))

    def accept(self, authors: str, made: rec.Preparation, term: int = 1) -> None:
        for author in authors:
            self.say(int(author), rec.Accept(term=term, preparation=made))

    def told(self, name: str, clause: str, **fields: Any) -> Json:
        said = [sealed.envelope.hex() for sealed in self.entries]
        return case(f"{clause}: {name}", clause, manifest=self.name, entries=said, **fields)

    def agreed(self, name: str, clause: str, made: rec.Preparation | None) -> Json:
        return self.told(name, clause, prepared=None if made is None else plain(made))

    def answers(self, name: str, clause: str, done: Json, me: int = 3, late: str = "") -> Json:
        names = [NAMES[int(silo)] for silo in late]
        return self.told(name, clause, me=NAMES[me], suspected=names, done=done)


def plain(made: rec.Preparation) -> Json:
    joins = [digest.hex() for digest in made.joins]
    scale = made.scale.model_dump() if made.scale is not None else None
    return {"joins": joins, "probes": [list(label) for label in made.probes], "scale": tag(scale)}


def accepts(made: rec.Preparation, term: int = 1) -> Json:
    return {"accept": [term, plain(made)]}


def proposes(made: rec.Preparation, term: int = 1) -> Json:
    return {"propose": [term, plain(made)]}


WAITS: Json = {"wait": None}
VOTES: Json = {"vote": None}


def agreements() -> list[Json]:
    """Whether silos agreed (SPEC 6.11.1)."""
    plot = Plot()
    made = plot.made()
    plot.elect(1)
    plot.propose(1, made)
    plot.accept("2", made)
    found = [plot.agreed("two of five", "6.11.1", None)]
    plot.accept("4", made.model_copy(update={"probes": ()}))
    found.append(plot.agreed("a third of something else", "6.11.1", None))
    plot.accept("3", made)
    found.append(plot.agreed("a quorum", "6.11.1", made))
    plot.say(3, rec.Withdraw(reason=""))
    found.append(plot.agreed("one of it withdraws", "6.11.1", made))
    plot.accept("124", made.model_copy(update={"probes": ()}), term=2)
    found.append(plot.agreed("a quorum of a later term on something else", "6.11.1", made))
    for name, clause, again, agreed in (
        ("again under another term", "6.11.1", lambda p, m: p.accept("3", m, term=2), None),
        ("after it voted for a later leader", "6.11.2", _promised, None),
        ("what it said of an earlier term later", "6.11.2", _sinks, None),
    ):
        plot = Plot()
        made = plot.made()
        plot.elect(1)
        plot.propose(1, made)
        plot.accept("2", made)
        again(plot, made)
        found.append(plot.agreed(name, clause, agreed))
    return found


def _promised(plot: Plot, made: rec.Preparation) -> None:
    plot.say(3, rec.Vote(term=2, round=rec.PREPARATION, candidate=KEYS[4]))
    plot.accept("3", made)


def _sinks(plot: Plot, made: rec.Preparation) -> None:
    plot.accept("3", made, term=2)
    plot.accept("3", made)


def answers() -> list[Json]:
    """What a node answers to what the last leader proposed (SPEC 6.11.3 to 6.11.5)."""
    plot = Plot(joined="0123")
    found = [plot.answers("a strict run before all joined", "6.11.3", WAITS, late="4")]
    plot.join("4")
    found.append(plot.answers("a strict run once all joined", "6.11.3", VOTES))
    plot = Plot("tolerant", joined="0123")
    found += [
        plot.answers("a tolerant run before all joined", "6.11.3", WAITS),
        plot.answers("and the missing one is late", "6.11.3", VOTES, late="4"),
    ]
    plot = Plot()
    plot.elect(1)
    found.append(plot.answers("the leader", "6.11.3", proposes(plot.made()), me=1))
    found.append(plot.answers("another, before the proposal", "6.11.3", WAITS))
    for name, clause, proposed, done in (
        ("it follows from all joins", "6.11.5", {}, None),
        ("it withholds nothing", "6.11.5", {"probes": ()}, VOTES),
        ("it leaves data as they are", "6.11.5", {"scale": None}, VOTES),
        ("it is of another scale", "6.11.5", {"scale": ANOTHER}, VOTES),
        ("its joins are not here", "6.11.5", {"joins": _strange()}, WAITS),
    ):
        plot = Plot()
        plot.elect(1)
        made = plot.made(**proposed)
        plot.propose(1, made)
        found.append(plot.answers(name, clause, done or accepts(made)))
    for policy, done in (("strict", WAITS), ("tolerant", None)):
        plot = Plot(policy)
        plot.elect(1)
        made = plot.made("0123")
        plot.propose(1, made)
        what = f"{policy}, a silo's join is left out"
        found.append(plot.answers(what, "6.11.5", done or accepts(made)))
    return [*found, *carried()]


def carried() -> list[Json]:
    """What a later leader must propose again (SPEC 6.11.4)."""
    found = []
    for name, before, kept in (
        ("a voter had accepted before its vote", True, True),
        ("a voter accepted after its vote", False, False),
    ):
        plot = Plot("tolerant")
        fewer, whole = plot.made("0123"), plot.made()
        plot.elect(1)
        plot.propose(1, fewer)
        if before:
            plot.accept("2", fewer)
        plot.elect(4, term=2, voters="234")
        if not before:
            plot.accept("2", fewer)
        again = fewer if kept else whole
        found.append(plot.answers(name, "6.11.4", proposes(again, 2), me=4))
        plot.propose(4, again, term=2)
        found.append(plot.answers(f"{name}: accepted", "6.11.4", accepts(again, 2)))
    plot = Plot("tolerant")
    plot.elect(1)
    plot.propose(1, plot.made("0123"))
    plot.accept("2", plot.made("0123"))
    plot.elect(4, term=2, voters="234")
    plot.propose(4, plot.made(), term=2)
    found.append(plot.answers("the leader proposes another", "6.11.4", VOTES))
    plot = Plot("tolerant")
    plot.accept("2", plot.made("0123"), term=1)
    plot.elect(4, term=2, voters="234")
    found += [
        plot.answers("accepted in a term that nobody led", "6.11.4", WAITS, me=4),
        plot.answers("and never shown", "6.11.4", proposes(plot.made(), 2), me=4, late="2"),
    ]
    plot = Plot("tolerant")
    plot.elect(1)
    plot.propose(1, plot.made())
    plot.accept("2", plot.made("0123"))
    plot.elect(4, term=2, voters="234")
    found.append(plot.answers("not what was proposed", "6.11.4", proposes(plot.made(), 2), me=4))
    plot = Plot("tolerant")
    plot.lead(1, 0)
    plot.propose(1, plot.made("0123"))
    plot.accept("2", plot.made("0123"))
    plot.elect(4, term=2, voters="234")
    name = "in the term of who distils a round"
    found.append(plot.answers(name, "6.11.4", proposes(plot.made(), 2), me=4))
    return found


def taken() -> list[Json]:
    """Silo 3 takes its join back: replaced, or a fork where others build on it (SPEC 3.4.3)."""
    found = []
    for name, elected, says, outcome in (
        ("an elected leader proposes to build on it", True, "1", "fork"),
        ("nobody elected the leader who does", False, "1", "replaced"),
        ("three of four others accepted", False, "024", "fork"),
        ("two of four others accepted", False, "02", "replaced"),
    ):
        plot = Plot()
        made = plot.made()
        if elected:
            plot.elect(1)
        plot.propose(1, made) if says == "1" else plot.accept(says, made)
        entry = rec.Entry(
            run=plot.run,
            author=KEYS[3],
            epoch=1,
            seq=0,
            prev=plot.run,
            time_ms=0,
            body=join(3, counts=COUNTS),
        )
        other = env.seal_entry(entry, SIGNERS[3]).envelope.hex()
        found.append(plot.told(name, "3.4.3", taken=other, outcome=outcome))
    return found


def _strange() -> tuple[bytes, ...]:
    return tuple(sorted(sha256(bytes([number])) for number in range(5)))


def probes() -> list[Json]:
    """Which combinations are withheld (SPEC 6.12)."""
    salt = sha256(b"salt")
    grid = dict.fromkeys(product(range(3), range(4)), 10)
    wide = list(product(range(4), range(4)))
    cross = [label for label in grid if 0 in label]
    half = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]
    fifth, cube = [*half, (0, 0, 1)], product(range(2), range(3), range(2))
    plans: list[tuple[str, list[int], float, int, list[dict[Any, int]]]] = [
        ("every combination is known", [3, 4], 0.15, 1, [grid, grid]),
        ("a larger share", [3, 4], 0.5, 1, [grid, grid]),
        ("at least one", [3, 4], 0.01, 1, [grid, grid]),
        ("none is asked for", [3, 4], 0.0, 1, [grid, grid]),
        ("no more are known than needed", [3, 4], 0.5, 1, [dict.fromkeys(cross, 10)]),
        ("a value is unknown", [4, 4], 0.5, 1, [grid]),
        ("one silo for each combination", [3, 4], 0.5, 1, [{label: 10} for label in grid]),
        ("a silo keeps half of its samples", [3, 4], 0.5, 1, [grid, {(0, 0): 9, (1, 1): 10}]),
        ("what one silo alone counts", [4, 4], 0.2, 1, [*[grid] * 2, dict.fromkeys(wide, 1)]),
        (
            "needed in truth, not modulo 2",
            [2, 2, 2],
            0.5,
            1,
            [dict.fromkeys(fifth, 10)],
        ),
        (
            "three attributes",
            [2, 3, 2],
            0.3,
            1,
            [dict.fromkeys(cube, 7)],
        ),
        ("few are left to spare", [3, 4], 0.5, 2, [grid]),
    ]
    found = []
    for name, sizes, share, margin, silos in plans:
        chosen = choose(salt, silos, sizes, share, margin).probes
        counts = [[[list(label), n] for label, n in sorted(of.items())] for of in silos]
        fields: Json = {
            "salt": salt.hex(),
            "sizes": sizes,
            "share": {"$float": repr(share)},
            "margin": margin,
        }
        told = case(name, "6.12", **fields, counts=counts, probes=list(map(list, chosen)))
        found.append(told)
    return [*found, *_listed(salt)]


def _listed(salt: bytes) -> Iterator[Json]:
    """The same where the run lists what is feasible: no label has the last value of the first."""
    feasible = [label for label in product(range(3), range(3)) if label[0] < 2 and label != (1, 2)]
    silo = dict.fromkeys(feasible, 10)
    chosen = choose(salt, [silo, silo], [3, 3], 0.2, feasible=feasible).probes
    assert chosen
    yield case(
        "a value is in no feasible label",
        "6.12",
        salt=salt.hex(),
        sizes=[3, 3],
        share={"$float": repr(0.2)},
        margin=1,
        feasible=list(map(list, feasible)),
        counts=[[[list(label), n] for label, n in silo.items()]] * 2,
        probes=list(map(list, chosen)),
    )


def preparations() -> Json:
    manifests = {name: env.manifest_bytes(made).hex() for name, made in MANIFESTS.items()}
    tables = {"prepared": agreements(), "answers": answers(), "taken": taken()}
    said = shared([made for table in tables.values() for made in table])
    cases = iter(said["cases"])
    return {
        "manifests": manifests,
        "envelopes": said["envelopes"],
        **{name: list(islice(cases, len(table))) for name, table in tables.items()},
        "probes": probes(),
    }
