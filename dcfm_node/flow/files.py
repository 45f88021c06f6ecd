"""Weights in files: rounded to the run's snapshot precision, and read back as float32."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from dcfm_node.flow.networks import Weights
from dcfm_node.records.manifest import Manifest


def rounded(weights: Weights, manifest: Manifest) -> Weights:
    """Weights as a snapshot of this run holds them: with bfloat16, rounded to nearest even."""
    if manifest.transfer.precision == "f32":
        return weights
    return {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}


def load_weights(path: Path) -> Weights:
    """A snapshot's weights in float32; the conversion is exact."""
    found: Weights = load_file(path)
    return {name: tensor.float() for name, tensor in found.items()}
