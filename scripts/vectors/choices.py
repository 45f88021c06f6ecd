"""What a node does: when it writes (SPEC 3.5), in elections (7.3), what it publishes (7.4)."""

from copy import deepcopy
from typing import Any

from dcfm_node.records import entries as rec
from dcfm_node.records import messages as msg
from dcfm_node.swarm.election import rank
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import pack
from vectors.common import NAMES, SIGNERS, Json, case, shared
from vectors.plots import MANIFESTS, Plot
from vectors.readers import DIGESTS, KEYS, join

RUN = env.run_id(MANIFESTS["tolerant"])
TIMEOUT = 8.0
ALL = "01234"


def by_rank(silos: str, attempt: int = 0, round_: int = 0) -> list[int]:
    """These silos, the smallest rank first (SPEC 7.1)."""
    return sorted(map(int, silos), key=lambda silo: rank(RUN, round_, attempt, KEYS[silo]))


# Elections


def act(plot: Plot, name: str, clause: str, steps: list[tuple[float, Json]], **given: Any) -> Json:
    """A node's acts at some times (seconds), with the same records."""
    fields: Json = {
        "me": NAMES[given.pop("me", 0)],
        "round": 0,
        "candidates": [NAMES[int(silo)] for silo in given.pop("candidates", ALL)],
        "quorate": True,
        "suspected": False,
        "not_before": 0,
        "steps": [[now, done] for now, done in steps],
    }
    made = plot.told(name, clause)
    del made["facts"]
    return made | fields | given


def voted(term: int, candidate: int) -> Json:
    return {"vote": [term, NAMES[candidate]]}


WAITS: Json = {"wait": None}


def begins() -> list[Json]:
    first = by_rank(ALL)[0]
    plot = Plot()
    plot.experts(0)
    found = [
        act(plot, "nobody voted", "7.3.1", [(0, voted(1, first))]),
        act(plot, "less than a quorum in sight", "7.3.1", [(0, WAITS)], quorate=False),
        act(plot, "no candidate", "7.3.2", [(0, WAITS)], candidates=""),
        act(plot, "it may have voted before", "3.5.4", [(0, voted(7, first))], not_before=7),
    ]
    plot = Plot()
    plot.experts(0)
    plot.votes("1", 2, 3)
    for not_before, does in ((0, voted(3, first)), (3, voted(3, first)), (4, WAITS)):
        name = f"term 3 is contested, it may vote from {not_before} on"
        found.append(act(plot, name, "3.5.4", [(0, does)], not_before=not_before))
    plot = Plot()
    plot.experts(0)
    plot.votes("1", 2, 3, 1)
    found.append(act(plot, "votes of another round", "7.3", [(0, voted(4, first))]))
    return found


def orders() -> list[Json]:
    """Whom a node votes for (SPEC 7.3.2): each row outweighs all that follow."""
    ranked = by_rank(ALL)
    first, second = ranked[:2]
    plot = Plot()
    plot.experts(0)
    found = [
        act(plot, "by rank", "7.3.2", [(0, voted(1, first))]),
        act(
            plot,
            "by rank, of those who can",
            "7.3.2",
            [(0, voted(1, second))],
            candidates="".join(str(silo) for silo in ranked[1:]),
        ),
    ]
    plot = Plot()
    plot.experts(0, "".join(str(silo) for silo in ranked[1:]))
    found.append(act(plot, "with an expert before by rank", "7.3.2", [(0, voted(1, second))]))
    for voters, choice in ((2, first), (3, second)):
        plot = Plot()
        plot.experts(0)
        plot.votes("".join(str(silo) for silo in ranked[1 : 1 + voters]), second)
        name = f"{voters} voted for the second by rank"
        lone = act(plot, name, "7.3.2", [(0, voted(1, choice))], me=first)
        found.append(lone)
    plot = Plot()
    plot.experts(0)
    plot.lead(first, 0)
    plot.leave(first)
    again = by_rank("".join(str(silo) for silo in ranked[1:]), 1)[0]
    rest = "".join(str(silo) for silo in ranked[1:])
    left = act(plot, "the leader left", "7.3", [(0, voted(2, again))], candidates=rest)
    plot = Plot()
    plot.experts(0)
    plot.lead(first, 0)
    late = act(
        plot,
        "the leader is suspected: another is tried first",
        "7.3.2",
        [(0, voted(2, again))],
        me=second,
    )
    found += [left, late | {"suspected": True}]
    plot = Plot()
    plot.experts(0, "".join(str(silo) for silo in ranked[:4]))
    plot.lead(first, 0)
    only = f"{first}{ranked[4]}"
    name = "it led before, the other has no expert"
    led = act(plot, name, "7.3.2", [(0, voted(2, first))], candidates=only, me=second)
    found.append(led | {"suspected": True})
    plot = Plot()
    teachers = plot.experts(0, "1" + "".join(c for c in ALL if c not in "14"))
    made = plot.student(0, teachers, missing=(KEYS[4],))
    plot.refuse(made, 0, 2, 3)
    name = "blamed with an expert, or not blamed without"
    found.append(act(plot, name, "7.3.2", [(0, voted(2, 4))], candidates="14"))
    return found


