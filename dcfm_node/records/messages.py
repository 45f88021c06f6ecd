"""The control messages between linked peers (SPEC 4). No journal holds them."""

from typing import Annotated, Literal, Self

from pydantic import FailFast, Field, model_validator

from dcfm_node.records.base import Count, Digest, Epoch, Key, Model, Reason, Round, Version
from dcfm_node.records.manifest import MAX_SILOS

PROTOCOL = 1
"""Version of the protocol. Every message carries it, so that a peer can name a difference (SPEC
4.2.1)."""
MAX_MESSAGE_BYTES = 1 << 20
MAX_ENTRIES_BYTES = 512 << 10
MAX_ENTRIES = 4_096
MAX_MANIFEST_BYTES = 256 << 10

Protocol = Annotated[int, Field(ge=PROTOCOL, le=PROTOCOL)]
Seq = Annotated[int, Field(ge=-1, le=100_000)]


class Head(Model):
    """The last entry of an author's journal that a node holds. seq -1 means that it holds none."""

    epoch: Epoch
    seq: Seq
    digest: Digest
    forked: Annotated[int, Field(ge=-1, le=100_000)] = -1
    """The seq of the author's proven fork; -1 if there is none."""


class Heartbeat(Model):
    """A node's signed sign of life. Peers relay it to nodes without a direct link."""

    run: Digest
    author: Key
    counter: Count
    """Rises with every heartbeat. A restarted node continues above the counter that peers hold."""
    epoch: Epoch
    """The epoch in which its author writes or will write; 0 before it knows."""
    activity: Annotated[str, Field(max_length=32)]
    """What the node does: idle, local, refine, distil, score, fetch."""
    round: Round
    done: Count
    total: Count
    """Progress of the activity, in steps or bytes."""
    ready: bool
    """Whether it can lead now: it can distil and is not draining."""

    @model_validator(mode="after")
    def _counts_from_its_epoch(self) -> Self:
        if self.counter < self.epoch:
            raise ValueError("counter: is below the epoch")
        return self


class Sync(Model):
    """Anti-entropy: what the sender holds. `reply` asks the receiver for its own sync."""

    kind: Literal["sync"] = "sync"
    protocol: Protocol = PROTOCOL
    run: Digest
    version: Version
    heads: Annotated[dict[Key, Head], Field(max_length=MAX_SILOS)]
    beats: Annotated[dict[Key, tuple[Count, Epoch]], Field(max_length=MAX_SILOS)]
    """Per author: counter of the newest heartbeat held, and the highest epoch on the disk."""
    reply: bool
    time_ms: Count = 0
    """The sender's wall clock as it sends, in Unix milliseconds; 0 tells nothing. It only informs
    operators (SPEC 4.3.4)."""


class Entries(Model):
    """Envelopes that the receiver lacks: journal entries in chain order, and heartbeats."""

    kind: Literal["entries"] = "entries"
    protocol: Protocol = PROTOCOL
    run: Digest
    entries: Annotated[
        tuple[Annotated[bytes, Field(max_length=MAX_ENTRIES_BYTES)], ...],
        Field(max_length=MAX_ENTRIES),
        FailFast(),
    ]
    beats: Annotated[
        tuple[Annotated[bytes, Field(max_length=4_096)], ...],
        Field(max_length=MAX_SILOS),
        FailFast(),
    ]


class Mismatch(Model):
    """The sender takes part in another run. It sends its manifest, to name the difference."""

    kind: Literal["mismatch"] = "mismatch"
    protocol: Protocol = PROTOCOL
    run: Digest
    version: Version
    manifest: Annotated[bytes, Field(max_length=MAX_MANIFEST_BYTES)]
    reason: Reason


class Bundle(Model):
    """The label of a bundle: its author, and what it holds of a run (SPEC 10)."""

    run: Digest
    author: Key
    version: Version
    manifest: Annotated[bytes, Field(max_length=MAX_MANIFEST_BYTES)]
    heads: Annotated[dict[Key, Head], Field(max_length=MAX_SILOS)]
    """How far the author holds every journal, also that of the bundle's receiver."""
    held: Annotated[dict[Digest, bool], Field(max_length=4_096)]
    """Snapshots on the author's disk, and whether they are in the bundle."""
    entries: Digest
    """SHA-256 of the file that holds the entries."""


Message = Annotated[Sync | Entries | Mismatch, Field(discriminator="kind")]
