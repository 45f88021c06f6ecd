"""Composed laws with exact fields: Gaussians on the line, and coloured digits.

The digits' field is the posterior mean over the data set itself: no network, no training. A product
of its marginal laws, by Eq. 1 of DCFM, is the law of the images that show both values.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dcfm_node.domains import colours
from dcfm_node.domains.base import queries
from dcfm_node.domains.digits import DigitsEvaluator, digit_images
from dcfm_node.domains.distances import precision_recall
from dcfm_node.experiment.algebra.settings import Law
from dcfm_node.experiment.results import Metrics
from dcfm_node.flow.correcting import Terms
from dcfm_node.samples import Samples

PIXELS = 3 * 8 * 8
"""Numbers of a coloured digit."""
RARELY = 1e9
"""Taken from a log weight of an image that does not show what is asked for."""


@dataclass(frozen=True)
class Composed:
    """A composed Gaussian law."""

    law: Law

    @property
    def terms(self) -> Terms:
        """The exact velocities of its terms."""
        m, s, w = (
            torch.tensor(part, dtype=torch.float64)
            for part in (self.law.means, self.law.deviations, self.law.weights)
        )

        def terms(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            t = t[:, None]
            slope = (t * s**2 - (1 - t)) / ((1 - t) ** 2 + (t * s) ** 2)
            return (m + slope * (x - t * m)).unsqueeze(2), w

        return terms

    @property
    def moments(self) -> tuple[float, float]:
        """Mean and deviation: the precision is Σ_j w_j / s_j²."""
        law = self.law
        parts = list(zip(law.means, law.deviations, law.weights, strict=True))
        precision = sum(w / s**2 for _, s, w in parts)
        return sum(w * m / s**2 for m, s, w in parts) / precision, precision**-0.5

    def measure(self, x: Tensor) -> Metrics:
        """Exact W2 of samples (N, 1) from the law, and errors of their moments."""
        mean, deviation = self.moments
        levels = (torch.arange(len(x), dtype=torch.float64) + 0.5) / len(x)
        wanted = mean + deviation * math.sqrt(2) * torch.erfinv(2 * levels - 1)
        return {
            "w2": (x.flatten().sort().values - wanted).square().mean().sqrt().item(),
            "mean_error": abs(x.mean().item() - mean),
            "deviation_error": abs(x.std().item() - deviation),
        }


@dataclass(frozen=True)
class ColouredDigits:
    """Some digits in all colours, and what is asked of them.

    Attributes:
        data: images (M, 192).
        shown: digit and colour of each, (M, 2).
        asked: labels (B, 2).
    """

    data: Tensor
    shown: Tensor
    asked: Tensor

    @classmethod
    def drawn(cls, images: int, each: int, seed: int) -> Self:
        """Random digits; `each` samples of every combination are asked for."""
        grey, labels = digit_images()
        chosen = np.random.default_rng(seed).permutation(len(grey))[:images]
        hues = len(colours.SIX)
        c = np.array([(labels[i], hue) for i in chosen for hue in range(hues)])
        painted = colours.paint(np.repeat(grey[chosen], hues, axis=0), c[:, 1], colours.SIX)
        asked = queries([(digit, hue) for digit in range(10) for hue in range(hues)], each)
        flat = torch.from_numpy(painted.reshape(len(c), -1))
        return cls(flat, torch.from_numpy(c), torch.from_numpy(asked))

    def terms(self, weight: float, *, joint: bool) -> Terms:
        """Exact velocities of ∅, the digit and the colour, or of both together alone."""
        wrong = (self.asked[:, None] != self.shown).float()
        digit, hue = wrong.unbind(dim=2)
        masks = [digit + hue] if joint else [torch.zeros_like(digit), digit, hue]
        w = torch.tensor([1.0] if joint else [1 - 2 * weight, weight, weight])

        def terms(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            left, at = 1 - t[:, None], t[:, None]
            norms = self.data.square().sum(dim=1)
            log = (at * (x @ self.data.T) - at**2 * norms / 2) / left**2
            clean = [torch.softmax(log - RARELY * mask, dim=1) @ self.data for mask in masks]
            return torch.stack([(one - x) / left for one in clean], dim=1), w

        return terms

    def measure(self, x: Tensor) -> Metrics:
        """Share of samples (B, 192) that show both values; distance from and recall of the data."""
        shape = (-1, 3, 8, 8)
        drawn = Samples(x.reshape(shape).numpy(), self.asked.numpy())
        real = Samples(self.data.reshape(shape).numpy(), self.shown.numpy())
        judge = DigitsEvaluator()
        _, recall = precision_recall(self.data.numpy(), x.numpy())
        return {
            "accuracy": float(judge.right(drawn).mean()),
            "distance": judge.distance(drawn, real),
            "recall": recall,
        }
