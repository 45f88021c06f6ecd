"""First and last values of every field, and what lies beyond (SPEC 1.2.2, 3.6, 4, 10.1)."""

import math
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, get_args

from dcfm_node.records import entries as rec
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import pack
from vectors.common import MANIFEST, RUN, SIGNERS, Json, bodies, case

D0, D1 = bytes(32), b"\xff" * 32
SNAPSHOT = {"digest": D0, "size": 1}
HEAD = {"epoch": 0, "seq": -1, "digest": D0, "forked": -1}
ABSENT = object()

Values = tuple[list[Any], list[Any]]
"""Those that fit, and those that do not."""


def integers(least: int, most: int) -> Values:
    return [least, most], [least - 1, most + 1, True, float(most), None, str(least)]


def texts(most: int) -> Values:
    return ["", "\u00e4" * most], ["a" * (most + 1), None, b"", 0]


def blobs(most: int) -> Values:
    return [b"", bytes(most)], [bytes(most + 1), None, ""]


def lists(item: Any, least: int, most: int) -> Values:
    """Lists of one item, over and over."""
    few = [[item] * (least - 1)] if least else []
    return [[item] * least, [item] * most], [*few, [item] * (most + 1), None, {}, b""]


def maps(value: Any, most: int, key: int = 32) -> Values:
    """Maps by keys that count up."""
    full, more = (
        {number.to_bytes(2, "big") + bytes(key - 2): value for number in range(size)}
        for size in (most, most + 1)
    )
    return [{}, full], [more, {bytes(key - 1): value}, {bytes(key + 1): value}, {"": value}, []]


def parts(base: Json, /, **fields: Values) -> Values:
    """Maps: each field in turn takes its values, and each is left out, and one is too many."""
    fit, bad = [base], [{**base, "extra": 0}, None, []]
    for name, (fits, breaks) in fields.items():
        fit += [base | {name: value} for value in fits if value is not ABSENT]
        bad += [base | {name: value} for value in breaks]
        rest = {key: value for key, value in base.items() if key != name}
        (fit if ABSENT in fits else bad).append(rest)
    return fit, bad


DIGEST: Values = [D0, D1], [bytes(31), bytes(33), "a" * 32, None]
NAME: Values = (
    ["a", "0", "a" * 32, "0-_9"],
    ["", "A", "-a", "_a", "a" * 33, "a b", "a\n", "\u00e4", b"a", None],
)
FLAG: Values = [False, True], [0, 1, None, "true"]
ROUND, TERM, COUNT = integers(0, 10_000), integers(1, 2**40), integers(0, 2**53)
SEQ = integers(0, 100_000)
REASON, VERSION = texts(500), texts(32)
METRICS: Values = (
    [
        {},
        {f"m{number:02}": 0.0 for number in range(32)},
        {"\u00e4" * 64: 1e12},
        {"": -1e12},
        {"m": -0.0},
        {"m": 1},
        {"m": 10**12},
    ],
    [
        {f"m{number:02}": 0.0 for number in range(33)},
        {"a" * 65: 0.0},
        {"m": 1000000000000.0001},
        {"m": -1000000000000.0001},
        {"m": 10**12 + 1},
        {"m": float("nan")},
        {"m": float("inf")},
        {"m": True},
        {"m": None},
        {"m": "0"},
        {b"m": 0.0},
        [],
    ],
)
RECORD = parts(SNAPSHOT, digest=DIGEST, size=integers(1, 2**33))
DELTA = parts({"base": D0, "coded": SNAPSHOT}, base=DIGEST, coded=RECORD)
MAYBE_DELTA: Values = [None, ABSENT, *DELTA[0]], [bad for bad in DELTA[1] if bad is not None]
MAYBE_DIGEST: Values = [None, D0], [bytes(31), bytes(33), "a" * 32]
CAUSES: Values = list(get_args(rec.Cause)), ["", "Fork", "other", None, b"fork"]


def digests(least: int, most: int) -> Values:
    fit, bad = lists(D0, least, most)
    return fit, [*bad, [bytes(31)], ["a" * 32], [None]]