def leads() -> list[Json]:
    """Who leads, and until when (SPEC 7.3)."""
    plot = Plot()
    plot.experts(0)
    votes = plot.votes("012", 0)
    wins: Json = {"lease": [1, sorted(vote.hex() for vote in votes)]}
    found = [act(plot, "a quorum's votes name it", "7.3", [(0, wins)])]
    found.append(act(plot, "they name another", "7.3", [(0, WAITS)], me=1))
    elsewhere = deepcopy(plot)
    elsewhere.votes("3", 0, 1, 1)
    found.append(act(elsewhere, "one more names it for another round", "7.3", [(0, wins)]))
    plot.lease(0, votes)
    found.append(act(plot, "it leads", "7.3", [(0, {"lead": 1})]))
    found.append(act(plot, "another leads", "7.3", [(0, WAITS), (9_999, WAITS)], me=1))
    plot.votes("34", 3, 2)
    found.append(act(plot, "another leads, a term is contested", "7.3", [(99, WAITS)], me=1))
    plot = Plot()
    plot.experts(0)
    plot.lease(0, [DIGESTS[0], DIGESTS[1], DIGESTS[2]])
    plot.votes("012", 0)
    found.append(act(plot, "it said a lease of that term before", "7.3", [(0, WAITS)]))
    plot = Plot()
    plot.experts(0)
    plot.lead(0, 0)
    plot.votes("134", 1, 2, 1)
    plot.lease(1, [s.digest for s in plot.entries[-3:]], 2, 1)
    again = by_rank(ALL.replace("0", ""), 1)[0]
    found.append(
        act(plot, "a later term of another round has a lease", "7.3", [(0, voted(3, again))])
    )
    plot = Plot()
    plot.student(0, plot.experts(0), lease=plot.lead(1, 0))
    again = by_rank(ALL.replace("1", ""), 1)[0]
    found.append(act(plot, "a valid student names the lease", "7.3", [(0, voted(2, again))]))
    plot = Plot()
    plot.student(0, plot.experts(0)[:3], lease=plot.lead(1, 0))
    found.append(act(plot, "the student under it does not count", "7.3", [(0, WAITS)]))
    name = "its own student under it does not count"
    return [*found, act(plot, name, "7.3", [(0, voted(2, again))], me=1)]


def stands() -> list[Json]:
    """In which term a node votes as time passes (SPEC 7.3)."""
    plot = Plot()
    plot.experts(0)
    plot.votes("1", 1, 1)
    plot.votes("1", 1, 2)
    plot.votes("1", 1, 3)
    plot.say(0, rec.Vote(term=1, round=0, candidate=KEYS[2]))
    choice = by_rank(ALL)[0]
    second = [(0, WAITS), (7.9, WAITS), (8, voted(2, choice))]
    found = [act(plot, "it leaves a term after 8 s", "7.3", second)]
    plot.say(0, rec.Vote(term=2, round=0, candidate=KEYS[2]))
    third = [(0, WAITS), (8, WAITS), (23.9, WAITS), (24, voted(3, choice))]
    found.append(act(plot, "the second after 16 s", "7.3", third))
    plot.say(0, rec.Vote(term=3, round=0, candidate=KEYS[2]))
    last = [(0, WAITS), (8, WAITS), (24, WAITS), (55.9, WAITS), (56, voted(4, choice))]
    found.append(act(plot, "the third after 32 s: no later one is contested", "7.3", last))
    plot = Plot()
    plot.experts(0)
    plot.votes("1", 1, 1)
    plot.votes("123", 1, 5)
    plot.votes("1", 1, 9)
    name = "more than n - quorum voted in a later term"
    return [*found, act(plot, name, "7.3", [(0, voted(5, 1))])]


# Publishing


