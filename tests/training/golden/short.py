"""Twenty steps of every stage on the CPU: what `losses.json` beside this file holds.

    python -m tests.training.golden.short

writes it anew. Do so after a change that is meant to change what is drawn or learned, and say in
the commit what moved; anything else must leave the figures where they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from dcfm_node.flow.networks import Weights, build
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import EncodedSamples, Outcome, local
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm.learner import distil, refine_against_peers, refine_anchored
from dcfm_node.records.manifest import Manifest
from tests.training.settings import STAGE, draws, manifest

FILE = Path(__file__).with_name("losses.json")
STAGES = ("local", "refine_anchored", "refine_against_peers", "distil")
SETTINGS = STAGE | {"product_share": 0.5, "learning_rate": 1e-2}
METHOD = dict.fromkeys(("local", "refine", "distil"), SETTINGS)
ROWS = {(0, 0, 0): 20, (0, 1, 1): 15, (1, 2, 0): 10}
PEER = {(1, 1, 0): 25, (1, 0, 1): 10}

Figures = dict[str, list[float]]
"""By step: the matching term and the penalty; at the end: the stage's metrics."""


def run(stage: str) -> Figures:
    """One stage's figures. Stages start from networks of their own: none rests on another."""
    figures: Figures = {"loss": [], "ci": []}

    def progress(done: int, steps: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            figures[name].append(value)

    metrics = _outcome(stage, Callbacks(progress=progress)).metrics
    return figures | {name: [metrics[name]] for name in ("ci_gap", "holdout_loss")}


def _outcome(stage: str, callbacks: Callbacks) -> Outcome:
    run = manifest((2, 3, 2), shape=(4,), network={"predict": "sample"}, method=METHOD)
    mine, anchor, theirs = (_network(run, seed) for seed in (1, 2, 3))
    peers = [Teacher("silo-0", theirs, PEER), Teacher("silo-1", mine, ROWS)]
    data = {"train": _samples(0), "holdout": _samples(1), "seed": 4, "callbacks": callbacks}
    if stage == "local":
        return local(run, **data)
    if stage == "refine_anchored":
        return refine_anchored(run, **data, init=mine, anchor=anchor)
    if stage == "refine_against_peers":
        return refine_against_peers(run, **data, me="silo-1", init=mine, peers=peers)
    return distil(run, peers, init=mine, seed=4, callbacks=callbacks)


def _network(run: Manifest, seed: int) -> Weights:
    method = run.method.model_copy(update={"seed": seed})
    return build(run.model_copy(update={"method": method})).state_dict()


def _samples(seed: int) -> EncodedSamples:
    c = torch.tensor([label for label, times in ROWS.items() for _ in range(times)])
    means = torch.tensor([[-1.0, 1.0, 0.0], [0.5, -0.5, 1.5], [2.0, -2.0, 0.0]])
    centre = sum(means[i][c[:, i]] for i in range(3))
    assert isinstance(centre, torch.Tensor)
    return EncodedSamples(centre[:, None] + 0.3 * torch.randn(len(c), 4, generator=draws(seed)), c)


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
