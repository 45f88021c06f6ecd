"""Rollouts: a model's plans, executed in the simulator, and what became of each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.base import Redraw
from dcfm_node.domains.robots import plan
from dcfm_node.domains.robots.execution import Arm, replanned, tracked
from dcfm_node.domains.robots.plan import Array
from dcfm_node.samples import Samples, unit

THINNED = 4
"""Control steps between two states that are kept for a film."""
Told = Callable[[int], None]
"""Called with how many control steps are done."""


@dataclass(frozen=True)
class Rollouts:
    """What became of N plans. Those that are not feasible are not executed.

    Attributes:
        feasible: (N,).
        off: (N,) distance of the cube's end from the plan's goal, m; infinite if not executed.
        paths: where the cube was after each control step, (steps, 2) in m; None if not executed.
        states: of the arm, every THINNED steps, for `film`; none if not executed.
    """

    feasible: NDArray[np.bool_]
    off: Array
    paths: tuple[Array | None, ...]
    states: tuple[tuple[Array, ...], ...]

    def reached(self, within: float) -> NDArray[np.bool_]:
        """Which plans led the cube to less than `within` m from their goal, (N,)."""
        return np.asarray(self.off < within)


def by_planner(arm: Arm, samples: Samples, redraw: Redraw, told: Told | None = None) -> Rollouts:
    """Execute plans in closed loop: the planner plans again as the arm moves."""
    right = plan.feasible(unit(samples.x), samples.c)

    def replan(mask: NDArray[np.bool_], known: Array) -> Array:
        every = samples.x.astype(np.float32)
        every[right] = known
        return redraw(mask, every)[right].astype(np.float64)

    return _rolled(arm, samples, lambda plans, watch: replanned(arm, plans, replan, watch), told)


def by_commands(arm: Arm, samples: Samples, told: Told | None = None) -> Rollouts:
    """Execute plans by their own commands."""
    return _rolled(arm, samples, lambda plans, watch: tracked(arm, plans, watch), told)


def _rolled(
    arm: Arm,
    samples: Samples,
    execute: Callable[[Array, Callable[[int], None]], Array],
    told: Told | None,
) -> Rollouts:
    right = plan.feasible(unit(samples.x), samples.c)
    plans, which = unit(samples.x).astype(np.float64)[right], np.flatnonzero(right)
    paths: list[list[Array]] = [[] for _ in plans]
    states: list[list[Array]] = [[] for _ in plans]
    done = 0

    def watch(index: int) -> None:
        nonlocal done
        if len(paths[index]) % THINNED == 0:
            states[index].append(arm.keep())
        paths[index].append(arm.cube()[:2])
        done += 1
        if told is not None:
            told(done)

    off = np.full(len(samples), np.inf)
    if len(plans):
        off[right] = np.linalg.norm(execute(plans, watch) - plan.goal(plans), axis=1)
    found = dict(zip(which.tolist(), zip(paths, states, strict=True), strict=True))
    none: tuple[list[Array], list[Array]] = ([], [])
    every = [found.get(row, none) for row in range(len(samples))]
    return Rollouts(
        right,
        off,
        tuple(np.array(path) if path else None for path, _ in every),
        tuple(tuple(kept) for _, kept in every),
    )
