"""The torch half of DCFM.

| stage | matching | independence penalty |
| --- | --- | --- |
| `local` (`flow.stages`) | private data (9) | own terms (10) |
| `refine_against_peers` | private data (9) | terms routed to frozen peers (12 to 14) |
| `refine_anchored` | private data (9) | terms mixed with the frozen interim student's |
| `distil` | teachers' paths (15) | own terms (16) |

Numbers in parentheses are equations of DCFM.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch

from dcfm_node.flow import networks
from dcfm_node.flow.averaging import merge
from dcfm_node.flow.method import Learner, SiloData, Start
from dcfm_node.flow.networks import Schema, Weights, load
from dcfm_node.flow.replay import replay, within
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.sources import BatchSampler, all_live, path_points
from dcfm_node.flow.stages import EncodedSamples, Outcome, local, on_data, run_stage
from dcfm_node.flow.trainer import Callbacks, checkpoint_schema
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.methods.dcfm.terms import LIVE, against_peers, anchored
from dcfm_node.records.manifest import Manifest


class DcfmLearner(Learner):
    """Silos refine against the interim student, or in turn against their peers' experts."""

    def train(self, silo: SiloData, start: Start, *, seed: int, callbacks: Callbacks) -> Outcome:
        """Train Stage I, or one round of the run's schedule."""
        run, data = self.manifest, (silo.train, silo.holdout)
        if start.anchor is not None:
            return refine_anchored(run, *data, anchor=start.anchor, seed=seed, callbacks=callbacks)
        if start.init is None or not start.teachers:
            return local(run, *data, init=start.init, seed=seed, callbacks=callbacks)
        peers, me = start.teachers, silo.name
        return refine_against_peers(
            run, *data, me=me, init=start.init, peers=peers, seed=seed, callbacks=callbacks
        )

    def student(self, teachers: Sequence[Teacher], *, seed: int, callbacks: Callbacks) -> Outcome:
        """Make a student, starting from the mean of the experts' weights."""
        init = merge(teachers)
        return student(self.manifest, teachers, init=init, seed=seed, callbacks=callbacks)

    def checkpoint(self) -> Schema:
        """Schema of a checkpoint of the distillation."""
        return checkpoint_schema(
            networks.build(self.manifest), self.manifest.method.stage("distil")
        )


def refine_anchored(
    manifest: Manifest,
    train: EncodedSamples,
    holdout: EncodedSamples,
    *,
    anchor: Weights,
    init: Weights | None = None,
    live: float = LIVE,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """A round of the alternating schedule: all silos refine at once against the interim student.

    Each of the terms ∅, c^{i}, c^{j} is live with probability `live`, else it comes from the
    student. A fraction `product_share` of the rows has labels from the product space, the others
    have the silo's labels. All silos move to the same offset, so the rounds do not oscillate.

    Args:
        anchor: the interim student's weights.
        init: weights to start from; the student's if None.
        live: probability, 0 to 1.
    """
    mix = anchored(callbacks.fast(load(manifest, anchor, callbacks.device)), live)
    stage, init = manifest.method.stage("refine"), anchor if init is None else init
    return on_data(
        manifest, stage, train, holdout, init=init, mix=mix, seed=seed, callbacks=callbacks
    )


def refine_against_peers(
    manifest: Manifest,
    train: EncodedSamples,
    holdout: EncodedSamples,
    *,
    me: str,
    init: Weights,
    peers: Sequence[Teacher],
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """A round of DCFM-A (Eqs. 12 to 14 of DCFM) against frozen peers.

    Args:
        me: this silo's name.
        peers: every silo's expert and label counts. This silo's weights in it are not used, because
            its terms are live.

    Raises:
        ValueError: `peers` lacks this silo.
    """
    names = [peer.name for peer in peers]
    if me not in names:
        raise ValueError(f"peers must include the silo itself, {me!r}, for its label counts")
    router = Router([peer.counts for peer in peers], manifest.cardinalities)
    frozen = [callbacks.fast(load(manifest, peer.weights, callbacks.device)) for peer in peers]
    mix, stage = against_peers(frozen, router, names.index(me)), manifest.method.stage("refine")
    return on_data(
        manifest, stage, train, holdout, init=init, mix=mix, seed=seed, callbacks=callbacks
    )


def student(
    manifest: Manifest,
    teachers: Sequence[Teacher],
    *,
    init: Weights | None,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """Distil a student (`distil`), and let it replay what a committee passes of its novel samples,
    if `method.replay` has rounds.

    A replay that fails leaves the student as distilled, with the metric `replay_failed`: an expert
    whose samples no committee can be fitted to would stop each leader in turn.
    """
    assert isinstance(manifest.method, Dcfm)
    settings, steps = manifest.method.replay, manifest.method.distil.steps
    total = steps + settings.progress
    part = within(callbacks, 0, total)
    made = distil(manifest, teachers, init=init, seed=seed, callbacks=part)
    part = within(callbacks, steps, total)
    try:
        return replay(manifest, settings, teachers, made, seed=seed, callbacks=part)
    except (RuntimeError, MemoryError) as error:  # from torch: memory, or nothing to solve
        # After a CUDA error every later call fails, and other ranks wait in the middle of a step.
        if torch.device(callbacks.device).type != "cpu" or torch.distributed.is_initialized():
            raise
        warnings.warn(f"replay failed; the student stays as distilled: {error}", stacklevel=1)
        return replace(made, metrics=made.metrics | {"replay_failed": 1.0})


def distil(
    manifest: Manifest,
    teachers: Sequence[Teacher],
    *,
    init: Weights | None,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """DCFM-B (Eqs. 15 to 17 of DCFM): distil one student from experts, without data.

    `holdout_loss` of the result is the error against the teachers on new paths; `ci_gap` is on
    labels of the product space.

    Args:
        init: weights to start from, best the mean of the teachers' weights (Lin et al., 2020); the
            run's common initial weights if None.
    """
    points = path_points(
        [callbacks.fast(load(manifest, teacher.weights, callbacks.device)) for teacher in teachers],
        [teacher.counts for teacher in teachers],
        manifest,
        callbacks.device,
    )
    settings = manifest.method.stage("distil")
    stage = BatchSampler(points, all_live, manifest, settings, settings.product_share)
    return run_stage(stage, replace(stage, product_share=1.0), init, seed, callbacks)
