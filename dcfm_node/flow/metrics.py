"""Metrics of a network after a stage, always on the same draws so that they are comparable."""

import torch
from torch import Tensor

from dcfm_node.flow.losses import (
    Matching,
    VelocityField,
    evaluate_terms,
    matching_loss,
    penalty_loss,
)
from dcfm_node.flow.sources import BatchSampler, PathSample, PathSampler
from dcfm_node.flow.trainer import generator
from dcfm_node.paths.base import Path

ROWS = 1024
"""Number of draws for each estimate."""
HOLDOUT_KEY, GAP_KEY = 1, 2


def holdout_rows(points: PathSampler) -> PathSample:
    """The draws of `velocity_error`."""
    return points(ROWS, generator(HOLDOUT_KEY))


def velocity_error(path: Path, field: VelocityField, rows: PathSample) -> float:
    """The path's weighted error on full labels (Eq. 9 of DCFM)."""
    match = Matching(rows.x, rows.t, rows.c, rows.target(rows.c))
    with torch.no_grad():
        prediction = field(rows.x, rows.t, rows.c.to(rows.x.device))
        return matching_loss(path, prediction, match).item()


def ci_gap(field: VelocityField, stage: BatchSampler) -> float:
    """The stage's penalty (Eqs. 10, 12 and 16 of DCFM) on fixed draws, with the weights of
    training; 0 with one attribute."""
    draws = generator(GAP_KEY)
    rows = stage.penalty(stage.points(ROWS, draws), draws)
    if rows is None:
        return 0.0
    with torch.no_grad():
        terms = evaluate_terms(field, rows.x, rows.t, rows.terms)
        return penalty_loss(stage.path, terms, rows).item()


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Energy distance of samples (N, d) and (M, d), two or more each, as a share of their mean
    distance: 0 alike, 1 wholly apart, also where numbers are not finite (Székely, Rizzo, 2013)."""
    between = torch.cdist(x, y).mean()
    if between == 0.0:
        return 0.0  # all the same
    within = [torch.cdist(z, z).sum() / (len(z) * (len(z) - 1)) for z in (x, y)]
    return (1 - sum(within) / (2 * between)).nan_to_num(1.0).clamp(0, 1).item()
