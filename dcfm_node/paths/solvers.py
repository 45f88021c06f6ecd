"""Fixed-step solvers of dx/dt = v(x, t) from noise at t = 0 to data at t = 1 (Eq. 3 of DCFM)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
"""Velocities (B, *shape) at points (B, *shape) and times (B,)."""
Step = Callable[[Field, Tensor, Tensor, float], Tensor]


def euler(field: Field, x: Tensor, t: Tensor, h: float) -> Tensor:
    """One step of first order with one evaluation."""
    return x + h * field(x, t)


def midpoint(field: Field, x: Tensor, t: Tensor, h: float) -> Tensor:
    """One step of second order with two evaluations."""
    return x + h * field(x + h / 2 * field(x, t), t + h / 2)


def heun(field: Field, x: Tensor, t: Tensor, h: float) -> Tensor:
    """One step of second order with two evaluations, both on the time grid."""
    first = field(x, t)
    return x + h / 2 * (first + field(x + h * first, t + h))


def rk4(field: Field, x: Tensor, t: Tensor, h: float) -> Tensor:
    """One step of fourth order with four evaluations."""
    k1 = field(x, t)
    k2 = field(x + h / 2 * k1, t + h / 2)
    k3 = field(x + h / 2 * k2, t + h / 2)
    k4 = field(x + h * k3, t + h)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class Adams:
    """Steps of second order with one evaluation each, which also use the velocity before (Adams and
    Bashforth); the first is Euler's."""

    def __init__(self) -> None:
        self._before: Tensor | None = None

    def __call__(self, field: Field, x: Tensor, t: Tensor, h: float) -> Tensor:
        """The next step; those of one trajectory follow each other."""
        v = field(x, t)
        change = torch.zeros_like(v) if self._before is None else v - self._before
        self._before = v
        return x + h * (v + change / 2)


SOLVERS: dict[str, Callable[[], Step]] = {
    "euler": lambda: euler,
    "midpoint": lambda: midpoint,
    "heun": lambda: heun,
    "rk4": lambda: rk4,
    "adams": Adams,
}
"""Name -> what makes the steps of one trajectory."""


def trajectory(field: Field, x0: Tensor, steps: int, solver: str) -> Iterator[Tensor]:
    """States at t = 0, 1/steps, ..., 1; each of x0's shape."""
    step, h = SOLVERS[solver](), 1 / steps
    x = x0
    yield x
    for i in range(steps):
        t = torch.full(x0.shape[:1], i * h, device=x0.device, dtype=x0.dtype)
        x = step(field, x, t, h)
        yield x


def integrate(field: Field, x0: Tensor, steps: int, solver: str) -> Tensor:
    """The state at t = 1, of x0's shape."""
    x = x0
    for state in trajectory(field, x0, steps, solver):
        x = state
    return x
