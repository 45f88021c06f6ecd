"""First and last values of every field of a manifest (SPEC 2.2 to 2.8), and those beyond."""

import math
from collections.abc import Iterator
from typing import Any

from dcfm_node.wire.canonical import pack
from vectors.bounds import D0, DIGEST, FLAG, NAME, RECORD, Values, integers, parts, squeezed, told
from vectors.common import Json, case, make_manifest
from vectors.readers import FEDFLOW

MANIFEST = make_manifest(standardise="auto")
STAGE = MANIFEST.model_dump()["method"]["local"]


def floats(least: float, most: float, *, open_below: bool = False) -> Values:
    """`open_below`: the least itself is too small."""
    first = math.nextafter(least, math.inf) if open_below else least
    last = [most] if math.isfinite(most) else [1.7e308]
    above = [math.nextafter(most, math.inf)] if math.isfinite(most) else []
    below = [least if open_below else math.nextafter(least, -math.inf)]
    bad: list[Any] = [*below, *above, float("nan"), math.inf, 1, True, None, "1"]
    return [first, *last], bad


def words(*known: str) -> Values:
    return list(known), ["", known[0].upper(), "other", None, 0]


POSITIVE = floats(0.0, math.inf, open_below=True)
ROUNDS = integers(1, 1_000)
STAGES = parts(
    STAGE,
    steps=integers(1, 10**8),
    batch=integers(1, 65_536),
    learning_rate=floats(0.0, 1.0, open_below=True),
    ci_weight=floats(0.0, 1e6),
    ci_batch=integers(1, 65_536),
    product_share=floats(0.0, 1.0),
    patience=integers(0, 100),
)
MASKS = parts(
    {"full": 0.6, "marginal": 0.3, "null": 0.1}, full=POSITIVE, marginal=POSITIVE, null=POSITIVE
)
WEIGHT = floats(0.0, 100.0)
GUIDANCE = parts(
    {"known": 1.0, "novel": 1.0, "from_t": 0.0, "to_t": 1.0, "shares": []},
    known=WEIGHT,
    novel=WEIGHT,
    from_t=floats(0.0, 1.0),
    to_t=floats(0.0, 1.0),
    shares=(
        [[1.0] * len(MANIFEST.attributes)],
        [[1.0], [1.0] * 33, None, *([each, each] for each in WEIGHT[1])],
    ),
)
GUIDANCE[1].append({"known": 1.0, "novel": 1.0, "from_t": 0.6, "to_t": 0.5, "shares": []})
REPLAY = parts(
    {"rounds": 0, "steps": 300, "per_combination": 120, "guidance": [1.3]},
    rounds=integers(0, 20),
    steps=integers(1, 100_000),
    per_combination=integers(10, 1_000),
    guidance=(
        [[], [1.0] * 8, *([each] for each in WEIGHT[0])],
        [[1.0] * 9, None, *([each] for each in WEIGHT[1])],
    ),
)
EMA = floats(0.0, math.nextafter(1.0, 0.0))
SHAPES: Values = (
    [[1], [10**8], [1, 1], [2, 2, 2]],
    [[], [1, 1, 1, 1], [0], [10**8 + 1], [1.0], [True], None, 2],
)


def texts(least: int, most: int) -> Values:
    return ["a" * least, "\u00e4" * most], ["a" * (least - 1), "a" * (most + 1), None, b"a"]


def attributes() -> Values:
    one = {"name": "a", "values": ["x", "y"]}
    several = [{"name": f"a{number:02}", "values": ["x", "y"]} for number in range(17)]
    many = [f"v{number}" for number in range(1_001)]
    values = [["x", text] for text in texts(1, 64)[0]], [["x", text] for text in texts(1, 64)[1]]
    fit, bad = parts(
        one,
        name=NAME,
        values=(
            [["x", "y"], many[:1_000], *values[0]],
            [["x"], [], many, ["x", "x"], None, *values[1]],
        ),
    )
    wide = [several[0], {"name": "b", "values": many[:1_000]}, {"name": "c", "values": many[:33]}]
    again = [one, {"name": "a", "values": ["z", "w"]}]
    return [[each] for each in fit] + [several[:16]], [
        [],
        several,
        wide,
        again,
        *([b] for b in bad),
    ]


def roster() -> Values:
    one, two = (
        {"name": name, "key": bytes([number]) * 32} for name, number in (("a", 1), ("b", 2))
    )
    fit, bad = parts(one, name=NAME, key=DIGEST)
    bad_rosters = [[], [two, one], [one, one], [one, two | {"key": one["key"]}]]
    bad_rosters.append([one, one | {"key": two["key"]}])
    return [[one, two], *([each] for each in fit)], [*bad_rosters, *([each] for each in bad), None]


