"""The kinds of record in a journal, and the entry that carries a record (SPEC 3)."""

from typing import Annotated, Literal

from pydantic import FailFast, Field, ValidationError

from dcfm_node.errors import UserError
from dcfm_node.records.base import (
    MAX_REASON,
    Count,
    Digest,
    Epoch,
    Key,
    Metrics,
    Model,
    Name,
    Reason,
    Round,
    Term,
    Version,
)
from dcfm_node.records.base import Snapshot as Snapshot  # noqa: PLC0414 - re-exported
from dcfm_node.records.manifest import MAX_COMBINATIONS, MAX_SILOS
from dcfm_node.records.moments import Moments, Scale

Label = Annotated[
    tuple[Annotated[int, Field(ge=0, le=1_000)], ...], Field(max_length=32), FailFast()
]
"""One combination c: an index per attribute, into its values."""


class Delta(Model):
    """A snapshot as its difference to another (SPEC 5.4)."""

    base: Digest
    """Digest of the snapshot to start from."""
    coded: Snapshot
    """The file with the coded difference."""


class Join(Model):
    """A silo enters the run. It says whether it can distil, and gives its label counts."""

    kind: Literal["join"] = "join"
    name: Name
    distils: bool
    version: Version
    counts: Annotated[
        tuple[tuple[Label, Count], ...], Field(max_length=MAX_COMBINATIONS), FailFast()
    ]
    moments: Moments | None = None
    """Of its training samples; None where it keeps them to itself, or has too few (SPEC 6.13)."""


MEMBERSHIP = "membership_auc"
"""Metric of an expert whose silo has a privacy gate: how well membership inference does on it."""
MEMBERSHIP_FEWEST = 20
"""Fewer training or hold-out samples of the same combinations tell nothing of it."""


class Expert(Model):
    """A silo published its expert of a round; round 0 is Stage I."""

    kind: Literal["expert"] = "expert"
    round: Round
    snapshot: Snapshot
    parents: Annotated[tuple[Digest, ...], Field(max_length=MAX_SILOS + 1), FailFast()]
    """Digests of the snapshots that it was trained from or against."""
    delta: Delta | None = None
    """The same snapshot as what changed since another."""
    metrics: Metrics


PREPARATION = 10_000
"""In place of a round, in votes and leases: the election of who proposes the preparation. No run
trains so many rounds."""


class Vote(Model):
    """A node's only vote in a term, for the node that distils a round, or that proposes the
    preparation."""

    kind: Literal["vote"] = "vote"
    term: Term
    round: Round
    candidate: Key


class Lease(Model):
    """Names the votes of a majority. Its author leads the term."""

    kind: Literal["lease"] = "lease"
    term: Term
    round: Round
    votes: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SILOS), FailFast()]
    """Digests of the vote entries."""


class Preparation(Model):
    """What all silos build on, agreed before anyone trains (SPEC 6.11)."""

    joins: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SILOS), FailFast()]
    """Digests of the join entries from which the rest follows, ascending."""
    probes: Annotated[tuple[Label, ...], Field(max_length=MAX_COMBINATIONS), FailFast()]
    """Known combinations that nobody trains on, ascending (SPEC 6.12)."""
    scale: Scale | None = None
    """What all silos standardise their data by (SPEC 6.13)."""


class Propose(Model):
    """The leader of a term proposes a preparation."""

    kind: Literal["propose"] = "propose"
    term: Term
    preparation: Preparation


class Accept(Model):
    """A silo checked the preparation that the leader of a term proposes, and agrees. It repeats all
    of it: what most silos agreed on outlasts the leader's journal."""

    kind: Literal["accept"] = "accept"
    term: Term
    preparation: Preparation


class Checkpoint(Model):
    """The leader of a term published its training state. The next leader can resume from it."""

    kind: Literal["checkpoint"] = "checkpoint"
    term: Term
    round: Round
    lease: Digest
    snapshot: Snapshot
    teachers: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SILOS), FailFast()]
    """Digests of the distilled expert entries."""
    step: Count
    """Training steps done."""


