"""SPEC 2: what a manifest may say, and how two of them are compared."""

import pytest
from pydantic import ValidationError

from dcfm_node.errors import PeerError
from dcfm_node.records.differing import MAX_TOLD, differences, differing_fields
from dcfm_node.records.manifest import Manifest, Policy, Silo
from dcfm_node.records.messages import Head
from dcfm_node.records.settings import Training
from dcfm_node.wire.canonical import pack
from dcfm_node.wire.envelope import decode_manifest, manifest_bytes
from tests.unit.swarm.builders import Run

MANIFEST = Run(4).manifest


CONTINUES = {"run": bytes(32), "student": None}
TWO = (0.0, 0.0)


def changed(**changes: object) -> Manifest:
    return Manifest.model_validate({**dict(MANIFEST), **changes})


def test_a_run_may_list_what_is_feasible() -> None:
    """Without a list it has the bytes of before (SPEC 2.1.2)."""
    assert b"feasible" not in manifest_bytes(MANIFEST)
    assert (MANIFEST.combinations, [*MANIFEST.space()][:2]) == (4, [(0, 0), (0, 1)])
    listed = changed(feasible=((0, 1), (1, 0)))
    assert decode_manifest(manifest_bytes(listed)) == listed
    assert (listed.combinations, [*listed.space()]) == (2, [(0, 1), (1, 0)])
    assert differing_fields(MANIFEST, listed) == ("feasible",)
    with pytest.raises(PeerError, match="not every field"):
        decode_manifest(pack({**MANIFEST.model_dump(), "feasible": ()}))
    one = {"name": "mass", "values": ("0", "1")}
    sets = changed(attributes=(one | {"absent": "0"}, *MANIFEST.attributes[1:]))
    assert (MANIFEST.absent, sets.absent) == ((), (0, -1))
    assert decode_manifest(manifest_bytes(sets)) == sets
    with pytest.raises(ValidationError, match="has no value '2'"):
        changed(attributes=(one | {"absent": "2"},))
    for wrong in (((1, 0), (0, 1)), ((0, 1), (0, 1)), ((0, 2),), ((0,),)):
        with pytest.raises(ValidationError, match="feasible"):
            changed(feasible=wrong)


@pytest.mark.parametrize(("nodes", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 4)])
def test_a_quorum_is_a_majority(nodes: int, quorum: int) -> None:
    assert Run(nodes).manifest.quorum == quorum


