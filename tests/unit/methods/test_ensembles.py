import pytest
import torch

from dcfm_node.flow import sampling
from dcfm_node.flow.guidance import OwnWeights
from dcfm_node.flow.labels import null_label
from dcfm_node.flow.networks import build, build_gating
from dcfm_node.flow.sampling import Sampler, Teacher, composed, mixed, sample, sample_routed
from dcfm_node.methods.mixture import ensembles
from dcfm_node.methods.mixture.ensembles import Routing, Rule, sample_ensemble, sparse
from dcfm_node.paths.base import path_of
from tests.training.settings import Table, manifest

RUN = manifest(method={"solver_steps": 5})
NULL = null_label((2, 2))
SWITCH = Sampler(switch=True)
COUNTS = ({(0, 0): 6, (0, 1): 2}, {(0, 0): 1, (1, 0): 5})
C = torch.tensor([(0, 0), (0, 1), (1, 0), (1, 1)])
EVERY = [(rule, routing) for rule in ("joint", "composed") for routing in ("label", "energy")]


def weights(seed: int) -> dict[str, torch.Tensor]:
    return build(manifest(method={"seed": seed})).state_dict()


def teachers(*seeds: int) -> list[Teacher]:
    return [Teacher(f"silo-{k}", weights(seed), COUNTS[k]) for k, seed in enumerate(seeds)]


def test_sparse_keeps_the_heaviest_and_renormalises() -> None:
    rho = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]])
    assert sparse(rho, None) is rho
    torch.testing.assert_close(sparse(rho, 1), torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))
    two = torch.tensor([[5 / 8, 0, 3 / 8], [0, 2 / 3, 1 / 3]])
    torch.testing.assert_close(sparse(rho, 2), two)
    assert sparse(rho, 3) is rho
    with pytest.raises(ValueError, match="at least 1"):
        sparse(rho, 0)


