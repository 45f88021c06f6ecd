"""How much an error counts at time t, by hand."""

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.losses import objective
from dcfm_node.flow.networks import FlowNetwork
from dcfm_node.flow.sources import BatchSampler, PathSample, all_live
from dcfm_node.paths.base import path_of
from tests.training.settings import STAGE, draws, manifest

ERROR = 0.3
BATCH = {"local": STAGE | {"batch": 4, "ci_batch": 4}}
FULL = {"full": 1e9, "marginal": 1e-9, "null": 1e-9}


class Off(torch.nn.Module):
    """Exact but for full labels, where every element is ERROR too high."""

    def __init__(self, predict: str) -> None:
        super().__init__()
        self.exact = 1.0 if predict == "sample" else 0.0

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return self.exact * x + ERROR * (c < 2).all(dim=1)[:, None]


@pytest.mark.parametrize(
    ("predict", "t", "velocity_error", "loss"),
    [
        ("velocity", 0.0, 0.3, 0.09),
        ("velocity", 0.5, 0.3, 0.09),
        ("velocity", 0.9, 0.3, 0.09),
        ("velocity", 1.0, 0.3, 0.09),
        ("sample", 0.0, 0.3, 0.09),  # / 1²
        ("sample", 0.5, 0.6, 0.36),  # / 0.5²
        ("sample", 0.9, 3.0, 2.25),  # / 0.2², not 0.1²: the weight's floor
        ("sample", 1.0, 6.0, 2.25),  # the velocity's own floor is 0.05
    ],
)
def test_errors_are_weighed_by_time(
    predict: str, t: float, velocity_error: float, loss: float
) -> None:
    """Noise and data coincide, so that the true velocity is 0 and the true sample is x."""
    run = manifest(network={"predict": predict}, method=BATCH | {"masks": FULL})
    net = FlowNetwork(Off(predict), path_of(run))
    x, times, c = torch.ones(4, 2), torch.full((4,), t), torch.zeros(4, 2, dtype=torch.int64)
    points = PathSample(x, times, c, lambda _: torch.zeros(4, 2))
    source = BatchSampler(lambda rows, generator: points, all_live, run, run.method.local, 0.0)
    torch.testing.assert_close(net(x, times, c), torch.full((4, 2), velocity_error))
    (step,) = source.block(1, draws())
    fit, ci = objective(source.path, net, step)
    assert fit.item() == pytest.approx(loss, rel=1e-5)
    assert ci.item() == pytest.approx(loss, rel=1e-5)
