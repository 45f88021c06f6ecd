"""Next-token generation is a discrete path: same joint, same mixture, same interface."""

import math

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.labels import count
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.networks import build
from dcfm_node.flow.sampling import Teacher, sample
from dcfm_node.flow.stages import EncodedSamples, local
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.paths.autoregressive import AutoregressivePath
from dcfm_node.paths.settings import AutoregressivePathSettings
from dcfm_node.records.manifest import Manifest
from tests.training.settings import STAGE, draws, manifest
from tests.unit.paths.test_discrete_path import JOINT, OTHER, L, V, exact, path, samples

PATH = AutoregressivePath(AutoregressivePathSettings(tokens=V), "sample")


def conditional(joint: Tensor, x: Tensor) -> Tensor:
    """log p(x_1 at each place | the places before it): (B, 2, V)."""
    first = joint.sum(dim=1).expand(len(x), -1)
    rows = joint / joint.sum(dim=1, keepdim=True)
    second = rows[x[:, 0].long().clamp(max=V - 1)]
    return torch.stack([first, second], dim=1).log()


def run(method: str = "dcfm", **settings: object) -> Manifest:
    stage = STAGE | {"steps": 150, "batch": 64, "learning_rate": 0.01, "ci_weight": 0.0}
    stages = {"local": stage} if method != "dcfm" else dict.fromkeys(STAGES, stage)
    document = manifest(shape=(L,), tokens=V).model_dump()
    document["path"] = {"kind": "autoregressive", "tokens": V}
    document["network"] |= {"causal": True}
    document["method"] = {"name": method, "solver": "euler", "composed": False} | stages | settings
    return Manifest.model_validate(document, strict=False)


STAGES = ("local", "refine", "distil")


def test_samples_have_the_joint_exactly_however_many_steps_there_are() -> None:
    for steps in (1, 2, 5):
        x = PATH.integrate(
            lambda x, t: conditional(JOINT, x),
            PATH.source((40_000, L), draws(0), "cpu"),
            steps,
            "euler",
            draws(steps),
        )
        found = torch.bincount((x[:, 0] * V + x[:, 1]).long(), minlength=V * V).float() / len(x)
        assert (found - JOINT.flatten()).abs().max() < 0.01


def test_the_loss_and_the_likelihood_are_those_of_the_joint() -> None:
    x1, t = samples(JOINT, 50_000), torch.rand(50_000, generator=draws(1))
    x = PATH.interpolate(PATH.source(tuple(x1.shape), draws(2), "cpu"), x1, t, draws(2))
    entropy = -(JOINT * JOINT.log()).sum().item()
    loss = PATH.loss(conditional(JOINT, x), PATH.target(x, x1), t).item()
    assert loss == pytest.approx(entropy / L, rel=0.02)
    few = x1[:200]
    nats = PATH.nats(lambda x, t: conditional(JOINT, x), few, 1, draws(3)).sum(dim=1)
    assert torch.allclose(nats, -JOINT[few[:, 0].long(), few[:, 1].long()].log(), atol=1e-5)


def test_the_bound_of_a_masked_source_is_tight_for_the_exact_posterior() -> None:
    of, x1 = path("mask", power=2.0), samples(JOINT, 20_000)

    def field(x: Tensor, t: Tensor) -> Tensor:
        return exact(of, JOINT, x, t).clamp(min=1e-12).log()

    found = of.nats(field, x1, 8, draws(4)).sum(dim=1).mean().item()
    truth = -JOINT[x1[:, 0].long(), x1[:, 1].long()].log().mean().item()
    assert found == pytest.approx(truth, rel=0.02)
    uniform = math.log(V) * torch.ones(len(x1), L, V)
    assert of.nats(lambda x, t: -uniform, x1, 8, draws(5)).sum(dim=1).mean() > found
    with pytest.raises(ValueError, match="mask"):
        path("uniform").nats(field, x1[:2], 1, draws(6))


