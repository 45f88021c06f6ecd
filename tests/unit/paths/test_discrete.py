"""Stages, sampling, mixtures and audits know nothing of noise, errors or shapes but by the path."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dcfm_node import plugins
from dcfm_node.errors import ConfigError
from dcfm_node.flow.audit import audit
from dcfm_node.flow.method import SiloData, Start, learner_of
from dcfm_node.flow.networks import build
from dcfm_node.flow.sampling import Teacher, sample
from dcfm_node.flow.stages import EncodedSamples, Outcome
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.fedflow.learner import federated
from dcfm_node.records.manifest import Manifest
from tests.training.settings import STAGE, draws, manifest

STAGES = {"steps": 300, "learning_rate": 0.05, "ci_weight": 10.0, "ci_batch": 16}
MASKS = {"full": 0.98, "marginal": 0.01, "null": 0.01}
COUNTS = [{(0, 0): 40, (1, 0): 40}, {(0, 0): 40, (0, 1): 40}]
MODULE = "tests.unit.paths.foreign"
Table = dict[str, Any]
NOVEL = torch.tensor([[1, 1]] * 200)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("table", "normalised", "nothing"):
        where = f"{MODULE}:{name.capitalize()}Settings"
        monkeypatch.setitem(plugins.BUILTIN["networks"], name, where)


TABLE: Table = {"path": {"kind": "discrete", "tokens": 3}, "network": {"kind": "table"}}
OURS: Table = {
    "path": {"kind": "discrete", "tokens": 3},
    "network": {"kind": "transformer", "width": 16, "depth": 1},
}


def run(name: str = "dcfm", *stages: str, parts: Table = TABLE, **method: Any) -> Manifest:
    """A run of two tokens."""
    plain = manifest(
        method={"name": name, "solver_steps": 4, "solver": "euler", "masks": MASKS}
        | dict.fromkeys(("local", *stages), STAGE | STAGES | {"product_share": 0.5})
        | method
    )
    return Manifest.model_validate(plain.model_dump() | parts, strict=False)


def silo(k: int) -> SiloData:
    """Two tokens, each of them what an attribute says: token 2 stands for neither."""
    c = torch.tensor([label for label, times in COUNTS[k].items() for _ in range(times)])
    stray = torch.rand(c.shape, generator=draws(k)) < 0.05
    data = EncodedSamples(torch.where(stray, 2, c), c)
    return SiloData(f"silo-{k}", data, data)


def teachers(made: list[Outcome]) -> list[Teacher]:
    return [Teacher(f"silo-{k}", one.weights, COUNTS[k]) for k, one in enumerate(made)]


def right(x: torch.Tensor) -> float:
    return (x == NOVEL).all(dim=1).float().mean().item()


def run_ours(name: str = "dcfm", *stages: str, **method: Any) -> Manifest:
    slow = {"steps": 200, "learning_rate": 0.01, "ci_weight": 3.0}
    given = {stage: STAGE | STAGES | {"product_share": 0.5} | slow for stage in ("local", *stages)}
    return run(name, parts=OURS, **given | method)


@pytest.mark.parametrize("made", [run, run_ours])
def test_a_discrete_path_goes_through_every_stage_to_a_student_of_novel_combinations(
    made: Callable[..., Manifest],
) -> None:
    learner, callbacks = learner_of(made("dcfm", "refine", "distil")), Callbacks()
    alone = [learner.train(silo(k), Start(), seed=k, callbacks=callbacks) for k in (0, 1)]
    first = learner.student(teachers(alone), seed=2, callbacks=callbacks)
    for start in (
        Start(round=1, anchor=first.weights),
        Start(round=1, init=alone[0].weights, teachers=teachers(alone)),
    ):
        again = learner.train(silo(0), start, seed=3, callbacks=callbacks)
        assert again.metrics["holdout_loss"] < 0.6
    joint, composed, alone_composed = (
        sample(learner.manifest, weights, NOVEL, composed=rule, seed=4)
        for weights, rule in (
            (first.weights, False),
            (first.weights, True),
            (alone[0].weights, True),
        )
    )
    assert set(joint.unique().tolist()) <= {0, 1, 2}
    assert right(joint) > 0.5
    assert right(composed) > 0.5
    assert right(alone_composed) < 0.2
    found = audit(learner.manifest, silo(0).holdout, teachers(alone), me="silo-0")
    assert found["silo-1"]["rows"] == 40


def test_experts_mix_as_probabilities() -> None:
    learner = learner_of(run("ddm"))
    alone = [learner.train(silo(k), Start(), seed=k, callbacks=Callbacks()) for k in (0, 1)]
    packed = learner.student(teachers(alone), seed=0, callbacks=Callbacks())
    counts = {f"silo-{k}": COUNTS[k] for k in (0, 1)}
    x = learner.sample(packed.weights, NOVEL, counts=counts, seed=4)
    assert x.shape == NOVEL.shape
    score = learner.score(packed.weights, silo(0).holdout, counts=counts, reference=None)
    assert 0 < score["holdout_loss"] < 1.1


@pytest.mark.parametrize("top", [0, 1])
def test_a_router_that_was_learnt_mixes_experts_of_tokens(top: int) -> None:
    """Σ_k p(k | x_t) u_t^k, with all experts or the likeliest one (arXiv 2601.03184)."""
    stage = STAGE | {"steps": 100, "learning_rate": 0.01}
    made = run_ours("ddm", routing="trained", top_k=top, distil=stage, composed=False)
    learner, callbacks = learner_of(made), Callbacks()
    alone = [learner.train(silo(k), Start(), seed=k, callbacks=callbacks) for k in (0, 1)]
    packed = learner.student(teachers(alone), seed=2, callbacks=callbacks)
    assert packed.metrics["accuracy"] > 0.6  # both hold (0, 0), in half of their samples
    counts = {f"silo-{k}": COUNTS[k] for k in (0, 1)}
    asked = torch.tensor([[1, 0], [0, 1]] * 100)
    x = learner.sample(packed.weights, asked, counts=counts, seed=4)
    assert (x == asked).all(dim=1).float().mean() > 0.5
    score = learner.score(packed.weights, silo(0).holdout, counts=counts, reference=None)
    assert 0 < score["holdout_loss"] < 1.1


def test_parameters_of_a_transformer_average_over_rounds() -> None:
    made = run_ours("fedflow", max_rounds=4)
    data = [silo(k).train for k in (0, 1)]
    found = federated(made, data, rounds=4, seed=0, callbacks=Callbacks())
    known = torch.tensor([[1, 0], [0, 1]] * 100)
    x = sample(made, found.weights, known, composed=False, seed=5)
    assert (x == known).all(dim=1).float().mean() > 0.5


def test_energies_are_refused_where_the_path_gives_none() -> None:
    """By the manifest, so that no silo trains for nothing."""
    with pytest.raises(ValueError, match=r"method.name 'dfd' needs energies, .*; use \"dcfm\""):
        run("dfd")


@pytest.mark.parametrize(
    ("network", "error", "why"),
    [
        ("normalised", ConfigError, "not floating point: norm.num_batches_tracked"),
        ("nothing", plugins.PluginError, "foreign:NUMBER is not a subclass of .*base.Network"),
    ],
)
def test_code_that_cannot_serve_is_refused(network: str, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        build(run("ddm", parts=TABLE | {"network": {"kind": network}}))
