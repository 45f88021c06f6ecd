"""The kinds of record a journal holds, and the entry that carries each (SPEC 3)."""

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
from dcfm_node.records.base import Snapshot as Snapshot  # noqa: PLC0414 - told on
from dcfm_node.records.manifest import MAX_COMBINATIONS, MAX_SILOS

Label = Annotated[
    tuple[Annotated[int, Field(ge=0, le=1_000)], ...], Field(max_length=32), FailFast()
]
"""One combination c: an index per attribute."""


class Delta(Model):
    """A snapshot as what changed since another (SPEC 5.4)."""

    base: Digest
    """Digest of the snapshot to start from."""
    coded: Snapshot
    """The file that makes the one of the other."""


class Join(Model):
    """A silo enters the run: whether it can distil, and how often it holds each combination."""

    kind: Literal["join"] = "join"
    name: Name
    distils: bool
    version: Version
    counts: Annotated[
        tuple[tuple[Label, Count], ...], Field(max_length=MAX_COMBINATIONS), FailFast()
    ]


class Expert(Model):
    """A silo published its expert of a round; round 0 is Stage I."""

    kind: Literal["expert"] = "expert"
    round: Round
    snapshot: Snapshot
    parents: Annotated[tuple[Digest, ...], Field(max_length=MAX_SILOS + 1), FailFast()]
    """Digests of the snapshots it was trained from or against."""
    delta: Delta | None = None
    """The same snapshot as what changed since another."""
    metrics: Metrics


class Vote(Model):
    """One node's only vote of a term, for who distils a round."""

    kind: Literal["vote"] = "vote"
    term: Term
    round: Round
    candidate: Key


class Lease(Model):
    """A majority's votes gathered: their author leads the term."""

    kind: Literal["lease"] = "lease"
    term: Term
    round: Round
    votes: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SILOS), FailFast()]
    """Digests of the vote entries."""


class Checkpoint(Model):
    """The leader of a term published how far it is: whoever leads next goes on from there."""

    kind: Literal["checkpoint"] = "checkpoint"
    term: Term
    round: Round
    lease: Digest
    snapshot: Snapshot
    teachers: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SILOS), FailFast()]
    """Digests of the expert entries that are distilled."""
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
    """Digests of the expert entries it was distilled from."""
    missing: Annotated[tuple[Key, ...], Field(max_length=MAX_SILOS), FailFast()]
    """Silos that did not withdraw and taught it no expert of this round: DEGRADED if any."""
    resumed: Digest | None
    """Digest of the checkpoint's snapshot that its training was given to go on from."""
    final: bool
    """The schedule ends here: this student is up for endorsement."""
    seed: Count
    version: Version
    delta: Delta | None = None
    """The same snapshot as what changed since another."""
    metrics: Metrics


class Endorse(Model):
    """A silo scored a final student on its private hold-out data and stands by it."""

    kind: Literal["endorse"] = "endorse"
    student: Digest
    """Digest of the student entry."""
    metrics: Metrics


class Refuse(Model):
    """A silo scored a final student and does not stand by it, or could not verify it."""

    kind: Literal["refuse"] = "refuse"
    student: Digest
    reason: Reason
    metrics: Metrics


class Audit(Model):
    """A silo scored its peers' experts of a round on its private hold-out data."""

    kind: Literal["audit"] = "audit"
    round: Round
    scores: Annotated[tuple[tuple[Digest, Metrics], ...], Field(max_length=MAX_SILOS), FailFast()]
    """Digest of an expert entry, and what it scored (SPEC 6.6)."""


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
"""Why a member was judged (SPEC 6.7), for a machine; `reason` is for people."""
JUDGED: frozenset[Cause] = frozenset({"snapshot", "quota", "score"})
"""Causes whose verdicts are counted: what a quorum refused for them is used by nobody."""


class Verdict(Model):
    """A member, or an entry of it, was checked and refused."""

    kind: Literal["verdict"] = "verdict"
    subject: Key
    cause: Cause
    entry: Digest | None
    """Digest of the entry that it is about, if it is about one."""
    reason: Reason


class Withdraw(Model):
    """A silo leaves the run: its experts serve no more."""

    kind: Literal["withdraw"] = "withdraw"
    reason: Reason


def check_reason(text: object) -> str:
    """An operator's reason, held to what is asked of a peer's.

    Raises:
        UserError: a record may not bear it.
    """
    if isinstance(text, str) and not text.strip():
        raise UserError("the reason is empty", where="--reason", fix="say why, for all to read")
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
    """Raised at every start of the author, by its heartbeats: a chain of a higher epoch replaces a
    lost tail."""
    seq: Annotated[int, Field(ge=0, le=100_000)]
    prev: Digest
    """Digest of entry seq - 1; the run id for seq 0."""
    time_ms: Count
    """The author's wall clock. It informs; nothing decides on it."""
    body: Body
