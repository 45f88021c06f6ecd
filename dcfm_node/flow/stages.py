"""Stages that methods share: training on a silo's private data, and measuring the result."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcfm_node.errors import DataError
from dcfm_node.flow import metrics, networks, sources
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.sampling import student_field
from dcfm_node.flow.sources import BatchSampler, Mix, PathSampler
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.flow.trainer import train as train_loop
from dcfm_node.paths.base import path_of
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Training


@dataclass(frozen=True)
class EncodedSamples:
    """Private data after the codec (`codec.encoded_samples`): x (N, *flow_shape), float32 or uint8
    (`sources.unit`), and labels c (N, n) int64."""

    x: Tensor
    c: Tensor


@dataclass(frozen=True)
class Outcome:
    """Result of a stage: EMA weights (contiguous float32 on the CPU) and metrics.

    `ci_gap` and `holdout_loss` use the same draws at every call; `steps` is the number of steps.
    """

    weights: Weights
    metrics: dict[str, float]


def local(
    manifest: Manifest,
    train: EncodedSamples,
    holdout: EncodedSamples,
    *,
    init: Weights | None = None,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """Stage I (Eqs. 8 to 11 of DCFM): one silo trains alone.

    Args:
        init: weights to start from, such as the student of an earlier run; the run's common initial
            weights if None.
    """
    stage, mix = manifest.method.local, sources.all_live
    return on_data(
        manifest, stage, train, holdout, init=init, mix=mix, seed=seed, callbacks=callbacks
    )


def score(
    manifest: Manifest,
    weights: Weights,
    holdout: EncodedSamples,
    *,
    reference: Weights | None,
    device: torch.device | str,
) -> dict[str, float]:
    """Error on a silo's hold-out data, with the rule that samples the student at guidance weights
    of 1.

    Returns: `holdout_loss`; with a reference (the silo's own expert, joint head) also
        `reference_loss` on the same draws.
    """
    rows = metrics.holdout_rows(points_of(manifest, holdout, device))
    field = student_field(manifest, weights, device)
    found = {"holdout_loss": metrics.velocity_error(path_of(manifest), field, rows)}
    return found | reference_score(manifest, reference, rows, device)


def reference_score(
    manifest: Manifest,
    reference: Weights | None,
    rows: sources.PathSample,
    device: torch.device | str,
) -> dict[str, float]:
    """`reference_loss`, the error of a silo's own expert; empty without a reference."""
    if reference is None:
        return {}
    expert = load(manifest, reference, device)
    return {"reference_loss": metrics.velocity_error(path_of(manifest), expert, rows)}


def on_data(
    manifest: Manifest,
    settings: Training,
    train: EncodedSamples,
    holdout: EncodedSamples,
    *,
    init: Weights | None,
    mix: Mix,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """Train on private data (Eq. 9 of DCFM) and measure on the hold-out.

    Args:
        mix: chooses the networks that predict the penalty's terms.
        init: weights to start from; the run's common initial weights if None.
    """
    points = points_of(manifest, train, callbacks.device)
    stage = BatchSampler(points, mix, manifest, settings, settings.product_share)
    monitor = replace(stage, points=points_of(manifest, holdout, callbacks.device))
    return run_stage(stage, monitor, init, seed, callbacks)


def run_stage(
    stage: BatchSampler,
    monitor: BatchSampler,
    init: Weights | None,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """Train the run's network on the rows of `stage`, and measure it on the rows of `monitor`."""
    manifest, path = stage.manifest, stage.path
    net = networks.build(manifest)
    if init is not None:
        net.load_state_dict(init)

    def gap(field: VelocityField) -> float:
        return metrics.ci_gap(field, monitor)

    trained = train_loop(net.to(callbacks.device), stage, gap, seed=seed, callbacks=callbacks)
    final = load(manifest, trained.weights, callbacks.device)
    error = metrics.velocity_error(path, final, metrics.holdout_rows(monitor.points))
    return Outcome(
        trained.weights,
        {
            "ci_gap": gap(final),
            "holdout_loss": error,
            "train_loss": trained.loss,
            "steps": float(trained.steps),
        },
    )


def points_of(
    manifest: Manifest, samples: EncodedSamples, device: torch.device | str
) -> PathSampler:
    """Points between noise and a silo's samples.

    Raises:
        DataError: there are no samples.
    """
    if len(samples.x) == 0:
        raise DataError("no sample is left", fix="give the silo more data or a smaller hold-out")
    return sources.data_points(samples.x.to(device), samples.c, path_of(manifest))
