"""SPEC 6.6.1: where an expert stands between a silo's own and the untrained network."""

import math

import pytest
import torch

from dcfm_node.flow import networks
from dcfm_node.flow.audit import audit, errors, place
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.sources import PathSample
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.networks.settings import MlpSettings
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.settings import Training

MANIFEST = Manifest(
    name="audit",
    sample_shape=(2,),
    attributes=(Attribute(name="a", values=("x", "y")), Attribute(name="b", values=("x", "y"))),
    network=MlpSettings(width=8, depth=1),
    method=Dcfm(local=Training(steps=1), refine=Training(steps=1), distil=Training(steps=1)),
    roster=(Silo(name="me", key=bytes(32)), Silo(name="peer", key=bytes(31) + b"1")),
)
HOLDOUT = EncodedSamples(torch.randn(40, 2), torch.tensor([[0, 0], [0, 1]] * 20))


def teacher(name: str, counts: dict[tuple[int, ...], int], scale: float = 1.0) -> Teacher:
    weights = networks.build(MANIFEST).state_dict()
    return Teacher(name, {n: scale * w.clone() for n, w in weights.items()}, counts)


def test_the_scale_runs_from_the_own_error_to_the_untrained_networks() -> None:
    assert place(2.0, 2.0, 8.0) == 0.0
    assert place(8.0, 2.0, 8.0) == 1.0
    assert place(4.0, 2.0, 8.0) == pytest.approx(0.5)
    assert place(1.0, 2.0, 8.0) == pytest.approx(-0.5)
    assert place(math.nan, 2.0, 8.0) == place(math.inf, 2.0, 8.0) == math.inf
    assert place(1.0, 8.0, 2.0) is None
    assert place(1.0, 0.0, 2.0) is None


@pytest.mark.parametrize(("untold", "where"), [(1.5, 1.71), (1.1, 0.5), (9.0, 0.5)])
def test_who_knows_nothing_is_not_told_the_label_where_labels_tell(
    untold: float, where: float
) -> None:
    """Errors are squares: 1 of the own expert, 4 of the peer's, 16 of the untrained network."""

    def field(told: float, untold: float) -> VelocityField:
        def velocity(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            told_any = (c < 2).any(dim=1, keepdim=True)
            return torch.where(told_any, told, untold).expand_as(x)

        return velocity

    rows = 8
    points = PathSample(
        torch.zeros(rows, 2),
        torch.full((rows,), 0.5),
        torch.zeros(rows, 2, dtype=torch.int64),
        lambda _: torch.zeros(rows, 2),
    )
    nets = [field(2.0, 2.0), field(1.0, untold), field(4.0, 4.0)]
    assert errors(MANIFEST, points, nets)["joint"] == pytest.approx(where, abs=0.01)


def test_who_claims_nothing_that_is_held_here_is_judged_by_its_weights_alone() -> None:
    experts = [teacher("me", {(0, 0): 1}, 1.1), teacher("peer", {(1, 1): 9}, 1.1)]
    assert set(audit(MANIFEST, HOLDOUT, experts, me="me")["peer"]) <= {"distance"}


def test_only_claimed_rows_are_judged() -> None:
    experts = [teacher("me", {}, 1.1), teacher("peer", {(0, 1): 3}, 1.1)]
    assert audit(MANIFEST, HOLDOUT, experts, me="me")["peer"]["rows"] == 20.0


def test_weights_as_far_as_unrelated_ones_stand_at_one() -> None:
    other = MANIFEST.method.model_copy(update={"seed": MANIFEST.method.seed + 1})
    unrelated = networks.build(MANIFEST.model_copy(update={"method": other})).state_dict()
    peer = Teacher("peer", dict(unrelated), {})
    found = audit(MANIFEST, HOLDOUT, [teacher("me", {}, 1.01), peer], me="me")
    assert found["peer"]["distance"] == pytest.approx(1.0)
