"""Attribute vectors c as tensors: masking, marginal labels, draws from label counts.

A label is an int64 row of n indices; the value |C_i| is attribute i's null token. Draws take a
generator on the device of the result and never synchronise with the host.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Masks

Counts = Mapping[tuple[int, ...], int]
"""How often a silo holds each combination c."""


def null_label(cardinalities: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """The null label ∅, shape (n,)."""
    return torch.tensor(tuple(cardinalities), dtype=torch.int64, device=device)


def mask(c: Tensor, null: Tensor, masks: Masks, generator: torch.Generator) -> Tensor:
    """Label masking (Eq. 8 of DCFM): keep all of c, one attribute chosen uniformly, or none.
    Shapes (B, n) -> (B, n)."""
    total = masks.full + masks.marginal + masks.null
    u = torch.rand(c.shape[:-1], generator=generator, device=c.device).unsqueeze(-1) * total
    chosen = _draw_index(c, generator)
    one = torch.arange(c.shape[-1], device=c.device) == chosen.unsqueeze(-1)
    keep = (u < masks.full) | ((u < masks.full + masks.marginal) & one)
    return torch.where(keep, c, null)


def block_terms(c: Tensor, null: Tensor, generator: torch.Generator) -> Tensor:
    """The four labels of the independence penalty: c^{AB}, ∅, c^{A}, c^{B}. Needs n >= 2.

    A and B are disjoint blocks of attributes, drawn per sample, so the cost is four evaluations for
    any n. With n = 2 this is Eq. 10 of DCFM. With n > 2, pairs of single attributes would not
    constrain the full label. So half of the pairs of blocks form the full label, and the other half
    relate blocks to smaller blocks: only an additive field has penalty 0.

    Returns: (B, 4, n).
    """
    n, rows = c.shape[-1], (*c.shape[:-1], 1)
    rank = _rand(c.shape, c, generator).argsort(dim=-1).argsort(dim=-1)
    some = 2 + torch.randint(n - 1, rows, generator=generator, device=c.device)
    together = torch.where(_rand(rows, c, generator) < 0.5, n, some)
    first = 1 + (_rand(rows, c, generator) * (together - 1)).long()
    in_a, in_b = rank < first, (rank >= first) & (rank < together)
    keep = torch.stack([in_a | in_b, torch.zeros_like(in_a), in_a, in_b], dim=-2)
    return torch.where(keep, c.unsqueeze(-2), null)


def absent_label(manifest: Manifest, device: torch.device | str = "cpu") -> Tensor | None:
    """The value of each attribute that is absent, (n,), -1 where it has none; None if none has."""
    found = manifest.absent
    return torch.tensor(found, dtype=torch.int64, device=device) if found else None


def marginal_terms(c: Tensor, null: Tensor, absent: Tensor | None = None) -> Tensor:
    """The labels ∅, c^{1}, ..., c^{n} (Eq. 5 of DCFM). Shapes (B, n) -> (B, n + 1, n).

    Args:
        absent: as `absent_label` gives it. The label of an absent value is ∅, so that its term adds
            nothing; but rows in which all values are absent keep them.
    """
    if absent is not None:
        there = c != absent
        c = torch.where(there | ~there.any(dim=-1, keepdim=True), c, null)
    n = c.shape[-1]
    keep = torch.cat([torch.zeros(1, n, dtype=torch.bool), torch.eye(n, dtype=torch.bool)])
    return torch.where(keep.to(c.device), c.unsqueeze(-2), null)


def from_product(
    c: Tensor,
    cardinalities: Tensor,
    share: float,
    generator: torch.Generator,
    feasible: Tensor | None = None,
) -> Tensor:
    """Replace a share (0 to 1) of the labels (B, n) by uniform draws from the product space.

    Args:
        feasible: combinations (M, n) to draw from in its place, if only these can occur.
    """
    if feasible is not None and len(feasible):
        rows = torch.randint(len(feasible), c.shape[:-1], generator=generator, device=c.device)
        swap = torch.rand(c.shape[:-1], generator=generator, device=c.device) < share
        return torch.where(swap.unsqueeze(-1), feasible.to(c.device)[rows], c)
    u = torch.rand(c.shape, generator=generator, device=c.device)
    drawn = (u * cardinalities).long().clamp(max=cardinalities - 1)
    swap = torch.rand(c.shape[:-1], generator=generator, device=c.device) < share
    return torch.where(swap.unsqueeze(-1), drawn, c)


def draw(counts: Counts, rows: int, generator: torch.Generator) -> Tensor:
    """Draw labels (rows, n) in proportion to a silo's counts."""
    seen = sorted(label for label, count in counts.items() if count > 0)
    weights = torch.tensor([counts[label] for label in seen], dtype=torch.float64)
    bounds = weights.cumsum(0).to(generator.device, torch.float32) / weights.sum().item()
    u = torch.rand(rows, generator=generator, device=generator.device)
    index = torch.searchsorted(bounds, u, right=True).clamp(max=len(seen) - 1)
    return torch.tensor(seen, dtype=torch.int64, device=generator.device)[index]


def count(c: Tensor) -> dict[tuple[int, ...], int]:
    """How often each combination occurs in labels (N, n)."""
    found, times = torch.unique(c.cpu(), dim=0, return_counts=True)
    return {tuple(row): n for row, n in zip(found.tolist(), times.tolist(), strict=True)}


def _rand(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, device=like.device)


def _draw_index(c: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(c.shape[-1], c.shape[:-1], generator=generator, device=c.device)
