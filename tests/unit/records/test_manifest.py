"""SPEC 2: what a manifest may say, and how two of them are compared."""

import pytest
from pydantic import ValidationError

from dcfm_node.records.manifest import Manifest, Policy, differing_fields
from dcfm_node.records.messages import Head
from tests.unit.swarm.builders import Run

MANIFEST = Run(4).manifest


def changed(**changes: object) -> Manifest:
    return Manifest.model_validate({**dict(MANIFEST), **changes})


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
        ({"attributes": (MANIFEST.attributes[0],) * 2}, "two attributes bear one name"),
        ({"attributes": MANIFEST.attributes * 9}, "combinations"),
        ({"network": MANIFEST.network.model_copy(update={"kind": "unet"})}, "unet"),
        ({"method": MANIFEST.method.model_copy(update={"min_rounds": 9})}, "min_rounds"),
        ({"policy": {"stall_s": 0.0}}, "stall_s"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        changed(**changes)


def test_differing_fields_are_named_by_their_path() -> None:
    policy = Policy(participation="tolerant", stall_s=MANIFEST.policy.stall_s)
    assert differing_fields(MANIFEST, changed(policy=policy, name="another")) == (
        "name",
        "policy.participation",
    )
    assert differing_fields(MANIFEST, changed()) == ()


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        MANIFEST.policy.stall_s = 1.0


def test_nothing_is_converted() -> None:
    with pytest.raises(ValidationError):
        Head.model_validate({"epoch": "1", "seq": 0, "digest": bytes(32)})