def fences() -> list[Json]:
    """Whether the leader of term 1 may still publish its student (SPEC 7.4)."""
    found = []

    def told(plot: Plot, name: str, clause: str, body: Any, may: bool) -> None:
        made = plot.told(name, clause)
        del made["facts"]
        encoded = pack(body.model_dump()).hex()
        found.append(made | {"me": NAMES[1], "record": encoded, "publishes": may})

    def student(lease: bytes, teachers: list[bytes], term: int = 1) -> rec.Student:
        made = Plot()
        made.student(0, teachers, lease=lease, term=term)
        body = made.entries[-1].entry.body
        assert isinstance(body, rec.Student)
        return body

    def led() -> tuple[Plot, list[bytes], bytes]:
        plot = Plot()
        return plot, plot.experts(0), plot.lead(1, 0)

    plot, teachers, lease = led()
    told(plot, "its lease is the newest", "7.4.1", student(lease, teachers), True)
    plot.lead(2, 0, 2)
    told(plot, "a later term has a lease", "7.4.1", student(lease, teachers), False)
    plot, teachers, lease = led()
    plot.votes("024", 2, 2, 1)
    plot.lease(2, [s.digest for s in plot.entries[-3:]], 2, 1)
    told(plot, "a later term of another round has one", "7.4.1", student(lease, teachers), False)
    plot, teachers, lease = led()
    plot.votes("02", 2, 2)
    told(plot, "a later term is contested", "7.4.1", student(lease, teachers), True)
    plot, teachers, lease = led()
    told(plot, "a teacher is not held", "7.4.3", student(lease, [*teachers[:4], DIGESTS[0]]), False)
    plot.leave(3)
    told(plot, "a teacher's silo left", "7.4.3", student(lease, teachers), False)
    told(plot, "a silo left that teaches nothing", "7.4.3", student(lease, teachers[:3]), True)
    plot, teachers, lease = led()
    plot.student(0, teachers[:2], lease=lease)
    told(plot, "it published one, which does not count", "7.4.4", student(lease, teachers), False)
    for endorsers in (2, 3):
        plot, teachers = Plot(), []
        teachers = plot.experts(0)
        before = plot.lead(2, 0)
        body = student(before, teachers)
        made = plot.say(2, body)
        lease = plot.lead(1, 0, 2)
        plot.endorse(made, *range(endorsers))
        name = f"{endorsers} endorsed the student of an earlier term"
        told(plot, name, "7.4.2", student(lease, teachers, 2), endorsers < 3)
    return found


# Writing


def sync(heads: dict[bytes, Json], beats: tuple[int, int] | None = None) -> str:
    """What a peer says that it holds; `beats` is what it says of silo 0's."""
    named = {KEYS[0]: beats} if beats is not None else {}
    fields = {"run": RUN, "version": "", "heads": heads, "beats": named, "reply": False}
    return env.encode_message(msg.Sync.model_validate(fields)).hex()


def head(epoch: int, seq: int, digest: bytes) -> Json:
    return {"epoch": epoch, "seq": seq, "digest": digest, "forked": -1}


JOINED = Plot()
OWN = head(0, 0, JOINED.say(0, join(0)))
OTHERS = head(0, 0, JOINED.say(1, join(1)))
SAME = sync({KEYS[0]: OWN})


def gate(name: str, clause: str, syncs: dict[int, str], **given: Any) -> Json:
    """A node that holds its own `join` and silo 1's, and what peers told it since it started."""
    made = JOINED.told(name, clause)
    del made["facts"]
    fields: Json = {
        "me": NAMES[0],
        "syncs": [[NAMES[peer], text] for peer, text in syncs.items()],
        "linked": [NAMES[peer] for peer in given.pop("linked", syncs)],
        "waited": "",
        "doubted": [NAMES[peer] for peer in given.pop("doubted", ())],
        "shown": [],
        "epoch": None,
        "then": [[NAMES[peer], sync({KEYS[0]: OWN}, (0, 1))] for peer in given.pop("keep", ())],
        "writes": False,
    }
    return made | fields | given


