"""The document that `student judge` prints: what one silo's data tell of each combination."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName
from dcfm_node.api.students import Estimated


class JudgedCombination(Model):
    """What a silo's judge says of a student's draws of one combination."""

    values: dict[str, str]
    """Attribute -> value."""
    unmet: tuple[tuple[str, str], ...]
    """Pairs of attributes whose values here meet in no combination that silos train on, where
    there are three or more attributes. What only their meeting does, no judge can see."""
    kind: Literal["known", "probe", "novel"]
    """Whether silos train on it, the run withholds it as a probe, or no silo trains on it."""
    level: Literal[0, 1, 2]
    """How many attributes differ from the nearest known combination; 0 for known ones, 2 for two or
    more."""
    expected: Estimated | None
    """Share of draws that are right; null where the judge cannot tell."""
    why: str
    """Why it cannot tell; empty if it can."""
    below: bool
    """Whether the expected share is below the floor."""
    draws: int
    """Number of draws that were judged."""
    shown: dict[str, float]
    """Attribute -> share of draws that show the value asked for; empty without draws."""
    unlike: float
    """Share of draws that show all values, but are unlike real samples and so not right."""


class Told(Model):
    """A chance or a share, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float


class Remembered(Model):
    """How well a network's errors separate a silo's training samples from its hold-out samples.
    Nobody can tell them apart where `auc` is 0.5, `rate_01` 0.01 and `rate_10` 0.1."""

    network: Literal["student", "expert"]
    """The student, or the silo's own expert."""
    calibrated: bool
    """Whether each error is taken beside those of the other silos' experts."""
    auc: Told
    """Chance that a training sample has a lower error than a hold-out one."""
    rate_01: Told | None
    """Share of training samples that are found where 1 % of other samples are taken for training
    samples; null with fewer than 99 hold-out samples."""
    rate_10: Told | None
    """The same where 10 % are."""


class Judged(Document):
    """A student was judged on one silo's private data. Nothing was sent."""

    schema_: Literal["dcfm-node/judged/1"] = Field("dcfm-node/judged/1", alias="schema")
    run: RunName
    digest: str
    """Of the student, hex."""
    silo: str
    """Whose data judged it."""
    samples: int
    """Of that silo, on which all this rests, hold-out included."""
    held: int
    """How many combinations these have."""
    floor: float
    """`policy.novel_floor` of the run."""
    passed: int
    """Combinations that are expected at or above the floor."""
    failed: int
    """Combinations that are expected below it."""
    unknown: int
    """Combinations that the judge cannot tell about."""
    combinations: tuple[JudgedCombination, ...]
    """The worst first; last those that the judge cannot tell about."""
    remembered: tuple[Remembered, ...] = ()
    """Empty if the silo trained no expert of the student, or has too few samples."""
