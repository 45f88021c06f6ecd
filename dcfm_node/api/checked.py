"""The document of `check`: what is fine, what is wrong, and what could not be checked."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from dcfm_node.api.commands import FoundFeature
from dcfm_node.api.document import Document, Model

Group = Literal["settings", "keys", "data", "run", "network", "machine", "coverage"]
State = Literal["ok", "wrong", "degraded", "unknown"]
"""wrong: settings, keys or data must change before the node can take part. degraded: it takes part,
and something needs attention. unknown: it could not be checked; `finding` says why."""
EXIT_CODES: dict[State, int] = {"ok": 0, "unknown": 0, "degraded": 3, "wrong": 2}


class Finding(Model):
    """One thing that was checked."""

    group: Group
    check: str
    """What was checked, such as "control of east"."""
    state: State
    finding: str
    """What is so, for people."""
    fix: str = ""
    """What to do; empty if nothing."""
    figures: dict[str, float] = Field(default_factory=dict)
    """What was measured, with the unit in the name. What was not measured is absent."""


class Holding(Model):
    """A combination, and who holds samples of it."""

    values: tuple[str, ...]
    """One per attribute, in the order of the attributes."""
    own: int | None
    """Training samples of this silo; null if its data could not be read."""
    others: dict[str, int]
    """Training samples of other silos, as far as they published them."""
    reachable: bool | None
    """Whether a student can compose it, or some silo holds it; null if not all silos told."""


class Checked(Document):
    """`check`."""

    schema_: Literal["dcfm-node/check/1"] = Field("dcfm-node/check/1", alias="schema")
    node: str
    """The silo's name; empty if its settings cannot be read."""
    daemon: Literal["up", "starting", "down"]
    findings: tuple[Finding, ...]
    features: tuple[FoundFeature, ...]
    """Range of each feature or channel of this silo's training samples."""
    attributes: tuple[str, ...]
    combinations: tuple[Holding, ...]
    """Empty if the run is unknown, or has too many combinations to list."""


def exit_code(findings: Iterable[Finding]) -> int:
    """The exit code of `check`: 2 if something is wrong, else 3 if something is degraded."""
    codes = {EXIT_CODES[found.state] for found in findings}
    return 2 if 2 in codes else max(codes, default=0)