def test_names_are_for_members_and_digits_for_strangers() -> None:
    assert MANIFEST.silo_name(MANIFEST.roster[1].key) == "silo-0001"
    assert MANIFEST.silo_name(b"\xab" * 32) == "abababab"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"roster": MANIFEST.roster[::-1]}, "sorted by name"),
        ({"roster": (MANIFEST.roster[0],) * 2}, "sorted by name"),
        ({"attributes": (MANIFEST.attributes[0],) * 2}, "two attributes have the same name"),
        ({"attributes": MANIFEST.attributes * 9}, "combinations"),
        ({"network": {"kind": "unet"}}, "unet"),
        ({"method": MANIFEST.method.model_copy(update={"min_rounds": 9})}, "min_rounds"),
        ({"policy": {"stall_s": 0.0}}, "stall_s"),
        ({"standardise": "channels"}, "standardise"),
        ({"continues": CONTINUES | {"scale": {"mean": (0.0,), "deviation": (1.0,)}}}, "1 groups"),
        ({"continues": CONTINUES | {"scale": {"mean": TWO, "deviation": (0.0, 1.0)}}}, "above 0"),
        ({"continues": CONTINUES | {"scale": {"mean": TWO, "deviation": (1.0,)}}}, "as many"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        changed(**changes)


LOCAL = Training(steps=10)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"name": "fedflow", "schedule": "paper"}, "method.schedule"),
        ({"name": "fedflow", "refine": LOCAL}, "method.refine"),
        ({"name": "fedflow", "ema": 0.5}, "method.ema"),
        ({"name": "fedflow", "max_rounds": 11}, "method.max_rounds exceeds method.local.steps"),
        (
            {"name": "fedflow", "local": Training(steps=10, patience=1)},
            "method.local.patience is not 0",
        ),
        ({"name": "ddm", "max_rounds": 2}, "method.max_rounds"),
        ({"name": "ddm", "distil": LOCAL}, "method.distil and method.routing"),
        ({"name": "ddm", "routing": "trained"}, "method.distil and method.routing"),
        ({"name": "dfd", "routing": "trained"}, "method.routing"),
        ({"refine": LOCAL}, "method.distil"),
        ({"refine": LOCAL, "distil": LOCAL, "top_k": 1}, "method.top_k"),
        ({"name": "dccfm"}, "method.name is 'dccfm': no installed package"),
        ({"name": 7}, "name is not text"),
    ],
)
def test_a_setting_that_the_method_does_not_have_is_refused(
    settings: dict[str, object], why: str
) -> None:
    with pytest.raises(ValidationError, match=why):
        changed(method={"local": LOCAL} | settings)


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({"name": "fedflow"}, 2),
        ({"name": "fedflow", "max_rounds": 10}, 9),
        ({"name": "ddm", "top_k": 2}, 0),
        ({"name": "ddm", "routing": "trained", "distil": LOCAL}, 0),
        ({"name": "dfd", "top_k": 1, "ema": 0.9}, 0),
        ({"refine": LOCAL, "distil": LOCAL}, 3),
    ],
)
def test_a_method_with_its_own_settings_is_accepted(settings: dict[str, object], last: int) -> None:
    manifest = changed(method={"local": LOCAL} | settings)
    assert manifest.method.last_round == last
    # What was left out is written out on the wire, and means the same there.
    assert decode_manifest(manifest_bytes(manifest)) == manifest


def test_differing_fields_are_named_by_their_path() -> None:
    policy = Policy(participation="tolerant", stall_s=MANIFEST.policy.stall_s)
    assert differing_fields(MANIFEST, changed(policy=policy, name="another")) == (
        "name",
        "policy.participation",
    )
    assert differing_fields(MANIFEST, changed()) == ()


def test_where_rosters_differ_the_silos_are_named() -> None:
    first, second, third, _ = MANIFEST.roster
    other = (first, Silo(name=second.name, key=b"k" * 32), third, Silo(name="zeno", key=b"z" * 32))
    assert differences(MANIFEST, changed(roster=other, name="another")) == (
        f"name ({MANIFEST.name!r} here, 'another' there)",
        "roster (the key of silo-0001; silo-0003 is missing there; zeno is missing here)",
    )
    (few,) = differences(MANIFEST, Run(4 + MAX_TOLD + 2).manifest)
    assert few.count("missing here") == MAX_TOLD and few.endswith("; and 2 more)")


def test_both_values_are_told_where_they_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = MANIFEST.method.model_copy(update={"max_rounds": 4})
    assert differences(MANIFEST, changed(method=steps)) == ("method.max_rounds (2 here, 4 there)",)
    assert differences(MANIFEST, changed(sample_shape=(3,))) == ("sample_shape",)
    monkeypatch.setattr("dcfm_node.records.differing.MAX_VALUE", 8)
    assert differences(MANIFEST, changed(name="a" * 9)) == ("name",)


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        MANIFEST.policy.stall_s = 1.0


def test_nothing_is_converted() -> None:
    with pytest.raises(ValidationError):
        Head.model_validate({"epoch": "1", "seq": 0, "digest": bytes(32)})


def test_a_manifest_names_the_packages_of_the_sections_that_need_one() -> None:
    """SPEC 2.8.1."""
    code = {"kind": "networks", "name": "mlp", "distribution": "toy", "version": "1"}
    with pytest.raises(ValidationError, match="plugins must name"):
        changed(plugins=(code,))


def test_a_section_of_a_package_that_is_not_installed_is_refused() -> None:
    """SPEC 2.8.2."""
    fields = MANIFEST.model_dump() | {"network": {"kind": "toy"}}
    with pytest.raises(PeerError, match=r"network\.kind is 'toy': no installed package"):
        decode_manifest(pack(fields))
