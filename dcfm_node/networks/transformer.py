"""A transformer over places, for tokens (Vaswani et al., 2017), whose norms follow time and label
(Peebles, Xie, 2023)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.networks.base import Network
from dcfm_node.networks.blocks import Condition, no_label
from dcfm_node.networks.settings import TransformerSettings
from dcfm_node.records.settings import NetworkSettings

HEADS = 4
"""Most heads of attention; fewer where they do not divide the width."""


class Transformer(Network):
    """Logits of tokens at every place of a sample, whatever its shape."""

    def __init__(
        self,
        settings: TransformerSettings,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        cardinalities: tuple[int, ...],
    ) -> None:
        super().__init__(settings, shape, outputs, cardinalities)
        if outputs[:-1] != shape:
            raise ValueError(
                "network.kind 'transformer' needs a path of tokens; set path.kind = 'discrete'"
            )
        self.outputs = outputs
        self.condition = Condition(cardinalities, settings.width)
        self.causal = settings.causal
        self.trunk = Trunk(outputs, settings.width, settings.depth, causal=settings.causal)
        self.out_proj = nn.Linear(settings.width, outputs[-1])

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Logits (B, *shape, V) for tokens x (B, *shape), V for a masked one."""
        t = torch.zeros_like(t) if self.causal else t
        logits: Tensor = self.out_proj(self.trunk(x.flatten(1), self.condition(t, c)))
        return logits.reshape(len(x), *self.outputs)

    @classmethod
    def gating_network(
        cls, settings: NetworkSettings, shape: tuple[int, ...], experts: int
    ) -> "GatingTransformer":
        """The same transformer without labels."""
        assert isinstance(settings, TransformerSettings)
        return GatingTransformer(experts, shape, settings)


class GatingTransformer(nn.Module):
    """Logits over K experts from tokens: the transformer without a label."""

    def __init__(
        self, experts: int, outputs: tuple[int, ...], settings: TransformerSettings
    ) -> None:
        super().__init__()
        self.time = Condition((), settings.width)
        self.trunk = Trunk(outputs, settings.width, settings.depth)
        self.out_proj = nn.Linear(settings.width, experts)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Shapes (B, *shape), (B,) -> (B, K)."""
        h = self.trunk(x.flatten(1), self.time(t, no_label(t))).mean(dim=1)
        out: Tensor = self.out_proj(h)
        return out


class Trunk(nn.Module):
    """Features of the m places of predictions (*shape, V): tokens (B, m), condition (B, width) ->
    (B, m, width). Causal features are of the tokens before a place."""

    def __init__(
        self, outputs: tuple[int, ...], width: int, depth: int, *, causal: bool = False
    ) -> None:
        super().__init__()
        self.causal, self.mask = causal, outputs[-1]
        self.tokens = nn.Embedding(outputs[-1] + 1, width)
        self.places = nn.Parameter(torch.empty(math.prod(outputs[:-1]), width))
        for table in (self.tokens.weight, self.places):
            nn.init.normal_(table, std=0.5)
        self.blocks = nn.ModuleList(TransformerBlock(width, causal) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        if self.causal:
            x = functional.pad(x[:, :-1], (1, 0), value=self.mask)
        h = self.tokens(x.long()) + self.places + condition.unsqueeze(1)
        condition = functional.silu(condition)
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.norm(h)
        return out


class TransformerBlock(nn.Module):
    """Residual attention, then a residual layer at each place; the condition shifts and scales what
    each of them reads."""

    def __init__(self, width: int, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.heads = math.gcd(HEADS, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in "ab")
        self.films = nn.ModuleList(nn.Linear(width, 2 * width) for _ in "ab")
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)
        self.inner = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        h = h + self.outward(self._attended(self._read(0, h, condition)))
        inner = functional.silu(self.inner(self._read(1, h, condition)))
        out: Tensor = h + self.outer(inner)
        return out

    def _read(self, which: int, h: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.films[which](condition).unsqueeze(1).chunk(2, dim=-1)
        read: Tensor = self.norms[which](h) * (1 + scale) + shift
        return read

    def _attended(self, h: Tensor) -> Tensor:
        rows, places, width = h.shape
        parts = self.inward(h).reshape(rows, places, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        found: Tensor = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return found.transpose(1, 2).reshape(rows, places, width)
