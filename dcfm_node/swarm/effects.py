"""The inputs (events) and outputs (effects) of the swarm. Nothing else passes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dcfm_node.records.entries import Cause, Delta, Snapshot
from dcfm_node.records.messages import Head, Message
from dcfm_node.wire.envelope import Sealed, SealedHeartbeat

# Work that a node can be doing


@dataclass(frozen=True, slots=True)
class Train:
    """Train this silo's expert: Stage I, or a round of DCFM-A or FedFlow.

    Attributes:
        init: digest of the snapshot to start from, in the paper's schedule.
        anchor: digest of the student's snapshot to start from and stay close to, in the alternating
            schedule.
        peers: (silo, digest of its expert's snapshot). In the paper's schedule, the other silos; in
            FedFlow, all whose parameters are averaged for the start.
    """

    stage: Literal["local", "refine"]
    round: int
    init: bytes | None = None
    anchor: bytes | None = None
    peers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Distil:
    """Make a student of the teachers under a certified lease: by distillation, as an average or as
    an ensemble, as the method defines.

    Attributes:
        lease: digest of the lease entry.
        teachers: (silo, digest of the expert entry, digest of its snapshot).
        missing: active silos without an expert of this round.
        final: the schedule ends with this student.
        resume: digest of the snapshot of a checkpoint to resume from; it has these teachers and
            this start.
    """

    round: int
    term: int
    lease: bytes
    teachers: tuple[tuple[bytes, bytes, bytes], ...]
    missing: tuple[bytes, ...]
    final: bool
    resume: bytes | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Score a student, interim or final, on this silo's private hold-out data.

    Attributes:
        student: digest of the student's entry.
        snapshot: digest of the student's snapshot.
        reference: digest of this silo's own expert's snapshot, or None.
    """

    student: bytes
    snapshot: bytes
    reference: bytes | None


@dataclass(frozen=True, slots=True)
class AuditExperts:
    """Score the experts of a round on this silo's private hold-out data, before they are used.

    Attributes:
        experts: (silo, digest of the expert entry, digest of its snapshot). They include this
            silo's own, with which the others are compared.
    """

    round: int
    experts: tuple[tuple[bytes, bytes, bytes], ...]


Work = Train | Distil | Score | AuditExperts


@dataclass(frozen=True, slots=True)
class Waiting:
    """This node waits for the silos in `on`, or has nothing more to do (`over`)."""

    why: str
    on: tuple[bytes, ...] = ()
    over: bool = False
    broken: bool = False
    """The method failed to decide, and will until its package is mended."""


def activity_of(work: Work) -> str:
    """The word for a piece of work in heartbeats, logs and status."""
    match work:
        case Train():
            return work.stage
        case Distil():
            return "distil"
        case Score():
            return "score"
        case AuditExperts():
            return "audit"


DISK_FULL = "disk-full"
"""The word for what a node does that cannot write (SPEC 4.6)."""


# Events


@dataclass(frozen=True, slots=True)
class Received:
    """A control message from an authenticated peer."""

    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Carried:
    """A bundle that a peer signed was imported here.

    Attributes:
        head: how far that peer held this node's own journal.
    """

    peer: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class Foreign:
    """A message of another protocol version, from an authenticated peer.

    Attributes:
        software: version of the sender's software as it states it; empty if it states none.
    """

    peer: bytes
    protocol: int
    software: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    peer: bytes


@dataclass(frozen=True, slots=True)
class LinkDown:
    peer: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline passed."""


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot is on disk and passed every check."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """A snapshot that was held is no longer on disk: somebody deleted it."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Unfit:
    """A snapshot failed a check: wrong names, shapes, dtypes, values or size.

    Attributes:
        entry: the one entry that describes it wrongly, if others describe it rightly; else None.
    """

    digest: bytes
    reason: str
    cause: Cause = "snapshot"
    entry: bytes | None = None


@dataclass(frozen=True, slots=True)
class Misbehaved:
    """A peer did something on its links that no honest node does."""

    peer: bytes
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class WorkProgressed:
    """The worker made progress, in steps."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Downloading:
    """A download made progress, in bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """A checkpoint of the student is on disk, so that another leader can resume from it."""

    work: Distil
    snapshot: Snapshot
    step: int


@dataclass(frozen=True, slots=True)
class Worked:
    """The worker finished. Train and Distil give a snapshot; all but AuditExperts give metrics;
    AuditExperts gives scores by silo."""

    work: Work
    snapshot: Snapshot | None
    metrics: Mapping[str, float]
    scores: Mapping[bytes, Mapping[str, float]] = field(default_factory=dict)
    delta: Delta | None = None


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """The worker failed. The swarm starts the work again after a pause."""

    work: Work
    reason: str


@dataclass(frozen=True, slots=True)
class DiskRefuses:
    """The disk refuses writes of snapshots, or takes them again."""

    refuses: bool


@dataclass(frozen=True, slots=True)
class Drain:
    """Stop taking new work; keep answering peers."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The operator withdraws this silo from the run."""

    reason: str


Event = (
    Received
    | Carried
    | Foreign
    | LinkUp
    | LinkDown
    | Tick
    | Held
    | Gone
    | Unfit
    | Misbehaved
    | WorkProgressed
    | Downloading
    | Checkpointed
    | Worked
    | WorkFailed
    | DiskRefuses
    | Drain
    | Leave
)

# Effects, carried out in order: Persist comes before the Send of the same entry


@dataclass(frozen=True, slots=True)
class Persist:
    """Write an entry durably before the next effect."""

    sealed: Sealed


@dataclass(frozen=True, slots=True)
class PersistFork:
    """Keep the proof of a fork, and drop the author's entries from the fork on."""

    first: Sealed
    second: Sealed

    @property
    def seq(self) -> int:
        """The chain ends before this number: the lower one of the two entries, which may differ."""
        return min(self.first.entry.seq, self.second.entry.seq)


@dataclass(frozen=True, slots=True)
class PersistHeartbeat:
    """Store a heartbeat durably, in place of its author's heartbeat of a lower epoch."""

    sealed: SealedHeartbeat


@dataclass(frozen=True, slots=True)
class Send:
    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Start:
    """Start this work in the worker, in place of its present work."""

    work: Work


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the worker's present work: its result is no longer of use."""


@dataclass(frozen=True, slots=True)
class Fetch:
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Unfetch:
    digest: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete a snapshot that is held: this node no longer needs it."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Write an event to the log."""

    event: str
    fields: Mapping[str, object]
    level: Literal["info", "warning", "error"] = "info"


Durable = Persist | PersistFork | PersistHeartbeat
"""Effects that must be on disk before the next effect."""
Effect = Durable | Send | Start | Cancel | Fetch | Unfetch | Drop | Report