def counted() -> Values:
    """The counts of a join: how many, and the bounds of a label and a count."""
    fit, bad = lists([[], 0], 0, 65_536)
    for number in (0, 1_000):
        fit.append([[[number], 0]])
    fit += [[[[0] * 32, 0]], [[[], 2**53]]]
    for label in ([-1], [1_001], [True], [0.0], [0] * 33, None, b"\0"):
        bad.append([[label, 0]])
    bad += [[[[], number]] for number in (-1, 2**53 + 1, True, 0.0)]
    return fit, [*bad, [[[]]], [[[], 0, 0]], [{}]]


def stated() -> Values:
    """A join's moments: how many, and the bounds of a mean and a deviation."""

    def numbers(least: float, most: float) -> Values:
        fit, bad = lists(0.0, 1, 4_096)
        beyond = (math.nextafter(least, -math.inf), math.nextafter(most, math.inf))
        bad += [[number] for number in (*beyond, math.nan, math.inf, True, None, "0", b"")]
        return [*fit, [least], [most], [1]], bad

    fit, bad = parts(
        {"mean": [0.0], "deviation": [1.0]},
        mean=numbers(-(2.0**128), 2.0**128),
        deviation=numbers(0.0, 2.0**128),
    )
    return [None, ABSENT, *fit], [value for value in bad if value is not None]


LABELS = lists([0], 0, 65_536)
PREPARATION = parts(
    {"joins": [D0], "probes": [], "scale": None},
    scale=([None, ABSENT, {"mean": [0.0], "deviation": [1.0]}], [{"mean": [0.0]}, []]),
    joins=digests(1, 1_000),
    probes=([*LABELS[0], [[0] * 32]], [*LABELS[1], [[0] * 33], [[1_001]], [[-1]], [None]]),
)


def scored() -> Values:
    fit, bad = lists([D0, {}], 0, 1_000)
    bad += [[[D0]], [[D0, {}, 0]], [[bytes(31), {}]], *([[D0, m]] for m in METRICS[1])]
    return [*fit, *([[D0, m]] for m in METRICS[0])], bad


FIELDS: dict[str, dict[str, Values]] = {
    "join": {
        "name": NAME,
        "distils": FLAG,
        "version": VERSION,
        "counts": counted(),
        "moments": stated(),
    },
    "expert": {
        "round": ROUND,
        "snapshot": RECORD,
        "delta": MAYBE_DELTA,
        "parents": digests(0, 1_001),
        "metrics": METRICS,
    },
    "audit": {"round": ROUND, "scores": scored()},
    "vote": {"term": TERM, "round": ROUND, "candidate": DIGEST},
    "lease": {"term": TERM, "round": ROUND, "votes": digests(1, 1_000)},
    "propose": {"term": TERM, "preparation": PREPARATION},
    "accept": {"term": TERM, "preparation": PREPARATION},
    "checkpoint": {
        "term": TERM,
        "round": ROUND,
        "lease": DIGEST,
        "snapshot": RECORD,
        "teachers": digests(1, 1_000),
        "step": COUNT,
    },
    "student": {
        "term": TERM,
        "round": ROUND,
        "lease": DIGEST,
        "snapshot": RECORD,
        "delta": MAYBE_DELTA,
        "teachers": digests(1, 1_000),
        "missing": digests(0, 1_000),
        "resumed": MAYBE_DIGEST,
        "final": FLAG,
        "seed": COUNT,
        "version": VERSION,
        "metrics": METRICS,
    },
    "endorse": {"student": DIGEST, "metrics": METRICS},
    "refuse": {"student": DIGEST, "reason": REASON, "metrics": METRICS},
    "verdict": {"subject": DIGEST, "cause": CAUSES, "entry": MAYBE_DIGEST, "reason": REASON},
    "withdraw": {"reason": REASON},
}
BASES = {body.kind: body.model_dump() for body in reversed(bodies())}


