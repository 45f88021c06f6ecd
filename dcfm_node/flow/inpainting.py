"""Inpainting: drawing samples of which some numbers are given (Janner et al., 2022).

Where the flow predicts a clean sample, the given numbers are put into it by least squares among
all samples that the codec can decode. So a codec that joins neighbouring numbers, such as the
cosines of a series, carries what is given to what is drawn. Overwriting the numbers alone does
not: the flow ignores a frame that does not fit the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from dcfm_node.paths.base import Field, spread
from dcfm_node.paths.linear import MIN_REMAINING

TOLERANCE = 0.3
"""Usual deviation of given numbers from what the flow may draw, in units of a sample."""
Decode = Callable[[Tensor], Tensor]
"""What networks see (N, *flow_shape) to samples (N, *sample_shape)."""


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

    @classmethod
    def of(
        cls,
        decode: Decode,
        shape: tuple[int, ...],
        mask: Tensor,
        values: Tensor,
        tolerance: float = TOLERANCE,
    ) -> Self:
        """Prepare to give numbers.

        Args:
            decode: of the run; it must be affine.
            shape: flow_shape.
            mask: (*sample_shape), true where numbers are given.
            values: (B, *sample_shape); what the mask leaves out has no effect.
            tolerance: see `TOLERANCE`; 0 demands the numbers as closely as the codec can.

        Raises:
            ValueError: the decoder is not affine.
        """
        size = torch.Size(shape).numel()
        basis = torch.cat([torch.zeros(1, size), torch.eye(size), 2 * torch.eye(size)[:1]])
        decoded = decode(basis.reshape(-1, *shape)).flatten(1).double()
        matrix, twice = decoded[1:-1] - decoded[0], decoded[-1] - decoded[0]
        if not torch.allclose(twice, 2 * matrix[0], rtol=1e-3, atol=1e-4):
            raise ValueError("numbers can be given only where the codec is affine")
        rows = mask.flatten()
        reading = matrix[:, rows]
        inner = reading.T @ reading
        # Numbers that hardly depend on the code would ask for endless moves.
        inner += max(tolerance**2, 1e-6) * torch.eye(len(inner), dtype=inner.dtype)
        gain = torch.linalg.solve(inner, reading.T)
        wanted = values.flatten(1)[:, rows].double() - decoded[0, rows]
        return cls(reading.float(), wanted.float(), gain.float())

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
