"""A residual MLP, for vectors."""

import math

from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.networks.base import Network
from dcfm_node.networks.blocks import TIME_FEATURES, Condition, MlpBlock, no_label, time_features
from dcfm_node.networks.settings import MlpSettings
from dcfm_node.records.settings import NetworkSettings


class Mlp(Network):
    """Residual MLP over the flattened sample; outputs have the sample's shape."""

    def __init__(
        self,
        settings: MlpSettings,
        shape: tuple[int, ...],
        outputs: tuple[int, ...],
        cardinalities: tuple[int, ...],
    ) -> None:
        super().__init__(settings, shape, outputs, cardinalities)
        if outputs != shape:
            raise ValueError(
                "network.kind 'mlp' needs predictions with the samples' shape; use another one"
            )
        width, depth, features = settings.width, settings.depth, math.prod(shape)
        self.condition = Condition(cardinalities, width)
        self.in_proj = nn.Linear(features, width)
        self.blocks = nn.ModuleList(MlpBlock(width) for _ in range(depth))
        self.out_proj = nn.Linear(width, features)
        self.skip = nn.Linear(TIME_FEATURES, features)
        nn.init.zeros_(self.skip.weight)
        nn.init.zeros_(self.skip.bias)

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        condition = self.condition(t, c)
        flat = x.flatten(1)
        h = self.in_proj(flat)
        for block in self.blocks:
            h = block(h, condition)
        # Linear in x for every label, so that the field extrapolates well to regions without data,
        # where novel combinations are.
        out: Tensor = self.out_proj(functional.silu(h)) + self.skip(time_features(t)) * flat
        return out.reshape(x.shape)

    @classmethod
    def gating_network(
        cls, settings: NetworkSettings, shape: tuple[int, ...], experts: int
    ) -> "GatingMlp":
        """The same MLP without labels."""
        assert isinstance(settings, MlpSettings)
        return GatingMlp(experts, shape, settings.width, settings.depth)


class GatingMlp(nn.Module):
    """Logits over K experts from a sample: the residual MLP without a label."""

    def __init__(self, experts: int, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.time = Condition((), width)
        self.in_proj = nn.Linear(math.prod(shape), width)
        self.blocks = nn.ModuleList(MlpBlock(width) for _ in range(depth))
        self.out_proj = nn.Linear(width, experts)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Shapes (B, *shape), (B,) -> (B, K)."""
        condition = self.time(t, no_label(t))
        h = self.in_proj(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.out_proj(functional.silu(h))
        return out
