"""Whether training ends with a round (SPEC 6.5): from published metrics alone, so that every node
decides alike, and anyone can check later what a leader decided."""

from collections.abc import Mapping, Set
from statistics import median_low

from dcfm_node.records.entries import Expert
from dcfm_node.records.manifest import Method
from dcfm_node.swarm.said import Said


def finishes(
    method: Method,
    experts: Mapping[bytes, Mapping[int, Said[Expert]]],
    round_: int,
    among: Set[bytes] | None = None,
) -> bool:
    """Whether training ends with this round: at the last one, or, of DCFM, when it stopped paying.

    Converged when the objective on hold-out data (Eq. 14) fell by no more than the fraction
    `method.tolerance` at the median of the silos that trained both this round and an earlier one. A
    silo's objective is its own to say, so each says no more than yes or no. Of loss and gap the sum
    counts, not each: the gap goes on halving long after it weighs nothing beside the loss.

    Args:
        experts: by author, then round.
        among: digests of the expert entries that count; all if None.
    """
    if round_ >= method.last_round:
        return True
    if method.name != "dcfm" or round_ < method.min_rounds:
        return False
    left: list[float] = []
    for rounds in experts.values():
        said = rounds.get(round_)
        earlier = [r for r in rounds if 0 < r < round_]
        if said is None or not earlier or (among is not None and said.digest not in among):
            continue
        before = _objective(rounds[max(earlier)].body, method.refine.ci_weight)
        now = _objective(said.body, method.refine.ci_weight)
        left.append(now / before if before > 0 else 1.0)
    return bool(left) and median_low(left) >= 1 - method.tolerance


def _objective(expert: Expert, ci_weight: float) -> float:
    metrics = expert.metrics
    return metrics.get("holdout_loss", 0.0) + ci_weight * metrics.get("ci_gap", 0.0)
