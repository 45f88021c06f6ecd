"""The trained router of DDM on experts whose flows are known."""

import torch
from torch import Tensor

from dcfm_node.flow.networks import build, build_gating, load
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.mixture import gating
from tests.training.settings import STAGE, manifest

RUN = manifest(
    network={"width": 32, "predict": "sample"},
    method={"distil": STAGE | {"steps": 300, "batch": 128, "learning_rate": 1e-2}},
)
COUNTS = ({(0, 0): 30}, {(1, 1): 10})


def expert(mode: float) -> dict[str, Tensor]:
    """Weights of a network that predicts one clean sample, (mode, mode), wherever it is asked."""
    weights = {name: torch.zeros_like(part) for name, part in build(RUN).state_dict().items()}
    weights["net.out_proj.bias"] += mode
    return weights


TEACHERS = [Teacher(f"silo-{k}", expert(mode), COUNTS[k]) for k, mode in enumerate((3.0, -3.0))]


def test_it_tells_two_separated_experts_apart() -> None:
    seen: list[int] = []
    callbacks = Callbacks(progress=lambda done, total, losses: seen.append(done))
    trained = gating.train_gating(RUN, TEACHERS, seed=0, callbacks=callbacks)
    assert trained.metrics["accuracy"] > 0.9
    assert seen[-1] == 300
    router = gating.load(RUN, trained.weights, "cpu")
    points = torch.tensor([[3.0, 3.0], [-3.0, -3.0]]) * 0.9
    late = torch.softmax(router(points, torch.full((2,), 0.9)), dim=-1)
    assert late.diagonal().min() > 0.99
    # Noise tells nothing: at t = 0 what is left is the share of samples, 30 to 10.
    x0 = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    early = torch.softmax(router(x0, torch.zeros(2000)), dim=-1).mean(dim=0)
    assert abs(early[0].item() - 0.75) < 0.1


def test_points_are_owned_in_proportion_to_sample_counts() -> None:
    nets = [load(RUN, teacher.weights, "cpu") for teacher in TEACHERS]
    draw = gating.OwnedPoints(nets, COUNTS, RUN).draw
    x, t, owner = draw(4000, torch.Generator().manual_seed(0))
    assert x.shape == (4000, 2)
    assert abs((owner == 0).float().mean().item() - 0.75) < 0.02
    late = t > 0.9
    assert (x[late & (owner == 0)] > 0).all()
    assert (x[late & (owner == 1)] < 0).all()


def test_a_router_resumed_repeats_an_uninterrupted_one() -> None:
    run = manifest(network={"predict": "sample", "width": 32})
    kept: list[dict[str, Tensor]] = []
    callbacks = Callbacks(save=kept.append, save_every=7)
    whole = gating.train_gating(run, TEACHERS, seed=0, callbacks=callbacks)
    resumed = gating.train_gating(run, TEACHERS, seed=0, callbacks=Callbacks(resume=kept[0]))
    assert all(torch.equal(resumed.weights[name], part) for name, part in whole.weights.items())


def test_images_have_a_router_too() -> None:
    run = manifest(shape=(1, 8, 8), silos=3, network={"kind": "unet", "width": 8, "depth": 3})
    router = build_gating(run)
    logits = router(torch.randn(5, 1, 8, 8), torch.rand(5))
    assert logits.shape == (5, 3)
