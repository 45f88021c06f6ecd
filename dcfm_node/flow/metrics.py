"""What a stage measures of a network, always on the same draws so that figures compare."""

import torch

from dcfm_node.flow.losses import Matching, Velocities, evaluate_terms, matching_loss, penalty_loss
from dcfm_node.flow.sources import PointSource, Source
from dcfm_node.flow.trainer import generator

ROWS = 1024
"""Draws of each estimate."""
HOLDOUT_KEY, GAP_KEY = 1, 2


def velocity_error(velocities: Velocities, points: PointSource, predict: str) -> float:
    """Eq. 9 on full labels: weighted mean squared velocity error."""
    rows = points(ROWS, generator(HOLDOUT_KEY))
    match = Matching(rows.x, rows.t, rows.c, rows.target(rows.c))
    with torch.no_grad():
        return matching_loss(
            velocities(rows.x, rows.t, rows.c.to(rows.x.device)), match, predict
        ).item()


def ci_gap(velocities: Velocities, source: Source) -> float:
    """The stage's own penalty (Eqs. 10, 12, 16) on fixed draws; 0 for a single attribute."""
    draws = generator(GAP_KEY)
    rows = source.penalty(source.points(ROWS, draws), draws)
    if rows is None:
        return 0.0
    with torch.no_grad():
        terms = evaluate_terms(velocities, rows)
        return penalty_loss(terms, rows, source.manifest.network.predict).item()
