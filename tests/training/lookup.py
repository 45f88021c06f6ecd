"""A network that is linear in its parameters, one velocity per label: easy to make additive."""

import torch
from torch import Tensor, nn

from tests.training.literal import Label
from tests.training.settings import draws


class Lookup(nn.Module):
    """v(x, t, c) = (1 + t) table[c] + x, with a table entry for every label and null tokens too."""

    def __init__(self, cardinalities: Label, shape: tuple[int, ...], seed: int) -> None:
        super().__init__()
        sizes = [size + 1 for size in cardinalities]
        self.table = nn.Parameter(torch.randn(*sizes, *shape, generator=draws(seed)))

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return (1 + t).reshape(-1, *[1] * (x.ndim - 1)) * self.table[tuple(c.T)] + x


def additive(cardinalities: Label, shape: tuple[int, ...]) -> Lookup:
    """table[c] = Σ_i g_i(c_i), null tokens with a g_i of their own."""
    net = Lookup(cardinalities, shape, 0)
    total = torch.zeros(())
    n = len(cardinalities)
    for i, size in enumerate(cardinalities):
        values = torch.randn(size + 1, *shape, generator=draws(i))
        total = total + values.reshape(*[1] * i, size + 1, *[1] * (n - 1 - i), *shape)
    net.table.data.copy_(total)
    return net
