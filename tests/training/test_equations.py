"""Every stage's two losses, their gradients and their draws, against the literal equations."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import product
from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dcfm_node.flow import metrics, sources
from dcfm_node.flow.labels import block_terms
from dcfm_node.flow.losses import objective
from dcfm_node.flow.sources import BatchSampler, PathSample
from dcfm_node.flow.trainer import Callbacks, train
from tests.training import literal, witness
from tests.training.cases import (
    CI_WEIGHT,
    COUNTS,
    ME,
    SHAPES,
    STAGES,
    Case,
    case,
    samples,
)
from tests.training.literal import Label, Law
from tests.training.settings import draws
from tests.training.witness import Matched, Penalised


def literal_fit(it: Case, rows: Iterable[Matched]) -> Tensor:
    """Eqs. 9 and 15."""
    return _mean(it, [(literal.matching_error(it.own, r.x, r.t, r.c, r.target), r.t) for r in rows])


def literal_ci(it: Case, rows: Iterable[Penalised]) -> Tensor:
    """Eqs. 10, 12 and 16."""
    errors = []
    for row in rows:
        at = (row.x, row.t, row.c, it.null, row.blocks)
        if it.frozen:
            error = literal.cross_peer_error(it.own, it.frozen, row.z, ME, *at)
        else:
            error = literal.independence_error(it.own, *at)
        errors.append((error, row.t))
    return _mean(it, errors)


def _mean(it: Case, errors: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    predict = it.run.network.predict
    return torch.stack([literal.squared(error, t, predict) for error, t in errors]).mean()


def gradients(net: nn.Module, loss: Tensor) -> Tensor:
    """All of them, flat."""
    found = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
    return torch.cat([gradient.flatten() for gradient in found])


@pytest.mark.parametrize("predict", ["velocity", "sample"])
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("stage", STAGES)
def test_both_losses_and_their_gradients(stage: str, n: int, predict: str) -> None:
    it = case(stage, n, predict)
    step = it.step()
    assert len({row.c for row in step.penalised}) > 2
    if it.frozen:
        assert len({row.z for row in step.penalised}) > 2, "terms of several silos are mixed"
    for made, expected in (
        (step.fit, literal_fit(it, step.matched)),
        (step.ci, literal_ci(it, step.penalised)),
    ):
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=0)
        mine, theirs = gradients(it.own, made), gradients(it.own, expected)
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5 * theirs.norm().item())


@pytest.mark.parametrize("n", [2, 3])
def test_points_lie_between_noise_and_a_sample_of_their_label(n: int) -> None:
    """x_t + (1 - t) u is one of the silo's samples, c what the mask left of its label; x_t - t u
    is standard normal."""
    it = case("local", n, batch=400)
    rows = it.step().matched
    x1, c = samples(n)
    for row in rows:
        distance = (x1 - row.x - (1 - row.t) * row.target).flatten(1).norm(dim=1)
        assert distance.min() < 1e-5
        label = tuple(c[distance.argmin()].tolist())
        assert row.c in literal.mask_law(label, it.null, it.run.method.masks)
    noise = torch.stack([row.x - row.t * row.target for row in rows])
    assert abs(noise.mean().item()) < 4 / sqrt(noise.numel())
    assert abs(noise.square().mean().item() - 1) < 4 * sqrt(2 / noise.numel())
    assert_uniform(torch.stack([row.t for row in rows]))


@pytest.mark.parametrize("n", [2, 3])
def test_peers_are_matched_on_their_own_paths(n: int) -> None:
    """Eq. 15: x_t is on a path that one teacher draws from noise for a label of its own; the target
    is that teacher's velocity at what the mask left of the label."""
    it = case("distil", n, batch=60)
    rows = it.step().matched
    paths = teacher_paths(it, n)
    found = set()
    for row in rows:
        ((k, label),) = {
            (k, label)
            for k, label, states in paths
            if torch.allclose(literal.on_path(states, row.t.item()), row.x, atol=1e-4)
        }
        assert row.c in literal.mask_law(label, it.null, it.run.method.masks)
        expected = literal.velocity(it.experts[k], row.x, row.t, row.c).detach()
        torch.testing.assert_close(row.target, expected, rtol=1e-4, atol=1e-5)
        assert not row.target.requires_grad
        found.add(k)
    assert found == {0, 1, 2}


