"""The discrete path against closed forms on two places of three tokens."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_node.paths.autoregressive import AutoregressivePath
from dcfm_node.paths.discrete import IMPOSSIBLE, DiscretePath
from dcfm_node.paths.settings import AutoregressivePathSettings, DiscretePathSettings
from tests.training.settings import draws, manifest

V, L = 3, 2
JOINT = torch.tensor([[0.20, 0.05, 0.10], [0.05, 0.25, 0.05], [0.10, 0.05, 0.15]])
OTHER = torch.tensor([[0.05, 0.20, 0.05], [0.20, 0.05, 0.15], [0.10, 0.15, 0.05]])
SOURCES = ("mask", "uniform")


def path(source: str = "mask", power: float = 1.0) -> DiscretePath:
    values: dict[str, Any] = {"tokens": V, "source": source, "power": power}
    return DiscretePath(DiscretePathSettings(**values), "sample")


def samples(joint: Tensor, rows: int, seed: int = 0) -> Tensor:
    index = torch.multinomial(joint.flatten(), rows, replacement=True, generator=draws(seed))
    return torch.stack([index // V, index % V], dim=1).float()


def likelihood(of: DiscretePath, x: Tensor, t: Tensor) -> Tensor:
    """p(x_t | x_1 = y) at each place, from the definition of the path: (B, L, V)."""
    kappa = t.pow(of.settings.power)[:, None, None]
    here = (x[..., None] == torch.arange(V)).float()
    if of.settings.source == "mask":
        masked = (x == V).float()[..., None]
        return masked * (1 - kappa) + (1 - masked) * here * kappa
    return here * kappa + (1 - kappa) / V


def exact(of: DiscretePath, joint: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """p(x_1 at each place | x_t) by summing over all x_1: (B, L, V)."""
    each = likelihood(of, x, t)
    both = joint * each[:, 0, :, None] * each[:, 1, None, :]
    both = both / both.sum(dim=(1, 2), keepdim=True)
    return torch.stack([both.sum(dim=2), both.sum(dim=1)], dim=1)


def context(of: DiscretePath, joint: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """log p(x_1 at each place | the other place of x_t): what a perfect network gives."""
    each = likelihood(of, x, t)
    first = (joint * each[:, 1, None, :]).sum(dim=2)
    second = (joint * each[:, 0, :, None]).sum(dim=1)
    return torch.stack([first, second], dim=1).log()


def noised(of: DiscretePath, rows: int, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """x_1, x_t and t."""
    generator = draws(seed)
    x1, t = samples(JOINT, rows, seed), torch.rand(rows, generator=generator) * 0.98
    x0 = of.source((rows, L), generator, "cpu")
    return x1, of.interpolate(x0, x1, t, generator), t


@pytest.mark.parametrize("power", [1.0, 2.5])
def test_places_turn_into_those_of_the_sample_with_probability_kappa(power: float) -> None:
    t = torch.full((20_000,), 0.6)
    x1, kappa = samples(JOINT, len(t)), 0.6**power
    for source, by_chance in (("mask", 0.0), ("uniform", 1 / V)):
        of, generator = path(source, power), draws(3)
        x = of.interpolate(of.source((len(t), L), generator, "cpu"), x1, t, generator)
        same = (x == x1).float().mean(dim=0)
        assert same == pytest.approx([kappa + (1 - kappa) * by_chance] * L, abs=0.015)
        assert set(x.unique().tolist()) <= set(range(V + (source == "mask")))


@pytest.mark.parametrize("source", SOURCES)
def test_the_posterior_is_bayes_rule_on_what_the_other_places_say(source: str) -> None:
    of = path(source, power=2.0)
    _, x, t = noised(of, 500)
    found = of.predicted(context(of, JOINT, x, t), x, t)
    assert torch.allclose(found.exp(), exact(of, JOINT, x, t), atol=1e-5)


def test_the_loss_of_the_exact_posterior_is_the_entropy_a_place() -> None:
    of = path()
    x1, x, t = noised(of, 200_000)
    t = t / 0.98
    x = of.interpolate(of.source((len(t), L), draws(5), "cpu"), x1, t, draws(6))
    prediction = exact(of, JOINT, x, t).clamp(min=math.exp(IMPOSSIBLE)).log()
    entropy = -(JOINT * JOINT.log()).sum().item() / L
    found = of.loss(prediction, of.target(x, x1), t).item()
    # The weight's bound leaves out half of the last twentieth of the time.
    assert found == pytest.approx(entropy * (1 - 0.05 / 2), rel=0.02)
    worse = of.loss(torch.full_like(prediction, -math.log(V)), of.target(x, x1), t).item()
    assert worse > found


def law(of: DiscretePath, steps: int, solver: str) -> Tensor:
    """The sampler's law at t = 1, (V, V): its kernel applied to the law of x_0, state by state."""
    many = V + (of.settings.source == "mask")
    states = torch.tensor(list(product(range(many), repeat=L))).float()
    at = (states == V).all(dim=1).float() if many > V else torch.full((len(states),), 1 / V**L)
    for i in range(steps):
        h = of.jump(i, steps, solver)
        posterior = exact(of, JOINT, states, torch.full((len(states),), i / steps))
        # States that cannot occur have no posterior.
        posterior = posterior.nan_to_num(1 / V)
        drawn = torch.nn.functional.pad(posterior, (0, many - V))
        stay = torch.nn.functional.one_hot(states.long(), many).float()
        each = h * drawn + (1 - h) * stay
        kernel = (each[:, 0, :, None] * each[:, 1, None, :]).flatten(1)
        at = at @ kernel
    return at.reshape(many, many)[:V, :V]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("solver", ["euler", "tau-leaping"])
