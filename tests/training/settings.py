"""Manifests and stand-in velocity fields for the tests of the method."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcfm_node.records.manifest import Manifest

STAGE = {"steps": 20, "batch": 16, "learning_rate": 1e-3, "ci_weight": 1.0, "ci_batch": 8}


def manifest(
    cardinalities: tuple[int, ...] = (2, 2),
    *,
    shape: tuple[int, ...] = (2,),
    silos: int = 2,
    network: Mapping[str, Any] | None = None,
    method: Mapping[str, Any] | None = None,
    tokens: int = 0,
) -> Manifest:
    """A small run; `method` and `network` override its settings; a `method` with a
    name says itself what stages it has beside the local one. With `tokens`, samples are made of so
    many different ones."""
    attributes = [
        {"name": f"a{i}", "values": [str(v) for v in range(size)]}
        for i, size in enumerate(cardinalities)
    ]
    others = () if "name" in (method or {}) else ("refine", "distil")
    stages: dict[str, Any] = dict.fromkeys(("local", *others), STAGE)
    plain: dict[str, Any] = {"width": 16, "depth": 1, "predict": "velocity"}
    path: dict[str, Any] = {"kind": "linear"}
    if tokens:
        stages |= {"solver": "tau-leaping", "solver_steps": 4}
        plain |= {"kind": "transformer", "predict": "sample"}
        path = {"kind": "discrete", "tokens": tokens}
    return Manifest.model_validate(
        {
            "name": "test",
            "sample_shape": shape,
            "attributes": attributes,
            "network": plain | dict(network or {}),
            "path": path,
            "method": stages | dict(method or {}),
            "roster": [{"name": f"silo-{k}", "key": bytes([k]) * 32} for k in range(silos)],
        },
        strict=False,
    )


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Table(torch.nn.Module):
    """v(x, t, c) = scale * (code of c) + x * t, with one trainable scale: easy by hand."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        code = 1.0 + c[:, 0] + 3.7 * c[:, 1] ** 2
        return self.scale * code[:, None].expand_as(x) + x * t[:, None]


def shipped(name: str, silos: int, **method: Any) -> Manifest:
    """A run file of the repository, with a made-up roster; `method` overrides its settings."""
    path = Path(__file__).parents[2] / f"configs/runs/{name}.toml"
    document = tomllib.loads(path.read_text())
    document["attributes"] = document.pop("attribute")
    document["method"] |= method
    document["roster"] = [{"name": f"silo-{k}", "key": bytes([k]) * 32} for k in range(silos)]
    return Manifest.model_validate(document, strict=False)
