from typing import Literal

import pytest
import torch

from dcfm_node.flow import sampling
from dcfm_node.flow.guidance import Guide
from dcfm_node.flow.labels import null_label
from dcfm_node.flow.networks import build, load
from dcfm_node.flow.room import check_room
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sampling import Teacher, composed, guided, routed, sample, sample_routed
from dcfm_node.paths.base import path_of
from dcfm_node.paths.solvers import integrate
from dcfm_node.records.manifest import Manifest
from tests.training.settings import Table, manifest

RUN = manifest(method={"solver_steps": 5})
PATH = path_of(RUN)
NULL = null_label((2, 2))
COUNTS = ({(0, 0): 6, (0, 1): 2}, {(0, 0): 1, (1, 0): 5})
X, T = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.linspace(0, 0.9, 4)
C = torch.tensor([(0, 0), (0, 1), (1, 0), (1, 1)])


def weights(seed: int) -> dict[str, torch.Tensor]:
    return build(manifest(method={"seed": seed})).state_dict()


def teachers() -> list[Teacher]:
    return [Teacher(f"silo-{k}", weights(k), COUNTS[k]) for k in (0, 1)]


def constant(w: float, many: int = 2) -> Guide:
    return lambda c, t: torch.full((len(c), many), w)


@pytest.mark.parametrize("w", [1.0, 2.5])
def test_composed_is_equation_5(w: float) -> None:
    net = Table(0.4)
    null = net(X, T, NULL.expand(4, 2))
    first = net(X, T, torch.stack([C[:, 0], torch.full((4,), 2)], dim=1))
    second = net(X, T, torch.stack([torch.full((4,), 2), C[:, 1]], dim=1))
    expected = null + w * (first - null) + w * (second - null)
    torch.testing.assert_close(composed(PATH, net, NULL, constant(w))(X, T, C), expected)


def test_absent_values_are_left_out_of_equation_5() -> None:
    """Of (0, 0), (0, 1), (1, 0), (1, 1), where the first attribute's 0 is absent, and of both."""
    net, null = Table(0.4), Table(0.4)(X, T, NULL.expand(4, 2))
    first = net(X, T, torch.stack([C[:, 0], NULL[1].expand(4)], dim=1)) - null
    second = net(X, T, torch.stack([NULL[0].expand(4), C[:, 1]], dim=1)) - null
    for absent, kept in (((0, -1), (C[:, 0] == 1, C[:, 0] >= 0)), ((0, 0), (C[:, 0], C[:, 1]))):
        there = torch.stack(kept, dim=1).float()
        there[there.sum(dim=1) == 0] = 1.0
        expected = null + 1.5 * (there[:, :1] * first + there[:, 1:] * second)
        field = composed(PATH, net, NULL, constant(1.5), absent=torch.tensor(absent))
        torch.testing.assert_close(field(X, T, C), expected)
        router = Router(COUNTS, (2, 2))
        mixed = routed(PATH, [net, net], router, NULL, constant(1.5), absent=torch.tensor(absent))
        torch.testing.assert_close(mixed(X, T, C), expected)


@pytest.mark.parametrize("way", ["composed", "routed"])
def test_a_run_says_which_values_are_absent(way: Literal["composed", "routed"]) -> None:
    attributes = [a.model_copy(update={"absent": "0"}) for a in RUN.attributes]
    sets = RUN.model_copy(update={"attributes": tuple(attributes)})

    def drawn(run: Manifest, c: torch.Tensor) -> torch.Tensor:
        if way == "routed":
            return sample_routed(run, teachers(), c, rule="composed", seed=3)
        return sample(run, weights(0), c, composed=True, seed=3)

    every, present = drawn(RUN, C), drawn(sets, C)
    torch.testing.assert_close(every[[0, 3]], present[[0, 3]])
    assert (every[1:3] - present[1:3]).abs().min() > 1e-4


