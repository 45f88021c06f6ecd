"""The interface of a probability path: how noise becomes data, and what a network learns of it.

The flow (`dcfm_node.flow`) draws rows, labels and experts, and asks the path for everything else.
So it need not know whether samples are numbers or tokens, what noise is, or what a network
predicts: a velocity, or the probabilities of tokens (Gat et al., "Discrete flow matching", 2024).

A *prediction* is what the network's output means on this path, for points (B, *shape): a tensor
(B, *prediction_shape). Predictions form a space in which sums with weights make sense: velocities,
or logarithms of probabilities.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dcfm_node import plugins
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import PathSettings

Field = Callable[[Tensor, Tensor], Tensor]
"""Predictions (B, *prediction_shape) at points (B, *shape) and times (B,)."""


class Path(ABC):
    """One probability path with a run's settings.

    Times t are in [0, 1]: 0 is noise, 1 is data. Tensors are on one device, and generators are on
    that device too. Nothing waits for the device.

    Args:
        settings: the manifest's section `path`.
        predict: what the network's output is, `network.predict` of the manifest.
    """

    def __init__(self, settings: PathSettings, predict: str) -> None:
        self.settings, self.predict = settings, predict

    def prediction_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one prediction, from that of one sample."""
        return shape

    @abstractmethod
    def source(
        self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
    ) -> Tensor:
        """Noise x_0 of this shape, rows included: (B, *shape)."""

    @abstractmethod
    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Points x_t between noise and data. Shapes: (B, *shape) twice and (B,)."""

    @abstractmethod
    def target(self, x0: Tensor, x1: Tensor) -> Tensor:
        """The prediction to match where noise x_0 goes to data x_1 (Eq. 9 of DCFM). A frozen
        teacher's prediction is a target as well (Eq. 15 of DCFM)."""

    @abstractmethod
    def predicted(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The prediction that a network's output at points x and times t means."""

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor, t: Tensor) -> Tensor:
        """Mean error of predictions (B, *prediction_shape) at times (B,), with the weight that the
        path gives each time: a scalar (Eqs. 9 and 15 of DCFM)."""

    @abstractmethod
    def discrepancy(self, prediction: Tensor, composed: Tensor, t: Tensor) -> Tensor:
        """Mean squared gap between a prediction and a composition, with the same weights: a scalar
        (Eqs. 10, 12 and 16 of DCFM)."""

    @abstractmethod
    def compose(self, terms: Tensor, weights: Tensor, rest: Tensor | None = None) -> Tensor:
        """The composition of terms (Eq. 5 of DCFM): Σ_j weights_j terms_j + rest, as a prediction.

        Weights are those of `composition_weights`. A part of the terms may be composed first and
        be the `rest` of the others; so a term whose weight is 0 must not matter.

        Args:
            terms: (B, m, *prediction_shape).
            weights: (m,), or (B, m).
            rest: (B, *prediction_shape).
        """

    @abstractmethod
    def mix(self, shares: Tensor, predictions: Tensor) -> Tensor:
        """The prediction of a mixture of K experts. Shares sum to 1 over k.

        Shapes: (B, m, K) and (B, m, K, *prediction_shape) -> (B, m, *prediction_shape).
        """

    @abstractmethod
    def trajectory(
        self, field: Field, x0: Tensor, steps: int, solver: str, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """States at t = 0, 1/steps, ..., 1 of samples that start at x0 and follow the field
        (Eq. 3 of DCFM); each of x0's shape."""

    @abstractmethod
    def between(self, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
        """A point between two neighbouring states of a trajectory, (B, *shape) each, at shares (B,)
        in [0, 1] of the time between them."""

    def integrate(
        self, field: Field, x0: Tensor, steps: int, solver: str, generator: torch.Generator
    ) -> Tensor:
        """Samples at t = 1, of x0's shape."""
        x = x0
        for state in self.trajectory(field, x0, steps, solver, generator):
            x = state
        return x


def path_of(manifest: Manifest) -> Path:
    """The path of a run."""
    path = manifest.path
    return plugins.make(path.code, Path, path, manifest.network.predict)  # type: ignore[type-abstract]


def composition_weights(attributes: int, guidance: float = 1.0) -> Tensor:
    """Weights of the terms ∅, c^{1}, ..., c^{n} (Eq. 5 of DCFM): v(∅) + w Σ_i [v(c^{i}) - v(∅)].

    Args:
        attributes: n.
        guidance: w, the same for every attribute.

    Returns: (n + 1,) on the host.
    """
    return torch.tensor([1.0 - attributes * guidance] + [guidance] * attributes)


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """The generator itself on the host, else one of the device, whose seed it draws."""
    if device.type == "cpu":
        return generator
    seed = torch.randint(1 << 62, (), generator=generator).item()
    return torch.Generator(device).manual_seed(int(seed))


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Values (B, ...), with as many dimensions as `like` (B, ..., *shape), to broadcast over it."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))
