"""How a silo's label counts are made fit to be published: exact, rounded, or with noise. Pure.

Only the counts in the silo's `join` change. It trains on all that it holds, also on combinations
whose counts it keeps to itself.
"""

import hashlib
import hmac
import math
from typing import Annotated, Literal

from pydantic import Field

from dcfm_node.errors import DataError
from dcfm_node.records.base import Model
from dcfm_node.records.entries import Label
from dcfm_node.swarm.admission import MAX_COUNT
from dcfm_node.wire.canonical import pack

Counts = tuple[tuple[Label, int], ...]
_DOMAIN = b"dcfm-node/counts/1\0"
_BITS = 53
"""Random bits of one draw: as many as a double holds."""


MOMENTS_UNDO = (
    "[privacy] changes the label counts, and the means beside them are exact: that of a feature"
    " that is 0 or 1 gives the number of samples away"
)
MOMENTS_OFF = "set publish_moments = false in node.toml before this node joins a run"


class Privacy(Model):
    """What this silo tells others of its samples: how many there are of each combination, and how
    well its expert tells which they are."""

    counts: Literal["exact", "rounded", "laplace"] = "exact"
    """"exact"; "rounded": to multiples of the threshold; "laplace": with noise."""
    threshold: Annotated[int, Field(ge=2, le=1_000_000)] = 10
    """Combinations with fewer samples than this are not told of, 2 to 1000000; of "laplace": with
    fewer after the noise. "exact" tells of all."""
    epsilon: Annotated[float, Field(ge=0.01, le=20.0)] = 1.0
    """For "laplace": how much one sample may change what is told, 0.01 to 20. Less is more
    private: the noise has a deviation of about 1.4 / epsilon samples."""

    membership_auc: Annotated[float, Field(gt=0.5, le=1.0)] | None = None
    """Highest AUC of membership inference with which an expert is published, above 0.5 (nobody can
    tell who was in the data), at most 1 (which only measures). Beyond it, nothing is published.
    Default: not measured. See docs/privacy.md."""

    @property
    def delta(self) -> float:
        """The probability that "laplace" tells of a combination with a single sample."""
        alpha = math.exp(-self.epsilon)
        return alpha ** (self.threshold - 1) / (1.0 + alpha)

    @property
    def told(self) -> str:
        """In words."""
        if self.counts == "rounded":
            n = self.threshold
            return f"rounded to multiples of {n}; combinations with fewer than {n} are not told of"
        if self.counts == "laplace":
            return (
                f"with noise, so that the counts are differentially private for adding or removing"
                f" one sample: epsilon {self.epsilon:g}, delta {self.delta:.1e}; what is below"
                f" {self.threshold} with its noise is not told of; this holds for these counts"
                " alone, and counts of changed data, told in another run, spend as much again"
            )
        return "exact"


def published(counts: Counts, whole: Counts, privacy: Privacy, secret: bytes) -> Counts:
    """The counts to publish, never below 1.

    With "laplace" these are noisy counts of all samples, the hold-out's included: one sample more
    changes one such count by one, while it may change the hold-out altogether. The noise is
    two-sided geometric, the discrete Laplace distribution (Ghosh et al., 2012), on combinations
    that occur, and small results are left out (Korolova et al., 2009): (epsilon, delta)-DP. It
    follows from the data and a secret, so a restart draws no second noise.

    Args:
        counts: of the training samples.
        whole: of all samples.
        secret: from which the noise follows; whoever has it can take the noise off.

    Raises:
        DataError: every combination is below the threshold.
    """
    if privacy.counts == "exact":
        return counts
    least = privacy.threshold
    if privacy.counts == "rounded":
        found = [(label, (n + least // 2) // least * least) for label, n in counts if n >= least]
    else:
        key = hmac.digest(secret, _DOMAIN + pack((privacy.epsilon, whole)), hashlib.sha256)
        noisy = ((label, n + _noise(key, label, privacy.epsilon)) for label, n in whole)
        found = [(label, n) for label, n in noisy if n >= least]
    if not found:
        raise DataError(
            f"no combination has {least} samples or more, so there is no count to publish",
            where="[privacy] threshold",
            fix="set a lower threshold, or add data: a silo takes part by at least one count",
        )
    return tuple((label, min(n, MAX_COUNT)) for label, n in found)


def _noise(key: bytes, label: Label, epsilon: float) -> int:
    """A draw of the two-sided geometric distribution: P(z) in proportion to exp(-epsilon |z|)."""
    bits = int.from_bytes(hmac.digest(key, pack(label), hashlib.sha256)[:16], "big")
    halves = (bits >> 64, bits & (2**64 - 1))
    one, other = (_geometric((half >> (64 - _BITS)) + 1, epsilon) for half in halves)
    return one - other


def _geometric(draw: int, epsilon: float) -> int:
    """How often a coin that shows tails with probability exp(-epsilon) does so before heads.

    Args:
        draw: uniform, 1 to 2**_BITS.
    """
    return math.floor(-math.log(draw / 2**_BITS) / epsilon)
