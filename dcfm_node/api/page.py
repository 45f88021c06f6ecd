"""The documents that the page serves: what is so now, what the records say, and whether this silo
takes part."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model
from dcfm_node.api.run import RunFacts
from dcfm_node.api.status import StartingStatus, Status


class Ready(Document):
    """The answer to `/readyz`: whether this silo takes part in its run."""

    schema_: Literal["dcfm-node/ready/1"] = Field("dcfm-node/ready/1", alias="schema")
    ready: bool
    why: tuple[str, ...]
    """Why it does not, one sentence each; empty if it does."""


class PeerTraffic(Model):
    """Payload bytes over the links to one peer, since the daemon started."""

    name: str
    sent: int
    received: int
    sent_per_s: float | None
    """Bytes a second, between the last two looks; null after the first."""
    received_per_s: float | None


class WorkPoint(Model):
    """The present work at one time."""

    time_ms: int
    work: str
    """Activity and round."""
    done: int
    loss: float


class PageNow(Document):
    """What is so now. It changes all the time."""

    schema_: Literal["dcfm-node/page-now/1"] = Field("dcfm-node/page-now/1", alias="schema")
    time_ms: int
    status: Status | StartingStatus | None
    """None if no daemon answers."""
    unreachable: str
    """Why no daemon answers; empty if one does."""
    unreachable_fix: str
    ready: Ready
    traffic: tuple[PeerTraffic, ...]
    work: tuple[WorkPoint, ...]
    """The loss of this node's own work, oldest first, as far as the page saw it."""


class PageRecord(Model):
    """One record of a journal, for people."""

    silo: str
    seq: int
    time_ms: int
    kind: str
    says: str


class PageMark(Model):
    """A record in the timeline of the run."""

    silo: str
    time_ms: int
    kind: str
    round: int | None
    final: bool


class PageExpert(Model):
    """An expert of a silo. Digests are hex."""

    silo: str
    round: int
    time_ms: int
    digest: str
    bytes: int
    parents: tuple[str, ...]
    """Snapshots that it was trained from or against."""
    metrics: dict[str, float]


class Drawn(Model):
    """Pictures of the released student's draws."""

    state: Literal["none", "off", "drawing", "drawn", "failed"]
    student: str
    """Its digest, hex; empty if none is released."""
    why: str
    """Why there are no pictures; empty if there are."""
    cells: tuple[str, ...]
    """Names of the pictures: the label's indices, joined by "-"."""


class PagePast(Document):
    """What the records of all silos say. It changes with every new record."""

    schema_: Literal["dcfm-node/page-past/1"] = Field("dcfm-node/page-past/1", alias="schema")
    run: RunFacts | None
    records: tuple[PageRecord, ...]
    """The newest ones, the newest first."""
    records_more: int
    """How many older ones there are."""
    marks: tuple[PageMark, ...]
    """By time, the oldest first."""
    experts: tuple[PageExpert, ...]
    """By round and silo."""
    drawn: Drawn
