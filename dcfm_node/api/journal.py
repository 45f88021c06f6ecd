"""What `journal` prints: every record of a silo, and what each says in names."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName
from dcfm_node.records.entries import Body


class Published(Model):
    """The expert or student that a record is about."""

    kind: Literal["expert", "student"]
    round: int
    term: int | None
    """A student's."""
    silo: str
    digest: str
    """Of its snapshot, hex."""


class JoinMeans(Model):
    """`join`: (value by attribute, number of training samples)."""

    counts: tuple[tuple[dict[str, str], int], ...]


class VoteMeans(Model):
    """`vote`."""

    candidate: str


class LeaseMeans(Model):
    """`lease`."""

    voters: tuple[str, ...]


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
    """None if the student is not known here."""


class VerdictMeans(Model):
    """`verdict`."""

    subject: str
    entry: Published | None


class Worst(Model):
    """The expert that scored worst."""

    silo: str
    figure: str
    place: float
    """0 is as good as a silo's own, 1 is as good as knowing nothing."""


class AuditMeans(Model):
    """`audit`."""

    scored: tuple[str, ...]
    worst: Worst | None
    refuses: dict[str, str]
    """By silo: why."""


class NothingMore(Model):
    """Other records name nobody."""


Means = (
    JoinMeans
    | VoteMeans
    | LeaseMeans
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
    """Of the entry, hex."""
    bytes: int
    body: Body
    """The record itself (SPEC 3)."""
    means: Means
    """What the body says of others, in names."""


class Journal(Document):
    """All records that a silo signed."""

    schema_: Literal["dcfm-node/journal/1"] = Field("dcfm-node/journal/1", alias="schema")
    run: RunName
    silo: str
    entries: tuple[JournalEntry, ...]
