"""The documents that answer `status` and `peers`."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName
from dcfm_node.api.pairing import OtherPeer, PendingSite
from dcfm_node.api.problems import Problem
from dcfm_node.api.students import StudentFacts
from dcfm_node.net.peers import Crowd, Way
from dcfm_node.records.entries import Cause


class StatusRun(RunName):
    """This node's run."""

    continues: str | None
    """Id of the run that this run continues, hex."""


class Phase(Model):
    """A stage of the method, in a round."""

    stage: str
    round: int


class Doing(Model):
    """What a node does now, and why."""

    activity: str
    done: int
    """Steps done, of `total`; both are 0 while unknown."""
    total: int
    fetching: tuple[str, ...]
    """Digests of the snapshots that this node is fetching, hex."""
    why: str
    waiting_on: tuple[str, ...]
    """Silos that the node waits for, in roster order."""


class LastBundle(Model):
    """What the newest bundle brought from a silo."""

    ago_s: float
    bundle_of: str
    """The silo that exported it."""
    records: int
    """Records of the silo that were new here."""
    snapshots: int
    """Snapshots in the bundle that this node wanted."""


class Judgement(Model):
    """Why members accuse a silo (SPEC 6.7)."""

    cause: Cause
    reason: str
    """The reason that the first accuser gave."""
    by: tuple[str, ...]


class SiloStatus(Model):
    """One silo of the roster, as this node sees it. Ages are in seconds."""

    name: str
    id: str
    """Ed25519 public key, hex."""
    own: bool = Field(alias="self")
    """Whether it is this node's own silo."""
    linked: bool
    live: bool
    heard_ago_s: float | None
    """Since its last sign of life, directly or through others."""
    moved_ago_s: float | None
    """Since it last showed progress."""
    disk_full_ago_s: float | None = None
    """Since it last said that its disk is full; null for this node, and where it never did."""
    activity: str | None
    round: int | None
    done: int | None
    total: int | None
    joined: bool
    withdrawn: bool
    late_s: float | None
    """For how long the run has waited for it; null unless that is too long."""
    samples: int
    share: float | None
    """Its weight in all averages, 0 to 1."""
    expert_round: int | None
    condemned: bool
    """Whether too many silos refused its newest expert."""
    expert_ago_s: float | None
    """Since it published its newest expert, by its own clock."""
    record_ago_s: float | None
    """Since its last record, by its own clock."""
    link_ago_s: float | None
    """Since it last sent something over its own link."""
    metrics: dict[str, float]
    """Metrics of its newest expert."""
    records: int
    version: str | None
    """Version of its software."""
    trouble: str
    """Why its run or protocol does not match this node's; empty if it matches."""
    refused: str
    """What it did on its links that no honest node does, or why there is no link."""
    forked: bool
    quarantined: str
    """Why it is in quarantine; empty if it is not."""
    verdicts: tuple[Judgement, ...]
    bundle: LastBundle | None
    by_bundle: bool
    """Whether it takes part by bundles."""
    links: dict[str, Way]
    """Its links by plane, "control" and "bulk"."""
    clock_ahead_s: float | None = None
    """By how many seconds its wall clock is ahead of this node's; null if it was not measured."""
    address: str | None = None
    """Its control address in peers.toml; null if it has none there, and for this node's own."""
    bytes_sent: int | None = None
    """Payload bytes sent to it since the start, both planes; null for this node's own silo."""
    bytes_received: int | None = None


class Eta(Model):
    """When the present stage and the run are expected to end, from measured speeds."""

    stage_s: float | None
    """Seconds until the present stage ends; null if unknown."""
    run_s: float | None
    """Seconds until the run ends, if it needs all its rounds; null if unknown."""
    why: str
    """Why one of them is unknown; empty if both are known."""


class Elections(Model):
    """Whether a leader can be elected now, as this node sees it."""

    quorum: int
    """Silos that must vote for a leader."""
    present: int
    """Active silos that give signs of life, this node's own included."""
    losses_left: int
    """How many more of these may fall silent before no leader can be elected; negative if so many
    are silent already."""


class MissingValue(Model):
    """A value that no silo holds."""

    attribute: str
    value: str


class Coverage(Model):
    """Which combinations the silos hold (Eq. 2 of DCFM)."""

    observed: int
    combinations: int
    silos: int
    silos_told: int
    """Silos that have published what they hold."""
    sufficient: bool
    combinations_short: int
    """How many more combinations Eq. 2 of DCFM requires."""
    missing_values: tuple[MissingValue, ...]
    rank: int
    """How many of the observed combinations are affinely independent."""
    rank_needed: int
    """With so many, all other combinations are in their affine hull (arXiv 2410.06303)."""
    outside_hull: int
    """Unobserved combinations that are not in the affine hull of the observed ones."""
    level_1: int
    """Unobserved combinations that differ from an observed one in one attribute."""
    level_2: int
    """All other unobserved combinations."""
    alone: dict[str, int]
    """By silo, how many of the observed combinations no other silo counts, the most first. Nobody
    can check these."""


