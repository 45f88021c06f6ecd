"""Chooses the network that predicts each term of the penalty: the trained or a frozen one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sources import Mix, evaluate_each
from dcfm_node.paths.base import Path, composition_weights

LIVE = 0.5
"""Probability that a term of the anchored penalty comes from the silo's own network."""


def anchored(anchor: VelocityField, share: float = LIVE) -> Mix:
    """Each term is live with probability `share`, else it comes from the frozen anchor."""

    def mix(
        path: Path, x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        live = torch.rand(len(x), 3, generator=generator) < share
        return live, _frozen(path, [anchor], -live.long(), x=x, t=t, terms=terms)

    return mix


def against_peers(experts: Sequence[VelocityField], router: Router, me: int) -> Mix:
    """Routing vectors z assign the terms to silos (Eq. 12 of DCFM): the terms of `me` are live, the
    terms of peers are frozen (Eq. 13 of DCFM).

    Args:
        router: on the host.
        me: this silo's index among the experts.
    """
    place = {k: i for i, k in enumerate(k for k in range(len(experts)) if k != me)}
    peers = [experts[k] for k in place]
    relabel = torch.tensor([place.get(k, -1) for k in range(len(experts))])

    def mix(
        path: Path, x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        which = relabel[router.draw(terms[:, 1:], me, generator)]
        return which < 0, _frozen(path, peers, which, x=x, t=t, terms=terms)

    return mix


def _frozen(
    path: Path,
    experts: Sequence[VelocityField],
    which: Tensor,
    *,
    x: Tensor,
    t: Tensor,
    terms: Tensor,
) -> Tensor:
    """Composition of the frozen terms among the three; which = -1 marks a live term."""
    given = evaluate_each(path, experts, which, x=x, t=t, c=terms[:, 1:])
    weights = (composition_weights(torch.ones(2)) * (which >= 0)).to(x.device, non_blocking=True)
    # ∅ is last, so that the rounding of sums does not change.
    return path.compose(given.flip(1), weights.flip(1))
