"""The privacy gate: a silo publishes no expert that tells too well who was in its data.

Experts remember the more, the more often they saw each sample. So a silo whose expert does not pass
trains another one with fewer steps, whose learning rate falls to its end all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dcfm_node.errors import Failed
from dcfm_node.flow.stages import Outcome
from dcfm_node.records.entries import MEMBERSHIP, MEMBERSHIP_FEWEST
from dcfm_node.records.manifest import Manifest

PARTS = (1, 2, 4)
"""What the steps of a run are divided by, until an expert passes."""
EARLY = 8
"""The same of a network that hardly remembers. The attack takes errors beside its errors, which
takes out how hard a sample is."""
WORDS = {1: "all steps", 2: "a half of them", 4: "a quarter"}
STAGES = ("local", "refine")

Train = Callable[[int], Outcome]
"""Trains with the run's steps, divided by this number."""
Measure = Callable[[Outcome, Outcome], float | None]
"""The AUC of the strongest attack on an expert, by itself or beside the second network; None if
there are too few samples."""


class Withheld(Failed):
    """No expert passed; nothing is published."""


@dataclass(frozen=True)
class Gate:
    """What an expert must pass.

    Attributes:
        limit: the highest AUC with which it may be published.
    """

    limit: float

    def passed(self, train: Train, measure: Measure) -> Outcome:
        """The expert of the most steps that passes, with the metric `membership_auc`.

        Raises:
            Withheld: none passes, or it cannot be measured.
        """
        early, found = train(EARLY), dict[int, float]()
        for part in PARTS:
            made = train(part)
            auc = measure(made, early)
            if auc is None:
                raise Withheld(
                    f"its expert is not published: fewer than {MEMBERSHIP_FEWEST} hold-out samples"
                    " have a combination that it trained on, so nobody can say what it tells",
                    where="privacy.membership_auc",
                    fix="raise holdout under [data], or add samples",
                )
            if auc <= self.limit:
                return replace(made, metrics=made.metrics | {MEMBERSHIP: auc})
            found[part] = auc
        told = ", ".join(f"{auc:.2f} with {WORDS[part]}" for part, auc in found.items())
        raise Withheld(
            f"its expert is not published: it tells training samples from others with an AUC of"
            f" {told}; at most {self.limit:g} is allowed",
            where="privacy.membership_auc",
            fix="add samples, agree on fewer steps or a smaller network (a new run), or raise the"
            " limit, and restart the node",
        )


def shortened(manifest: Manifest, part: int) -> Manifest:
    """The same run with fewer steps of every silo's training, at least 1."""
    stages: dict[str, Any] = {
        name: stage.model_copy(update={"steps": max(1, stage.steps // part)})
        for name in STAGES
        if (stage := getattr(manifest.method, name, None)) is not None
    }
    method = manifest.method.model_copy(update=stages)
    return manifest.model_copy(update={"method": method})
