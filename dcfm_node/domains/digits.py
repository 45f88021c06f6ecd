"""scikit-learn's 8x8 digits in six colours; a small classifier says what an image shows."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains import colours
from dcfm_node.domains.base import Domain, Evaluator, Split, SplitSpec
from dcfm_node.domains.dealing import held_combinations
from dcfm_node.domains.settings import DigitsSettings
from dcfm_node.errors import UserError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination, Floats, Labels, Samples

if TYPE_CHECKING:
    from torch import nn

HELD = 0.6
"""Share of all combinations that some silo holds."""
PER_COMBINATION = 40
SILOS = 3
STEPS, BATCH, LEARNING_RATE = 600, 256, 3e-3


class Digits(Domain[DigitsSettings]):
    """Images (3, 8, 8) in [-1, 1] with the attributes digit and colour."""

    own_attributes = (
        Attribute(name="digit", values=tuple("0123456789")),
        Attribute(name="colour", values=tuple(colours.SIX)),
    )
    requires: ClassVar[Mapping[str, str]] = {"sklearn": "scikit-learn"}
    each = 8
    shown = 1

    def split(self, spec: SplitSpec) -> Split:
        """A share HELD of all combinations is held, each by one silo.

        A silo holds most combinations of some digits and colours, and few of the others.

        Raises:
            UserError: there are more than 10 silos, or scikit-learn is not installed.
        """
        silos = spec.silos or SILOS
        if silos > 10:
            raise UserError(f"{silos} silos cannot share ten digits", fix="ask for at most 10")
        images, labels = digit_images()
        rng = np.random.default_rng(spec.seed)
        held = held_combinations(10, len(colours.SIX), HELD, rng)
        owners = _owners(held, silos, rng)

        def draw(combinations: Sequence[Combination]) -> Samples:
            c = np.repeat(np.array(combinations, dtype=np.int64), PER_COMBINATION, axis=0)
            return Samples(_pick(images, labels, c, rng), c)

        shares = tuple(
            draw([c for c, owner in zip(held, owners, strict=True) if k == owner])
            for k in range(silos)
        )
        space = [(digit, colour) for digit in range(10) for colour in range(len(colours.SIX))]
        held_out = tuple(sorted(set(space) - set(held)))
        return Split(self.attributes(spec.attributes), (3, 8, 8), shares, held_out, draw(space))

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> "DigitsEvaluator":
        """An evaluator that uses the classifier, which trains in about a second."""
        return DigitsEvaluator()


class DigitsEvaluator(Evaluator):
    """Measures how many images show the requested digit and colour, by the classifier."""

    def right(self, samples: Samples) -> NDArray[np.bool_]:
        """Which images show the requested digit and colour, (N,)."""
        import torch

        digit, colour = classifier()(torch.from_numpy(samples.x))
        found = torch.stack([digit.argmax(1), colour.argmax(1)], dim=1).numpy()
        return np.asarray((found == samples.c).all(axis=1))


def digit_images() -> tuple[Floats, Labels]:
    """The grey digits, (1797, 8, 8) in [0, 1], and their labels (1797,).

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as missing:
        raise UserError(
            "the digits domain needs scikit-learn, which is not installed",
            fix="pip install 'dcfm-node[demo]'",
        ) from missing
    bundle = load_digits()
    return (bundle.images / 16).astype(np.float32), bundle.target.astype(np.int64)


@cache
def classifier() -> "nn.Module":
    """Images (B, 3, 8, 8) to logits (B, 10) of the digit and (B, 6) of the colour.

    It is trained on every digit in every colour, without noise, so that noisy samples score badly.
    """
    import torch
    from torch.nn import functional

    grey, labels = digit_images()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _network(len(colours.SIX))
    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        index = rng.integers(len(grey), size=BATCH)
        hues = rng.integers(len(colours.SIX), size=BATCH)
        painted = colours.paint(grey[index], hues, colours.SIX)
        digit, colour = network(torch.from_numpy(painted))
        loss = functional.cross_entropy(digit, torch.from_numpy(labels[index]))
        loss = loss + functional.cross_entropy(colour, torch.from_numpy(hues))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return network.eval().requires_grad_(False)


def _network(hues: int) -> "nn.Module":
    from torch import Tensor, nn

    class Classifier(nn.Module):
        """A small network with a head per attribute."""

        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Flatten(), nn.Linear(192, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU()
            )
            self.digit = nn.Linear(256, 10)
            self.colour = nn.Linear(256, hues)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.features(x)
            return self.digit(h), self.colour(h)

    return Classifier()


def _owners(held: Sequence[Combination], silos: int, rng: np.random.Generator) -> list[int]:
    """The silo that holds each combination.

    Every digit and every colour has a home silo. A digit's combinations go in turn to the home of
    the digit and to the home of the colour.
    """
    digit_home, colour_home = _homes(10, silos, rng), _homes(len(colours.SIX), silos, rng)
    return [
        (digit_home[digit], colour_home[colour])[place % 2]
        for place, (digit, colour) in enumerate(held)
    ]


def _homes(values: int, silos: int, rng: np.random.Generator) -> dict[int, int]:
    parts = np.array_split(rng.permutation(values), silos)
    return {int(value): k for k, part in enumerate(parts) for value in part}


def _pick(images: Floats, labels: Labels, c: Labels, rng: np.random.Generator) -> Floats:
    """For each label in c (N, 2), a random image of that digit in that colour."""
    index = np.array([rng.choice(np.flatnonzero(labels == digit)) for digit in c[:, 0]])
    return colours.paint(images[index], c[:, 1], colours.SIX)
