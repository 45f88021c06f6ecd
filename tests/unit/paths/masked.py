"""A discrete path and a network for it, as a package of somebody else would bring them.

Tokens are masked at t = 0 and revealed one by one (Gat et al., "Discrete flow matching", 2024).
Predictions are logarithms of the probabilities of every token, (B, length, TOKENS).
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.networks.base import Network
from dcfm_node.paths.base import Field, Path, spread
from dcfm_node.records.settings import NetworkSettings, PathSettings

TOKENS = 3
MASK = TOKENS
IMPOSSIBLE = -30.0


class MaskedSettings(PathSettings):
    code: ClassVar[str] = f"{__name__}:Masked"
    kind: Literal["masked"] = "masked"


class TableSettings(NetworkSettings):
    code: ClassVar[str] = f"{__name__}:Table"
    kind: Literal["table"] = "table"


class NormalisedSettings(NetworkSettings):
    code: ClassVar[str] = f"{__name__}:Normalised"
    kind: Literal["normalised"] = "normalised"


class NothingSettings(NetworkSettings):
    code: ClassVar[str] = f"{__name__}:MASK"
    kind: Literal["nothing"] = "nothing"


class Masked(Path):
    def prediction_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape, TOKENS)

    def source(
        self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
    ) -> Tensor:
        return torch.full(shape, MASK, device=device)

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(x1.shape, generator=generator, device=x1.device)
        return torch.where(u < spread(t, u), x1, x0)

    def target(self, x0: Tensor, x1: Tensor) -> Tensor:
        return IMPOSSIBLE * (1 - functional.one_hot(x1, TOKENS).float())

    def predicted(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        return output.log_softmax(dim=-1)

    def loss(self, prediction: Tensor, target: Tensor, t: Tensor) -> Tensor:
        return -(target.exp() * prediction).sum(dim=-1).mean()

    def discrepancy(self, prediction: Tensor, composed: Tensor, t: Tensor) -> Tensor:
        return (prediction.exp() - composed.exp()).square().mean()

    def compose(self, terms: Tensor, weights: Tensor, rest: Tensor | None = None) -> Tensor:
        total = (spread(weights.expand(terms.shape[:2]), terms) * terms).sum(dim=1)
        return (total if rest is None else rest + total).log_softmax(dim=-1)

    def mix(self, shares: Tensor, predictions: Tensor) -> Tensor:
        return (spread(shares, predictions).log() + predictions).logsumexp(dim=2)

    def trajectory(
        self, field: Field, x0: Tensor, steps: int, solver: str, generator: torch.Generator
    ) -> Iterator[Tensor]:
        x = x0
        yield x
        for i in range(steps):
            t = torch.full(x.shape[:1], i / steps, device=x.device)
            odds = field(x, t).exp().flatten(0, -2)
            drawn = torch.multinomial(odds, 1, generator=generator).reshape(x.shape)
            revealed = torch.rand(x.shape, generator=generator, device=x.device) < 1 / (steps - i)
            x = torch.where((x == MASK) & revealed, drawn, x)
            yield x

    def between(self, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
        return before


class Table(Network):
    """Logits that labels add up to, whatever is revealed already."""

    def __init__(
        self,
        settings: TableSettings,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        cardinalities: tuple[int, ...],
    ) -> None:
        super().__init__(settings, shape, outputs, cardinalities)
        self.outputs = outputs
        size = outputs[0] * outputs[1]
        self.labels = nn.ModuleList(nn.Embedding(many + 1, size) for many in cardinalities)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        added = torch.stack([table(c[:, i]) for i, table in enumerate(self.labels)]).sum(dim=0)
        return added.reshape(-1, *self.outputs)


class Normalised(Table):
    """What cannot be published: batch normalisation counts its batches."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.norm = nn.BatchNorm1d(2)