def teacher_paths(it: Case, n: int) -> list[tuple[int, Label, list[Tensor]]]:
    """Every path the teachers were asked for, integrated again one by one."""
    paths = []
    for k, teacher in enumerate(it.experts):
        field = partial(literal.velocity, teacher.net)
        starts = {(place, label) for place, label in teacher.asked if place[-1] == 0.0}
        for place, label in starts:
            x0 = torch.tensor(place[:-1]).reshape(SHAPES[n])
            paths.append((k, label, literal.heun_path(field, x0, label, 3)))
    return paths


def test_teachers_and_their_labels_are_drawn_by_label_counts() -> None:
    """Eq. 15's expectation over k, c and t."""
    it = case("distil", 2)
    method = it.run.method.model_copy(update={"solver_steps": 1, "solver": "euler"})
    run = it.run.model_copy(update={"method": method})
    assert_uniform(sources.path_points(it.experts, COUNTS[2], run)(8000, draws()).t)
    total = sum(sum(silo.values()) for silo in COUNTS[2])
    law = {
        (k, *label): Fraction(times, total)
        for k, silo in enumerate(COUNTS[2])
        for label, times in silo.items()
    }
    assert_follows([(k, *label) for k in (0, 1, 2) for _, label in it.experts[k].asked], law)


@pytest.mark.parametrize("n", [2, 3])
def test_masks_have_the_frequencies_of_equation_8(n: int) -> None:
    it = case("local", n, batch=6000)
    held = COUNTS[n][ME]
    law: Law = Counter()
    for label, times in held.items():
        for masked, p in literal.mask_law(label, it.null, it.run.method.masks).items():
            law[masked] += p * Fraction(times, sum(held.values()))
    assert_follows([row.c for row in it.step().matched], law)


def test_blocks_of_four_attributes_are_drawn_by_their_law() -> None:
    """Of two and three every law that treats attributes alike is nearly the same."""
    null = (2, 2, 2, 2)
    terms = block_terms(torch.zeros(6000, 4, dtype=torch.int64), torch.tensor(null), draws())
    law: Law = Counter()
    for blocks, p in literal.blocks_law(4).items():
        _, a, b, _ = literal.terms((0, 0, 0, 0), null, blocks)
        law[*a, *b] += p
    drawn = [sorted(map(tuple, row), key=literal.by_size(null)) for row in terms.tolist()]
    assert_follows([(*a, *b) for _, a, b, _ in drawn], law)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("n", [2, 3])
def test_blocks_and_z_have_the_frequencies_of_equation_12(n: int, share: float) -> None:
    """On own labels, and on those of the product space, some of whose values the silo lacks."""
    it = case("against peers", n, batch=6000, share=share)
    labels = Counter(product(*map(range, it.null))) if share else COUNTS[n][ME]
    law: Law = Counter()
    for c, times in labels.items():
        for blocks, p_blocks in literal.blocks_law(n).items():
            p_label = p_blocks * Fraction(times, sum(labels.values()))
            terms = literal.terms(c, it.null, blocks)[:3]
            for z, p in literal.routing_law(COUNTS[n], terms, it.null, ME).items():
                law[*terms[1], *terms[2], *z] += p * p_label
    rows = it.step().penalised
    drawn = [(*literal.terms(row.c, it.null, row.blocks)[1:3], row.z) for row in rows]
    assert_follows([(*a, *b, *z) for a, b, z in drawn], law)
    assert_follows([z for *_, z in drawn], _sums(law, lambda outcome: outcome[-3:]))


