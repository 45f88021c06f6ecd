"""The document that `journal` prints: every record of a silo, with names in place of digests."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName
from dcfm_node.records.entries import Body


class Published(Model):
    """The expert or student that a record is about."""

    kind: Literal["expert", "student"]
    round: int
    term: int | None
    """The term of a student; None for an expert."""
    silo: str
    digest: str
    """Digest of its snapshot, hex."""


class JoinMeans(Model):
    """`join`: pairs of a combination (value by attribute) and its number of training samples."""

    counts: tuple[tuple[dict[str, str], int], ...]


class VoteMeans(Model):
    """`vote`."""

    candidate: str


class LeaseMeans(Model):
    """`lease`."""

    voters: tuple[str, ...]


class PreparationMeans(Model):
    """`propose` and `accept`."""

    joins: tuple[str, ...]
    """Silos on whose joins the preparation builds, as far as this node knows the joins."""
    probes: tuple[dict[str, str], ...]
    """Combinations that nobody trains on, as value by attribute."""


class CheckpointMeans(Model):
    """`checkpoint`."""

    teachers: tuple[str, ...]


class StudentMeans(Model):
    """`student`."""

    teachers: tuple[str, ...]
    missing: tuple[str, ...]


class OpinionMeans(Model):
    """`endorse` and `refuse`."""

    student: Published | None
    """None if this node does not know the student."""
    expected: str
    """What its figures say of the quality of the student's draws; empty if it measured none."""


class VerdictMeans(Model):
    """`verdict`."""

    subject: str
    entry: Published | None


class Worst(Model):
    """The expert with the worst score (SPEC 6.6)."""

    silo: str
    figure: str
    place: float
    """0: as good as the scoring silo's own expert. 1: as good as an expert that knows nothing."""


class AuditMeans(Model):
    """`audit`."""

    scored: tuple[str, ...]
    worst: Worst | None
    refuses: dict[str, str]
    """Why the silo refuses an expert, by the expert's silo."""


class NothingMore(Model):
    """Any other record: it names no silo."""


Means = (
    JoinMeans
    | VoteMeans
    | LeaseMeans
    | PreparationMeans
    | StudentMeans
    | CheckpointMeans
    | OpinionMeans
    | VerdictMeans
    | AuditMeans
    | NothingMore
)


class JournalEntry(Model):
    """One record."""

    seq: int
    time_ms: int
    """The author's wall clock, Unix milliseconds."""
    digest: str
    """Digest of the entry, hex."""
    bytes: int
    body: Body
    """The record itself (SPEC 3)."""
    means: Means
    """What the body says about other silos, by name."""


class Journal(Document):
    """All records that a silo signed."""

    schema_: Literal["dcfm-node/journal/1"] = Field("dcfm-node/journal/1", alias="schema")
    run: RunName
    silo: str
    entries: tuple[JournalEntry, ...]