def told_enough() -> list[Json]:
    """When a node knows how its journal ends (SPEC 3.5.1, 3.5.2)."""
    nothing, behind = sync({}), sync({KEYS[0]: OWN, KEYS[1]: head(0, 5, DIGESTS[1])})
    level = sync({KEYS[0]: OWN, KEYS[1]: OTHERS})
    two = {1: SAME, 2: SAME}
    more = two | {3: SAME, 4: sync({KEYS[0]: head(4, 3, DIGESTS[0])})}
    far = two | {3: SAME, 4: sync({KEYS[0]: head(2**52, 3, DIGESTS[0])})}
    silent = {"linked": (1, 2, 3)}
    return [
        gate("two of four peers told it", "3.5.1", two),
        gate("three of four did", "3.5.1", two | {3: SAME}, epoch=1),
        gate("three say nothing of its journal", "3.5.1", dict.fromkeys((1, 2, 3), nothing)),
        gate("one has a journal not held so far", "3.5.1", {1: behind, 2: SAME, 3: SAME}),
        gate("its journal is held so far", "3.5.1", {1: level, 2: SAME, 3: SAME}, epoch=1),
        gate("every linked peer, before the pause", "3.5.1", {1: SAME}),
        gate("every linked peer, after it", "3.5.1", {1: SAME}, waited="pause", epoch=1),
        gate("one linked peer told nothing", "3.5.1", {1: SAME}, linked=(1, 2), waited="pause"),
        gate("no link", "3.5.1", {}, waited="pause"),
        gate("two of four, one silent", "3.5.1", two, **silent, waited="pause"),
        gate("the same, at last", "3.5.1", two, **silent, waited="stall", epoch=1),
        gate("one claims more", "3.5.2", more),
        gate("one claims more, and is not believed", "3.5.3", more, doubted=(4,), epoch=5),
        gate("one claims an incredible epoch", "3.5.2", far, epoch=1),
    ]


def epochs() -> list[Json]:
    """Which epoch it chooses, and whether it may write under it (SPEC 3.5.3)."""
    two = {2: SAME, 3: SAME}

    def named(count: int, epoch: int) -> dict[int, str]:
        return two | {1: sync({KEYS[0]: OWN}, (count, epoch))}

    all_told, pause = two | {1: SAME}, {"linked": (1, 2), "waited": "pause"}
    return [
        gate("its beats are named", "3.5.3", named(9, 5), epoch=10),
        gate("an epoch above its count is named", "3.5.3", named(3, 7), epoch=8),
        gate("incredible beats are named", "3.5.3", named(2**52, 2**52), epoch=1),
        gate("the last credible beat", "3.5.3", named(2**52 - 1, 0), epoch=2**52),
        gate("a beat of its own is shown", "3.5.3", all_told, shown=[_beat(20, 7)], epoch=21),
        gate("one peer keeps it", "3.5.3.1", all_told, epoch=1, keep=(1,)),
        gate("two peers keep it", "3.5.3.1", all_told, epoch=1, keep=(1, 2), writes=True),
        gate(
            "one of two linked keeps it", "3.5.3.1", {1: SAME, 2: SAME}, **pause, epoch=1, keep=(1,)
        ),
        gate(
            "the only linked one keeps it",
            "3.5.3.1",
            {1: SAME},
            waited="pause",
            epoch=1,
            keep=(1,),
            writes=True,
        ),
    ]


def _beat(counter: int, epoch: int, author: int = 0) -> str:
    fields = {"run": RUN, "author": KEYS[author], "counter": counter, "epoch": epoch}
    rest = {"activity": "idle", "round": 0, "done": 0, "total": 0, "ready": True}
    beat = msg.Heartbeat.model_validate(fields | rest)
    return env.seal_heartbeat(beat, SIGNERS[author]).envelope.hex()


def beats() -> list[Json]:
    """Which beat of an author is held, and which kept (SPEC 4.6.1, 4.6.4)."""
    plans: list[tuple[str, list[tuple[int, int]], int, int]] = [
        ("in order", [(1, 1), (2, 1)], 2, 1),
        ("out of order", [(2, 1), (1, 1)], 2, 1),
        ("a higher epoch of a lower count", [(9, 2), (5, 5)], 9, 5),
        ("a lower epoch of a higher count", [(5, 5), (9, 2)], 9, 5),
        ("epoch 0 is not kept", [(3, 0)], 3, 0),
    ]
    return [
        case(name, "4.6.4", author=NAMES[1], beats=[_beat(*b, 1) for b in said], held=h, kept=k)
        for name, said, h, k in plans
    ]


def choices() -> Json:
    tables = {
        "moves": [*begins(), *orders(), *leads(), *stands()],
        "fences": fences(),
        "gates": [*told_enough(), *epochs()],
    }
    whole = shared([made for table in tables.values() for made in table])
    rest = iter(whole["cases"])
    manifests = {"tolerant": env.manifest_bytes(MANIFESTS["tolerant"]).hex()}
    numbered = {name: [next(rest) for _ in table] for name, table in tables.items()}
    return {
        "manifests": manifests,
        "timeout_s": TIMEOUT,
        "envelopes": whole["envelopes"],
        **numbered,
        "beats": beats(),
    }
