"""Judges of the demonstration: is a sample what was asked for?"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.data import builtin

STEPS, BATCH, LEARNING_RATE = 600, 256, 3e-3


def correct(domain: str, x: Tensor, labels: Tensor) -> Tensor:
    """Which samples show every asked value. Shapes (B, *sample_shape), (B, n) -> (B,) bool."""
    return {"gaussians": _near_mode, "digits": _digit_and_colour}[domain](x, labels)


def accuracy(domain: str, x: Tensor, labels: Tensor) -> float:
    """Share of samples that show every asked value."""
    return correct(domain, x, labels).float().mean().item()


def queries(combinations: Sequence[Sequence[int]], each: int) -> Tensor:
    """Every combination `each` times, (len * each, n)."""
    return torch.tensor([tuple(c) for c in combinations]).repeat_interleave(each, dim=0)


def _near_mode(x: Tensor, labels: Tensor) -> Tensor:
    """Within three sigma of the asked mode."""
    modes = builtin.MODE * (2 * labels - 1)
    distance: Tensor = torch.linalg.vector_norm(x - modes, dim=1)
    return distance <= 3 * builtin.SIGMA


def _digit_and_colour(x: Tensor, labels: Tensor) -> Tensor:
    digit, colour = digits_judge()(x)
    found = torch.stack([digit.argmax(1), colour.argmax(1)], dim=1)
    return torch.all(found == labels, dim=1)


class DigitsJudge(nn.Module):
    """A small network with a head per attribute."""

    def __init__(self, colours: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(192, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU()
        )
        self.digit = nn.Linear(256, 10)
        self.colour = nn.Linear(256, colours)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 8, 8) -> logits (B, 10), (B, colours)."""
        h = self.features(x)
        return self.digit(h), self.colour(h)


@cache
def digits_judge() -> DigitsJudge:
    """Trained on every digit in every colour, without noise: noisy samples must not score well."""
    grey, labels = builtin.digit_images()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = DigitsJudge(len(builtin.COLOURS))
    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam(judge.parameters(), LEARNING_RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        index = rng.integers(len(grey), size=BATCH)
        colours = rng.integers(len(builtin.COLOURS), size=BATCH)
        digit, colour = judge(torch.from_numpy(builtin.paint(grey[index], colours)))
        loss = functional.cross_entropy(digit, torch.from_numpy(labels[index]))
        loss = loss + functional.cross_entropy(colour, torch.from_numpy(colours))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return judge.eval().requires_grad_(False)
