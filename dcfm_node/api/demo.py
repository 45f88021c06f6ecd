"""The document that `demo` prints and writes to report.json."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from dcfm_node.api.document import Document, Model
from dcfm_node.api.status import Coverage
from dcfm_node.api.students import Expected


class _Event(Model):
    at_s: float
    """Seconds since the demo began, by the clock of the record's author."""
    silo: str


class JoinEvent(_Event):
    """A silo joined the run."""

    event: Literal["join"] = "join"


class ExpertEvent(_Event):
    """A silo published an expert."""

    event: Literal["expert"] = "expert"
    round: int
    metrics: dict[str, float]


class LeaseEvent(_Event):
    """A silo was elected."""

    event: Literal["lease"] = "lease"
    round: int
    term: int


class StudentEvent(_Event):
    """A leader published a student."""

    event: Literal["student"] = "student"
    round: int
    term: int
    final: bool
    metrics: dict[str, float]


class EndorseEvent(_Event):
    """A silo endorsed a student."""

    event: Literal["endorse"] = "endorse"
    metrics: dict[str, float]


class RefuseEvent(_Event):
    """A silo refused a student."""

    event: Literal["refuse"] = "refuse"
    reason: str


Event = Annotated[
    JoinEvent | ExpertEvent | LeaseEvent | StudentEvent | EndorseEvent | RefuseEvent,
    Field(discriminator="event"),
]


class Leader(Model):
    """Who distilled the student of a round."""

    round: int
    term: int
    silo: str


class DemoNode(Model):
    """A node at the end of the demo."""

    name: str
    student_digest: str | None
    bytes_sent: int
    bytes_received: int
    peak_rss_mb: float
    problems: tuple[str, ...]
    """Sentence and fix of each problem."""


class DemoPhase(Model):
    """A stage of a round, in seconds since the demo began."""

    stage: str
    round: int
    from_s: float
    to_s: float


class AccuracyDetail(Model):
    """How the accuracy was measured: rules, samples, standard errors, other candidates."""

    model_config = ConfigDict(extra="allow")

    combinations: dict[str, int]
    """How many combinations some silo holds ("known"), and how many none does ("novel"). Of the
    domain `chest-xray`: how many somebody trained on, and how many nobody did."""
    together: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Metrics of all samples of a model, by model. Of the domain `chest-xray`: `utility` and others
    of `domains.chest.evaluation`."""
    redrawn: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Other shares of the student's samples, 0 to 1, by "known" or "novel". Of the domain `cube`:
    `success` is executed by the planner and ends within 4 cm of the goal, `tracked` follows the
    plan's own commands, and `…_2cm` ends within 2 cm."""


class DemoReport(Document):
    """`demo`: how the run went, and how accurate its student is."""

    schema_: Literal["dcfm-node/demo-report/1"] = Field("dcfm-node/demo-report/1", alias="schema")
    domain: str
    schedule: str
    seed: int
    silos: int
    run_id: str
    released_s: float
    """Seconds from the start of the demo until every node held the released student."""
    elapsed_s: float
    student_digest: str
    outcome: Literal["COMPLETE", "DEGRADED"]
    missing: tuple[str, ...]
    lost: dict[str, str]
    """How each lost node was killed, by name."""
    endorsed_by: tuple[str, ...]
    refused_by: dict[str, str]
    rounds: int
    terms: int
    leaders: tuple[Leader, ...]
    nodes: tuple[DemoNode, ...]
    accuracy: dict[str, dict[str, float]]
    """Share of correct samples, 0 to 1, by model and then by "known" or "novel"."""
    accuracy_detail: AccuracyDetail
    expected: Expected
    """What the silos' figures announced, beside the true `accuracy` of "student"."""
    coverage: Coverage
    phases: tuple[DemoPhase, ...]
    timeline: tuple[Event, ...]
