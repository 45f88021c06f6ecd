"""What a run ends with: packed, sampled and scored by the run's own rule."""

import pytest
import torch

from dcfm_node.errors import Failed
from dcfm_node.flow import sampling, stages
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.networks import build, load
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.mixture.ensembles import Ensemble, sample_ensemble
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.tensors import ensemble_schema
from tests.training.settings import STAGE, draws, manifest

COUNTS = {"silo-0": {(0, 0): 6, (0, 1): 2}, "silo-1": {(0, 0): 1, (1, 0): 5}}
C = torch.tensor([(0, 0), (0, 1), (1, 0), (1, 1)])
HOLDOUT = EncodedSamples(torch.randn(40, 2, generator=draws()), C.repeat(10, 1))
METHODS = {
    "ddm": {"name": "ddm"},
    "trained": {"name": "ddm", "routing": "trained", "top_k": 1, "distil": STAGE},
    "dfd": {"name": "dfd", "composed": False},
    "guided": {"name": "ddm", "guidance": {"known": 1.3, "novel": 1.6}},
}


def run(method: str, silos: int = 3) -> Manifest:
    return manifest(silos=silos, method={"solver_steps": 5} | METHODS[method])


def teachers(*seeds: int) -> list[Teacher]:
    return [
        Teacher(
            f"silo-{k}", build(manifest(method={"seed": seed})).state_dict(), COUNTS[f"silo-{k}"]
        )
        for k, seed in enumerate(seeds)
    ]


@pytest.mark.parametrize("method", METHODS)
def test_an_ensemble_holds_what_a_peer_checks_it_for(method: str) -> None:
    settings = run(method)
    made = learner_of(settings).student(teachers(0, 1)[::-1], seed=0, callbacks=Callbacks())
    expert = {name: ("F32", tuple(part.shape)) for name, part in teachers(0)[0].weights.items()}
    beside = learner_of(settings).beside_experts()
    schema = ensemble_schema(expert, beside, ("silo-0", "silo-1"))
    assert {name: ("F32", tuple(part.shape)) for name, part in made.weights.items()} == schema
    assert made.metrics["experts"] == 2
    assert ("accuracy" in made.metrics) is (method == "trained")


@pytest.mark.parametrize("method", METHODS)
def test_an_ensemble_is_sampled_by_its_runs_rule(method: str) -> None:
    settings, experts = run(method), teachers(0, 1)
    packed = learner_of(settings).student(experts, seed=0, callbacks=Callbacks()).weights
    made = learner_of(settings).sample(packed, C, counts=COUNTS, seed=3)
    router = {
        name.removeprefix("router."): part
        for name, part in packed.items()
        if name.startswith("router.")
    }
    expected = sample_ensemble(
        settings,
        experts,
        C,
        rule="joint" if method == "dfd" else "composed",
        routing={"trained": "trained", "dfd": "energy"}.get(method, "label"),  # type: ignore[arg-type]
        top_k=1 if method == "trained" else None,
        gate=router or None,
        seed=3,
    )
    assert torch.equal(made, expected)


def test_one_network_is_sampled_as_ever() -> None:
    plain, weights = manifest(method={"solver_steps": 5}), teachers(0)[0].weights
    made = learner_of(plain).sample(weights, C, counts=COUNTS, seed=3)
    assert torch.equal(made, sampling.sample(plain, weights, C, seed=3))
    guided = plain.guided(1.3, 1.6)
    made = learner_of(guided).sample(weights, C, counts=COUNTS, seed=3)
    expected = sampling.sample(guided, weights, C, counts=list(COUNTS.values()), seed=3)
    assert torch.equal(made, expected)


@pytest.mark.parametrize("method", METHODS)
def test_equal_experts_score_as_one_does(method: str) -> None:
    settings, experts = run(method), teachers(0, 0)
    packed = learner_of(settings).student(experts, seed=0, callbacks=Callbacks()).weights
    own = experts[0].weights
    made = learner_of(settings).score(packed, HOLDOUT, counts=COUNTS, reference=own, device="cpu")
    alone = stages.score(settings, own, HOLDOUT, reference=own, device="cpu")
    assert made == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("method", ["ddm", "dfd", "dcfm"])
def test_guidance_changes_no_score(method: str) -> None:
    plain = manifest() if method == "dcfm" else run(method)
    experts = teachers(0, 1)
    made = learner_of(run("ddm")).student(experts, seed=0, callbacks=Callbacks()).weights
    tensors = experts[0].weights if method == "dcfm" else made
    one, other = (
        learner_of(it).score(tensors, HOLDOUT, counts=COUNTS, reference=None)
        for it in (plain, plain.guided(2.0, 3.0))
    )
    assert one == other


def test_energies_are_followed_to_the_points_that_are_scored() -> None:
    """On the path of a sample of its own mode, the expert of that mode is believed."""
    settings = manifest(method={"name": "dfd", "solver_steps": 20, "composed": False})
    far = [_constant(settings, mode) for mode in (3.0, -3.0)]
    labels = torch.zeros(50, 2, dtype=torch.int64)
    ensemble = Ensemble.load(
        settings,
        [Teacher(f"{k}", weights, {(0, 0): 1}) for k, weights in enumerate(far)],
        rule="joint",
        routing="energy",
    )
    x0 = torch.randn(50, 2, generator=draws())
    t = torch.full((50,), 0.8)
    for sign, weights in zip((1.0, -1.0), far, strict=True):
        motion = 3.0 * sign - x0
        x = x0 + 0.8 * motion
        found = ensemble.velocity(x, t, labels, motion)
        own = load(settings, weights, "cpu")(x, t, labels)
        torch.testing.assert_close(found, own, atol=0.05, rtol=0.05)


def test_a_snapshot_of_other_silos_is_named() -> None:
    packed = learner_of(run("ddm")).student(teachers(0), seed=0, callbacks=Callbacks()).weights
    with pytest.raises(Failed, match=r"no tensor expert\.silo-1"):
        learner_of(run("ddm")).sample(packed, C, counts=COUNTS, seed=0)


def _constant(settings: Manifest, mode: float) -> dict[str, torch.Tensor]:
    """Weights whose velocity is everywhere towards one mode: a constant, (mode, mode)."""
    weights = {name: torch.zeros_like(part) for name, part in build(settings).state_dict().items()}
    weights["net.out_proj.bias"] += mode
    return weights