def told(base: Json, fields: dict[str, Values]) -> Iterator[tuple[str, Json, bool]]:
    """(what is tried, the whole map, whether it fits): one field differs from `base`."""
    yield "an unknown field", base | {"extra": 0}, False
    for name, values in fields.items():
        if ABSENT not in values[0]:
            yield f"{name}, left out", {k: v for k, v in base.items() if k != name}, False
        for fits, found in zip((True, False), values, strict=True):
            for value in found:
                yield f"{name}, {shown(value)}", _with(base, name, value), fits


def _with(base: Json, name: str, value: Any) -> Json:
    if value is ABSENT:
        return {key: found for key, found in base.items() if key != name}
    return base | {name: value}


def shown(value: Any) -> str:
    """A value in a few words, for the name of a case."""
    match value:
        case _ if value is ABSENT:
            return "left out"
        case bytes():
            return f"{len(value)} bytes"
        case str() if len(value) > 20:
            return f"{len(value)} characters"
        case list() | dict() if len(value) > 2:
            return f"{len(value)} in a {type(value).__name__}"
        case list() | dict():
            text = re.sub(r"(\\x..|\\n| )+", "_", repr(value))
            return text if len(text) < 60 else f"{text[:56]}..."
    return repr(value)


RISING = re.compile(rb"(\xc4[\x1f-\x21])\0\0(\0{29,31}.{1,90}?)\1\0\x01\2", re.S)
"""Two neighbours in a map whose keys count up."""
REPEATED = re.compile(rb"(.{1,160}?)\1{60,}", re.S)


