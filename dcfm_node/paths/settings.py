"""The package's own probability paths: their sections of run.toml. Pure."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dcfm_node.records.guidance import Replay
from dcfm_node.records.settings import CodecSettings, MethodSettings, NetworkSettings, PathSettings

ODE = ("euler", "midpoint", "heun", "rk4", "adams")
JUMPS = ("euler", "tau-leaping")
"""Solvers by path."""
MOST_PLACES = 4_096
"""Most places of a sample of tokens. In order, each takes an evaluation, of work that grows with
the places: so this bounds the work of a draw, as `solver_steps` does for other paths."""


class LinearPathSettings(PathSettings):
    """x_t = (1 - t) x_0 + t x_1 from Gaussian noise x_0 (Lipman et al., 2023)."""

    code: ClassVar[str] = "dcfm_node.paths.linear:LinearPath"
    kind: Literal["linear"] = "linear"

    def misfit(self, codec: CodecSettings, network: NetworkSettings, method: MethodSettings) -> str:
        if network.reads == "tokens":
            return (
                f"network.kind {network.kind!r} reads tokens; use 'mlp', 'mixer' or 'unet', or set"
                ' path.kind = "discrete"'
            )
        return _unknown_solver(self.kind, method, ODE)


class _Tokens(PathSettings):
    """A path of tokens: a sample is whole numbers from 0 to tokens - 1."""

    causal: ClassVar[bool] = False
    tokens: Annotated[int, Field(ge=2, le=4_096)] = 256
    """Number of different tokens, 2 to 4096; default 256, all bytes."""

    @property
    def alphabet(self) -> int:
        return self.tokens

    def problem(self, shape: tuple[int, ...]) -> str:
        if (places := math.prod(shape)) <= MOST_PLACES:
            return ""
        return (
            f"sample_shape: {places} places are more than the {MOST_PLACES} of path"
            f" {self.kind!r}; use fewer"
        )

    def misfit(self, codec: CodecSettings, network: NetworkSettings, method: MethodSettings) -> str:
        if codec.kind != "identity":
            return f"codec.kind {codec.kind!r} makes numbers of tokens; remove [codec]"
        if network.reads == "numbers":
            return f'network.kind {network.kind!r} reads numbers; use "transformer"'
        if network.predict != "sample":
            return 'network.predict is "velocity"; this path needs "sample"'
        if getattr(network, "causal", self.causal) != self.causal:
            return f"network.causal; path {self.kind!r} needs {str(self.causal).lower()}"
        if method.needs_energies:
            return (
                f"method.name {method.name!r} needs energies, which path {self.kind!r} does not"
                ' give; use "dcfm", "ddm" or "fedflow"'
            )
        replay = getattr(method, "replay", None)
        if isinstance(replay, Replay) and replay.rounds:
            return "method.replay.rounds: replay moves numbers, not tokens; set it to 0"
        return _unknown_solver(self.kind, method, JUMPS)


class DiscretePathSettings(_Tokens):
    """Tokens that are revealed from a mask, or changed from random ones, each at its own time (Gat
    et al., 2024). A sample is whole numbers from 0 to tokens - 1."""

    code: ClassVar[str] = "dcfm_node.paths.discrete:DiscretePath"
    kind: Literal["discrete"] = "discrete"
    source: Literal["mask", "uniform"] = "mask"
    """Noise: every place masked (default), or any token with equal probability."""
    power: Annotated[float, Field(ge=1.0, le=8.0)] = 1.0
    """A place is already that of the sample at time t with probability t^power, 1 to 8; default
    1."""


class AutoregressivePathSettings(_Tokens):
    """Tokens one after the other, by a causal network: next-token generation as a discrete path.
    All solvers are the same there: one evaluation for each place."""

    code: ClassVar[str] = "dcfm_node.paths.autoregressive:AutoregressivePath"
    causal: ClassVar[bool] = True
    kind: Literal["autoregressive"] = "autoregressive"


def _unknown_solver(kind: str, method: MethodSettings, solvers: tuple[str, ...]) -> str:
    if method.solver in solvers:
        return ""
    return (
        f"method.solver {method.solver!r} is not one of path {kind!r}; use"
        f" {' or '.join(map(repr, solvers))}"
    )
