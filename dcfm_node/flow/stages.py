"""The stages of DCFM, each from settings and tensors to weights and metrics.

| stage | matching | independence penalty |
| --- | --- | --- |
| `local` | private data (9) | own terms (10) |
| `refine_against_peers` | private data (9) | terms routed to frozen peers (12-14) |
| `refine_anchored` | private data (9) | terms mixed with the frozen interim student's |
| `distil` | teachers' paths (15) | own terms (16) |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcfm_node.errors import DataError
from dcfm_node.flow import metrics, networks, sources
from dcfm_node.flow.labels import Counts, null_label
from dcfm_node.flow.losses import Velocities
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sampling import Teacher, composed, load
from dcfm_node.flow.sources import Mix, PointSource, Source
from dcfm_node.flow.trainer import Hooks, Weights, train
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Training

__all__ = [
    "Counts",
    "Hooks",
    "Outcome",
    "Samples",
    "Teacher",
    "Weights",
    "distil",
    "local",
    "refine_against_peers",
    "refine_anchored",
    "score",
]


@dataclass(frozen=True)
class Samples:
    """Private data: x (N, *sample_shape) float32 or bytes (`sources.unit`), c (N, n) int64."""

    x: Tensor
    c: Tensor


@dataclass(frozen=True)
class Outcome:
    """What a stage gives: EMA weights (contiguous float32 on the CPU) and metrics.

    `ci_gap` and `holdout_loss` use the same draws at every call; `steps` is how many were taken.
    """

    weights: Weights
    metrics: dict[str, float]


def local(
    manifest: Manifest,
    train: Samples,
    holdout: Samples,
    *,
    init: Weights | None = None,
    seed: int,
    hooks: Hooks,
) -> Outcome:
    """Stage I, Eqs. 8-11: one silo alone, from the run's common initial weights, or from the
    student of the run that this one continues."""
    stage = manifest.method.local
    return _on_data(
        manifest, stage, (train, holdout), init=init, mix=sources.all_live, seed=seed, hooks=hooks
    )


def refine_anchored(
    manifest: Manifest,
    train: Samples,
    holdout: Samples,
    *,
    anchor: Weights,
    init: Weights | None = None,
    live: float = sources.LIVE,
    seed: int,
    hooks: Hooks,
) -> Outcome:
    """A round of the alternating schedule: every silo at once, anchored on the interim student.

    Training starts from `init`, by default from the student itself: so every silo's steps build on
    those of all.

    Each of the terms ∅, c^{i}, c^{j} is live with probability `live` and else the student's, on own
    labels and, for `product_share` of the rows, on labels of the product space. Since all silos
    move to the same offset, nothing oscillates.
    """
    mix = sources.anchored(hooks.fast(load(manifest, anchor, hooks.device)), live)
    stage, init = manifest.method.stage("refine"), anchor if init is None else init
    return _on_data(manifest, stage, (train, holdout), init=init, mix=mix, seed=seed, hooks=hooks)


def refine_against_peers(
    manifest: Manifest,
    train: Samples,
    holdout: Samples,
    *,
    me: str,
    init: Weights,
    peers: Sequence[Teacher],
    own_snapshot: bool = False,
    seed: int,
    hooks: Hooks,
) -> Outcome:
    """A round of DCFM-A, Eqs. 12-14, against frozen peers.

    Args:
        me: this silo's name.
        peers: every silo's expert and label counts, this silo's among them (its weights are not
            used: its terms are live).
        own_snapshot: count this silo's frozen weights among the peers', with one term live.
    """
    names = [peer.name for peer in peers]
    if me not in names:
        raise ValueError(f"peers must include the silo itself, {me!r}, for its label counts")
    router = Router([peer.counts for peer in peers], manifest.cardinalities)
    frozen = [hooks.fast(load(manifest, peer.weights, hooks.device)) for peer in peers]
    rule = sources.with_own_snapshot if own_snapshot else sources.against_peers
    mix = rule(frozen, router, names.index(me))
    stage = manifest.method.stage("refine")
    return _on_data(manifest, stage, (train, holdout), init=init, mix=mix, seed=seed, hooks=hooks)


def distil(
    manifest: Manifest,
    teachers: Sequence[Teacher],
    *,
    init: Weights | None,
    seed: int,
    hooks: Hooks,
) -> Outcome:
    """DCFM-B, Eqs. 15-17: one student from experts alone, without data.

    Training starts from `init`, best the mean of the teachers' weights (Lin et al., "Ensemble
    distillation for robust model fusion in federated learning", 2020); None starts afresh.

    Its `holdout_loss` is the error against its teachers on fresh paths of theirs, its `ci_gap` is
    on labels of the product space.
    """
    points = sources.path_points(
        [hooks.fast(load(manifest, teacher.weights, hooks.device)) for teacher in teachers],
        [teacher.counts for teacher in teachers],
        manifest,
        hooks.device,
    )
    stage = manifest.method.stage("distil")
    source = Source(points, sources.all_live, manifest, stage, stage.product_share)
    monitor = replace(source, product_share=1.0)
    return _run(source, monitor, init, seed, hooks)


def score(
    manifest: Manifest,
    weights: Weights,
    holdout: Samples,
    *,
    reference: Weights | None,
    device: torch.device | str,
) -> dict[str, float]:
    """Velocity error on a silo's hold-out data, by the rule the student is sampled with.

    Returns: `holdout_loss`, and with a reference (the silo's own expert, joint head)
        `reference_loss`, on the same draws.
    """
    points = _points(holdout, device)
    predict = manifest.network.predict
    field: Velocities = load(manifest, weights, device)
    if manifest.method.composed:
        field = composed(field, null_label(manifest.cardinalities, device))
    found = {"holdout_loss": metrics.velocity_error(field, points, predict)}
    if reference is not None:
        expert = load(manifest, reference, device)
        found["reference_loss"] = metrics.velocity_error(expert, points, predict)
    return found


def _on_data(
    manifest: Manifest,
    settings: Training,
    data: tuple[Samples, Samples],
    *,
    init: Weights | None,
    mix: Mix,
    seed: int,
    hooks: Hooks,
) -> Outcome:
    samples, holdout = data
    source = Source(_points(samples, hooks.device), mix, manifest, settings, settings.product_share)
    monitor = replace(source, points=_points(holdout, hooks.device))
    return _run(source, monitor, init, seed, hooks)


def _run(source: Source, monitor: Source, init: Weights | None, seed: int, hooks: Hooks) -> Outcome:
    manifest = source.manifest
    net = networks.build(manifest)
    if init is not None:
        net.load_state_dict(init)

    def gap(field: Velocities) -> float:
        return metrics.ci_gap(field, monitor)

    trained = train(net.to(hooks.device), source, gap, seed=seed, hooks=hooks)
    final = load(manifest, trained.weights, hooks.device)
    predict = manifest.network.predict
    error = metrics.velocity_error(final, monitor.points, predict)
    return Outcome(
        trained.weights,
        {
            "ci_gap": gap(final),
            "holdout_loss": error,
            "train_loss": trained.loss,
            "steps": float(trained.steps),
        },
    )


def _points(samples: Samples, device: torch.device | str) -> PointSource:
    if len(samples.x) == 0:
        raise DataError("no sample is left", fix="give the silo more data or a smaller hold-out")
    return sources.data_points(samples.x.to(device), samples.c)