def continued() -> Values:
    signature: Values = [bytes(64)], [bytes(63), bytes(65), None]
    handover = {"name": "a", "link_key": D0, "signature": bytes(64)}
    hand = parts(handover, name=NAME, link_key=DIGEST, signature=signature)
    two = floats(-(2.0**128), 2.0**128)
    above = floats(0.0, 2.0**128, open_below=True)
    wrong: list[Any] = [[], [1.0], [1.0] * 3, [1.0] * 4_097, None]
    scale = parts(
        {"mean": [0.0, 1.0], "deviation": [1.0, 2.0]},
        mean=([[0.0, each] for each in two[0]], [*wrong, *([0.0, each] for each in two[1])]),
        deviation=(
            [[1.0, each] for each in above[0]],
            [*wrong, *([1.0, each] for each in above[1])],
        ),
    )
    fit, bad = parts(
        {"run": D0, "student": None, "scale": None, "handovers": [], "replaced": []},
        run=DIGEST,
        scale=([None, *scale[0]], [each for each in scale[1] if each is not None]),
        student=([None, *RECORD[0]], [each for each in RECORD[1] if each is not None]),
        handovers=(
            [[], [handover] * 1_000, *([each] for each in hand[0])],
            [[handover] * 1_001, None, *([each] for each in hand[1])],
        ),
        replaced=(
            [[], ["a"] * 1_000, *([name] for name in NAME[0])],
            [["a"] * 1_001, None, *([name] for name in NAME[1])],
        ),
    )
    return [None, *fit], [each for each in bad if each is not None]


COMMON: dict[str, Values] = {
    "masks": MASKS,
    "local": STAGES,
    "solver_steps": ROUNDS,
    "solver": words("euler", "midpoint", "heun", "rk4", "adams"),
    "composed": FLAG,
    "guidance": GUIDANCE,
    "seed": integers(0, 2**31),
}
FEW = floats(0.0, 1.0)
METHODS: dict[str, dict[str, Values]] = {
    "dcfm": {
        "schedule": words("alternating", "paper"),
        "min_rounds": ([1, 3], integers(1, 3)[1]),
        "max_rounds": ROUNDS,
        "tolerance": FEW,
        "refine": STAGES,
        "distil": STAGES,
        "replay": REPLAY,
        "ema": EMA,
    },
    "fedflow": {"max_rounds": ROUNDS},
    "ddm": {
        "routing": ([], [*words("label")[1], "trained"]),
        "top_k": integers(0, 1_000),
        "ema": EMA,
    },
    "dfd": {"top_k": integers(0, 1_000), "ema": EMA},
}
POLICY = parts(
    MANIFEST.model_dump()["policy"] | {"duty_s": 1e6},
    participation=words("strict", "tolerant"),
    stall_s=floats(0.0, 1e6, open_below=True),
    duty_s=([600.0, 1e8], [599.9, *floats(0.0, 1e8)[1]]),
    max_share=floats(0.0, 1.0, open_below=True),
    endorse_ratio=POSITIVE,
    novel_floor=floats(0.0, 1.0),
    audit=FLAG,
)
NETWORK = parts(
    MANIFEST.model_dump()["network"],
    kind=([], [*words("mlp")[1], "unet", "mixer", "transformer"]),
    width=integers(8, 4_096),
    depth=integers(1, 16),
    predict=words("sample", "velocity"),
)
CODEC = parts(
    {"kind": "linear", "file": D0, "shape": [2]},
    kind=([], words("linear")[1]),
    file=DIGEST,
    shape=SHAPES,
)
CODE = {"kind": "networks", "name": "other", "distribution": "a", "version": "1"}
FIELDS: dict[str, Values] = {
    "name": NAME,
    "sample_shape": SHAPES,
    "attributes": attributes(),
    "domain": ([], [{"kind": "other"}, {"kind": "plain", "extra": 0}, {}, None]),
    "codec": (CODEC[0], [*CODEC[1], {}, {"kind": "identity", "file": D0}]),
    "standardise": words("auto", "feature", "channel", "none"),
    "network": NETWORK,
    "path": ([], [{"kind": "other"}, {"kind": "linear", "extra": 0}, {}, None]),
    "plugins": ([[]], [[CODE], None]),
    "policy": POLICY,
    "transfer": parts(
        {"precision": "f32", "delta": False}, precision=words("f32", "bf16"), delta=FLAG
    ),
    "probes": parts({"share": 0.15, "margin": 1}, share=FEW, margin=integers(1, 1_000)),
    "roster": roster(),
    "continues": continued(),
}


