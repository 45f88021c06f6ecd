"""Table 4 of DCFM: evaluations of the network in a training step, counted by hooks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dcfm_node.experiment.results import Metrics
from dcfm_node.flow import networks
from dcfm_node.flow.sources import BatchSampler
from dcfm_node.flow.trainer import State, generator, update

BLOCK = 64
"""Most steps per block of rows."""


@dataclass
class Tally:
    """Number of rows in forward passes and in backward passes."""

    forward: int = 0
    backward: int = 0


@contextmanager
def counted(nets: Sequence[nn.Module]) -> Iterator[Tally]:
    """Count evaluations inside the block; a network's first argument is (B, ...)."""
    tally = Tally()

    def came_back(gradient: Tensor) -> None:
        tally.backward += len(gradient)

    def evaluated(net: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        tally.forward += len(given[0])
        if answer.requires_grad:
            answer.register_hook(came_back)  # type: ignore[no-untyped-call]

    handles = [net.register_forward_hook(evaluated) for net in nets]
    try:
        yield tally
    finally:
        for handle in handles:
            handle.remove()


def count(
    source: BatchSampler, frozen: Sequence[nn.Module], steps: int, device: torch.device | str
) -> Metrics:
    """Train `steps` steps on a stage's rows and count evaluations.

    Args:
        frozen: the frozen experts that make the rows.

    Returns: evaluations per row of a batch: `forward_passes`, including `frozen_forward_passes`
        by frozen experts, and `backward_passes`.
    """
    net = networks.build(source.manifest).to(device)
    state = State.fresh(net, source.settings)
    with counted([net]) as own, counted(frozen) as others:
        for first in range(0, steps, BLOCK):
            for step in source.block(min(BLOCK, steps - first), generator(first)):
                update(state, net, step, source)
    rows = steps * source.settings.batch
    return {
        "forward_passes": (own.forward + others.forward) / rows,
        "frozen_forward_passes": others.forward / rows,
        "backward_passes": (own.backward + others.backward) / rows,
    }
