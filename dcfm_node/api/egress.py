"""The documents of `dcfm-node egress`: what left this site, to whom, and who holds what of it."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName


class EgressTotal(Model):
    """What one peer was sent of one kind, on one plane."""

    peer: str
    """Its name in this site's peers.toml; empty if the receiver of a bundle, or the other
    site of a pairing, is not known."""
    key: str
    """Its signing key, hex; empty with `peer`."""
    plane: Literal["control", "bulk", "hand"]
    """The plane of the link; "hand" is a bundle, which an operator carried."""
    kind: str
    own: bool | None
    """Of records and weights: whether they are this silo's own, or others' that it passed on. None
    for other kinds, and where it is not known."""
    items: int
    """Number of messages, records or chunks."""
    bytes: int
    first_ms: int
    """Unix milliseconds."""
    last_ms: int


class EgressLine(Model):
    """One line of the ledger, as it is kept: of ten seconds, an hour or a day."""

    first_ms: int
    last_ms: int
    run: str
    """Id of the run, hex."""
    peer: str
    key: str
    plane: Literal["control", "bulk", "hand"]
    kind: str
    silo: str
    """Of a record or of weights: the silo whose they are. Empty for other kinds."""
    digest: str
    """Of this silo's own record, or of the weights, hex; otherwise empty."""
    items: int
    bytes: int


class EgressKind(Model):
    """What messages of a kind carry (SPEC 11.7). No kind carries a sample or its label."""

    kind: str
    carries: str
    derived: Literal["nothing", "names", "figures", "weights"]
    """What in it follows from private data: nothing; names of attribute values and of columns;
    counts and figures over many samples; or weights, which can keep traces of the samples that they
    were trained on."""


class Holding(Model):
    """A member that has, or had, weights of this silo."""

    silo: str
    known_by: tuple[str, ...]
    """How it is known: "sent", "sent in part", "by hand", or the kind of a record that the member
    signed and could only sign with the weights at hand."""


class OwnSnapshot(Model):
    """Weights that this silo published."""

    digest: str
    what: str
    """Such as "expert of round 1"."""
    run: RunName
    size_bytes: int
    published_ms: int
    from_private_data: bool
    """Whether they were trained on this silo's samples (an expert), or made from experts alone."""
    newest: bool
    """Whether the run still asks members to hold it (SPEC 5.2)."""
    holders: tuple[Holding, ...]


class EgressGap(Model):
    """A time of which the ledger may lack something: the node was killed."""

    from_ms: int
    until_ms: int | None
    """None: until now, or the node runs at present."""


class CountsTold(Model):
    """The label counts that this silo published in a run."""

    run: RunName
    told: str
    """In words."""


class Egress(Document):
    """What left this site."""

    schema_: Literal["dcfm-node/egress/1"] = Field("dcfm-node/egress/1", alias="schema")
    silo: str
    key: str
    """Signing key of this node, hex."""
    made_ms: int
    since_ms: int | None
    """What was sent before this time is left out; None leaves out nothing."""
    begins_ms: int | None
    """When the ledger begins; None if there is none."""
    written_ms: int | None
    """When it was last written."""
    gaps: tuple[EgressGap, ...]
    counts: tuple[CountsTold, ...]
    totals: tuple[EgressTotal, ...]
    snapshots: tuple[OwnSnapshot, ...]
    kinds: tuple[EgressKind, ...]
    lines: tuple[EgressLine, ...]


class SignedEgress(Document):
    """The same, signed. The signature is Ed25519 over the text "dcfm-node/egress/1", a zero byte,
    and `report` as JSON with sorted keys, without spaces, in ASCII."""

    schema_: Literal["dcfm-node/egress-signed/1"] = Field(
        "dcfm-node/egress-signed/1", alias="schema"
    )
    report: Egress
    signature: str
    """64 bytes, hex. It verifies under `report.key`."""


class EgressWritten(Document):
    """`egress --out` wrote a signed report."""

    schema_: Literal["dcfm-node/egress-written/1"] = Field(
        "dcfm-node/egress-written/1", alias="schema"
    )
    file: str
    key: str
    lines: int
    bytes_sent: int
    """The sum of all lines."""


class EgressVerified(Document):
    """A signed report holds."""

    schema_: Literal["dcfm-node/egress-verified/1"] = Field(
        "dcfm-node/egress-verified/1", alias="schema"
    )
    silo: str
    """As the report says, or as the peers.toml does that was given."""
    key: str
    listed: bool
    """Whether a peers.toml was given, and lists this key."""
    made_ms: int
    lines: int
    bytes_sent: int
