"""Canonical bytes and manifests (SPEC 1 and 2)."""

from typing import Any

from dcfm_node.methods.fedflow.schedule import Fedflow
from dcfm_node.networks.settings import UnetSettings
from dcfm_node.records import manifest as man
from dcfm_node.records.differing import differing_fields
from dcfm_node.records.settings import Training
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import pack, sha256
from vectors.common import MANIFEST, NAMES, SIGNERS, SNAPSHOT, Json, case, make_manifest, plain


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


def nested_maps(depth: int) -> Any:
    return {"": nested_maps(depth - 1)} if depth else 0


LONG = {size: "a" * size for size in (255, 256, 65_536)}


def longer_forms() -> list[tuple[str, str, str]]:
    """Every number and length in each form that is longer than it need be."""
    found = []
    unsigned = ((0xCC, 1, 127), (0xCD, 2, 255), (0xCE, 4, 65_535), (0xCF, 8, 2**32 - 1))
    for code, size, most in unsigned:
        for number in (0, most):
            text = bytes([code]).hex() + number.to_bytes(size, "big").hex()
            found.append((f"{number} as uint{8 * size}", "1.1.1", text))
    signed = ((0xD0, 1, -32), (0xD1, 2, -128), (0xD2, 4, -32_768), (0xD3, 8, -(2**31)))
    for code, size, least in signed:
        for number in (least, -1, 0):
            text = bytes([code]).hex() + number.to_bytes(size, "big", signed=True).hex()
            found.append((f"{number} as int{8 * size}", "1.1.1", text))
        last = 2 ** (8 * size - 1) - 1
        text = bytes([code]).hex() + last.to_bytes(size, "big").hex()
        found.append((f"{last} as int{8 * size}", "1.1.1", text))
    lengths = [
        ("text", 0xD9, 1, 31),
        ("text", 0xDA, 2, 255),
        ("text", 0xDB, 4, 255),
        ("bytes", 0xC5, 2, 255),
        ("bytes", 0xC6, 4, 255),
        ("array", 0xDC, 2, 15),
        ("array", 0xDD, 4, 16),
        ("map", 0xDE, 2, 1),
        ("map", 0xDF, 4, 1),
    ]
    items = {"text": "61", "bytes": "00", "array": "c0", "map": "a161c0"}
    for what, code, size, count in lengths:
        text = bytes([code]).hex() + count.to_bytes(size, "big").hex() + items[what] * count
        found.append((f"{what} of {count}, its length in {size} bytes", "1.1.1", text))
    return found


