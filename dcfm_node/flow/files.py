"""Weights in files: rounded as the run's snapshots are, and wide again for computing."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from dcfm_node.flow.networks import Weights
from dcfm_node.records.manifest import Manifest


def rounded(weights: Weights, manifest: Manifest) -> Weights:
    """As a snapshot of this run holds them: to the nearest bfloat16, ties to even, if so set."""
    if manifest.transfer.precision == "f32":
        return weights
    return {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}


def load_weights(path: Path) -> Weights:
    """A snapshot's weights in float32; widening changes no value."""
    found: Weights = load_file(path)
    return {name: tensor.float() for name, tensor in found.items()}