def test_the_sampler_converges_to_the_joint_with_first_order(source: str, solver: str) -> None:
    of, steps = path(source, power=2.0), [8, 16, 32, 64, 128]
    errors = [(law(of, n, solver) - JOINT).abs().sum().item() / 2 for n in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.12)
    assert errors[-1] < 0.01


@pytest.mark.parametrize("source", SOURCES)
def test_samples_follow_the_law_of_the_kernel(source: str) -> None:
    of, rows, steps = path(source, power=2.0), 40_000, 3
    start = of.source((rows, L), draws(7), "cpu")
    x = of.integrate(
        lambda x, t: exact(of, JOINT, x, t).log().clamp(min=IMPOSSIBLE),
        start,
        steps,
        "tau-leaping",
        draws(8),
    )
    found = torch.bincount((x[:, 0] * V + x[:, 1]).long(), minlength=V * V).float() / rows
    assert (found - law(of, steps, "tau-leaping").flatten()).abs().max() < 0.01
    # Three steps are too few: all places jump in the last one.
    assert (law(of, steps, "tau-leaping") - JOINT).abs().max() > 0.01


def test_a_linear_schedule_makes_eulers_jumps_exact() -> None:
    of = path()
    for i in range(9):
        assert of.jump(i, 9, "euler") == pytest.approx(of.jump(i, 9, "tau-leaping"))


def test_composition_multiplies_odds() -> None:
    """p(y | a, b) ∝ p(y) f_a(y) g_b(y) is found from p(y), p(y | a) and p(y | b)."""
    of, generator = path(), draws(9)
    null, a, b = (torch.randn(4, L, V, generator=generator) for _ in range(3))
    terms = torch.stack([null, null + a, null + b], dim=1).log_softmax(dim=-1)
    weights = torch.tensor([-1.0, 1.0, 1.0])
    expected = (null + a + b).log_softmax(dim=-1)
    assert torch.allclose(of.compose(terms, weights), expected, atol=1e-5)
    rest = of.compose(terms[:, :2], weights[:2])
    assert torch.allclose(of.compose(terms[:, 2:], weights[2:], rest), expected, atol=1e-5)


@pytest.mark.parametrize("source", SOURCES)
def test_expert_velocities_weighted_by_the_router_are_those_of_the_pooled_data(source: str) -> None:
    """u_t = Σ_k p(k | x_t) u_t^k, the objective of arXiv 2601.03184."""
    of = path(source)
    _, x, t = noised(of, 300)
    each = likelihood(of, x, t)
    evidence = [
        (joint * each[:, 0, :, None] * each[:, 1, None, :]).sum(dim=(1, 2))
        for joint in (JOINT, OTHER)
    ]
    owner = torch.stack([0.3 * evidence[0], 0.7 * evidence[1]], dim=1)
    owner = owner / owner.sum(dim=1, keepdim=True)
    experts = torch.stack([exact(of, joint, x, t).log() for joint in (JOINT, OTHER)], dim=1)
    found = of.mix(owner[:, None], experts[:, None]).squeeze(1)
    pooled = exact(of, 0.3 * JOINT + 0.7 * OTHER, x, t)
    assert torch.allclose(found.exp(), pooled, atol=1e-5)


