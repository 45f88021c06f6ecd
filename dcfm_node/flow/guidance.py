"""Guidance: how strongly a sampler follows each attribute, by row and time (SPEC 6.15).

Composition gives v(∅) + Σ_i w_i [v(c^{i}) - v(∅)] (Eq. 5 of DCFM). The joint head has one weight:
v(∅) + w [v(c) - v(∅)], classifier-free guidance (Ho, Salimans, 2022). The weights differ between
known combinations, which some silo holds, and novel ones.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor

from dcfm_node.flow.labels import Counts
from dcfm_node.records.guidance import Guidance

Guide = Callable[[Tensor, Tensor], Tensor]
"""Weights w for labels (B, n) and times (B,): (B, n), or (B, 1) for the joint head."""


@dataclass(frozen=True)
class OwnWeights:
    """Weights that B samples have in place of the run's, and what they move away from.

    Attributes:
        toward: (B, n), w_i of Eq. 5 of DCFM; NaN takes the run's.
        away: labels (B, p, n) of p more terms, each with one attribute set.
        against: (B, p), their weights w >= 0: each adds -w [v(c) - v(∅)]; 0 has no effect.
    """

    toward: Tensor
    away: Tensor
    against: Tensor

    def rows(self, which: Tensor | slice) -> Self:
        """Of some of the samples."""
        return type(self)(self.toward[which], self.away[which], self.against[which])

    def to(self, device: torch.device | str) -> Self:
        """On a device."""
        return type(self)(*(part.to(device) for part in (self.toward, self.away, self.against)))

    def over(self, w: Tensor) -> Tensor:
        """Weights of all terms but ∅, (B, n + p), where the run's are w, (B, n) or (n,)."""
        return torch.cat([torch.where(self.toward.isnan(), w, self.toward), -self.against], dim=1)


def guide_of(
    settings: Guidance,
    cardinalities: Sequence[int],
    counts: Iterable[Counts] | None,
    *,
    composed: bool,
    device: torch.device | str = "cpu",
) -> Guide | None:
    """The weights that a run's settings give; None if all are 1.

    Args:
        counts: label counts of every silo that taught; None only if known and novel combinations
            have the same weight.

    Raises:
        ValueError: the counts are needed and missing.
    """
    if settings.null:
        return None
    if counts is None and settings.known != settings.novel:
        raise ValueError("label counts must say which combinations are known")
    seen = {label for silo in counts or () for label, times in silo.items() if times > 0}
    labels = torch.tensor(sorted(seen), dtype=torch.int64).reshape(-1, len(cardinalities))
    known = _codes(labels, cardinalities)
    return partial(
        weights,
        settings=settings,
        cardinalities=cardinalities,
        known=known.to(device),
        composed=composed,
    )


def weights(
    c: Tensor,
    t: Tensor,
    *,
    settings: Guidance,
    cardinalities: Sequence[int],
    known: Tensor,
    composed: bool,
) -> Tensor:
    """The weights of labels c (B, n) at times t (B,), as `Guide`.

    Args:
        known: codes of the known combinations.
        composed: one weight for each attribute, or one in all for the joint head.
    """
    w = torch.where(torch.isin(_codes(c, cardinalities), known), settings.known, settings.novel)
    w = torch.where((t >= settings.from_t) & (t <= settings.to_t), w, 1.0).unsqueeze(1)
    if not composed:
        return w
    shares = settings.shares or (1.0,) * len(cardinalities)
    return torch.lerp(torch.ones_like(w), w, torch.tensor(shares, device=w.device))


def _codes(c: Tensor, cardinalities: Sequence[int]) -> Tensor:
    """One integer for each label, (B, n) -> (B,); null tokens have their own."""
    codes = c.new_zeros(len(c))
    for i, size in enumerate(cardinalities):
        codes = codes * (size + 1) + c[:, i]
    return codes
