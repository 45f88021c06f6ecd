"""Documents of pairing: invites, sites that wait for approval, and changes of peers.toml."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model


class PendingSite(Model):
    """A site that waits for this operator's approval. All but its keys is its own word."""

    name: str
    fingerprint: str
    """Of its two keys: six groups of four hex digits."""
    link_key: str
    """Curve25519 public key, Z85."""
    control: str | None
    """Where it can be dialled; null if it only dials out."""
    bulk: str | None
    """Where its bulk plane can be dialled; null if it only dials out."""
    introduced_by: str | None
    """The approved peer that introduced it; null if the two sites met by a code."""
    approved_there: bool
    """Whether it has approved this site, as far as this node knows."""
    time: str
    """When this node heard of it, UTC."""


class Invitation(Document):
    """`invite`: one other site may ask to be approved."""

    schema_: Literal["dcfm-node/invite/1"] = Field("dcfm-node/invite/1", alias="schema")
    code: str
    name: str
    """This site's name."""
    fingerprint: str
    address: str
    """Where the other site dials."""
    expires: str
    """UTC."""
    running: bool
    """Whether a daemon answers the other site. If not, this command does, while it runs."""


class Joined(Document):
    """`join`: what the other site answered."""

    schema_: Literal["dcfm-node/join/1"] = Field("dcfm-node/join/1", alias="schema")
    outcome: Literal["waiting", "approved"]
    """Whether the other site approved this one."""
    approved_here: bool
    """Whether this site approved the other one."""
    host: PendingSite
    name: str
    """This site's name."""
    fingerprint: str
    """This site's own."""
    introduced: tuple[PendingSite, ...]
    """Other peers of that site, which wait for approval here."""
    left_out: tuple[str, ...]
    """What was not kept, and why."""


class Pending(Document):
    """`peers pending`: the sites that wait for approval."""

    schema_: Literal["dcfm-node/pending/1"] = Field("dcfm-node/pending/1", alias="schema")
    name: str
    fingerprint: str
    """This site's own."""
    sites: tuple[PendingSite, ...]


class Reloaded(Document):
    """`reload`: what a running node took up of its files, and what it will at the next start."""

    schema_: Literal["dcfm-node/reload/1"] = Field("dcfm-node/reload/1", alias="schema")
    applied: tuple[str, ...]
    """What changed now, in words."""
    restart: tuple[str, ...]
    """Settings that changed in the file, and take effect at the next start."""
    peers_file: str
    peers: tuple[str, ...]
    """The names of all peers that may link now."""
    invites: int
    """Open invites."""


class PeersChanged(Document):
    """`peers approve`, `reject`, `add` and `remove`."""

    schema_: Literal["dcfm-node/peers-changed/1"] = Field(
        "dcfm-node/peers-changed/1", alias="schema"
    )
    action: Literal["approved", "rejected", "added", "removed"]
    names: tuple[str, ...]
    file: str
    """The peers.toml."""
    reloaded: Reloaded | None
    """What the running node took up; null if none runs."""
    notes: tuple[str, ...]
    """What follows for the present run and the next."""


class OtherPeer(Model):
    """A peer that is not on the roster of the present run."""

    name: str
    fingerprint: str
    control: str
    """How it is linked on the control plane: "own", or "" if it is not."""
    bulk: str
    """The same on the bulk plane; "control port" for a guest."""