def methods() -> Iterator[tuple[str, Json, bool]]:
    """Each method with its own settings, and with one that it does not have."""
    dcfm = MANIFEST.model_dump()["method"]
    common = {name: dcfm[name] for name in (*COMMON, "ema")}
    bases = {
        "dcfm": dcfm,
        "fedflow": FEDFLOW.model_dump()["method"],
        "ddm": common | {"name": "ddm", "routing": "label", "top_k": 0, "distil": None},
        "dfd": common | {"name": "dfd", "top_k": 0},
    }
    elsewhere = {field: value for base in reversed(bases.values()) for field, value in base.items()}
    for name, base in bases.items():
        for what, method, fits in told(base, METHODS[name] | (COMMON if name == "dcfm" else {})):
            yield f"{name}: {what}", method, fits
        for field in elsewhere.keys() - base.keys() - {"name"}:
            yield f"{name}: {field}, not its own", base | {field: elsewhere[field]}, False
    trained = bases["ddm"] | {"routing": "trained", "distil": STAGE}
    yield "ddm: trained, with its stage", trained, True
    yield "ddm: trained, without it", trained | {"distil": None}, False
    yield "ddm: by label, with a stage", trained | {"routing": "label"}, False
    fedflow = bases["fedflow"]
    yield "fedflow: as many rounds as steps", fedflow | {"local": STAGE | {"steps": 2}}, True
    yield "fedflow: more rounds than steps", fedflow | {"local": STAGE | {"steps": 1}}, False
    yield "fedflow: patience", fedflow | {"local": STAGE | {"patience": 1}}, False
    yield "dcfm: min_rounds above max_rounds", dcfm | {"min_rounds": 4}, False
    yield "another name", dcfm | {"name": "other"}, False


BASE = pack(MANIFEST.model_dump())


def spliced(whole: Json) -> Json:
    """A manifest as what takes the place of some bytes of `BASE`."""
    data = pack(whole)
    most = min(len(data), len(BASE))
    start = next((i for i in range(most) if data[i] != BASE[i]), most)
    rest = most - start
    kept = next((i for i in range(rest) if data[-1 - i] != BASE[-1 - i]), rest)
    middle = squeezed(data[start : len(data) - kept])
    return {"splice": [start, len(BASE) - kept], **middle}


def settings() -> Iterator[Json]:
    """Cases of `bounds.json`."""
    base = MANIFEST.model_dump()
    clauses = {"continues": "2.7", "plugins": "2.8.1"}
    for name, whole, fits in told(base, FIELDS):
        clause = clauses.get(name.split(",")[0], "2.2")
        yield case(f"manifest: {name}", clause, what="manifest", **spliced(whole), fits=fits)
    for name, method, fits in sorted(methods(), key=lambda told: told[0]):
        whole = base | {"method": method}
        yield case(f"method: {name}", "2.3", what="manifest", **spliced(whole), fits=fits)
    image = base | {"sample_shape": [3, 8, 8]}
    unet = base["network"] | {"kind": "unet"}
    latent = {"kind": "linear", "file": D0, "shape": [1, 8, 8]}
    tokens = base | {
        "network": base["network"] | {"kind": "transformer", "predict": "sample", "causal": False},
        "path": {"kind": "discrete", "tokens": 3, "source": "mask", "power": 1.0},
        "method": base["method"] | {"solver": "tau-leaping"},
    }
    dfd = {name: tokens["method"][name] for name in (*COMMON, "ema")} | {"name": "dfd", "top_k": 0}
    goes_on = {"run": D0, "student": None, "scale": None, "handovers": [], "replaced": []}
    other = FEDFLOW.model_dump()["method"]
    plans = [
        ("a unet on images", image | {"network": unet}, True),
        ("a unet on series", base | {"sample_shape": [2, 9], "network": unet}, True),
        ("a unet on vectors", base | {"network": unet}, False),
        ("a mixer on images", image | {"network": unet | {"kind": "mixer"}}, True),
        ("a mixer on vectors", base | {"network": unet | {"kind": "mixer"}}, False),
        ("a unet on encoded images", base | {"network": unet, "codec": latent}, True),
        (
            "a unet on vectors of images",
            image | {"network": unet, "codec": latent | {"shape": [9]}},
            False,
        ),
        ("tokens", tokens, True),
        (
            "tokens in order",
            tokens
            | {
                "network": tokens["network"] | {"causal": True},
                "path": {"kind": "autoregressive", "tokens": 3},
            },
            True,
        ),
        ("tokens in no order", tokens | {"path": {"kind": "autoregressive", "tokens": 3}}, False),
        ("tokens in an mlp", tokens | {"network": base["network"]}, False),
        ("tokens in a codec", tokens | {"codec": latent | {"shape": [2]}}, False),
        ("4,096 tokens", tokens | {"sample_shape": [2, 2_048]}, True),
        ("4,097 tokens", tokens | {"sample_shape": [4_097]}, False),
        ("tokens by energies", tokens | {"method": dfd}, False),
        ("tokens by an ODE", tokens | {"method": base["method"] | {"solver": "heun"}}, False),
        ("numbers by jumps", base | {"method": tokens["method"]}, False),
        ("numbers in a transformer", base | {"network": tokens["network"]}, False),
        ("another method that continues", base | {"method": other, "continues": goes_on}, False),
    ]
    for name, whole, fits in plans:
        yield case(f"manifest: {name}", "2.4", what="manifest", **spliced(whole), fits=fits)
