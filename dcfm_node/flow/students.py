"""The student of a run, whatever its method: one network, or all experts in one snapshot.

DCFM and FedFlow end with one network. The student of DDM and DFD is an ensemble: every teacher's
tensors, those of a trained router where the run has one, and label counts that are in the silos'
records and not in the file.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dcfm_node.errors import Failed
from dcfm_node.flow import metrics, sampling, stages
from dcfm_node.flow.ensembles import Ensemble, Routing
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.losses import Matching, matching_loss
from dcfm_node.flow.owners import train_router
from dcfm_node.flow.sampling import Teacher, Weights
from dcfm_node.flow.sources import data_points
from dcfm_node.flow.stages import Outcome, Samples
from dcfm_node.flow.trainer import Hooks, generator
from dcfm_node.records.ensemble import of_expert, of_router
from dcfm_node.records.manifest import Manifest


def gather(manifest: Manifest, teachers: Sequence[Teacher], *, seed: int, hooks: Hooks) -> Outcome:
    """The student of DDM or DFD: all experts, and a router trained on their paths if the run says
    so."""
    teachers = sorted(teachers, key=lambda teacher: teacher.name)
    tensors = {
        of_expert(teacher.name, name): tensor
        for teacher in teachers
        for name, tensor in teacher.weights.items()
    }
    figures = {"experts": float(len(teachers))}
    if _trained(manifest):
        slots = len(manifest.roster)
        router = train_router(manifest, teachers, seed=seed, hooks=hooks, slots=slots)
        tensors |= {of_router(name): tensor for name, tensor in router.weights.items()}
        figures |= router.metrics
    return Outcome(tensors, figures)


def sample(
    manifest: Manifest,
    tensors: Weights,
    labels: Tensor,
    *,
    counts: Mapping[str, Counts],
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw one sample per label (B, n) by the run's own rule.

    Args:
        counts: label counts of the student's teachers, by silo; one network does without.

    Raises:
        Failed: the snapshot lacks a tensor of one of these silos.
    """
    if not manifest.method.ensemble:
        return sampling.sample(manifest, tensors, labels, seed=seed, device=device)
    return _ensemble(manifest, tensors, counts, device).sample(labels, seed)


def score(
    manifest: Manifest,
    tensors: Weights,
    holdout: Samples,
    *,
    counts: Mapping[str, Counts],
    reference: Weights | None,
    device: torch.device | str,
) -> dict[str, float]:
    """Velocity error on a silo's hold-out data, by the rule the student is sampled with.

    Returns: as `stages.score`.
    """
    if not manifest.method.ensemble:
        return stages.score(manifest, tensors, holdout, reference=reference, device=device)
    ensemble = _ensemble(manifest, tensors, counts, device)
    points = data_points(holdout.x.to(device), holdout.c)
    predict = manifest.network.predict
    rows = points(metrics.ROWS, generator(metrics.HOLDOUT_KEY))
    target = rows.target(rows.c)
    with torch.no_grad():
        velocity = ensemble.velocity(rows.x, rows.t, rows.c.to(device), target)
    error = matching_loss(velocity, Matching(rows.x, rows.t, rows.c, target), predict)
    found = {"holdout_loss": error.item()}
    if reference is not None:
        expert = sampling.load(manifest, reference, device)
        found["reference_loss"] = metrics.velocity_error(expert, points, predict)
    return found


def _ensemble(
    manifest: Manifest,
    tensors: Weights,
    counts: Mapping[str, Counts],
    device: torch.device | str,
) -> Ensemble:
    """The mixture that the manifest names, experts in the order of their silos' names."""
    method = manifest.method
    teachers = [
        Teacher(silo, _under(of_expert(silo, ""), tensors), counts[silo]) for silo in sorted(counts)
    ]
    routing: Routing = "energy" if method.name == "dfd" else "label"
    routing = "trained" if _trained(manifest) else routing
    return Ensemble.load(
        manifest,
        teachers,
        rule="composed" if method.composed else "joint",
        routing=routing,
        top=getattr(method, "top_k", 0) or None,
        router=_under(of_router(""), tensors) if routing == "trained" else None,
        device=device,
    )


def _trained(manifest: Manifest) -> bool:
    return getattr(manifest.method, "routing", "") == "trained"


def _under(prefix: str, tensors: Weights) -> Weights:
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not found:
        raise Failed(
            f"the student holds no tensor {prefix}*",
            fix="fetch the student again: dcfm-node student fetch --latest --out DIR",
        )
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}