class PreparationStatus(Model):
    """What all silos agree to build on before anyone trains (SPEC 6.11)."""

    agreed: bool
    silos: tuple[str, ...]
    """Those on whose joins it builds, as far as this node knows the joins."""
    accepted_by: tuple[str, ...]
    """Silos whose own records hold it."""
    probes: tuple[dict[str, str], ...]
    """Held combinations that nobody trains on (value by attribute), to measure with."""
    why: str
    """Why the run has no probes. Empty if it has some, or if the reason is unknown."""


class CheckpointStatus(Model):
    """The checkpoint that the next leader would resume from."""

    leader: str
    round: int
    term: int
    step: int
    held: bool
    """Whether this node holds it."""


class TroubleFacts(Model):
    """An operation that fails at present, and how often."""

    what: str
    code: str
    """An errno's name, else the name of an exception."""
    why: str
    times: int
    since_s: float
    last_s: float


class WorkerStatus(Model):
    """The training process."""

    device: str
    pid: int | None
    metrics: dict[str, float]
    """The newest metrics of the current work."""


class Stranger(Model):
    """An unknown key that tried to connect."""

    link_key: str
    """Curve25519 public key, Z85."""
    address: str
    reason: str


class Strangers(Model):
    """Connections to this node from keys that are not in peers.toml."""

    pending: tuple[Stranger, ...] = ()
    pending_more: bool = False
    """Whether further keys may have tried, which this node did not keep."""
    unknown: dict[str, Crowd] = Field(default_factory=dict)
    """Connections that have not identified themselves, by plane."""


class Machine(Strangers):
    """The state of the process and its links; the run's records do not have it."""

    uptime_s: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    troubles: tuple[TroubleFacts, ...] = ()
    disk_free: int | None = None
    """Bytes that are free for this node where its state folder is; null if not measured."""
    disk_total: int | None = None
    """Bytes of that file system; null if not measured."""
    snapshots_bytes: int | None = None
    """Bytes of the snapshots that this node holds; null if not measured."""
    peak_rss_mb: float = 0.0
    """The most memory that the daemon and its worker have used, in MB."""
    worker: WorkerStatus = WorkerStatus(device="", pid=None, metrics={})


class Status(Document, Machine):
    """Where the run is, what this node does and why, and what is wrong."""

    schema_: Literal["dcfm-node/status/2"] = Field("dcfm-node/status/2", alias="schema")
    node: str
    id: str
    version: str
    run: StatusRun
    health: Literal["healthy", "degraded"]
    problems: tuple[Problem, ...]
    phase: Phase | None
    method: str
    schedule: str
    """The method's schedule; the method's name if it has only one."""
    participation: str
    doing: Doing
    catching_up: tuple[str, ...]
    """What other nodes have and this node does not have yet."""
    silos: tuple[SiloStatus, ...]
    coverage: Coverage
    preparation: PreparationStatus | None
    """None in a run that prepares nothing."""
    last_round: int | None = None
    """The last round of training that the run can have. Round 0 is the first."""
    eta: Eta | None = None
    elections: Elections | None = None
    students: tuple[StudentFacts, ...]
    latest: StudentFacts | None
    """The released student."""
    checkpoint: CheckpointStatus | None
    terms: int


class StartingDoing(Model):
    """What a starting node does."""

    activity: Literal["starting"] = "starting"
    why: str
    waiting_on: tuple[str, ...] = ()


class StartingStatus(Document):
    """The answer to `status` until the training process is ready."""

    schema_: Literal["dcfm-node/status/2"] = Field("dcfm-node/status/2", alias="schema")
    node: str
    version: str
    run: RunName
    health: Literal["starting"] = "starting"
    problems: tuple[Problem, ...] = ()
    phase: None = None
    doing: StartingDoing


class PeerStatus(SiloStatus):
    """Another silo, and the traffic over its links."""


class Peers(Document, Strangers):
    """The peers with their links, and the unknown keys that tried to connect."""

    schema_: Literal["dcfm-node/peers/1"] = Field("dcfm-node/peers/1", alias="schema")
    peers: tuple[PeerStatus, ...]
    """The other silos of the present run."""
    others: tuple[OtherPeer, ...] = ()
    """Peers that may link and are in no run of this node, or not in the present one."""
    waiting: tuple[PendingSite, ...] = ()
    """Sites that wait for approval."""
    fingerprint: str = ""
    """This site's own."""
