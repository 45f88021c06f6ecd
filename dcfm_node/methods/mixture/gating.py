"""The gating network of DDM: it predicts the expert that a point x_t comes from.

No node has all silos' data, so the network learns from the experts' own paths: draw an expert in
proportion to its sample count, take a point on one of its paths, and predict the expert. The
optimum is ρ_k(x_t, t) = p(k | x_t). With it, Σ_k ρ_k v_k is the velocity of the silos' pooled data
(McAllister et al., 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.flow import networks
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import Schema, Weights, schema_of
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.sources import path_points
from dcfm_node.flow.stages import Outcome
from dcfm_node.flow.trainer import Callbacks, Module, generator, train
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Training

Owned = tuple[Tensor, Tensor, Tensor]
"""Points x (B, *shape), times t (B,) and the expert of each (B,)."""
JUDGE_ROWS, JUDGE_KEY = 1024, 3


@dataclass(frozen=True)
class OwnedPoints:
    """Points on the experts' own paths with the index of the expert."""

    experts: Sequence[VelocityField]
    counts: Sequence[Counts]
    manifest: Manifest
    device: torch.device | str = "cpu"

    @property
    def settings(self) -> Training:
        """Settings of the gating network's training."""
        return self.manifest.method.stage("distil")

    @property
    def ema(self) -> float:
        """Decay of the weights' moving average."""
        return self.manifest.method.decay

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self.manifest.flow_shape

    def draw(self, rows: int, draws: torch.Generator) -> Owned:
        """Draw `rows` points, shuffled, with a generator on the host."""
        sizes = [sum(silo.values()) for silo in self.counts]
        found = [
            path_points([expert], [silo], self.manifest, self.device)(
                rows * size // sum(sizes) + 1, draws
            )
            for expert, silo, size in zip(self.experts, self.counts, sizes, strict=True)
        ]
        owner = torch.cat([torch.full_like(p.c[:, 0], k) for k, p in enumerate(found)])
        x, t = torch.cat([p.x for p in found]), torch.cat([p.t for p in found])
        order = torch.randperm(len(x), generator=draws)[:rows]
        owner, order = owner[order].to(x.device), order.to(x.device)
        return x[order], t[order], owner

    def block(self, steps: int, generator: torch.Generator) -> list[Owned]:
        """The rows of `steps` steps."""
        batch = self.settings.batch
        parts = (torch.split(part, batch) for part in self.draw(steps * batch, generator))
        return list(zip(*parts, strict=True))

    def objective(self, module: Module, rows: Owned) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the predicted expert."""
        x, t, owner = rows
        loss = functional.cross_entropy(module(x, t)[:, : len(self.experts)], owner)
        return loss, {"loss": loss}


def schema(manifest: Manifest) -> Schema:
    """Schema of the weights of a gating network. Allocates no memory for weights."""
    with torch.device("meta"):
        return schema_of(networks.build_gating(manifest), manifest)


def train_gating(
    manifest: Manifest, teachers: Sequence[Teacher], *, seed: int, callbacks: Callbacks
) -> Outcome:
    """Train the gating network of these experts, in their order, with the settings of
    `method.distil`. It has an output for every silo of the roster; the first outputs belong to the
    experts.

    Returns: its weights, and `accuracy`, the share (0 to 1) of new points predicted rightly.
    """
    experts = [
        callbacks.fast(networks.load(manifest, one.weights, callbacks.device)) for one in teachers
    ]
    points = OwnedPoints(experts, [one.counts for one in teachers], manifest, callbacks.device)
    model = networks.build_gating(manifest).to(callbacks.device)
    trained = train(model, points, seed=seed, callbacks=callbacks)
    judge = load(manifest, trained.weights, callbacks.device)
    x, t, owner = points.draw(JUDGE_ROWS, generator(JUDGE_KEY))
    with torch.no_grad():
        right = (judge(x, t)[:, : len(teachers)].argmax(dim=1) == owner).float().mean().item()
    return Outcome(trained.weights, {"accuracy": right, "steps": float(trained.steps)})


def load(manifest: Manifest, weights: Weights, device: torch.device | str) -> nn.Module:
    """The gating network of a snapshot, frozen, on the device."""
    model = networks.build_gating(manifest)
    model.load_state_dict(weights)
    return model.to(device).eval().requires_grad_(False)
