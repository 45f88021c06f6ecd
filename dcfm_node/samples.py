"""Samples and their labels, as every room passes them on. numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Stored = Floats | NDArray[np.uint8]
"""Samples as they are kept: float32, or pixels that `unit` turns into floats, batch by batch."""
Combination = tuple[int, ...]
"""One value index per attribute."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Labelled samples: x (N, *sample_shape) float32 or uint8, c (N, n) int64."""

    x: Stored
    c: Labels

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> "Samples":
        """The rows that an index array, a mask or a slice names."""
        return Samples(self.x[rows], self.c[rows])

    @property
    def combinations(self) -> list[Combination]:
        """The combinations that occur, sorted."""
        return [tuple(row) for row in np.unique(self.c, axis=0).tolist()]


def joined(parts: Sequence[Samples]) -> Samples:
    """All parts, one after the other."""
    return Samples(np.concatenate([p.x for p in parts]), np.concatenate([p.c for p in parts]))


def unit(x: NDArray[Any]) -> Floats:
    """Samples as networks see them: bytes 0 ... 255 become float32 in [-1, 1], all others stay."""
    if x.dtype != np.uint8:
        return x
    return x.astype(np.float32) * np.float32(2.0 / 255.0) - np.float32(1.0)
