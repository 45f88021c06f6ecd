"""The document that `student verify` prints: what a student's signed lineage proves."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName
from dcfm_node.api.students import Expected
from dcfm_node.store.card import Earlier

Card = Literal["same", "other", "none"]


class Newest(Model):
    """The newest student in a lineage."""

    digest: str
    round: int
    released: bool


class Superseded(Model):
    """Why a student no longer counts, and which one to use instead."""

    by: dict[str, str]
    """The reasons, by name of a silo that taught it."""
    newest: Newest | None


class Verified(Document):
    """A student's folder was checked offline."""

    schema_: Literal["dcfm-node/verified/1"] = Field("dcfm-node/verified/1", alias="schema")
    verified: Literal[True] = True
    of_given_run: bool
    """Whether its run was compared with --run and --peers."""
    run: RunName
    round: int
    term: int
    digest: str
    outcome: Literal["COMPLETE", "DEGRADED"]
    teachers: tuple[tuple[str, int, str], ...]
    """Silo, round of its expert, digest of its expert."""
    missing: tuple[str, ...]
    endorsed_by: tuple[str, ...]
    refused_by: tuple[str, ...]
    withdrawn: tuple[str, ...]
    metrics: dict[str, float]
    version: str
    """Version of the dcfm-node that distilled it."""
    expected: Expected
    standing: Literal["released", "not released", "interim", "superseded"]
    superseded: Superseded | None
    continues: Earlier | None
    membership: dict[str, float]
    """What silos with a privacy gate said of their experts before they published them: AUC of
    membership inference, 0 to 1, by silo."""
    unchecked: tuple[str, ...]
    """Files in the folder that are not part of the student."""
    card: Card
    """Whether README.md is the card that this version writes for the student: `other` if another
    version wrote it, or somebody changed it."""
