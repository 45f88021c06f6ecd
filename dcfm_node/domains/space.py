"""The attribute space of a domain, its held-out combinations, and samples to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination, Samples
from dcfm_node.words import plain

Attributes = tuple[Attribute, ...]
Holders = Mapping[Combination, Sequence[str]]
"""Combination -> names of the silos that hold it; none for a novel one."""
Points = NDArray[np.float64]
REAL = "real (public)"
"""Title of a panel of real samples that everybody may see."""


@dataclass(frozen=True)
class Space:
    """The attribute space, and the combinations in it that no silo holds."""

    attributes: Attributes
    held_out: tuple[Combination, ...]
    features: tuple[str, ...] = ()
    """Names of the numbers of vectors, in order, if they are known."""

    def named(self, combination: Combination) -> list[str]:
        """The names of a combination's values, fit to be shown."""
        pairs = zip(self.attributes, combination, strict=True)
        return [plain(attribute.values[index]) for attribute, index in pairs]


@dataclass(frozen=True)
class Panel:
    """Samples of one model, to be drawn beside those of others.

    Attributes:
        right: (N,), whether each sample shows its labels; the picture marks the others.
    """

    title: str
    samples: Samples
    subtitle: str = ""
    right: NDArray[np.bool_] | None = None
