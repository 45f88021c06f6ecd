"""Networks of tokens, as a package of somebody else would bring them."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dcfm_node.networks.base import Network
from dcfm_node.records.settings import NetworkSettings

NUMBER = 3


class TableSettings(NetworkSettings):
    code: ClassVar[str] = f"{__name__}:Table"
    kind: Literal["table"] = "table"


class NormalisedSettings(NetworkSettings):
    code: ClassVar[str] = f"{__name__}:Normalised"
    kind: Literal["normalised"] = "normalised"


class NothingSettings(NetworkSettings):
    code: ClassVar[str] = f"{__name__}:NUMBER"
    kind: Literal["nothing"] = "nothing"


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