def test_guidance_of_the_joint_head_evaluates_the_null_only_where_it_guides() -> None:
    net, asked = Table(0.4), []

    def watched(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        return net(x, t, c)

    w = torch.tensor([[1.0], [3.0], [1.0], [0.5]])
    null = net(X, T, NULL.expand(4, 2))
    made = guided(PATH, watched, NULL, lambda c, t: w)(X, T, C)
    torch.testing.assert_close(made, null + w * (net(X, T, C) - null))
    assert torch.equal(guided(PATH, watched, NULL, constant(1.0, 1))(X, T, C), net(X, T, C))
    assert guided(PATH, watched, NULL, None) is watched
    assert asked == [6, 4]


def test_routed_terms_are_mixed_by_label_counts() -> None:
    a, b = Table(0.4), Table(-1.0)
    made = routed(PATH, [a, b], Router(COUNTS, (2, 2)), NULL)(X, T, C)
    for r, (i, j) in enumerate(C.tolist()):

        def mixed(label: tuple[int, int], n: tuple[int, int], r: int = r) -> torch.Tensor:
            at = (X[r : r + 1], T[r : r + 1], torch.tensor([label]))
            return (n[0] * a(*at) + n[1] * b(*at))[0] / sum(n)

        null = mixed((2, 2), (8, 6))
        first = mixed((i, 2), ((8, 1), (0, 5))[i])
        second = mixed((2, j), ((6, 6), (2, 0))[j])
        torch.testing.assert_close(made[r], first + second - null)


def test_sample_integrates_the_field_from_seeded_noise() -> None:
    noise = torch.randn(4, 2, generator=torch.Generator().manual_seed(9))
    net = load(RUN, weights(0), "cpu")
    direct = integrate(lambda x, t: net(x, t, C), noise, 5, "heun")
    torch.testing.assert_close(sample(RUN, weights(0), C, composed=False, seed=9), direct)
    through = sample(RUN, weights(0), C, seed=9)
    assert RUN.method.composed
    assert torch.equal(through, sample(RUN, weights(0), C, composed=True, seed=9))
    assert not torch.equal(through, sample(RUN, weights(0), C, seed=8))


def test_joint_routing_picks_one_expert_per_sample() -> None:
    labels = torch.tensor([(0, 0)] * 30 + [(0, 1)] * 5)
    made = sample_routed(RUN, teachers(), labels, rule="joint", seed=9)
    alone = [sample(RUN, weights(k), labels, composed=False, seed=9) for k in (0, 1)]
    of_first, of_second = (torch.isclose(made, one).all(dim=1) for one in alone)
    assert (of_first ^ of_second).all()
    assert of_second[:30].any(), "silo 1 holds a seventh of (0, 0)"
    assert of_first[30:].all(), "silo 0 alone holds (0, 1)"


def test_large_requests_are_cut_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = C.repeat(3, 1)
    whole = sample_routed(RUN, teachers(), labels, rule="composed", seed=1)
    monkeypatch.setattr(sampling, "CHUNK", 5)
    cut = sample_routed(RUN, teachers(), labels, rule="composed", seed=1)
    torch.testing.assert_close(cut, whole)


@pytest.mark.parametrize("rule", ["joint", "composed"])
def test_known_and_novel_rows_take_their_own_weights(rule: Literal["joint", "composed"]) -> None:
    """(1, 1) is novel. Weights of 1 change no bit."""
    once = RUN.guided(1.0, 1.0)
    both = {w: RUN.guided(w, w) for w in (1.3, 2.0)}
    apart, through = RUN.guided(1.3, 2.0), rule == "composed"

    def student(run: Manifest) -> torch.Tensor:
        return sample(run, weights(0), C, counts=COUNTS, composed=through, seed=3)

    def experts(run: Manifest) -> torch.Tensor:
        return sample_routed(run, teachers(), C, rule=rule, seed=3)

    for draw in (student, experts):
        made = draw(apart)
        torch.testing.assert_close(made[:3], draw(both[1.3])[:3])
        torch.testing.assert_close(made[3:], draw(both[2.0])[3:])
        assert torch.equal(draw(once), draw(RUN))
        assert not torch.allclose(made, draw(RUN))
    with pytest.raises(ValueError, match="counts"):
        sample(apart, weights(0), C, seed=3)


def test_long_samples_of_many_tokens_are_drawn_a_few_at_once() -> None:
    """1,000 places of 4,096 tokens, in three terms, have 50 MB."""
    long = manifest(shape=(1_000,), tokens=4_096, network={"width": 8})
    assert sampling.at_once(long) == 2
    check_room(long, 10_000, 1e9)
    short = manifest(shape=(8,), tokens=67, network={"width": 8})
    assert sampling.at_once(short) == sampling.at_once(manifest(shape=(9_999,))) == sampling.CHUNK


def test_batches_of_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = manifest(shape=(3,), tokens=4, network={"width": 8}), []
    monkeypatch.setattr(sampling, "MOST_NUMBERS", 2 * 3 * 4 * 3)

    def field(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return torch.zeros(*x.shape, 4).log_softmax(dim=-1)

    draws = torch.Generator().manual_seed(0)
    x0 = sampling.noise(run, 5, draws)
    found = sampling.solve(run, field, C[[0, 0, 1, 2, 3]], x0, draws=draws, device="cpu")
    assert found.shape == (5, 3)
    assert sorted(set(seen)) == [1, 2]
