"""The requests of the control API, and the document that answers each.

A request is one line of JSON with a `command`; an answer is a document, a `Refusal`, or `NotReady`.
"""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, TypeAdapter

from dcfm_node.api.document import Document, Model
from dcfm_node.api.journal import Journal
from dcfm_node.api.pairing import Reloaded
from dcfm_node.api.run import RunFacts
from dcfm_node.api.status import Peers, StartingStatus, Status
from dcfm_node.api.students import StudentFiles, Students

MAX_GRACE_S = 86_400.0

Answer = TypeVar("Answer", bound=Document)


class ImportedBundle(Document):
    """A bundle was imported."""

    schema_: Literal["dcfm-node/bundle-import/1"] = Field(
        "dcfm-node/bundle-import/1", alias="schema"
    )
    author: str = Field(alias="from")
    records: int
    new_records: int
    """Records that were new here."""
    snapshots: int
    new_snapshots: int
    """Snapshots that were wanted here."""
    wanted: int
    """Snapshots that are still wanted."""


class ForkProof(Document):
    """Two entries of a silo that contradict each other."""

    schema_: Literal["dcfm-node/fork-proof/1"] = Field("dcfm-node/fork-proof/1", alias="schema")
    silo: str
    proof: str
    """Hex."""


class Withdrawn(Document):
    """This silo has left the run."""

    schema_: Literal["dcfm-node/withdraw/1"] = Field("dcfm-node/withdraw/1", alias="schema")
    withdrawn: Literal[True] = True
    already: bool
    """Whether it had left before. `reason` is then the one given at that time."""
    reason: str


class Stopping(Document):
    """The daemon has begun to stop. `stopped` is true once `stop` has seen it end."""

    schema_: Literal["dcfm-node/stop/1"] = Field("dcfm-node/stop/1", alias="schema")
    stopping: Literal[True] = True
    grace_s: float
    stopped: bool = False


class Refusal(Model):
    """The daemon could not carry out the request."""

    error: str
    where: str = ""
    fix: str = ""
    more: tuple[str, ...] = ()


class NotReady(Model):
    """The daemon is starting and cannot answer other requests yet."""

    starting: StartingStatus


class Request(Model, Generic[Answer]):
    """A command with its arguments. Subclasses name the document that answers it."""

    @classmethod
    def answer(cls) -> type[Answer]:
        """The kind of document that answers this request."""
        given = (k for k in cls.__mro__ if issubclass(k, Request) and k.__bases__ == (Request,))
        kind: type[Answer] = next(given).__pydantic_generic_metadata__["args"][0]
        return kind


class StatusRequest(Request[Status]):
    """Ask for the state of the run and of this node."""

    command: Literal["status"] = "status"


class PeersRequest(Request[Peers]):
    """Ask for the peers and their links."""

    command: Literal["peers"] = "peers"


class RunRequest(Request[RunFacts]):
    """Ask what the run is about, and who holds which combination."""

    command: Literal["run"] = "run"


class StudentsRequest(Request[Students]):
    """Ask for all students of the run."""

    command: Literal["students"] = "students"


class StudentRequest(Request[StudentFiles]):
    """Ask for one student."""

    command: Literal["student"] = "student"
    digest: str = "latest"
    """The start of its digest, hex, or "latest"."""


class JournalRequest(Request[Journal]):
    """Ask for a silo's records."""

    command: Literal["journal"] = "journal"
    silo: str = ""
    """Name of the silo; this node's own if empty."""


class ProofRequest(Request[ForkProof]):
    """Ask for the proof that a silo signed two histories."""

    command: Literal["proof"] = "proof"
    silo: str


class ImportRequest(Request[ImportedBundle]):
    """Import a bundle."""

    command: Literal["import"] = "import"
    folder: str
    """Absolute path."""


class WithdrawRequest(Request[Withdrawn]):
    """Leave the run for good."""

    command: Literal["withdraw"] = "withdraw"
    reason: str


class ReloadRequest(Request[Reloaded]):
    """Read node.toml, peers.toml and the invites again."""

    command: Literal["reload"] = "reload"


class StopRequest(Request[Stopping]):
    """Stop the daemon."""

    command: Literal["stop"] = "stop"
    grace_s: Annotated[float, Field(ge=0, le=MAX_GRACE_S)] = 30.0
    """Seconds that the current work may take to end."""


ANSWERED_OTHERWISE: TypeAdapter[Refusal | NotReady] = TypeAdapter(Refusal | NotReady)
AnyRequest = (
    StatusRequest
    | PeersRequest
    | RunRequest
    | StudentsRequest
    | StudentRequest
    | JournalRequest
    | ProofRequest
    | ImportRequest
    | WithdrawRequest
    | ReloadRequest
    | StopRequest
)
REQUEST: TypeAdapter[AnyRequest] = TypeAdapter(
    Annotated[AnyRequest, Field(discriminator="command")]
)