def _sums(law: Law, part: Callable[[Label], Label]) -> Law:
    sums: Law = Counter()
    for outcome, p in law.items():
        sums[part(outcome)] += p
    return sums


def test_anchored_terms_are_live_with_probability_one_half() -> None:
    rows = case("anchored", 3, batch=4000).step().penalised
    assert_follows([row.z for row in rows], dict.fromkeys(product((0, ME), repeat=3), 1 / 8))


def assert_follows(outcomes: Sequence[Label], law: Law) -> None:
    """Each count within five standard errors of its binomial mean, and no other outcome."""
    found, rows = Counter(outcomes), len(outcomes)
    assert found.keys() <= {outcome for outcome, p in law.items() if p > 0}
    for outcome, p in law.items():
        error = sqrt(rows * p * (1 - p))
        assert abs(found[outcome] - rows * p) <= 5 * error, outcome


def assert_uniform(t: Tensor) -> None:
    """The Kolmogorov-Smirnov bound that one in ten thousand uniform samples exceeds."""
    grid = (torch.arange(len(t)) + 0.5) / len(t)
    assert (t.sort().values - grid).abs().max().item() < 2.23 / sqrt(len(t))


@dataclass(frozen=True)
class Kept(BatchSampler):
    """A source that keeps the blocks it gave."""

    blocks: list[Any] = field(default_factory=list)

    def block(self, steps: int, generator: torch.Generator) -> Any:
        self.blocks.append(super().block(steps, generator))
        return self.blocks[-1]


@pytest.mark.parametrize("stage", STAGES)
def test_training_descends_the_sum_of_both(stage: str) -> None:
    """Eqs. 11, 14 and 17: AdamW's first moment is a tenth of the gradient of L + λ L_CI, clipped
    to norm 1."""
    it = case(stage, 2)
    settings = it.source.settings.model_copy(update={"steps": 1})
    source = Kept(it.source.points, it.source.mix, it.run, settings, it.source.product_share)
    saved: list[dict[str, Tensor]] = []
    callbacks = Callbacks(save=saved.append, save_every=1)
    before = {name: value.clone() for name, value in it.own.state_dict().items()}
    train(it.own, source, seed=5, callbacks=callbacks)
    it.own.load_state_dict(before)
    fit, ci = objective(source.path, it.own, source.blocks[0][0])
    expected = gradients(it.own, fit + CI_WEIGHT * ci)
    count = len(list(it.own.parameters()))
    moment = torch.cat([saved[0][f"optimiser.{i}.exp_avg"].flatten() for i in range(count)])
    clipped = expected / max(1.0, expected.norm().item())
    torch.testing.assert_close(10 * moment, clipped, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("predict", ["velocity", "sample"])
def test_metrics_are_the_same_equations(predict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ci_gap` is the stage's own penalty, `holdout_loss` Eq. 9 on full labels."""
    monkeypatch.setattr(metrics, "ROWS", 24)
    it = case("against peers", 3, predict)
    seen: list[PathSample] = []

    def points(rows: int, generator: torch.Generator) -> PathSample:
        seen.append(it.source.points(rows, generator))
        return seen[-1]

    source = BatchSampler(
        points, it.source.mix, it.run, it.source.settings, it.source.product_share
    )
    gap = metrics.ci_gap(it.own, source)
    drawn = witness.penalised(it.own, it.frozen, ME, it.null, full(seen[0]))
    assert gap == pytest.approx(literal_ci(it, drawn).item(), rel=1e-4)
    error = metrics.velocity_error(source.path, it.own, metrics.holdout_rows(points))
    assert error == pytest.approx(literal_fit(it, full(seen[1])).item(), rel=1e-4)


def full(points: PathSample) -> list[Matched]:
    targets = points.target(points.c)
    return [
        Matched(points.x[r], points.t[r], tuple(points.c[r].tolist()), targets[r])
        for r in range(len(points.x))
    ]
