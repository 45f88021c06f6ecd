"""Chooses how a method is sampled, by one rule for all methods (`settings.Choice`).

Samples of the labels of the silos' hold-out data are compared with these data. So the choice sees
known combinations alone, and neither the test data nor novel combinations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dcfm_node.domains.base import Evaluator
from dcfm_node.experiment.lab import Lab
from dcfm_node.experiment.methods import Variants
from dcfm_node.experiment.settings import RULES, Choice
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Samples

DRAWS = 2
"""Samples for each hold-out sample."""
SEED = 4_321
"""Seed of the noise, the same for every way."""


@dataclass(frozen=True)
class Way:
    """A way of sampling a method: a variant, and guidance weights."""

    variant: str
    known: float = 1.0
    novel: float = 1.0

    @property
    def name(self) -> str:
        """The variant, and the weights unless both are 1: "joint 1.3/1.6"."""
        if self.known == self.novel == 1.0:
            return self.variant
        return f"{self.variant} {self.known:g}/{self.novel:g}"

    def of(self, run: Manifest) -> Manifest:
        """The run with these weights."""
        return run.guided(self.known, self.novel)


def ways(given: Choice) -> list[Way]:
    """The ways to choose from."""
    return [
        Way(rule, w, round(1 + given.novel_factor * (w - 1), 6))
        for rule in RULES
        for w in given.weights
    ]


def distances(
    variants: Variants,
    given: Choice,
    lab: Lab,
    evaluator: Evaluator,
    tell: Callable[[str, float], None],
) -> dict[Way, float]:
    """The distance of each way's samples from the hold-out data.

    Args:
        tell: called with each way, and the share (0 to 1) that is done.
    """
    real, found = lab.holdout, {}
    c = np.repeat(real.c, DRAWS, axis=0)
    candidates = ways(given)
    for place, way in enumerate(candidates):
        tell(f"compare {way.name}", place / len(candidates))
        drawn = variants[way.variant](way.of(lab.manifest), torch.from_numpy(c), SEED)
        x = lab.decode(drawn).numpy()
        found[way] = evaluator.distance(Samples(x, c), real)
    return found


def closest(found: dict[Way, float]) -> Way:
    """The way with the least distance; of equal ones the first."""
    return min(found, key=lambda way: found[way])
