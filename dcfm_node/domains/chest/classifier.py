"""A small residual network that finds findings in radiographs, trained on any samples."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.samples import Samples, Stored, unit

WIDTHS = (16, 32, 64)
BATCH, LEARNING_RATE = 64, 4e-3
SHIFT = 2
"""Most pixels that a training image is moved by, in both directions."""
READ = 256
"""Images per batch when it looks."""


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al., 2016)."""

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outward), nn.BatchNorm2d(outward)
        self.skip = nn.Conv2d(inward, outward, 1, stride, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.first(h)))
        return functional.relu(self.norm2(self.second(inner)) + self.skip(h))


class Classifier(nn.Module):
    """ResNet of three blocks with 16, 32 and 64 channels at a half, a quarter and an eighth of the
    resolution, for images (1, size, size) with n findings."""

    def __init__(self, findings: int) -> None:
        super().__init__()
        inward = (WIDTHS[0], *WIDTHS[:-1])
        strides = (1, *(2 for _ in WIDTHS[1:]))
        self.stem = nn.Conv2d(1, WIDTHS[0], 3, 2, 1)
        self.blocks = nn.Sequential(*map(_Block, inward, WIDTHS, strides))
        self.head = nn.Linear(WIDTHS[-1], findings)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 1, size, size) in [-1, 1] to a logit of each finding, (B, n)."""
        found: Tensor = self.head(self.blocks(functional.relu(self.stem(x))).mean(dim=(2, 3)))
        return found

    @torch.no_grad()
    def found(self, x: Stored) -> NDArray[np.bool_]:
        """Which findings are more likely present than not, (N, n)."""
        starts = range(0, len(x), READ)
        parts = [self(_shown(x[at : at + READ])) > 0.0 for at in starts]
        return np.asarray(torch.cat(parts).numpy())


def classifier(samples: Samples, steps: int, seed: int) -> Classifier:
    """Train a classifier on samples with labels (N, n) of 0 and 1, all combinations equally often.

    Present and absent weigh the same for each finding: all are rare, and a classifier that never
    saw enough of one would deny it everywhere. Real and drawn samples get the same recipe.
    """
    with _seeded(seed):
        net = Classifier(samples.c.shape[1])
    rng = np.random.default_rng(seed)
    _, kind, counts = np.unique(samples.c, axis=0, return_inverse=True, return_counts=True)
    chance = 1.0 / counts[kind] / len(counts)
    share = (samples.c * chance[:, None]).sum(axis=0)
    weight = torch.from_numpy(np.where(share > 0, (1 - share) / np.maximum(share, 1e-9), 1.0))
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    for _ in range(steps):
        rows = rng.choice(len(samples), BATCH, p=chance)
        down, right = rng.integers(-SHIFT, SHIFT + 1, size=2).tolist()
        x = _shown(samples.x[rows]).roll((down, right), dims=(2, 3))
        present = torch.from_numpy(samples.c[rows]).float()
        loss = functional.binary_cross_entropy_with_logits(
            net(x), present, pos_weight=weight.float()
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return net.eval().requires_grad_(False)


def _shown(x: Stored) -> Tensor:
    """As a picture file would hold them: drawn samples may exceed the range."""
    return torch.from_numpy(np.clip(unit(x), -1.0, 1.0))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
