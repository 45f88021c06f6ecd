"""The training loop of all stages, with a moving average of the weights (EMA) and exact resume.

Every draw depends only on (seed, rank, block). So a checkpoint needs no generator states, and a
resumed run gives the same bits as an uninterrupted one. With `torch.distributed` initialised, each
rank has its own data order, and gradients are averaged.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn

from dcfm_node.errors import Failed
from dcfm_node.flow.networks import Schema, Weights
from dcfm_node.flow.optimiser import Optimiser
from dcfm_node.records.settings import Training

Module = Callable[..., Tensor]
"""The trained function of a stage: v(x, t, c), or the logits (x, t) of a gating network."""
Rows = TypeVar("Rows")
REPORTS = 100
"""Progress reports per stage. The loop waits for the device only at reports."""
REPORT_S = 2.0
"""Most seconds between reports, so that slow training does not look stalled."""
MONITORS = 20
"""Measurements of the CI gap per stage, for early stopping. If the stage's steps are not a multiple
of this number there are more, but less than twice as many."""
BLOCK_ELEMENTS = 1 << 21
MAX_BLOCK = 64


class Objective(Protocol[Rows]):
    """Objective of a stage, and the rows that it uses."""

    @property
    def settings(self) -> Training:
        """Settings of the stage."""
        ...

    @property
    def ema(self) -> float:
        """Decay of the weights' moving average; 0 keeps the weights themselves."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point; it decides how many rows fit in memory."""
        ...

    def block(self, steps: int, generator: torch.Generator) -> list[Rows]:
        """The rows of `steps` steps; they depend only on the generator, which is on the host."""
        ...

    def objective(self, module: Any, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar loss of a step, and values to report, including `loss`."""
        ...


@dataclass
class Callbacks:
    """Device, progress and checkpoints of a stage, set by its caller.

    Attributes:
        device: torch device to train on; default "cpu".
        progress: called with steps done, total steps and losses of the last step. Only the first
            rank calls it and `save`.
        save: receives a checkpoint, a flat dict of CPU tensors, every `save_every` steps.
        due: called before a checkpoint; False skips it, because a checkpoint waits for the device.
        resume: a checkpoint to resume from; None starts from the model's weights.
        save_every: steps between checkpoints; 0, the default, never saves.
        bf16: evaluate networks in bfloat16; weights, losses and the optimiser stay float32.
        compile: compile networks. A resumed run then gives the same distribution, not equal bits.
    """

    device: torch.device | str = "cpu"
    progress: Callable[[int, int, Mapping[str, float]], None] = lambda done, total, losses: None
    save: Callable[[Weights], None] = lambda checkpoint: None
    due: Callable[[], bool] = lambda: True
    resume: Weights | None = None
    save_every: int = 0
    bf16: bool = False
    compile: bool = False

    def saves(self, step: int) -> bool:
        """Whether to save a checkpoint after this step."""
        return self.save_every > 0 and step % self.save_every == 0 and self.due()

    def fast(self, net: nn.Module) -> Module:
        """The network in a faster form with the same arguments, as set by `bf16` and `compile`."""
        # The number of rows varies between steps.
        call: Module = torch.compile(net, dynamic=True) if self.compile else net
        if not self.bf16:
            return call

        def rounded(*inputs: Tensor) -> Tensor:
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                return call(*inputs).float()

        return rounded


@dataclass
class State:
    """Everything that training changes."""

    model: nn.Module
    ema: Weights
    optimiser: Optimiser
    step: int = 0
    loss: float = 0.0
    """Last reported matching loss."""
    gaps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Walking through the modules is too slow for every step.
        self.values = list(self.model.state_dict().values())

    @classmethod
    def fresh(cls, model: nn.Module, settings: Training) -> "State":
        """The state before the first step: a new optimiser, and an EMA equal to the model."""
        ema = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return cls(model, ema, Optimiser(list(model.parameters()), settings))

    def averaged(self) -> Module:
        """The network with its EMA weights."""
        return lambda *inputs: torch.func.functional_call(self.model, self.ema, inputs)

    def checkpoint(self) -> Weights:
        """A flat dict of contiguous CPU tensors, as safetensors needs them."""
        flat = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        flat |= {f"ema.{name}": tensor for name, tensor in self.ema.items()}
        flat |= {f"optimiser.{name}": slot for name, slot in self.optimiser.slots().items()}
        flat["step"] = torch.tensor([self.step])
        flat["loss"] = torch.tensor([self.loss], dtype=torch.float64)
        # At full length, so that all checkpoints of a stage have the same shapes.
        flat["gaps"] = torch.full((2 * MONITORS,), -1.0, dtype=torch.float64)
        flat["gaps"][: len(self.gaps)] = torch.tensor(self.gaps, dtype=torch.float64)
        return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in flat.items()}

    def restore(self, checkpoint: Weights) -> None:
        """Undo `checkpoint`."""
        self.model.load_state_dict(_under("model.", checkpoint))
        for name, tensor in _under("ema.", checkpoint).items():
            self.ema[name].copy_(tensor)
        self.optimiser.restore(_under("optimiser.", checkpoint))
        self.step = int(checkpoint["step"].item())
        self.loss = checkpoint["loss"].item()
        self.gaps = [gap for gap in checkpoint["gaps"].tolist() if gap >= 0]


def checkpoint_schema(model: nn.Module, settings: Training) -> Schema:
    """Schema of a checkpoint of a stage that trains this model."""
    state = State.fresh(model, settings)
    state.optimiser.allocate()
    kinds = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
    return {name: (kinds[t.dtype], tuple(t.shape)) for name, t in state.checkpoint().items()}


@dataclass(frozen=True)
class Trained:
    """EMA weights (contiguous float32 on the CPU), number of steps, last matching loss."""

    weights: Weights
    steps: int
    loss: float


def train(
    model: nn.Module,
    stage: Objective[Rows],
    gap: Callable[[Module], float] | None = None,
    *,
    seed: int,
    callbacks: Callbacks,
    steps: range | None = None,
) -> Trained:
    """Run one stage from the model's current weights, or from `callbacks.resume`.

    Args:
        gap: gives the CI gap of a network on the monitor rows; a stage with patience uses it to
            stop early. None never stops early.
        steps: range of steps to take, for a stage in parts; None takes all.

    Raises:
        Failed: the loss is not finite, or the checkpoint is from a later step.
    """
    settings, rank = stage.settings, _rank()
    steps = steps or range(settings.steps)
    state = State.fresh(model, settings)
    state.step = steps.start
    if callbacks.resume is not None:
        state.restore(callbacks.resume)
        if not steps.start <= state.step <= steps.stop:
            raise Failed(f"the checkpoint is from step {state.step}, but the stage has {steps}")
    fast = callbacks.fast(model)
    length = block_steps(settings, stage.shape)
    rows: list[Rows] = []
    told_at = time.monotonic()
    while not _over(state, steps, settings):
        index, offset = divmod(state.step, length)
        if offset == 0 or not rows:
            rows = stage.block(length, generator(seed, rank, index))
        losses = update(state, fast, rows[offset], stage)
        if gap and settings.patience and _every(state.step, settings.steps, MONITORS):
            state.gaps.append(agreed(gap(state.averaged()), callbacks.device))
        due = _every(state.step, settings.steps, REPORTS) or _over(state, steps, settings)
        if due or time.monotonic() - told_at >= REPORT_S:
            told_at = time.monotonic()
            state.loss = _report(state.step, losses, settings, callbacks, rank)
        if rank == 0 and callbacks.saves(state.step):
            callbacks.save(state.checkpoint())
    weights = {name: tensor.cpu().contiguous() for name, tensor in state.ema.items()}
    return Trained(weights, state.step, state.loss)


def _over(state: State, steps: range, settings: Training) -> bool:
    return state.step >= steps.stop or stalled(state.gaps, settings.patience)


def update(state: State, module: Module, rows: Rows, stage: Objective[Rows]) -> dict[str, Tensor]:
    """Take one step of the optimiser and the EMA. Returns the losses on the device.

    Args:
        module: the state's model, or its faster form (`Callbacks.fast`).
    """
    loss, figures = stage.objective(module, rows)
    state.optimiser.minimise(loss, state.step)
    # With a fixed decay, the initial weights would dominate the first 1/(1 - decay) steps.
    decay = min(stage.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        torch._foreach_lerp_(list(state.ema.values()), state.values, 1 - decay)
    state.step += 1
    return {name: figure.detach() for name, figure in figures.items()}


def _report(
    step: int, losses: Mapping[str, Tensor], settings: Training, callbacks: Callbacks, rank: int
) -> float:
    known = {name: float(value) for name, value in losses.items()}
    if not all(math.isfinite(value) for value in known.values()):
        raise Failed(
            f"training diverged: the loss is {known} after {step} steps",
            fix="lower the stage's learning_rate or ci_weight in the run's manifest",
        )
    if rank == 0:
        callbacks.progress(step, settings.steps, known)
    return known["loss"]


def stalled(gaps: Sequence[float], patience: int) -> bool:
    """Whether none of the last `patience` gaps is below the smallest one before them."""
    if patience == 0 or len(gaps) <= patience:
        return False
    return min(gaps[-patience:]) >= min(gaps[:-patience])


def block_steps(settings: Training, shape: Sequence[int]) -> int:
    """Number of steps per block, so that a block takes at most a few dozen MB."""
    return max(1, min(MAX_BLOCK, BLOCK_ELEMENTS // (settings.batch * math.prod(shape))))


def generator(*key: int) -> torch.Generator:
    """A generator on the host whose stream depends only on the key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))


def _every(step: int, steps: int, times: int) -> bool:
    return step == steps or step % max(1, steps // times) == 0


def _under(prefix: str, checkpoint: Weights) -> Weights:
    found = {name: tensor for name, tensor in checkpoint.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def first_rank() -> bool:
    """Whether this process reports progress and saves."""
    return _rank() == 0


def agreed(value: float, device: torch.device | str) -> float:
    """The value of rank 0 on every rank, so that all ranks decide alike."""
    if not torch.distributed.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    torch.distributed.broadcast(shared, src=0)
    return shared.item()