def canonical() -> Json:
    accepted: list[tuple[str, str, Any]] = [
        ("nil", "1.1", None),
        ("booleans", "1.1", [True, False]),
        (
            "integers at the borders of their forms",
            "1.1.1",
            [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1],
        ),
        (
            "negative integers",
            "1.1.1",
            [-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63)],
        ),
        ("floats", "1.1.2", [0.0, -0.0, 1.0, 0.1, 1e300, 5e-324]),
        ("text", "1.1.3", ["", "a" * 31, "a" * 32, "größe", "\U0001f600"]),
        ("bytes", "1.1.3", [b"", b"\x00\xff", b"a" * 255, b"a" * 256]),
        ("arrays", "1.1.1", [[], [0] * 15, [0] * 16]),
        ("keys in order, whatever their length", "1.1.4", {"": 0, "aa": 1, "b": 2, "ä": 3}),
        ("text keys before byte keys", "1.1.4", {"z": 0, b"": 1, b"aa": 2, b"b": 3}),
        ("sixteen deep", "1.1.5", nested(16)),
        ("sixteen deep, in maps", "1.1.5", nested_maps(16)),
        ("lengths at the borders of their forms", "1.1.1", [LONG[255], LONG[256], LONG[65_536]]),
        ("a map of sixteen", "1.1.1", {f"{number:02}": None for number in range(16)}),
    ]
    rejected = [
        ("empty", "1.2.1", ""),
        ("trailing byte", "1.2.1", "c0c0"),
        ("cut short", "1.2.1", "92c0"),
        ("integer in a longer form", "1.1.1", "cc01"),
        ("positive integer in a signed form", "1.1.1", "d07f"),
        ("text in a longer form", "1.1.1", "d90161"),
        ("array in a longer form", "1.1.1", "dc000100"),
        ("map in a longer form", "1.1.1", "de0001a16100"),
        ("bytes in a longer form", "1.1.1", "c5000161"),
        ("float32", "1.1.2", "ca3f800000"),
        ("ext type", "1.1.3", "d40100"),
        ("timestamp", "1.1.3", "d6ff00000000"),
        ("unassigned byte", "1.2.1", "c1"),
        ("invalid UTF-8", "1.2.1", "a1ff"),
        ("a surrogate in UTF-8", "1.2.1", "a3eda080"),
        ("keys out of order", "1.1.4", "82a16200a16100"),
        ("keys ordered by their encoding, short before long", "1.1.4", "82a16200a2616100"),
        ("byte key before text key", "1.1.4", "82c4016100a16100"),
        ("a key twice", "1.1.4", "82a16100a16100"),
        ("integer key", "1.1", "810000"),
        ("array key", "1.1", "81910000"),
        ("seventeen deep", "1.1.5", "91" * 17 + "00"),
        ("seventeen deep, in maps", "1.1.5", "81a0" * 17 + "00"),
        ("seventeen deep, in maps by bytes", "1.1.5", "81c400" * 17 + "00"),
        ("seventeen deep, the innermost empty", "1.1.5", "91" * 17 + "90"),
        *longer_forms(),
        ("far too deep", "1.1.5", "91" * 5_000 + "00"),
    ]
    return {
        "accepted": [case(n, c, value=plain(v), hex=pack(v).hex()) for n, c, v in accepted],
        "rejected": [case(n, c, hex=h) for n, c, h in rejected],
    }


CONTINUES = man.Continues(
    run=sha256(b"an earlier run"),
    student=SNAPSHOT,
    handovers=(man.Handover(name=NAMES[0], link_key=bytes(32), signature=bytes(64)),),
    replaced=(NAMES[1],),
)


def handovers() -> list[Json]:
    """The old key's signature over new ones, and signatures that are not that."""
    old, new, link = SIGNERS[0], SIGNERS[1].key, sha256(b"link key")
    domain = env.HANDOVER_DOMAIN
    plans = [
        ("handed over", env.hand_over(old, new, link), True),
        ("signed by the new key", SIGNERS[1].sign(domain + old.key + new + link), False),
        ("over another link key", env.hand_over(old, new, bytes(32)), False),
        ("without its domain", old.sign(old.key + new + link), False),
    ]
    keys = {"old": old.key.hex(), "new": new.hex(), "link_key": link.hex()}
    return [
        case(name, "2.7.2", **keys, signature=signature.hex(), holds=holds)
        for name, signature, holds in plans
    ]


