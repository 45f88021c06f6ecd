"""The network that a run trains, made from its manifest."""

import torch
from torch import Tensor, nn

from dcfm_node import plugins
from dcfm_node.errors import ConfigError
from dcfm_node.networks.base import Network
from dcfm_node.paths.base import Path, path_of
from dcfm_node.records.manifest import Manifest

Weights = dict[str, Tensor]
Schema = dict[str, tuple[str, tuple[int, ...]]]
"""Tensor name -> (safetensors dtype, shape)."""
DTYPES = {"f32": "F32", "bf16": "BF16"}
"""Precision -> its name in safetensors."""


class FlowNetwork(nn.Module):
    """v(x, t, c): the prediction that a network's output means on the run's path."""

    def __init__(self, net: nn.Module, path: Path) -> None:
        super().__init__()
        self.net = net
        self.path = path

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """Predictions (B, *prediction_shape) for points (B, *shape), times (B,), labels (B, n)."""
        out: Tensor = self.net(x, t, c)
        return self.path.predicted(out, x, t)


def build(manifest: Manifest) -> FlowNetwork:
    """The run's network on the CPU, with the same initial weights in every silo.

    Raises:
        ConfigError: the network has state that is not floating point; snapshots cannot hold it.
    """
    settings, path, shape = manifest.network, path_of(manifest), manifest.flow_shape
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(manifest.method.seed)
        outputs = path.prediction_shape(shape)
        net = plugins.make(
            settings.code,
            Network,  # type: ignore[type-abstract]
            settings,
            shape,
            outputs,
            manifest.cardinalities,
        )
    if odd := [name for name, part in net.state_dict().items() if not part.is_floating_point()]:
        raise ConfigError(
            f"network {manifest.network.kind!r} has state that is not floating point: {odd[0]}",
            where="network.kind",
            fix="use a network without such state, for example without batch normalisation",
        )
    return FlowNetwork(net, path)


def build_gating(manifest: Manifest) -> nn.Module:
    """A gating network over all silos, on the CPU; the run decides its initial weights."""
    experts = len(manifest.roster)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(manifest.method.seed)
        kind = plugins.implementation(manifest.network.code, Network)  # type: ignore[type-abstract]
        outputs = path_of(manifest).prediction_shape(manifest.flow_shape)
        return kind.gating_network(manifest.network, outputs, experts)


def load(manifest: Manifest, weights: Weights, device: torch.device | str) -> FlowNetwork:
    """The network of a snapshot, frozen, on the device."""
    net = build(manifest)
    net.load_state_dict(weights)
    return net.to(device).eval().requires_grad_(False)


def schema(manifest: Manifest) -> Schema:
    """Names, dtypes and shapes of the tensors in a snapshot. Allocates no memory for weights."""
    with torch.device("meta"):
        return schema_of(build(manifest), manifest)


def schema_of(module: nn.Module, manifest: Manifest) -> Schema:
    """Names and shapes of a module's state, with the dtype of the run's snapshots."""
    dtype = DTYPES[manifest.transfer.precision]
    return {name: (dtype, tuple(tensor.shape)) for name, tensor in module.state_dict().items()}
