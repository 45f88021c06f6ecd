"""The interface of a probability path from noise to data, and the target that a network learns.

The flow (`dcfm_node.flow`) draws rows, labels and experts; the path does everything else. So the
flow works with numbers or tokens, with any noise, and with any prediction: a velocity, or the
probabilities of tokens (Gat et al., 2024).

A *prediction* is the meaning of the network's output on this path: a tensor (B, *prediction_shape)
for points (B, *shape). Weighted sums of predictions must be meaningful, as for velocities or
logarithms of probabilities.
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

    Times t are in [0, 1]: 0 is noise, 1 is data. Tensors and generators are on one device. Methods
    must not wait for the device.

    Args:
        settings: the manifest's section `path`.
        predict: kind of the network's output, `network.predict` of the manifest.
    """

    def __init__(self, settings: PathSettings, predict: str) -> None:
        self.settings, self.predict = settings, predict

    def prediction_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one prediction for the shape of one sample."""
        return shape

    @abstractmethod
    def source(
        self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
    ) -> Tensor:
        """Draw noise x_0. `shape` includes the rows: (B, *shape)."""

    @abstractmethod
    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """Points x_t between noise and data. Shapes: (B, *shape) twice and (B,)."""

    @abstractmethod
    def target(self, x0: Tensor, x1: Tensor) -> Tensor:
        """The prediction to match between noise x_0 and data x_1 (Eq. 9 of DCFM), (B,
        *prediction_shape). A frozen teacher's prediction is also a target (Eq. 15 of DCFM)."""

    @abstractmethod
    def predicted(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Convert a network's output at points x and times t to a prediction."""

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor, t: Tensor) -> Tensor:
        """Mean error of predictions (B, *prediction_shape) at times (B,), weighted by time, a
        scalar (Eqs. 9 and 15 of DCFM)."""

    @abstractmethod
    def discrepancy(self, prediction: Tensor, composed: Tensor, t: Tensor) -> Tensor:
        """Mean gap between a prediction and a composition, 0 where they are the same, with the same
        weights: a scalar (Eqs. 10, 12 and 16 of DCFM)."""

    @abstractmethod
    def compose(self, terms: Tensor, weights: Tensor, rest: Tensor | None = None) -> Tensor:
        """The composition of terms (Eq. 5 of DCFM): Σ_j weights_j terms_j + rest, as a prediction.

        Weights come from `composition_weights`. Some terms may be composed first and passed as
        `rest` with the others. A term with weight 0 must have no effect.

        Args:
            terms: (B, m, *prediction_shape).
            weights: (m,) or (B, m).
            rest: (B, *prediction_shape); None adds nothing.
        """

    @abstractmethod
    def mix(self, shares: Tensor, predictions: Tensor) -> Tensor:
        """The prediction of a mixture of K experts. Shares sum to 1 over experts.

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

    def features(self, x: Tensor) -> Tensor:
        """What judges see of samples (N, *shape), as numbers (N, ...): the samples themselves, or
        indicators of tokens."""
        return x

    def integrate(
        self, field: Field, x0: Tensor, steps: int, solver: str, generator: torch.Generator
    ) -> Tensor:
        """Samples at t = 1, of x0's shape."""
        x = x0
        for state in self.trajectory(field, x0, steps, solver, generator):
            x = state
        return x


def path_of(manifest: Manifest) -> Path:
    """The path of a run.

    Raises:
        PluginError: the code cannot be loaded or is not a path.
    """
    path = manifest.path
    return plugins.make(path.code, Path, path, manifest.network.predict)  # type: ignore[type-abstract]


def composition_weights(w: Tensor) -> Tensor:
    """Weights of the terms ∅, c^{1}, ..., c^{m} (Eq. 5 of DCFM): v(∅) + Σ_i w_i [v(c^{i}) - v(∅)].

    Shapes: (..., m) -> (..., m + 1).
    """
    return torch.cat([1.0 - w.sum(dim=-1, keepdim=True), w], dim=-1)


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """The generator itself if the device is the host, else a new one seeded by it."""
    if device.type == "cpu":
        return generator
    seed = torch.randint(1 << 62, (), generator=generator).item()
    return torch.Generator(device).manual_seed(int(seed))


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Add dimensions to values (B, ...) so that they broadcast over `like` (B, ..., *shape)."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))
