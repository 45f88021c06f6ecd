"""The trained router of DDM: which silo does a noised sample x_t come from?

Nobody may see all silos' data, so it learns from the experts' own paths: draw an expert in
proportion to its sample count, take a point of one of its paths, and guess the expert. Its optimum
is ρ_k(x_t, t) = p(k | x_t), by which Σ_k ρ_k v_k is the velocity of the silos' pooled data.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.flow.files import DTYPES
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.losses import Velocities
from dcfm_node.flow.networks import Condition, ConvBlock, MlpBlock
from dcfm_node.flow.sampling import Teacher, load
from dcfm_node.flow.sources import path_points
from dcfm_node.flow.stages import Outcome
from dcfm_node.flow.trainer import (
    REPORTS,
    Hooks,
    State,
    Weights,
    block_steps,
    generator,
    learning_rate,
)
from dcfm_node.networks.settings import MlpSettings, UnetSettings
from dcfm_node.records.manifest import Manifest

Owned = tuple[Tensor, Tensor, Tensor]
"""Points x (B, *shape), times t (B,) and the expert of each (B,)."""
JUDGE_ROWS, JUDGE_KEY = 1024, 3


class FlatOwner(nn.Module):
    """Logits over K silos from a vector: the velocity's residual MLP without a label."""

    def __init__(self, silos: int, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.time = Condition((), width)
        self.inlet = nn.Linear(math.prod(shape), width)
        self.blocks = nn.ModuleList(MlpBlock(width) for _ in range(depth))
        self.outlet = nn.Linear(width, silos)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Shapes (B, *shape), (B,) -> (B, K)."""
        condition = self.time(t, _no_label(t))
        h = self.inlet(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.outlet(functional.silu(h))
        return out


class ImageOwner(nn.Module):
    """Logits over K silos from an image: the way down of the velocity's U-Net."""

    def __init__(self, silos: int, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.time = Condition((), 4 * width)
        self.inlet = nn.Conv2d(shape[0], width, 3, padding=1)
        self.down = nn.ModuleList(
            ConvBlock(width * (1 + (level > 1)), width * (1 + (level > 0)), 4 * width)
            for level in range(depth)
        )
        self.outlet = nn.Linear(width * (1 + (depth > 1)), silos)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Shapes (B, *shape), (B,) -> (B, K)."""
        condition = self.time(t, _no_label(t))
        h = self.inlet(x)
        for level, block in enumerate(self.down):
            h = block(functional.avg_pool2d(h, 2, ceil_mode=True) if level else h, condition)
        out: Tensor = self.outlet(functional.silu(h).mean(dim=(2, 3)))
        return out


def build(manifest: Manifest, slots: int) -> FlatOwner | ImageOwner:
    """A router of up to so many experts on the CPU, its initial weights a function of the run."""
    settings = manifest.network
    assert isinstance(settings, MlpSettings | UnetSettings)
    kind = FlatOwner if settings.kind == "mlp" else ImageOwner
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(manifest.method.seed)
        return kind(slots, manifest.sample_shape, settings.width, settings.depth)


def schema(manifest: Manifest, slots: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """As `networks.schema`, of a router."""
    with torch.device("meta"):
        model = build(manifest, slots)
    dtype = DTYPES[manifest.transfer.precision]
    return {name: (dtype, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}


def owned_points(
    experts: Sequence[Velocities],
    counts: Sequence[Counts],
    manifest: Manifest,
    device: torch.device | str = "cpu",
) -> Callable[[int, torch.Generator], Owned]:
    """Points on the experts' own paths and whose they are, experts by their sample counts."""
    sizes = [sum(silo.values()) for silo in counts]
    sources = [
        path_points([expert], [silo], manifest, device)
        for expert, silo in zip(experts, counts, strict=True)
    ]

    def draw(rows: int, draws: torch.Generator) -> Owned:
        found = [
            source(rows * size // sum(sizes) + 1, draws)
            for source, size in zip(sources, sizes, strict=True)
        ]
        owner = torch.cat([torch.full_like(p.c[:, 0], k) for k, p in enumerate(found)])
        x, t = torch.cat([p.x for p in found]), torch.cat([p.t for p in found])
        order = torch.randperm(len(x), generator=draws)[:rows]
        owner, order = owner[order].to(x.device), order.to(x.device)
        return x[order], t[order], owner

    return draw


def train_router(
    manifest: Manifest,
    teachers: Sequence[Teacher],
    *,
    seed: int,
    hooks: Hooks,
    slots: int | None = None,
) -> Outcome:
    """Train the router of these experts, in their order, with the settings of `method.distil`.

    Args:
        slots: outputs of the router, if more than experts; the first are theirs.

    Returns: its weights, and the share of fresh points it attributes rightly as `accuracy`.
    """
    settings = manifest.method.stage("distil")
    experts = [load(manifest, teacher.weights, hooks.device) for teacher in teachers]
    draw = owned_points(experts, [teacher.counts for teacher in teachers], manifest, hooks.device)
    model = build(manifest, slots or len(teachers)).to(hooks.device)
    state = State.fresh(model, settings)
    if hooks.resume is not None:
        state.restore(hooks.resume)
    length = block_steps(settings, manifest.sample_shape)
    rows: list[Owned] = []
    while state.step < settings.steps:
        index, offset = divmod(state.step, length)
        if offset == 0 or not rows:
            block = draw(length * settings.batch, generator(seed, 0, index))
            parts = (torch.split(part, settings.batch) for part in block)
            rows = list(zip(*parts, strict=True))
        x, t, owner = rows[offset]
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(settings, state.step)
        loss = functional.cross_entropy(model(x, t)[:, : len(teachers)], owner)
        state.optimiser.zero_grad()
        torch.autograd.backward(loss)
        state.optimiser.step()
        state.step += 1
        if state.step % max(1, settings.steps // REPORTS) == 0:
            hooks.progress(state.step, settings.steps, {"loss": loss.item()})
        if hooks.saves(state.step):
            hooks.save(state.checkpoint())
    x, t, owner = draw(JUDGE_ROWS, generator(JUDGE_KEY))
    with torch.no_grad():
        right = (model(x, t)[:, : len(teachers)].argmax(dim=1) == owner).float().mean().item()
    weights = {name: part.cpu().contiguous() for name, part in model.state_dict().items()}
    return Outcome(weights, {"accuracy": right, "steps": float(state.step)})


def load_router(
    manifest: Manifest, weights: Weights, device: torch.device | str
) -> FlatOwner | ImageOwner:
    """The frozen router of a snapshot, on the device."""
    model = build(manifest, len(weights["outlet.bias"]))
    model.load_state_dict(weights)
    return model.to(device).eval().requires_grad_(False)


def _no_label(t: Tensor) -> Tensor:
    return torch.empty(len(t), 0, dtype=torch.int64, device=t.device)
