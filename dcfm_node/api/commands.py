"""Documents of commands that need no daemon: nodes, keys, runs, bundles, proofs, and errors."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName


class Error(Document):
    """A command failed."""

    schema_: Literal["dcfm-node/error/1"] = Field("dcfm-node/error/1", alias="schema")
    error: str
    where: str
    """File, line, field or peer; empty if there is none."""
    fix: str
    exit_code: int


class Version(Document):
    """`version`."""

    schema_: Literal["dcfm-node/version/1"] = Field("dcfm-node/version/1", alias="schema")
    version: str


class FoundAttribute(Model):
    """An attribute that a silo's data have."""

    name: str
    values: tuple[str, ...]
    """Those that occur at this site."""


class FoundCombination(Model):
    """A combination that a silo's data have."""

    values: tuple[str, ...]
    """One per attribute, in the order of the attributes."""
    samples: int


class FoundFeature(Model):
    """The range of a feature of vectors, or of a channel of series and pictures."""

    name: str
    least: float
    greatest: float
    mean: float
    deviation: float


class FoundData(Model):
    """What `init --data` found."""

    path: str
    format: str
    samples: int
    sample_shape: tuple[int, ...]
    assumed: str
    """How the numbers of a sample are read, and how to change it; empty if nothing is in doubt."""
    chose: str
    """Which columns of a table are attributes by rule, and how to change it; else empty."""
    attributes: tuple[FoundAttribute, ...]
    combinations: tuple[FoundCombination, ...]
    features: tuple[FoundFeature, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


class FoundFiles(Model):
    """What `init --data` recognised without reading it, since only one domain reads such files."""

    path: str
    format: str
    domain: str
    """Whose shipped run.toml was written."""
    files: int
    """Of episodes, or of images."""
    samples: int
    """Episodes or images, as far as names and headers tell."""
    notes: tuple[str, ...]
    """What to decide before the run, and where."""


class NodeMade(Document):
    """`init`."""

    schema_: Literal["dcfm-node/init/1"] = Field("dcfm-node/init/1", alias="schema")
    folder: str
    config: str
    run: str
    """The run.toml; if it was there before, it is unchanged."""
    advertised: bool
    """Whether node.toml says where peers reach this node."""
    data: FoundData | None
    """None without --data, and where `files` is not None."""
    files: FoundFiles | None = None


class RunMerged(Document):
    """`run merge`."""

    schema_: Literal["dcfm-node/merged/1"] = Field("dcfm-node/merged/1", alias="schema")
    file: str
    attributes: tuple[FoundAttribute, ...]
    notes: tuple[str, ...]
    """What was decided where sites differ, and what cannot work."""
    sites: tuple[str, ...] = ()
    """Names of the sites, if their files came by pairing."""


class PeerBlock(Model):
    """The [[peer]] block that the other sites add to their peers.toml."""

    name: str
    sign_key: str
    """Ed25519 public key, hex."""
    link_key: str
    """Curve25519 public key, Z85."""
    control: str | None
    bulk: str | None
    handover: str | None
    """The old signing key's signature over the new keys, hex."""


class NodeId(Document):
    """`id`."""

    schema_: Literal["dcfm-node/id/1"] = Field("dcfm-node/id/1", alias="schema")
    peer: PeerBlock


class DemoPrepared(Document):
    """`demo --prepare`."""

    schema_: Literal["dcfm-node/prepared/1"] = Field("dcfm-node/prepared/1", alias="schema")
    out: str
    start: tuple[str, ...]
    """One command for each node."""


class NewKeys(Model):
    """A node's new public keys."""

    name: str
    sign_key: str
    """Ed25519, hex."""
    link_key: str
    """Curve25519, Z85."""


class KeysRotated(Document):
    """`keys rotate`."""

    schema_: Literal["dcfm-node/keys/1"] = Field("dcfm-node/keys/1", alias="schema")
    peer: NewKeys
    block: str
    """The whole [[peer]] block, as text."""


class RunContinued(Document):
    """`run continue`."""

    schema_: Literal["dcfm-node/continue/1"] = Field("dcfm-node/continue/1", alias="schema")
    file: str
    continues: str
    """Id of the present run, hex."""
    student: str | None
    """Digest of the student that the new run starts from."""
    departed: dict[str, str]
    """Why each silo left the present run, by silo name."""


class ProofWritten(Document):
    """`proof write`."""

    schema_: Literal["dcfm-node/proof/1"] = Field("dcfm-node/proof/1", alias="schema")
    silo: str
    file: str


class Proven(Document):
    """`proof verify`: a silo signed two entries under one number."""

    schema_: Literal["dcfm-node/proven/1"] = Field("dcfm-node/proven/1", alias="schema")
    proven: Literal[True] = True
    silo: str
    id: str
    run: RunName
    epoch: int
    seq: int
    entries: tuple[str, str]
    """Digests, hex."""
    kinds: tuple[str, str]


class StateExported(Document):
    """`export-state`."""

    schema_: Literal["dcfm-node/state-exported/1"] = Field(
        "dcfm-node/state-exported/1", alias="schema"
    )
    file: str
    silo: str
    files: int
    bytes: int
    """Of all files together."""
    encrypted: bool
    left: tuple[str, ...]
    """Files in the folders of keys and state that are not the node's, and stay."""


class StateImported(Document):
    """`import-state`."""

    schema_: Literal["dcfm-node/state-imported/1"] = Field(
        "dcfm-node/state-imported/1", alias="schema"
    )
    folder: str
    state: str
    silo: str
    version: str
    """Of the software that exported it."""
    exported_ms: int
    """Unix time."""
    files: int
    bytes: int
    """Of all files together."""


class BundleExported(Document):
    """`bundle export`."""

    schema_: Literal["dcfm-node/bundle-export/1"] = Field(
        "dcfm-node/bundle-export/1", alias="schema"
    )
    run: str
    folder: str
    records: int
    snapshots: int
    bytes: int


class BundleVerified(Document):
    """`bundle verify`."""

    schema_: Literal["dcfm-node/bundle-verified/1"] = Field(
        "dcfm-node/bundle-verified/1", alias="schema"
    )
    verified: Literal[True] = True
    run: RunName
    author: str
    records: dict[str, int]
    """By silo."""
    continuing: int
    """Records that continue what the receiver holds."""
    snapshots: int
    forked: tuple[str, ...]
    """Silos that signed two histories."""