def squeezed(data: bytes) -> Json:
    """Bytes as `hex`, or in `pieces` where they are long and repeat themselves."""
    if len(data) < 1_024:
        return {"hex": data.hex()}
    found: list[list[Any]] = []
    place = 0
    if rising := RISING.search(data):
        (head, tail), at = rising.groups(), rising.start()
        times, found = 0, [[data[:at].hex(), 1]]
        while data.startswith(unit := head + times.to_bytes(2, "big") + tail, at):
            at, times = at + len(unit), times + 1
        found.append([head.hex(), tail.hex(), 0, times])
        place = at
    else:
        for run in REPEATED.finditer(data):
            found.append([data[place : run.start()].hex(), 1])
            found.append([run[1].hex(), len(run[0]) // len(run[1])])
            place = run.end()
    return {"pieces": [*found, [data[place:].hex(), 1]]}


def entries() -> Iterator[Json]:
    whole = {"run": RUN, "author": SIGNERS[0].key, "epoch": 0, "seq": 0, "prev": RUN, "time_ms": 0}

    def sealed(fields: Json, clause: str, name: str, fits: bool) -> Json:
        body = pack(fields)
        envelope = pack((body, SIGNERS[0].sign(env.ENTRY_DOMAIN + body)))
        return case(name, clause, what="entry", **squeezed(envelope), fits=fits)

    for kind, fields in FIELDS.items():
        for name, body, fits in told(BASES[kind], fields):
            yield sealed(whole | {"body": body}, "3.6", f"{kind}: {name}", fits)
    fields = {"run": DIGEST, "epoch": COUNT, "seq": SEQ, "prev": DIGEST, "time_ms": COUNT}
    for name, entry, fits in told(whole | {"body": BASES["withdraw"]}, fields):
        yield sealed(entry, "3.1", f"entry: {name}", fits)


def signed() -> Iterator[Json]:
    """Beats and labels of bundles."""
    heads = maps(HEAD, 1_000)
    author = SIGNERS[0].key
    beat = {"run": RUN, "author": author, "counter": 2**53, "epoch": 0, "activity": "idle"}
    beat |= {"round": 0, "done": 0, "total": 0, "ready": False}
    label = {"run": RUN, "author": author, "version": "", "heads": {}, "held": {}}
    label |= {"manifest": env.manifest_bytes(MANIFEST), "entries": D0}
    plans: list[tuple[str, str, bytes, Json, dict[str, Values]]] = [
        (
            "beat",
            "4.6",
            env.HEARTBEAT_DOMAIN,
            beat,
            {
                "run": DIGEST,
                "epoch": COUNT,
                "activity": texts(32),
                "round": ROUND,
                "done": COUNT,
                "total": COUNT,
                "ready": FLAG,
            },
        ),
        ("beat", "4.6", env.HEARTBEAT_DOMAIN, beat, {"counter": COUNT}),
        (
            "label",
            "10.1.1",
            env.BUNDLE_DOMAIN,
            label,
            {
                "run": DIGEST,
                "version": VERSION,
                "manifest": blobs(262_144),
                "heads": heads,
                "held": maps(True, 4_096),
                "entries": DIGEST,
            },
        ),
    ]
    for what, clause, domain, base, fields in plans:
        for name, whole, fits in told(base, fields):
            body = pack(whole)
            envelope = pack((body, SIGNERS[0].sign(domain + body)))
            yield case(f"{what}: {name}", clause, what=what, **squeezed(envelope), fits=fits)
    body = pack(beat | {"counter": 4, "epoch": 5})
    envelope = pack((body, SIGNERS[0].sign(env.HEARTBEAT_DOMAIN + body)))
    yield case("beat: counter below epoch", "4.6", what="beat", **squeezed(envelope), fits=False)


def messages() -> Iterator[Json]:
    head = parts(
        HEAD,
        epoch=COUNT,
        seq=integers(-1, 100_000),
        digest=DIGEST,
        forked=([-1, 100_000, ABSENT], integers(-1, 100_000)[1]),
    )
    heads, beats = maps(HEAD, 1_000), maps([0, 0], 1_000)
    pairs = [[n, 0] for n in (-1, 2**53 + 1, True)], [[0, n] for n in (-1, 2**53 + 1, 0.0)]
    shown_beats = [[2**53, 2**53]], [*pairs[0], *pairs[1], [0], [0, 0, 0], None, {}]
    large = bytes(524_288)
    plans: list[tuple[Json, str, dict[str, Values]]] = [
        (
            {"kind": "sync", "run": RUN, "version": "", "heads": {}, "beats": {}, "reply": True},
            "4.3",
            {
                "run": DIGEST,
                "version": VERSION,
                "reply": FLAG,
                "heads": (
                    [*heads[0], *({D0: value} for value in head[0])],
                    [*heads[1], *({D0: value} for value in head[1])],
                ),
                "beats": (
                    [*beats[0], *({D0: value} for value in shown_beats[0])],
                    [*beats[1], *({D0: value} for value in shown_beats[1])],
                ),
            },
        ),
        (
            {"kind": "entries", "run": RUN, "entries": [], "beats": []},
            "4.4",
            {
                "run": DIGEST,
                "entries": (
                    [*lists(b"", 0, 4_096)[0], [large]],
                    [*lists(b"", 0, 4_096)[1], [large + b"\0"], [""], [None]],
                ),
                "beats": (
                    [*lists(b"", 0, 1_000)[0], [bytes(4_096)]],
                    [*lists(b"", 0, 1_000)[1], [bytes(4_097)], [""]],
                ),
            },
        ),
        (
            {"kind": "mismatch", "run": RUN, "version": "", "manifest": b"", "reason": ""},
            "4.5",
            {"run": DIGEST, "version": VERSION, "manifest": blobs(262_144), "reason": REASON},
        ),
    ]
    for base, clause, fields in plans:
        for name, message, fits in told(base | {"protocol": 1}, fields):
            yield case(
                f"{base['kind']}: {name}",
                clause,
                what="message",
                **squeezed(pack(message)),
                fits=fits,
            )
    empty = plans[1][0] | {"protocol": 1}
    around = len(pack(empty | {"entries": [large, large[:500_000]]})) - 1_024_288
    for size, fits in ((1_048_576, True), (1_048_577, False)):
        data = pack(empty | {"entries": [large, bytes(size - around - len(large))]})
        assert len(data) == size
        name = f"a message of {size} bytes"
        yield case(name, "4.1.2", what="message", **squeezed(data), fits=fits)


def once(cases: Iterable[Json]) -> list[Json]:
    """Every case once: what is tried of a field may be what it is by default."""
    found = {}
    for made in cases:
        found[str([made.get(name) for name in ("hex", "pieces", "splice")])] = made
    return list(found.values())


def bounds() -> Iterator[Json]:
    """Of records, beats, labels and messages."""
    return chain(entries(), signed(), messages())
