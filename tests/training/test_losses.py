"""The batched losses against a slow literal transcription of the equations."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dcfm_node.flow import sources
from dcfm_node.flow.labels import null_label
from dcfm_node.flow.losses import (
    Matching,
    Penalty,
    evaluate_terms,
    matching_loss,
    objective,
    penalty_loss,
)
from dcfm_node.flow.networks import build
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sources import Points, Source
from tests.training.settings import STAGE, Table, draws, manifest

COUNTS = ({(0, 0): 6, (0, 1): 2}, {(0, 0): 1, (1, 0): 5})


def points(rows: int = 12) -> Points:
    generator = draws(3)
    x0, x1 = torch.randn(2, rows, 2, generator=generator)
    t = torch.rand(rows, generator=generator)
    c = torch.tensor([(0, 0), (0, 1)])[torch.randint(2, (rows,), generator=generator)]
    x = torch.stack([(1 - t[r]) * x0[r] + t[r] * x1[r] for r in range(rows)])
    return Points(x, t, c, lambda _: x1 - x0)


def source(mix: sources.Mix) -> Source:
    settings = manifest()
    return Source(lambda rows, generator: points(rows), mix, settings, settings.method.local, 0.0)


def one(net: Table, x: Tensor, t: Tensor, *c: int) -> Tensor:
    """v at a single point and label."""
    return net(x[None], t[None], torch.tensor([c]))[0]


def test_flow_matching_is_equation_9() -> None:
    net, rows = Table(0.3), points()
    match = Matching(rows.x, rows.t, rows.c, rows.target(rows.c))
    loss = matching_loss(net(rows.x, rows.t, rows.c), match, "velocity")
    errors = [
        ((one(net, rows.x[r], rows.t[r], *rows.c[r].tolist()) - match.target[r]) ** 2).mean()
        for r in range(12)
    ]
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_late_errors_of_a_predicted_sample_are_capped() -> None:
    """(v error)² = (x̂ error)² / max(1-t, .05)² counts x̂ errors by 1/(1-t)² up to 1/.2²."""
    t = torch.tensor([0.0, 0.5, 0.9, 0.99])
    sample_error = 0.1
    velocity_error = sample_error / (1 - t).clamp(min=0.05)
    for r in range(4):
        match = Matching(
            torch.zeros(1, 2), t[r : r + 1], torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2)
        )
        loss = matching_loss(velocity_error[r].expand(1, 2), match, "sample")
        expected = sample_error**2 / max(1 - t[r].item(), 0.2) ** 2
        torch.testing.assert_close(loss.item(), expected, rtol=1e-5, atol=0)


def test_local_penalty_is_equation_10() -> None:
    net, rows = Table(0.3), points()
    penalty = source(sources.all_live).penalty(rows, draws())
    assert penalty is not None
    loss = penalty_loss(evaluate_terms(net, penalty), penalty, "velocity")
    errors = []
    for r in range(12):
        a, b = rows.c[r].tolist()
        at = (rows.x[r], rows.t[r])
        null = one(net, *at, 2, 2)
        composed = null + (one(net, *at, a, 2) - null) + (one(net, *at, 2, b) - null)
        errors.append(((one(net, *at, a, b) - composed) ** 2).mean())
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_penalty_against_peers_is_equation_12() -> None:
    nets = [Table(0.3), Table(-0.8)]
    router = Router(COUNTS, (2, 2))
    rows = points()
    penalty = source(sources.against_peers(nets, router, me=0)).penalty(rows, draws(5))
    assert penalty is not None
    loss = penalty_loss(evaluate_terms(nets[0], penalty), penalty, "velocity")
    errors = []
    for r in range(12):
        at = (rows.x[r], rows.t[r])
        z = [0 if live else 1 for live in penalty.signs[r].tolist()]
        terms = [one(nets[k], *at, *penalty.terms[r, 1 + i].tolist()) for i, k in enumerate(z)]
        composed = terms[0] + (terms[1] - terms[0]) + (terms[2] - terms[0])
        errors.append(((one(nets[0], *at, *rows.c[r].tolist()) - composed) ** 2).mean())
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_peers_are_frozen_and_own_terms_are_not() -> None:
    """Eq. 13: the gradient is that of the own terms alone, and no peer gets any."""
    mine, peer = Table(0.3), Table(-0.8)
    rows = points()
    mix = sources.against_peers([mine, peer], Router(COUNTS, (2, 2)), me=0)
    penalty = source(mix).penalty(rows, draws(5))
    assert penalty is not None
    assert 0 < (penalty.signs != 0).float().mean() < 1
    penalty_loss(evaluate_terms(mine, penalty), penalty, "velocity").backward()
    assert peer.scale.grad is None
    assert mine.scale.grad is not None

    def literal(scale: Tensor) -> Tensor:
        total = torch.zeros(())
        for r in range(12):
            at = (rows.x[r], rows.t[r])
            code = 1.0 + penalty.terms[r, :, 0] + 3.7 * penalty.terms[r, :, 1] ** 2
            own = [scale * code[i] + at[0] * at[1] for i in range(4)]
            other = [peer.scale.detach() * code[i] + at[0] * at[1] for i in range(4)]
            live = [True, *penalty.signs[r].bool().tolist()]
            full, null, i, j = (own[m] if live[m] else other[m] for m in range(4))
            total = total + ((full - (i + j - null)) ** 2).mean()
        return total / 12

    scale = torch.tensor(0.3, requires_grad=True)
    literal(scale).backward()
    torch.testing.assert_close(mine.scale.grad, scale.grad)


def test_all_local_z_equals_the_local_penalty() -> None:
    """With nobody else to route to, Eq. 12 is Eq. 10."""
    net, rows = Table(0.3), points()
    alone = sources.against_peers([net], Router(COUNTS[:1], (2, 2)), me=0)
    routed = source(alone).penalty(rows, draws())
    local = source(sources.all_live).penalty(rows, draws())
    assert isinstance(routed, Penalty)
    assert isinstance(local, Penalty)
    for name, value in vars(local).items():
        torch.testing.assert_close(vars(routed)[name], value)


def test_anchored_terms_are_live_half_the_time() -> None:
    anchor = Table(2.0)
    mix = sources.anchored(anchor)
    rows = points(600)
    terms = torch.cat([rows.c[:, None], torch.full((600, 3, 2), 2)], dim=1)
    live, frozen = mix(rows.x, rows.t, terms, draws())
    assert abs(live.float().mean().item() - 0.5) < 0.05
    with torch.no_grad():
        value = anchor(rows.x, rows.t, terms[:, 1])
    signed = (~live * torch.tensor([-1.0, 1.0, 1.0])).sum(dim=1, keepdim=True) * value
    torch.testing.assert_close(frozen, signed)


def test_peer_targets_are_the_teachers_velocities_on_their_own_paths() -> None:
    """Eq. 15: each row's target is its own teacher's velocity at the masked label."""
    teachers = [Table(9.0), Table(-9.0)]
    settings = manifest(method={"solver_steps": 4, "solver": "euler"})
    rows = sources.path_points(teachers, COUNTS, settings)(200, draws())
    null = null_label((2, 2)).expand(200, 2)
    target = rows.target(null)
    velocities = torch.stack([teacher(rows.x, rows.t, null).detach() for teacher in teachers])
    owner = (target == velocities).all(dim=-1).float()
    assert torch.equal(owner.sum(dim=0), torch.ones(200))
    # Teacher 0 drifts up and teacher 1 down: whose path a point lies on shows in its place.
    late = rows.t > 0.5
    assert (rows.x[late].mean(dim=1) > 0).eq(owner[0][late] == 1).float().mean() > 0.95
    # In proportion to sample counts, 8 to 6, and with labels of the owner's only.
    assert owner[0].mean().item() == pytest.approx(8 / 14, abs=0.1)
    assert not ((rows.c == torch.tensor([1, 0])).all(dim=1) & (owner[0] == 1)).any()


def run(n: int, mix: sources.Mix, share: float = 0.0, device: str = "cpu") -> Source:
    """Random samples with n binary attributes; six a step, of which four bear the penalty."""
    settings = manifest((2,) * n, method={"local": STAGE | {"batch": 6, "ci_batch": 4}})
    x1 = torch.randn(30, 2, generator=draws()).to(device)
    data = sources.data_points(x1, torch.randint(2, (30, n), generator=draws()))
    return Source(data, mix, settings, settings.method.local, share)


def test_a_block_has_the_rows_of_each_step() -> None:
    made = run(2, sources.all_live).block(3, draws())
    assert [len(step.match.x) for step in made] == [6, 6, 6]
    assert [len(step.penalty.x) for step in made if step.penalty is not None] == [4, 4, 4]
    for step in made:
        assert step.penalty is not None
        assert torch.equal(step.match.x[:4], step.penalty.x)


def mixes(n: int, device: str = "cpu") -> dict[str, sources.Mix]:
    counts = [{(0,) * n: 3, (1,) * n: 1}, {(1,) * n: 2, (0,) * n: 2}, {(0,) * n: 4}]
    peers = [build(run(n, sources.all_live).manifest).to(device) for _ in counts]
    return {
        "local": sources.all_live,
        "anchored": sources.anchored(peers[0]),
        "peers": sources.against_peers(peers, Router(counts, (2,) * n), me=0),
    }


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("mix", ["local", "anchored", "peers"])
def test_one_call_gives_both_terms_and_their_gradients(n: int, mix: str) -> None:
    """What is asked once and for live terms alone is what asking for everything gives."""
    source = run(n, mixes(n)[mix], share=0.5)
    for step in source.block(20, draws()):
        net = build(source.manifest)
        fit, ci = objective(net, step, "velocity")
        assert step.penalty is not None
        match = step.match
        expected_fit = matching_loss(net(match.x, match.t, match.c), match, "velocity")
        expected_ci = penalty_loss(evaluate_terms(net, step.penalty), step.penalty, "velocity")
        parameters = list(net.parameters())
        for made, expected in ((fit, expected_fit), (ci, expected_ci)):
            torch.testing.assert_close(made, expected)
            for ours, theirs in zip(
                torch.autograd.grad(made, parameters, retain_graph=True),
                torch.autograd.grad(expected, parameters, retain_graph=True),
                strict=True,
            ):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("mix", ["local", "anchored", "peers"])
def test_every_velocity_is_asked_for_once(n: int, mix: str) -> None:
    source = run(n, mixes(n)[mix], share=0.5)
    for step in source.block(20, draws()):
        asked = torch.cat([step.match.x[step.calls.row], step.calls.c], dim=1).tolist()
        penalty, match = step.penalty, step.match
        assert penalty is not None
        needed = {(*x, *c) for x, c in zip(match.x.tolist(), match.c.tolist(), strict=True)}
        for x, terms, signs in zip(
            penalty.x.tolist(), penalty.terms.tolist(), penalty.signs.tolist(), strict=True
        ):
            own = [True, *(sign != 0 for sign in signs)]
            needed |= {(*x, *c) for c, live in zip(terms, own, strict=True) if live}
        assert sorted(map(tuple, asked)) == sorted(needed)


def test_own_labels_of_two_attributes_cost_four_evaluations_a_row() -> None:
    """Table 4 of the paper: whatever the mask leaves of c is one of the penalty's four labels."""
    for step in run(2, sources.all_live).block(20, draws()):
        assert len(step.calls.row) == 4 * 4 + 2


@pytest.mark.parametrize("stage", ["local", "anchored", "peers", "distil"])
def test_nothing_of_a_step_waits_for_the_device(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device without values, whatever would bring one to the host fails."""
    monkeypatch.setattr(sources, "_there", lambda generator, device: None)
    source = run(2, mixes(2, "meta").get(stage, sources.all_live), device="meta")
    net = build(source.manifest).to("meta")
    if stage == "distil":
        points = sources.path_points([net, net], COUNTS, source.manifest, "meta")
        source = replace(source, points=points)
    for step in source.block(3, draws()):
        fit, ci = objective(net, step, "velocity")
        (fit + ci).backward()
        with pytest.raises(RuntimeError, match="meta"):
            ci.item()
