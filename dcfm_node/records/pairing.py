"""What two sites tell each other before either trusts the other (SPEC 4.8). No journal holds it."""

from typing import Annotated, Literal

from pydantic import Field

from dcfm_node.records.base import Digest, Key, Model, Name, Reason, Version
from dcfm_node.records.messages import PROTOCOL, Protocol

MAX_RUN_BYTES = 64 << 10
"""The most bytes of a run.toml that travels."""
MAX_INTRODUCED = 64
"""The most sites that one answer introduces."""
MAX_PAIRING_BYTES = 512 << 10
"""The most bytes of a request or an answer."""

Address = Annotated[
    str,
    Field(
        max_length=300,
        pattern=r"^tcp://([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9._-]{1,32})?\])"
        r":[1-9][0-9]{0,4}$",
    ),
]
"""Where peers dial a node. Fewer characters are allowed than in a file that the operator writes."""
RunText = Annotated[bytes, Field(max_length=MAX_RUN_BYTES)]
"""A site's run.toml, or nothing. It proposes; nobody has to believe it."""


class Card(Model):
    """What a site says about itself: the `[[peer]]` block that others write of it."""

    name: Name
    sign_key: Key
    link_key: Annotated[bytes, Field(min_length=32, max_length=32)]
    """Curve25519 public key."""
    control: Address | None = None
    bulk: Address | None = None
    handover: Annotated[bytes, Field(min_length=64, max_length=64)] | None = None


class Introduced(Model):
    """A site that the sender has approved. The receiver's operator decides for himself."""

    card: Card
    run: RunText = b""


Introductions = Annotated[tuple[Introduced, ...], Field(max_length=MAX_INTRODUCED)]


class PairRequest(Model):
    """The guest of an invite asks to be approved. Signed with `author`, its card's key."""

    protocol: Protocol = PROTOCOL
    version: Version
    author: Key
    invite: Digest
    """Public key of the invite: the signature is worth nothing with another."""
    card: Card
    run: RunText = b""
    introduced: Introductions = ()
    """Told if the guest has approved the host; read if the host has approved the guest."""


class PairAnswer(Model):
    """What the host of an invite answers. Signed with `author`, its card's key.

    Attributes:
        outcome: `waiting` for the host's operator, `approved`, or `refused`.
        run, introduced: only told to a guest that is approved.
    """

    protocol: Protocol = PROTOCOL
    version: Version
    author: Key
    invite: Digest
    card: Card
    outcome: Literal["waiting", "approved", "refused"]
    reason: Reason = ""
    run: RunText = b""
    introduced: Introductions = ()
