"""One small batch of every stage: three silos, two or three attributes, random networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node.flow import sources
from dcfm_node.flow.networks import build
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sources import BatchSampler
from dcfm_node.methods.dcfm.terms import against_peers, anchored
from dcfm_node.paths.base import path_of
from dcfm_node.records.manifest import Manifest
from tests.training import witness
from tests.training.literal import Label
from tests.training.settings import STAGE, draws, manifest
from tests.training.witness import Step, Witness

STAGES = ("local", "against peers", "anchored", "distil")
SIZES = {2: (2, 3), 3: (2, 3, 2)}
SHAPES = {2: (3,), 3: (1, 2, 2)}
COUNTS = {
    2: (
        {(0, 0): 6, (0, 1): 2},
        {(0, 0): 1, (1, 0): 5},
        {(1, 2): 4, (0, 2): 3},
    ),
    3: (
        {(0, 0, 0): 4, (0, 1, 1): 3, (1, 0, 0): 2},
        {(1, 1, 0): 5, (1, 0, 1): 2},
        {(0, 2, 0): 1, (1, 2, 1): 6},
    ),
}
"""By number of attributes; no silo knows every value."""
ME = 1
"""The silo that trains."""
MASKS = {"full": 2, "marginal": 3, "null": 1}
CI_WEIGHT = 3.0


@dataclass(frozen=True)
class Case:
    """One stage of silo ME: the network it trains, and the run's frozen experts."""

    stage: str
    run: Manifest
    own: Witness
    experts: list[Witness]
    source: BatchSampler

    @property
    def null(self) -> Label:
        return self.run.cardinalities

    @property
    def frozen(self) -> dict[int, Witness]:
        """Whose terms may be mixed into the penalty."""
        if self.stage == "against peers":
            return dict(enumerate(self.experts))
        return {0: self.experts[0]} if self.stage == "anchored" else {}

    def step(self, seed: int = 0) -> Step:
        return witness.step(self.own, self.source, self.frozen, ME, seed)


def case(
    stage: str,
    n: int,
    predict: str = "velocity",
    *,
    batch: int = 12,
    share: float = 0.3,
    nets: Sequence[torch.nn.Module] | None = None,
) -> Case:
    """A stage with n attributes.

    Args:
        share: of the penalty's labels, how many come from the product space.
        nets: the trained network and the three experts, random ones if None.
    """
    stage_settings = STAGE | {"batch": batch, "ci_batch": batch, "ci_weight": CI_WEIGHT}
    run = manifest(
        SIZES[n],
        shape=SHAPES[n],
        silos=3,
        network={"width": 8, "predict": predict},
        method={"local": stage_settings, "solver_steps": 3, "masks": MASKS},
    )
    own, *experts = map(Witness, nets or [_network(run, seed) for seed in range(4)])
    mix, points = sources.all_live, sources.data_points(*samples(n), path_of(run))
    router = Router(COUNTS[n], run.cardinalities)
    if stage == "against peers":
        mix = against_peers(experts, router, ME)
    elif stage == "anchored":
        mix = anchored(experts[0])
    elif stage == "distil":
        points = sources.path_points(experts, COUNTS[n], run)
    return Case(stage, run, own, experts, BatchSampler(points, mix, run, run.method.local, share))


def samples(n: int) -> tuple[Tensor, Tensor]:
    """The data of silo ME."""
    held = [label for label, times in COUNTS[n][ME].items() for _ in range(times)]
    return torch.randn(len(held), *SHAPES[n], generator=draws(9)), torch.tensor(held)


def _network(run: Manifest, seed: int) -> torch.nn.Module:
    """Every weight random, those included that start at zero."""
    net, generator = build(run), draws(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    return net
