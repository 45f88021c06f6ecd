"""The router: weights of experts for each label, from the silos' published label counts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dcfm_node.flow.labels import Counts


class Router:
    """Weights K experts by how often each silo holds a value.

    Args:
        counts: one mapping per expert, in the experts' order.
        cardinalities: |C_i|, the number of values of each attribute.
    """

    def __init__(
        self,
        counts: Sequence[Counts],
        cardinalities: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.counts = counts
        self.n = len(cardinalities)
        table = torch.zeros(len(counts), self.n, max(cardinalities) + 1)
        for k, silo in enumerate(counts):
            for label, times in silo.items():
                for i, value in enumerate(label):
                    table[k, i, value] += times
                    # Every sample supports a null token.
                    table[k, i, cardinalities[i]] += times
        self.table = table.to(device)

    def support(self, terms: Tensor) -> Tensor:
        """Sample counts for labels with at most one attribute set, (..., n) -> (..., K).

        n_k(c_i) for a marginal label c^{i}, and n_k for ∅.
        """
        place = torch.arange(self.n, device=terms.device)
        return self.table[:, place, terms].amin(dim=-1).movedim(0, -1)

    def marginal_weights(self, terms: Tensor) -> Tensor:
        """r_k(c_i) ∝ n_k(c_i), (..., n) -> (..., K). Equal shares where no silo holds the value."""
        return _normalised(self.support(terms))

    def joint_weights(self, labels: Tensor) -> Tensor:
        """r_k(c) ∝ n_k(c), (B, n) -> (B, K); where no silo holds c, ∝ Σ_i n_k(c_i)."""
        unique, place = torch.unique(labels, dim=0, return_inverse=True)
        known = self.table[:, torch.arange(self.n, device=labels.device), unique].sum(dim=-1).T
        exact = torch.tensor(
            [
                [float(silo.get(tuple(label), 0)) for silo in self.counts]
                for label in unique.tolist()
            ],
            device=labels.device,
        )
        seen = exact.sum(dim=-1, keepdim=True) > 0
        return _normalised(torch.where(seen, exact, known))[place]

    def draw(self, terms: Tensor, me: int, generator: torch.Generator) -> Tensor:
        """Routing vectors z (Eq. 12 of DCFM) of terms (B, m, n): one expert per term, (B, m).

        Experts are drawn in proportion to label counts. If a row has no term of expert `me`, one
        of the terms whose value `me` holds goes to `me`.
        """
        z = choose(self.marginal_weights(terms), generator)
        held = _normalised((self.support(terms)[..., me] > 0).float())
        forced = choose(held, generator).unsqueeze(-1)
        lacks = (z != me).all(dim=-1, keepdim=True)
        place = torch.arange(z.shape[-1], device=z.device)
        return torch.where(lacks & (place == forced), me, z)


def _normalised(weights: Tensor) -> Tensor:
    total = weights.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp(min=1e-12), 1 / weights.shape[-1])


def choose(weights: Tensor, generator: torch.Generator) -> Tensor:
    """One index per row of probabilities, (..., K) -> (...); never one of probability 0."""
    u = torch.rand(weights.shape[:-1], generator=generator, device=weights.device)
    return chosen(weights, u)


def chosen(weights: Tensor, u: Tensor) -> Tensor:
    """The index that a number u in [0, 1) of each row chooses, (..., K) and (...) -> (...)."""
    bounds = weights.cumsum(dim=-1)
    index = (bounds <= (u * bounds[..., -1]).unsqueeze(-1)).sum(dim=-1)
    return index.clamp(max=weights.shape[-1] - 1)