class Student(Model):
    """The leader of a term published the student of a round."""

    kind: Literal["student"] = "student"
    term: Term
    round: Round
    lease: Digest
    snapshot: Snapshot
    teachers: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SILOS), FailFast()]
    """Digests of the expert entries that it was distilled from."""
    missing: Annotated[tuple[Key, ...], Field(max_length=MAX_SILOS), FailFast()]
    """Active silos without an expert of this round among the teachers. Any makes it DEGRADED."""
    resumed: Digest | None
    """Digest of the checkpoint's snapshot from which its training resumed; None if it did not."""
    final: bool
    """The schedule ends with this student: once a quorum endorses it, it is released."""
    seed: Count
    version: Version
    delta: Delta | None = None
    """The same snapshot as what changed since another."""
    metrics: Metrics


class Endorse(Model):
    """A silo scored a student on its private hold-out data and accepts it (SPEC 6.2.4)."""

    kind: Literal["endorse"] = "endorse"
    student: Digest
    """Digest of the student entry."""
    metrics: Metrics


class Refuse(Model):
    """A silo scored a student and does not accept it, or could not verify it (SPEC 6.2.4)."""

    kind: Literal["refuse"] = "refuse"
    student: Digest
    reason: Reason
    metrics: Metrics


class Audit(Model):
    """A silo scored its peers' experts of a round on its private hold-out data."""

    kind: Literal["audit"] = "audit"
    round: Round
    scores: Annotated[tuple[tuple[Digest, Metrics], ...], Field(max_length=MAX_SILOS), FailFast()]
    """Digest of each expert entry, with its scores (SPEC 6.6)."""


Cause = Literal[
    "snapshot",
    "quota",
    "score",
    "fork",
    "double_vote",
    "contradiction",
    "replay",
    "term",
    "chunks",
    "flood",
    "malformed",
    "head",
]
"""Why a member was judged (SPEC 6.7), for programs; `reason` is for people."""
JUDGED: frozenset[Cause] = frozenset({"snapshot", "quota", "score"})
"""Causes whose verdicts count: no node uses what a quorum refused for one of them."""


class Verdict(Model):
    """The author checked a member, or an entry of a member, and refuses it."""

    kind: Literal["verdict"] = "verdict"
    subject: Key
    cause: Cause
    entry: Digest | None
    """Digest of the refused entry; None if the verdict is about the member."""
    reason: Reason


class Withdraw(Model):
    """A silo leaves the run for good. Its experts teach no further students."""

    kind: Literal["withdraw"] = "withdraw"
    reason: Reason


def check_reason(text: object) -> str:
    """Check an operator's reason by the rules for a peer's.

    Raises:
        UserError: it does not fit a record.
    """
    if isinstance(text, str) and not text.strip():
        raise UserError("the reason is empty", where="--reason", fix="give one; all peers see it")
    try:
        return Withdraw.model_validate({"reason": text}).reason
    except ValidationError as error:
        raise UserError(
            f"the reason does not fit a record: {error.errors()[0]['msg'].lower()}",
            where="--reason",
            fix=f"give at most {MAX_REASON} characters, in UTF-8",
        ) from error


Body = Annotated[
    Join
    | Expert
    | Audit
    | Vote
    | Lease
    | Propose
    | Accept
    | Checkpoint
    | Student
    | Endorse
    | Refuse
    | Verdict
    | Withdraw,
    Field(discriminator="kind"),
]


class Entry(Model):
    """One link of an author's hash-chained journal."""

    run: Digest
    author: Key
    epoch: Epoch
    """The author raises it at every start and announces it in its heartbeats. A chain of a higher
    epoch replaces a lost tail (SPEC 3.3.4)."""
    seq: Annotated[int, Field(ge=0, le=100_000)]
    prev: Digest
    """Digest of entry seq - 1; for seq 0, the run id."""
    time_ms: Count
    """The author's wall clock in Unix milliseconds. It informs people; no decision uses it."""
    body: Body