def manifests() -> Json:
    base = MANIFEST.model_dump()
    digits = make_manifest(
        name="digits",
        sample_shape=(3, 8, 8),
        network=UnetSettings(width=32),
        policy=man.Policy(participation="tolerant", stall_s=60.0),
        roster=MANIFEST.roster[:3],
    )
    listed = make_manifest(
        name="listed",
        feasible=((0, 0), (0, 1), (1, 0)),
        attributes=(
            man.Attribute(name="mass", values=("0", "1"), absent="0"),
            man.Attribute(name="view", values=("front", "side")),
        ),
    )
    fedflow = make_manifest(method=Fedflow(local=Training(steps=10)))
    continued = make_manifest(name="continued", continues=CONTINUES)
    training = base["method"]["refine"]
    others = {
        "a setting of a stage": {"method": base["method"] | {"refine": training | {"steps": 999}}},
        "the roster": {"roster": base["roster"][:4]},
        "name, network and policy": {
            "name": "other",
            "network": base["network"] | {"width": 64},
            "policy": base["policy"] | {"stall_s": 1.0},
        },
    }
    differing = []
    for name, changes in others.items():
        other = man.Manifest.model_validate(base | changes)
        fields = list(differing_fields(MANIFEST, other))
        run = env.run_id(other).hex()
        differing.append(
            case(name, "2.6", manifest=env.manifest_bytes(other).hex(), run=run, fields=fields)
        )
    twice = {"name": "vertical", "values": ("a", "b")}
    wide = tuple({"name": f"a{i}", "values": tuple("abcdefghijklmnop")} for i in range(5))
    rejected: list[tuple[str, str, Json]] = [
        ("too many combinations", "2.4", {"attributes": wide}),
        ("two attributes of one name", "2.4", {"attributes": (*base["attributes"], twice)}),
        ("a value twice", "2.4", {"attributes": (twice | {"values": ("a", "a")},)}),
        (
            "an absent value that does not exist",
            "2.4",
            {"attributes": (twice | {"absent": "c"},)},
        ),
        ("feasible out of order", "2.4", {"feasible": ((0, 1), (0, 0))}),
        ("feasible twice", "2.4", {"feasible": ((0, 1), (0, 1))}),
        ("a feasible value that does not exist", "2.4", {"feasible": ((0, 2),)}),
        ("a feasible label of one value", "2.4", {"feasible": ((0,),)}),
        ("roster out of order", "2.4", {"roster": base["roster"][::-1]}),
        ("a key twice", "2.4", {"roster": (*base["roster"], base["roster"][0] | {"name": "zeno"})}),
        ("an empty roster", "2.2", {"roster": ()}),
        ("min_rounds above max_rounds", "2.4", {"method": base["method"] | {"min_rounds": 4}}),
        (
            "a schedule where the method has none",
            "2.3.1",
            {"method": fedflow.method.model_dump() | {"schedule": "paper"}},
        ),
        (
            "a stage that the method does not have",
            "2.3.1",
            {"method": fedflow.method.model_dump() | {"refine": training}},
        ),
        (
            "more averagings than steps",
            "2.4",
            {"method": fedflow.method.model_dump() | {"max_rounds": 11}},
        ),
        (
            "another method continued",
            "2.4",
            {"method": fedflow.method.model_dump(), "continues": CONTINUES.model_dump()},
        ),
        ("a unet on vectors", "2.4", {"network": base["network"] | {"kind": "unet"}}),
        ("unknown field", "1.2.2", {"extra": 0}),
        ("stall_s of 0", "2.2", {"policy": base["policy"] | {"stall_s": 0.0}}),
    ]
    unlike = base | {"policy": base["policy"] | {"stall_s": 600}}
    left_out = {name: value for name, value in base.items() if name != "policy"}
    no_audit = {name: value for name, value in base["policy"].items() if name != "audit"}
    unwritten = [
        ("a field with a default left out", left_out),
        ("a field of a field left out", base | {"policy": no_audit}),
        ("a float written as an integer", unlike),
    ]
    return {
        "domain": env.RUN_DOMAIN.hex(),
        "accepted": [
            case(
                m.name,
                "2.1",
                manifest=plain(m.model_dump()),
                hex=env.manifest_bytes(m).hex(),
                run=env.run_id(m).hex(),
                quorum=m.quorum,
            )
            for m in (MANIFEST, digits, fedflow, continued, listed)
        ],
        "handovers": handovers(),
        "differing": differing,
        "rejected": [case(n, c, hex=pack(base | changes).hex()) for n, c, changes in rejected]
        + [case(name, "2.1.1", hex=pack(fields).hex()) for name, fields in unwritten]
        + [
            case(name, "2.1.2", hex=pack(base | fields).hex())
            for name, fields in (
                ("feasible is empty", {"feasible": ()}),
                ("absent is nil", {"attributes": (twice | {"absent": None},)}),
            )
        ],
    }
