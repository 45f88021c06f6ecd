"""Twenty steps of every stage on the CPU: what `losses.json` beside this file holds.

    python -m tests.training.golden.short

writes it anew. Do so after a change that is meant to change what is drawn or learned, and say in
the commit what moved; anything else must leave the figures where they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from dcfm_node.flow.networks import build
from dcfm_node.flow.stages import (
    Hooks,
    Outcome,
    Samples,
    Teacher,
    distil,
    local,
    refine_against_peers,
    refine_anchored,
)
from tests.training.settings import STAGE, draws, manifest

FILE = Path(__file__).with_name("losses.json")
STAGES = ("local", "refine_anchored", "refine_against_peers", "distil")
SETTINGS = STAGE | {"product_share": 0.5, "learning_rate": 1e-2}
ROWS = {(0, 0, 0): 20, (0, 1, 1): 15, (1, 2, 0): 10}
PEER = {(1, 1, 0): 25, (1, 0, 1): 10}

Figures = dict[str, list[float]]
"""By step: the matching term and the penalty; at the end: the stage's metrics."""


def run(stage: str) -> Figures:
    """One stage's figures. Stages start from networks of their own: none rests on another."""
    settings = dict.fromkeys(("local", "refine", "distil"), SETTINGS)
    run = manifest((2, 3, 2), shape=(4,), network={"predict": "sample"}, method=settings)
    init, anchor, peer = (
        build(run.model_copy(update={"method": run.method.model_copy(update={"seed": seed})}))
        for seed in (1, 2, 3)
    )
    mine, theirs = init.state_dict(), peer.state_dict()
    teachers = [Teacher("silo-0", mine, ROWS), Teacher("silo-1", theirs, PEER)]
    train, holdout = _samples(0), _samples(1)
    figures: Figures = {"loss": [], "ci": []}

    def progress(done: int, steps: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            figures[name].append(value)

    hooks = Hooks(progress=progress)

    def trained() -> Outcome:
        if stage == "local":
            return local(run, train, holdout, seed=4, hooks=hooks)
        if stage == "distil":
            return distil(run, teachers, init=mine, seed=4, hooks=hooks)
        if stage == "refine_anchored":
            return refine_anchored(
                run,
                train,
                holdout,
                init=mine,
                anchor=anchor.state_dict(),
                seed=4,
                hooks=hooks,
            )
        return refine_against_peers(
            run, train, holdout, me="silo-0", init=mine, peers=teachers, seed=4, hooks=hooks
        )

    metrics = trained().metrics
    return figures | {name: [metrics[name]] for name in ("ci_gap", "holdout_loss")}


def _samples(seed: int) -> Samples:
    c = torch.tensor([label for label, times in ROWS.items() for _ in range(times)])
    means = torch.tensor([[-1.0, 1.0, 0.0], [0.5, -0.5, 1.5], [2.0, -2.0, 0.0]])
    centre = sum(means[i][c[:, i]] for i in range(3))
    assert isinstance(centre, torch.Tensor)
    return Samples(centre[:, None] + 0.3 * torch.randn(len(c), 4, generator=draws(seed)), c)


def main() -> None:
    figures = {
        stage: {
            name: [float(f"{value:.6g}") for value in values] for name, values in run(stage).items()
        }
        for stage in STAGES
    }
    FILE.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