def test_a_point_between_two_states_takes_each_place_from_one_of_them() -> None:
    before, after = torch.zeros(400, L), torch.ones(400, L)
    share = torch.linspace(0, 1, 400)
    x = path().between(before, after, share)
    assert not x[0].any()
    assert x[-1].all()
    assert x.mean().item() == pytest.approx(0.5, abs=0.05)
    assert x[100:200].mean().item() == pytest.approx(0.375, abs=0.05)


def test_judges_see_which_token_is_where_and_how_often() -> None:
    seen = path().features(torch.tensor([[2.0, 0.0], [1.0, 1.0]]))
    assert seen.tolist() == [[0, 0, 1, 1, 0, 0, 0.5, 0, 0.5], [0, 1, 0, 0, 1, 0, 0, 1, 0]]


def test_judges_see_stretches_of_long_samples() -> None:
    of = DiscretePath(DiscretePathSettings(tokens=4_096), "sample")
    x = torch.tensor([[5.0, 5.0, 7.0, 4_095.0, 0.0]])
    seen = of.features(x)
    assert seen.shape == (1, 3 * 4_096)
    first, last, often = seen[0].split(4_096)
    assert first[[5, 7]].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert last[[0, 4_095]].tolist() == [0.5, 0.5]
    assert often[[5, 0]].tolist() == pytest.approx([0.4, 0.2])


ORDERED: dict[str, Any] = {
    "path": {"kind": "autoregressive", "tokens": V},
    "network": {"kind": "transformer", "causal": True},
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"network": {"kind": "mlp"}}, "network.kind 'mlp' reads numbers"),
        ({"path": {"kind": "linear"}}, "network.kind 'transformer' reads tokens"),
        ({"codec": {"kind": "cosine", "keep": 2}}, "remove .codec."),
        ({"solver": "heun"}, "use 'euler' or 'tau-leaping'"),
        ({"replay": {"rounds": 1}}, "method.replay.rounds"),
        ({"sample_shape": (17, 241)}, "4097 places are more than the 4096 of path 'discrete'"),
        ({"sample_shape": (4097,)} | ORDERED, "more than the 4096 of path 'autoregressive'"),
        ({"path": {"kind": "linear"}, "network": {"kind": "mlp"}, "solver": "tau-leaping"}, "use"),
    ],
)
def test_sections_that_do_not_fit_the_path_are_refused(change: dict[str, Any], why: str) -> None:
    document = manifest(shape=(1, L)).model_dump()
    document |= {"path": {"kind": "discrete", "tokens": V}, "network": {"kind": "transformer"}}
    document["method"] |= {"solver": change.pop("solver", "euler")}
    document["method"]["replay"] = change.pop("replay", {"rounds": 0})
    with pytest.raises(ValueError, match=why):
        type(manifest()).model_validate(document | change, strict=False)


def test_tokens_are_not_standardised() -> None:
    document = manifest(shape=(L,)).model_dump()
    document |= {"path": {"kind": "discrete", "tokens": V}, "network": {"kind": "transformer"}}
    document["method"] |= {"solver": "euler"}
    run = type(manifest()).model_validate(document, strict=False)
    assert run.groups == 0
    assert manifest(shape=(L,)).groups == L


@pytest.mark.parametrize("causal", [False, True])
def test_a_network_without_probabilities_draws_tokens_and_disturbs_no_other(causal: bool) -> None:
    of = AutoregressivePath(AutoregressivePathSettings(tokens=V), "sample") if causal else path()
    x0 = torch.full((50, L), float(V))

    def field(x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros(*x.shape, V).log_softmax(dim=-1)

    def broken(x: Tensor, t: Tensor) -> Tensor:
        found = field(x, t)
        found[0], found[1], found[2] = math.nan, math.inf, -math.inf
        return found

    sound, odd = (of.integrate(one, x0, 4, "euler", draws(2)) for one in (field, broken))
    assert set(odd.unique().tolist()) <= set(range(V))
    assert odd[3:].equal(sound[3:])
