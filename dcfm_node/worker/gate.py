"""The privacy gate: a silo publishes no expert that tells too well who was in its data.

The attack needs a reference network that never saw some of the silo's training samples. Others hold
the other silos' experts. Before anybody has published, a silo trains one itself, with half of its
samples; the other half are the members that the attack must find.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import Failed
from dcfm_node.flow.stages import Outcome
from dcfm_node.records.entries import MEMBERSHIP, MEMBERSHIP_FEWEST
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Labels

PART = 4
"""The reference has the run's steps divided by this number: it need not be good, only alike."""
STAGES = ("local", "refine")
SETTING = "membership_auc under [privacy]"


class Withheld(Failed):
    """An expert does not pass, and is not published."""


def passed(made: Outcome, limit: float, measure: Callable[[], float | None]) -> Outcome:
    """The same expert, with the metric `membership_auc`.

    Args:
        limit: the highest AUC with which it may be published.
        measure: the AUC of the stronger attack; None if there are too few samples, or an attack
            could not be made.

    Raises:
        Withheld: it does not pass, or cannot be measured.
    """
    auc = measure()
    if auc is None:
        raise unmeasured()
    if auc > limit:
        raise Withheld(
            "this silo's expert is not published: it tells training samples from others with an AUC"
            f" of {auc:.2f}, and {SETTING} allows {limit:g}",
            fix="add samples, agree on a smaller network or fewer steps (a new run), or raise the"
            " limit, and restart the node",
        )
    return replace(made, metrics=made.metrics | {MEMBERSHIP: auc})


def unmeasured() -> Withheld:
    """Why nobody can say what an expert tells."""
    return Withheld(
        f"this silo's expert is not published: fewer than {MEMBERSHIP_FEWEST} hold-out samples"
        " have a combination that it trained on, or its errors on them are no numbers, so"
        " nobody can say what it tells",
        fix="raise holdout under [data], or add samples that are not copies of others (copies stay"
        f" on one side); or remove {SETTING}",
    )


def halves(groups: Labels) -> NDArray[np.bool_]:
    """Which training samples (N,) the reference learns from: every second group, whole.

    Args:
        groups: (N,), the same integer for samples that belong together, such as of one patient.
    """
    _, which = np.unique(groups, return_inverse=True)
    return np.asarray(which % 2 == 1)


def shortened(manifest: Manifest) -> Manifest:
    """The same run with fewer steps of a silo's training, at least 1."""
    stages = {
        name: stage.model_copy(update={"steps": max(1, stage.steps // PART)})
        for name in STAGES
        if (stage := getattr(manifest.method, name, None)) is not None
    }
    method = manifest.method.model_copy(update=stages)
    return manifest.model_copy(update={"method": method})