def test_experts_weighted_by_the_prefix_are_one_model_of_the_pooled_data() -> None:
    """Σ_k p(k | x_<i) p_k(x_i | x_<i), the special case of arXiv 2601.03184."""
    pooled = 0.3 * JOINT + 0.7 * OTHER
    x = samples(pooled, 100)
    each = torch.stack([conditional(joint, x) for joint in (JOINT, OTHER)], dim=1)
    first = torch.stack([joint.sum(dim=1)[x[:, 0].long()] for joint in (JOINT, OTHER)], dim=1)
    owner = torch.tensor([0.3, 0.7]) * first
    mixed = PATH.mix((owner / owner.sum(dim=1, keepdim=True))[:, None], each[:, None]).squeeze(1)
    assert torch.allclose(mixed[:, 1], conditional(pooled, x)[:, 1], atol=1e-5)


def test_a_causal_network_reads_only_what_was_before() -> None:
    net, x = build(run()), torch.tensor([[1.0, 2.0]])
    c, t = torch.tensor([[0, 0]]), torch.tensor([0.3])
    other = torch.tensor([[1.0, 0.0]])
    assert torch.equal(net(x, t, c), net(other, t, c))
    assert torch.equal(net(x, t, c), net(x, t + 0.4, c))
    changed = torch.tensor([[0.0, 2.0]])
    assert not torch.allclose(net(x, t, c)[:, 1], net(changed, t, c)[:, 1])
    assert torch.equal(net(x, t, c)[:, 0], net(changed, t, c)[:, 0])


def test_points_between_states_are_longer_beginnings() -> None:
    before = torch.tensor([[1.0, 3.0, 3.0, 3.0]]).repeat(3, 1)
    after = torch.tensor([[1.0, 2.0, 0.0, 3.0]]).repeat(3, 1)
    found = PATH.between(before, after, torch.tensor([0.0, 0.5, 1.0]))
    assert found.tolist() == [[1, 3, 3, 3], [1, 2, 3, 3], [1, 2, 0, 3]]


def test_experts_train_mix_and_distil() -> None:
    c = torch.zeros(400, 2, dtype=torch.int64)
    given = run("ddm", routing="trained", distil=STAGE | {"steps": 100, "learning_rate": 0.01})
    data = [EncodedSamples(samples(joint, 400, k), c) for k, joint in enumerate((JOINT, OTHER))]
    outcomes = [local(given, d, d, seed=k, callbacks=Callbacks()) for k, d in enumerate(data)]
    entropy = -(JOINT * JOINT.log()).sum().item() / L
    assert outcomes[0].metrics["holdout_loss"] == pytest.approx(entropy, rel=0.1)
    teachers = [Teacher(f"silo-{k}", one.weights, count(c)) for k, one in enumerate(outcomes)]
    learner = learner_of(given)
    packed = learner.student(teachers, seed=0, callbacks=Callbacks())
    counts = {teacher.name: teacher.counts for teacher in teachers}
    x = learner.sample(packed.weights, c, counts=counts, seed=1)
    assert set(x.unique().tolist()) <= {0, 1, 2}
    student = learner_of(run()).student(teachers, seed=2, callbacks=Callbacks())
    drawn = sample(run(), student.weights, c.repeat(20, 1), seed=3)
    found = torch.bincount((drawn[:, 0] * V + drawn[:, 1]).long(), minlength=V * V).float()
    assert (found / len(drawn) - (JOINT + OTHER).flatten() / 2).abs().sum() / 2 < 0.12


def test_a_causal_network_and_this_path_need_each_other() -> None:
    document = run().model_dump()
    for change in (
        {"network": document["network"] | {"causal": False}},
        {"path": {"kind": "discrete", "tokens": V}},
    ):
        with pytest.raises(ValueError, match=r"network\.causal"):
            Manifest.model_validate(document | change, strict=False)
