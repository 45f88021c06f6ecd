"""AdamW with a cosine schedule: the only place that changes weights from a loss.

An optimiser that needs the gradient of each row, as for differential privacy (Abadi et al., 2016),
would replace `Optimiser`.
"""

import math
from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor, nn

from dcfm_node.records.settings import Training

BETAS = (0.9, 0.99)
CLIP = 1.0
"""Largest Euclidean norm of all gradients together."""
WARMUP_STEPS = 20


class Optimiser:
    """Takes steps on the parameters of one network.

    With `torch.distributed` initialised, gradients are averaged, so all ranks take the same step.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], settings: Training) -> None:
        self._parameters, self._settings = parameters, settings
        self._adam = torch.optim.AdamW(parameters, settings.learning_rate, BETAS, fused=True)

    def minimise(self, loss: Tensor, step: int) -> None:
        """Take step `step` (from 0) of the stage to lower a scalar loss."""
        for group in self._adam.param_groups:
            group["lr"] = learning_rate(self._settings, step)
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        _average_gradients(self._parameters)
        nn.utils.clip_grad_norm_(self._parameters, CLIP)
        self._adam.step()

    def slots(self) -> dict[str, Tensor]:
        """The optimiser's state, "index.slot" -> tensor; empty before the first step."""
        state = self._adam.state_dict()["state"]
        return {f"{i}.{name}": slot for i, slots in state.items() for name, slot in slots.items()}

    def restore(self, remembered: dict[str, Tensor]) -> None:
        """Undo `slots`."""
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in remembered.items():
            index, slot = name.split(".", 1)
            state.setdefault(int(index), {})[slot] = tensor.clone()
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state, "param_groups": groups})

    def allocate(self) -> None:
        """Create the slots before the first step, for their shapes; this may change parameters."""
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter)
        self._adam.step()


def learning_rate(settings: Training, step: int) -> float:
    """The learning rate at a step: a short linear warm-up, then half a cosine down to 0."""
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return settings.learning_rate * warm * (1 + math.cos(math.pi * step / settings.steps)) / 2


def _average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace gradients by their mean over ranks; each rank has its own rows."""
    if not torch.distributed.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