@pytest.mark.parametrize("top", [None, 1, 2])
def test_weights_sum_to_one(top: int | None) -> None:
    rho = torch.softmax(torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    made = sparse(rho, top)
    torch.testing.assert_close(made.sum(dim=-1), torch.ones(50, 3))
    assert ((made > 0).sum(dim=-1) == (top or 4)).all()


def test_joint_mixture_of_two_fields_by_hand() -> None:
    a, b = Table(0.4), Table(-1.0)
    x, t = torch.randn(4, 2), torch.linspace(0, 0.9, 4)
    rho = torch.tensor([[6 / 7, 1 / 7], [1.0, 0.0], [0.0, 1.0], [2 / 7, 5 / 7]])
    field = ensembles.mixture(path_of(RUN), [a, b], C.unsqueeze(1), lambda x, t: rho.unsqueeze(1))
    expected = rho[:, :1] * a(x, t, C) + rho[:, 1:] * b(x, t, C)
    torch.testing.assert_close(field(x, t), expected)


def test_composed_label_routing_is_the_routed_sampler() -> None:
    made = sample_ensemble(RUN, teachers(0, 1), C, rule="composed", routing="label", seed=3)
    routed = sample_routed(RUN, teachers(0, 1), C, rule="composed", seed=3)
    torch.testing.assert_close(made, routed)


@pytest.mark.parametrize(("rule", "routing"), EVERY)
def test_two_equal_experts_are_one(rule: Rule, routing: Routing) -> None:
    made = sample_ensemble(RUN, teachers(0, 0), C, rule=rule, routing=routing, seed=3)
    alone = sample(RUN, weights(0), C, composed=rule == "composed", seed=3)
    torch.testing.assert_close(made, alone)


@pytest.mark.parametrize(("rule", "routing"), EVERY)
@pytest.mark.parametrize("top", [None, 1])
def test_samples_are_a_function_of_the_seed(rule: Rule, routing: Routing, top: int | None) -> None:
    def draw(seed: int) -> torch.Tensor:
        return sample_ensemble(
            RUN, teachers(0, 1), C, rule=rule, routing=routing, top_k=top, seed=seed
        )

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize("shape", [(2,), (20,)])
def test_large_requests_are_cut_without_a_trace(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = manifest(shape=shape, method={"solver_steps": 5})
    both = [Teacher(f"{k}", build(run).state_dict(), COUNTS[k]) for k in (0, 1)]

    def draw() -> torch.Tensor:
        return sample_ensemble(run, both, C.repeat(3, 1), rule="composed", routing="energy", seed=1)

    whole = draw()
    monkeypatch.setattr(sampling, "CHUNK", 5)
    torch.testing.assert_close(draw(), whole)


def test_an_expert_without_the_label_does_not_answer() -> None:
    """(0, 1) is silo 0's alone, whatever the energies."""
    label = torch.tensor([(0, 1)] * 3)
    made = sample_ensemble(RUN, teachers(0, 1), label, rule="joint", routing="energy", seed=3)
    torch.testing.assert_close(made, sample(RUN, weights(0), label, composed=False, seed=3))


def test_a_trained_router_weighs_the_experts() -> None:
    router = build_gating(RUN).state_dict()
    router["out_proj.weight"].zero_()
    router["out_proj.bias"].copy_(torch.tensor([0.0, 80.0]))
    made = sample_ensemble(
        RUN, teachers(0, 1), C, rule="joint", routing="trained", gate=router, seed=3
    )
    torch.testing.assert_close(made, sample(RUN, weights(1), C, composed=False, seed=3))


def test_a_router_goes_with_its_routing_alone() -> None:
    with pytest.raises(ValueError, match="gating network"):
        sample_ensemble(RUN, teachers(0, 1), C, rule="joint", routing="trained", seed=0)


@pytest.mark.parametrize(("rule", "routing"), EVERY)
def test_guided_experts_that_are_equal_are_one_guided_network(rule: Rule, routing: Routing) -> None:
    """Known and novel rows in one batch, with weights of their own; 1 changes no bit."""
    run = RUN.guided(1.3, 2.0)
    made = sample_ensemble(run, teachers(0, 0), C, rule=rule, routing=routing, seed=3)
    alone = sample(run, weights(0), C, counts=COUNTS, composed=rule == "composed", seed=3)
    torch.testing.assert_close(made, alone)
    plain = sample_ensemble(RUN, teachers(0, 1), C, rule=rule, routing=routing, seed=3)
    null = sample_ensemble(
        RUN.guided(1.0, 1.0), teachers(0, 1), C, rule=rule, routing=routing, seed=3
    )
    assert torch.equal(plain, null)


def test_a_guided_joint_mixture_by_hand() -> None:
    a, b = Table(0.4), Table(-1.0)
    x, t = torch.randn(4, 2), torch.linspace(0, 0.9, 4)
    rho = torch.tensor([[0.25, 0.75], [1.0, 0.0]]).expand(4, 2, 2)
    terms = torch.stack([NULL.expand(4, 2), C], dim=1)
    w = torch.tensor([[1.0], [1.5], [2.0], [0.0]])
    field = ensembles.mixture(path_of(RUN), [a, b], terms, lambda x, t: rho, w=lambda t: w)
    null = 0.25 * a(x, t, NULL.expand(4, 2)) + 0.75 * b(x, t, NULL.expand(4, 2))
    torch.testing.assert_close(field(x, t), null + w * (a(x, t, C) - null))


def test_switching_has_the_mixtures_mean_and_asks_one_expert_for_each_term() -> None:
    """The mean over draws is the average field; each draw is one expert's prediction."""
    a, b = Table(0.4), Table(-1.0)
    asked = [0, 0]

    def counting(k: int) -> ensembles.VelocityField:
        def field(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            asked[k] += len(x)
            return (a, b)[k](x, t, c)

        return field

    rows = 20_000
    x, t = torch.tensor([[0.3, -0.2]]).expand(rows, 2), torch.full((rows,), 0.4)
    terms = torch.stack([NULL, torch.tensor([0, 1])]).expand(rows, 2, 2)
    shares = torch.tensor([[0.25, 0.75], [0.6, 0.4]]).expand(rows, 2, 2)
    draws = torch.Generator().manual_seed(0)
    found = mixed(
        path_of(RUN), [counting(0), counting(1)], x, t, terms, shares=shares, switching=draws
    )
    assert sum(asked) == 2 * rows
    average = mixed(path_of(RUN), [a, b], x, t, terms, shares=shares)
    torch.testing.assert_close(found.mean(dim=0), average[0], atol=0.05, rtol=0.03)
    each = [
        torch.stack([net(x[:1], t[:1], terms[0, j : j + 1])[0] for net in (a, b)]) for j in (0, 1)
    ]
    for j in (0, 1):
        apart = (found[:, j, None] - each[j]).abs().amax(dim=-1)
        assert (apart.amin(dim=1) < 1e-6).all()
    # One random number for both terms: both are expert 0's in a share of min(0.25, 0.6).
    first = (found - torch.stack([e[0] for e in each])).abs().amax(dim=-1) < 1e-6
    assert first.all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("rule", ["joint", "composed"])
def test_equal_experts_can_be_switched_without_a_trace(rule: Rule) -> None:
    both = teachers(0, 0)
    for run in (RUN, RUN.guided(1.3, 2.0)):
        made = sample_ensemble(run, both, C, rule=rule, routing="label", seed=3, sampler=SWITCH)
        alone = sample_ensemble(run, both, C, rule=rule, routing="label", seed=3)
        torch.testing.assert_close(made, alone)


def test_a_switched_sample_differs_from_the_average_and_depends_on_the_seed() -> None:
    def draw(seed: int, sampler: Sampler | None = SWITCH) -> torch.Tensor:
        return sample_routed(RUN, teachers(0, 1), C, rule="composed", seed=seed, sampler=sampler)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert not torch.equal(draw(1), draw(1, None))


def test_what_cannot_switch_says_so() -> None:
    with pytest.raises(ValueError, match="every expert"):
        sample_ensemble(
            RUN, teachers(0, 1), C, rule="joint", routing="energy", seed=0, sampler=SWITCH
        )
    with pytest.raises(ValueError, match="no experts"):
        sample(RUN, weights(0), C, seed=0, sampler=SWITCH)


NAN = float("nan")


def own(toward: list[float], against: float = 0.0) -> OwnWeights:
    """The same for each of the four labels; what is moved away from is value 1 of the second."""
    away = torch.tensor([[2, 1]]).repeat(4, 1, 1)
    return OwnWeights(torch.tensor([toward] * 4), away, torch.full((4, 1), against))


@pytest.mark.parametrize("routing", ["label", "energy"])
def test_own_weights_that_are_the_runs_change_nothing(routing: Routing) -> None:
    run, both = RUN.guided(1.3, 1.3), teachers(0, 1)
    wanted = sample_ensemble(run, both, C, rule="composed", routing=routing, seed=3)
    for rule, toward in (("composed", [NAN, 1.3]), ("joint", [1.3, NAN])):
        made = sample_ensemble(
            run, both, C, rule=rule, routing=routing, seed=3, sampler=Sampler(own=own(toward))
        )
        torch.testing.assert_close(made, wanted)
    routed = sample_routed(run, both, C, rule="joint", seed=3, sampler=Sampler(own=own([1.3, 1.3])))
    if routing == "label":
        torch.testing.assert_close(routed, wanted)


def test_moving_away_is_a_term_of_negative_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """v(∅) + 2 [v(c^1) - v(∅)] + [v(c^2) - v(∅)] - ½ [v(a^2) - v(∅)], cut into chunks."""
    net, path = Table(0.4), path_of(RUN)
    x, t = torch.randn(4, 2), torch.linspace(0, 0.9, 4)
    void = NULL.expand(4, 2)
    first, second = C.clone(), C.clone()
    first[:, 1], second[:, 0] = 2, 2
    at = [net(x, t, c) for c in (void, first, second, torch.tensor([[2, 1]]).expand(4, 2))]
    wanted = at[0] + 2 * (at[1] - at[0]) + (at[2] - at[0]) - 0.5 * (at[3] - at[0])
    found = composed(path, net, NULL, None, own=own([2.0, NAN], 0.5))(x, t, C)
    torch.testing.assert_close(found, wanted)

    def draw() -> torch.Tensor:
        sampler = Sampler(own=own([2.0, NAN], 0.5))
        alone = sample(RUN, weights(0), C, composed=False, seed=3, sampler=sampler)
        many = sample_ensemble(
            RUN, teachers(0, 0), C, rule="joint", routing="label", seed=3, sampler=sampler
        )
        torch.testing.assert_close(many, alone)
        return alone

    whole = draw()
    monkeypatch.setattr(sampling, "CHUNK", 3)
    torch.testing.assert_close(draw(), whole)
