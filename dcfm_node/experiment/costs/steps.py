"""The training steps to measure: rows of every stage, with networks of random weights."""

from itertools import product

import torch

from dcfm_node.experiment.costs.settings import Compute, StageName
from dcfm_node.flow import networks, sources
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sources import BatchSampler
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm import terms
from dcfm_node.paths.base import path_of
from dcfm_node.records.manifest import Manifest

SAMPLES = 1000
PER_COMBINATION = 10
"""Count of each combination in a silo's label counts."""


class Steps:
    """Makes the row sampler of any stage, with the same data and frozen experts for all.

    Args:
        experts: number of frozen experts; `given.silos` if None.
    """

    def __init__(self, given: Compute, callbacks: Callbacks, experts: int | None = None) -> None:
        self._given, self._callbacks = given, callbacks
        draws = torch.Generator().manual_seed(0)
        x = torch.randn(SAMPLES, *given.sample_shape, generator=draws).to(callbacks.device)
        columns = [torch.randint(size, (SAMPLES,), generator=draws) for size in given.attributes]
        self._counts: Counts = dict.fromkeys(
            product(*map(range, given.attributes)), PER_COMBINATION
        )
        run = self.manifest("plain", given.batch)
        self._data = sources.data_points(x, torch.stack(columns, dim=1), path_of(run))
        self.frozen = [
            networks.build(run).to(callbacks.device).requires_grad_(False)
            for _ in range(experts or given.silos)
        ]
        self._fast = [callbacks.fast(net) for net in self.frozen]

    def source(self, stage: StageName, borne: int, silos: int | None = None) -> BatchSampler:
        """The row sampler of a stage, with the penalty on `borne` rows of each batch.

        Args:
            silos: K; `given.silos` if None.
        """
        run, silos = self.manifest(stage, borne), silos or self._given.silos
        if stage == "dcfm-b":
            teachers, counts = self._fast[:silos], [self._counts] * silos
            points = sources.path_points(teachers, counts, run, self._callbacks.device)
            return BatchSampler(points, sources.all_live, run, run.method.stage("distil"), 0.0)
        return BatchSampler(self._data, self._mix(stage, silos), run, run.method.local, 0.0)

    def manifest(self, stage: StageName, borne: int) -> Manifest:
        """A manifest with the given settings and a placeholder roster."""
        given = self._given
        training = {
            "steps": max(given.count_steps, given.time_steps),
            "batch": given.batch,
            "ci_batch": borne,
            "ci_weight": 0.0 if stage == "plain" else 1.0,
        }
        return Manifest.model_validate(
            {
                "name": "costs",
                "sample_shape": given.sample_shape,
                "attributes": [
                    {"name": f"a{i}", "values": [str(v) for v in range(size)]}
                    for i, size in enumerate(given.attributes)
                ],
                "network": given.network,
                "method": {
                    "masks": given.masks,
                    "solver": given.solver,
                    "solver_steps": given.solver_steps,
                    "local": training,
                    "refine": training,
                    "distil": training,
                },
                "roster": [{"name": "silo", "key": bytes(32)}],
            },
            strict=False,
        )

    def _mix(self, stage: StageName, silos: int) -> sources.Mix:
        if stage == "anchored":
            return terms.anchored(self._fast[0])
        if stage == "dcfm-a":
            router = Router([self._counts] * silos, self._given.attributes)
            return terms.against_peers(self._fast[:silos], router, me=0)
        return sources.all_live
