"""The one forward of a step: every velocity once, and the device never waited for.

That it gives the equations is tested in test_equations.
"""

import math
from dataclasses import replace

import pytest
import torch

from dcfm_node.flow import sources
from dcfm_node.flow.losses import GROUP, evaluate_terms, matching_loss, objective, penalty_loss
from dcfm_node.flow.networks import build
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sources import BatchSampler
from dcfm_node.methods.dcfm.terms import against_peers, anchored
from dcfm_node.paths.base import path_of
from tests.training.settings import STAGE, draws, manifest

COUNTS = ({(0, 0): 6, (0, 1): 2}, {(0, 0): 1, (1, 0): 5})


def run(
    n: int, mix: sources.Mix, share: float = 0.0, device: str = "cpu", borne: int = 4
) -> BatchSampler:
    """Random samples with n binary attributes; two more a step than bear the penalty."""
    stage = STAGE | {"batch": borne + 2, "ci_batch": borne}
    settings = manifest((2,) * n, method={"local": stage})
    x1 = torch.randn(30, 2, generator=draws()).to(device)
    labels = torch.randint(2, (30, n), generator=draws())
    data = sources.data_points(x1, labels, path_of(settings))
    return BatchSampler(data, mix, settings, settings.method.local, share)


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
        "anchored": anchored(peers[0]),
        "peers": against_peers(peers, Router(counts, (2,) * n), me=0),
    }


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("mix", ["local", "anchored", "peers"])
def test_one_call_gives_both_terms_and_their_gradients(n: int, mix: str) -> None:
    """What is asked once and for live terms alone is what asking for everything gives."""
    source = run(n, mixes(n)[mix], share=0.5)
    for step in source.block(20, draws()):
        net = build(source.manifest)
        fit, ci = objective(source.path, net, step)
        assert step.penalty is not None
        match = step.match
        path, penalty = source.path, step.penalty
        expected_fit = matching_loss(path, net(match.x, match.t, match.c), match)
        terms = evaluate_terms(net, penalty.x, penalty.t, penalty.terms)
        expected_ci = penalty_loss(path, terms, penalty)
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
    """And no other, but for those that fill up a group."""
    source = run(n, mixes(n)[mix], share=0.5)
    for step in source.block(20, draws()):
        asked = torch.cat([step.match.x[step.calls.row], step.calls.c], dim=1).tolist()
        penalty, match = step.penalty, step.match
        assert penalty is not None
        needed = {(*x, *c) for x, c in zip(match.x.tolist(), match.c.tolist(), strict=True)}
        for x, asked_terms, weights in zip(
            penalty.x.tolist(), penalty.terms.tolist(), penalty.weights.tolist(), strict=True
        ):
            own = [True, *(weight != 0 for weight in weights)]
            needed |= {(*x, *c) for c, live in zip(asked_terms, own, strict=True) if live}
        assert set(map(tuple, asked)) >= needed
        assert len(asked) == math.ceil(len(needed) / GROUP) * GROUP


def test_own_labels_of_two_attributes_cost_four_evaluations_a_row() -> None:
    """Table 4 of the paper: whatever the mask leaves of c is one of the penalty's four labels."""
    borne = 3 * GROUP - 2
    for step in run(2, sources.all_live, borne=borne).block(20, draws()):
        assert len(step.calls.row) == math.ceil((4 * borne + 2) / GROUP) * GROUP


@pytest.mark.parametrize("stage", ["local", "anchored", "peers", "distil"])
def test_nothing_of_a_step_waits_for_the_device(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device without values, whatever would bring one to the host fails."""
    monkeypatch.setattr(sources, "on_device", lambda generator, device: None)
    source = run(2, mixes(2, "meta").get(stage, sources.all_live), device="meta")
    net = build(source.manifest).to("meta")
    if stage == "distil":
        points = sources.path_points([net, net], COUNTS, source.manifest, "meta")
        source = replace(source, points=points)
    for step in source.block(3, draws()):
        fit, ci = objective(source.path, net, step)
        (fit + ci).backward()
        with pytest.raises(RuntimeError, match="meta"):
            ci.item()
