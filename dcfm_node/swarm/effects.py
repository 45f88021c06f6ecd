"""What the swarm hears (events) and what it wants done (effects), and nothing else passes."""

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
        init: digest of the snapshot to start from in the paper's rounds.
        anchor: digest of the student's snapshot, to start from and be anchored on, in the
            alternating schedule.
        peers: (silo, digest of its expert's snapshot): in the paper's, this silo not included; in
            FedFlow all whose parameters are averaged to start from.
    """

    stage: Literal["local", "refine"]
    round: int
    init: bytes | None = None
    anchor: bytes | None = None
    peers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Distil:
    """Make a student of the teachers under a certified lease: by distillation, or as the average
    or the ensemble of all, as the method has it.

    Attributes:
        lease: digest of the lease entry.
        teachers: (silo, digest of the expert entry, digest of its snapshot).
        missing: active silos without an expert of this round.
        final: the schedule ends with this student.
        resume: digest of the snapshot of a checkpoint of these teachers and this start, to go on
            from.
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
    """Score a final student on this silo's private hold-out data.

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
    """Score the experts of a round on this silo's private hold-out data, before they serve.

    Attributes:
        experts: (silo, digest of the expert entry, digest of its snapshot), this silo's own among
            them: the others are compared with it.
    """

    round: int
    experts: tuple[tuple[bytes, bytes, bytes], ...]


Work = Train | Distil | Score | AuditExperts


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to do until somebody else moves, or nothing to do any more (`over`)."""

    why: str
    on: tuple[bytes, ...] = ()
    over: bool = False


def activity_of(work: Work) -> str:
    """The word for a work in heartbeats, logs and status."""
    match work:
        case Train():
            return work.stage
        case Distil():
            return "distil"
        case Score():
            return "score"
        case AuditExperts():
            return "audit"


# Events


@dataclass(frozen=True, slots=True)
class Received:
    """A control message from an authenticated peer."""

    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Carried:
    """A bundle that a peer signed was brought here.

    Attributes:
        head: how far that peer held this node's own journal.
    """

    peer: bytes
    head: Head


@dataclass(frozen=True, slots=True)
class Foreign:
    """A message of another version of the protocol, from an authenticated peer.

    Attributes:
        software: what it says of its sender's software; empty if nothing.
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
    """A snapshot that was held is not on disk any more: somebody deleted it."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Unfit:
    """A snapshot failed a check: wrong names, shapes, dtypes, values or size.

    Attributes:
        entry: the one entry that names it wrongly, where others name it rightly.
    """

    digest: bytes
    reason: str
    cause: Cause = "snapshot"
    entry: bytes | None = None


@dataclass(frozen=True, slots=True)
class Misbehaved:
    """A peer did on its links what no honest node does."""

    peer: bytes
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class WorkProgressed:
    """The worker moved, in steps."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Downloading:
    """A download moved, in bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """How far the worker is with a student lies on disk, for whoever leads next."""

    work: Distil
    snapshot: Snapshot
    step: int


@dataclass(frozen=True, slots=True)
class Worked:
    """The worker finished: a snapshot for Train and Distil, metrics for all but AuditExperts, which
    gives scores by silo."""

    work: Work
    snapshot: Snapshot | None
    metrics: Mapping[str, float]
    scores: Mapping[bytes, Mapping[str, float]] = field(default_factory=dict)
    delta: Delta | None = None


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """The worker could not finish; the swarm asks again after a pause."""

    work: Work
    reason: str


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
    | Drain
    | Leave
)

# Effects, to be carried out in order: Persist comes before the Send that tells of it


@dataclass(frozen=True, slots=True)
class Persist:
    """Write an entry durably before the next effect."""

    sealed: Sealed


@dataclass(frozen=True, slots=True)
class PersistFork:
    """Keep the proof of a fork, and drop the author's entries from there on."""

    first: Sealed
    second: Sealed

    @property
    def seq(self) -> int:
        """Before which the chain ends: the lower number, of two that need not be the same."""
        return min(self.first.entry.seq, self.second.entry.seq)


@dataclass(frozen=True, slots=True)
class PersistHeartbeat:
    """Keep a heartbeat durably, in place of its author's of a lower epoch."""

    sealed: SealedHeartbeat


@dataclass(frozen=True, slots=True)
class Send:
    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Start:
    """Give the worker this, in place of whatever it does."""

    work: Work


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the worker's present work; it is of no more use."""


@dataclass(frozen=True, slots=True)
class Fetch:
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Unfetch:
    digest: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete a snapshot that is held: nobody needs it any more."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Something the log should say."""

    event: str
    fields: Mapping[str, object]
    level: Literal["info", "warning", "error"] = "info"


Durable = Persist | PersistFork | PersistHeartbeat
"""What must be on the disk before the next effect."""
Effect = Durable | Send | Start | Cancel | Fetch | Unfetch | Drop | Report
