"""Inpainting: drawing samples of which some numbers are given (Janner et al., 2022).

Where the flow predicts a clean sample, the given numbers are put into it by linear regression: the
model's own draws tell how the numbers of a sample vary together. So what is given is carried to all
that depends on it. Overwriting the numbers alone is not enough: the flow ignores a frame that does
not fit the others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dcfm_node.paths.base import Field, spread
from dcfm_node.paths.linear import MIN_REMAINING
from dcfm_node.samples import Combination

TOLERANCE = 0.1
"""Usual deviation of given numbers from what the flow may draw, in units of a sample."""
LEAST = 1e-3
"""Variance that every number of a code has at least: draws are too few to say that it has none."""
BANK, BANK_SEED = 512, 2_345
"""Draws of the model that an inpainter learns from, and the seed of their noise."""
Decode = Callable[[Tensor], Tensor]
"""What networks see (N, *flow_shape) to samples (N, *sample_shape)."""


def bank(combinations: Iterable[Combination]) -> Tensor:
    """Labels (BANK, n) of the draws that an inpainter learns from: all combinations in turn."""
    return torch.tensor(list(islice(cycle(combinations), BANK)), dtype=torch.int64)


class Inpainter:
    """How the samples of a model vary, and so what given numbers tell of the others.

    Args:
        decode: of the run; it must be affine.
        drawn: samples of the model before decoding, (N, *flow_shape).
        labels: theirs, (N, n). Samples vary around the mean of their label.
        tolerance: see `TOLERANCE`; 0 demands the numbers as closely as the codec can.

    Raises:
        ValueError: the decoder is not affine.
    """

    def __init__(
        self, decode: Decode, drawn: Tensor, labels: Tensor, tolerance: float = TOLERANCE
    ) -> None:
        shape, size = drawn.shape[1:], drawn[0].numel()
        basis = torch.cat([torch.zeros(1, size), torch.eye(size), 2 * torch.eye(size)[:1]])
        decoded = decode(basis.reshape(-1, *shape)).flatten(1).double()
        self._matrix, twice = decoded[1:-1] - decoded[0], decoded[-1] - decoded[0]
        if not torch.allclose(twice, 2 * self._matrix[0], rtol=1e-3, atol=1e-4):
            raise ValueError("numbers can be given only where the codec is affine")
        self._offset, self._tolerance = decoded[0], tolerance
        self._covariance = _within(drawn.flatten(1).double(), labels)

    def given(self, mask: Tensor, values: Tensor) -> "Given":
        """Prepare to give numbers.

        Args:
            mask: (*sample_shape), true where numbers are given.
            values: (B, *sample_shape); what the mask leaves out has no effect.
        """
        rows = mask.flatten()
        reading = self._matrix[:, rows]
        across = reading.T @ self._covariance
        # Numbers that hardly depend on the code would ask for endless moves.
        noise = max(self._tolerance**2, 1e-6) * torch.eye(len(across), dtype=across.dtype)
        gain = torch.linalg.solve(across @ reading + noise, across)
        wanted = values.flatten(1)[:, rows].double() - self._offset[rows]
        return Given(reading.float(), wanted.float(), gain.float())


def _within(z: Tensor, labels: Tensor) -> Tensor:
    """The covariance (d, d) of codes (N, d) around the mean of their label, at least LEAST."""
    every, which = np.unique(labels.numpy(), axis=0, return_inverse=True)
    group = torch.from_numpy(which.reshape(-1))
    sums = torch.zeros(len(every), z.shape[1], dtype=z.dtype).index_add_(0, group, z)
    left = z - (sums / torch.bincount(group)[:, None])[group]
    least = LEAST * torch.eye(z.shape[1], dtype=z.dtype)
    covariance: Tensor = left.T @ left / max(len(z) - len(every), 1) + least
    return covariance


@dataclass(frozen=True)
class Given:
    """Numbers of B samples that are given, the same ones of each.

    Attributes:
        reading: (d, m), how the m numbers follow from the d that networks see.
        wanted: (B, m), what they shall be, less what the decoder adds.
        gain: (m, d), how a difference in them moves what networks see.
    """

    reading: Tensor
    wanted: Tensor
    gain: Tensor

    def rows(self, which: Tensor | slice) -> Self:
        """For some of the samples."""
        return replace(self, wanted=self.wanted[which])

    def to(self, device: torch.device | str) -> Self:
        """On a device."""
        parts = (part.to(device) for part in (self.reading, self.wanted, self.gain))
        return type(self)(*parts)

    def towards(self, velocity: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The velocity (B, *shape) of the linear path towards the predicted clean sample with the
        given numbers in it, in place of the clean sample that `velocity` leads to."""
        left = spread((1 - t).clamp(min=MIN_REMAINING), x)
        clean = (x + left * velocity).flatten(1)
        missing = self.wanted - clean @ self.reading
        return velocity + (missing @ self.gain).reshape(x.shape) / left

    def field(self, unaware: Field) -> Field:
        """A field towards samples with the given numbers."""
        return lambda x, t: self.towards(unaware(x, t), x, t)
