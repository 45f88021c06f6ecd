"""What the daemon and its worker say to each other: one JSON object a line, both ways."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from dcfm_node.data.oddities import DataWarning
from dcfm_node.data.spec import DataSpec
from dcfm_node.errors import writable
from dcfm_node.records.entries import Label
from dcfm_node.records.moments import Moments, Scale

Told = Annotated[str, BeforeValidator(writable)]
"""Words for the operator. They may name files whose names are not valid text."""
WORKER = (sys.executable, "-P", "-X", "faulthandler", "-m", "dcfm_node.worker")
"""The command that starts a worker. With -P it never imports a module of the current folder."""
MACHINE = (sys.executable, "-P", "-m", "dcfm_node.worker.machine")
"""The command that looks at the machine."""
SETUP = "setup"
"""Stands in place of a job's key where the worker's start failed."""
MAX_REASON = 2_000


class _Line(BaseModel):
    # Scores of hostile weights are seldom finite; plain JSON would write null.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Setup(_Line):
    """The first line a worker reads.

    Attributes:
        manifest: canonical bytes of the run's manifest, hex.
        codec: where the codec's file lies, if the manifest names one.
        scratch: a folder of this node alone, in which several ranks meet.
        device: "auto" takes CUDA where there is a GPU.
        threads: torch's threads in each process; 0 leaves torch its own choice.
        bf16, compile: make networks faster on CUDA; elsewhere they change nothing.
        checkpoint_s: at least this long between two checkpoints, in seconds.
        publish_s: the same, of those that peers may have.
        membership_auc: the limit of the privacy gate (`worker.gate`); None leaves it open.
    """

    manifest: str
    data: DataSpec
    codec: Path | None = None
    scratch: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    bf16: bool = False
    compile: bool = False
    checkpoint_s: float = 20.0
    publish_s: float = 600.0
    membership_auc: float | None = None


class TeacherFile(_Line):
    """An expert on disk, with its silo's label counts."""

    silo: str
    path: Path
    counts: tuple[tuple[Label, int], ...]


class Job(_Line):
    """One piece of work.

    Attributes:
        key: names the job and all its inputs, so that a checkpoint of other inputs is never
            resumed.
        kind: "train" an expert, "distil" a student, "score" a student, or "audit" experts.
        silo: this node's name among the teachers.
        round: the round of training, 0-based.
        seed: the seed of everything that the job draws.
        output: the file to write the weights to.
        checkpoint: the file of this node's own checkpoints.
        init: weights to start from; the run's initial weights if None.
        anchor: the student to refine against.
        teachers: the experts to train from or to make a student of; those in an ensemble to
            score; those to audit, this silo's own among them.
        resume: another node's checkpoint of the same job, used if it is further.
        model: the student to score.
        reference: this silo's own expert, to compare the student's score with.
        probes: combinations that nobody trains or compares on (SPEC 6.12). The teachers' counts
            lack them.
        scale: that all data are standardised by; None leaves them as they are.
        measure: whether to measure also what the student draws (SPEC 6.14).
    """

    key: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,96}$")]
    kind: Literal["train", "distil", "score", "audit"]
    silo: str
    round: int = 0
    seed: int
    output: Path
    checkpoint: Path
    init: Path | None = None
    anchor: Path | None = None
    teachers: tuple[TeacherFile, ...] = ()
    resume: Path | None = None
    model: Path | None = None
    reference: Path | None = None
    probes: tuple[Label, ...] = ()
    scale: Scale | None = None
    measure: bool = False


class Starting(_Line):
    """What the worker does before it is ready: the end of a sentence that begins with "it"."""

    event: Literal["starting"] = "starting"
    doing: str


class Ready(_Line):
    """The worker is ready.

    Attributes:
        device: where it trains.
        counts: how often the silo holds each label.
        whole: the same of all its samples, the hold-out's included.
        moments: of the training samples; None where the run states none, or they are too few.
        data: digest of the private data; it stays at this site.
        tensors: name -> (safetensors dtype, shape) of an expert's snapshot.
        warnings, notes: what the operator should mend, or only know, about the private data; they
            stay at this site.
        beside_experts: as `tensors`, what an ensemble holds beside experts; empty if nothing.
        checkpoint: as `tensors`, of a checkpoint of a student; empty if there are none.
    """

    event: Literal["ready"] = "ready"
    device: str
    counts: tuple[tuple[Label, int], ...]
    data: str
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    whole: tuple[tuple[Label, int], ...] = ()
    moments: Moments | None = None
    warnings: tuple[DataWarning, ...] = ()
    notes: tuple[Told, ...] = ()
    beside_experts: dict[str, tuple[str, tuple[int, ...]]] = {}
    checkpoint: dict[str, tuple[str, tuple[int, ...]]] = {}


class Progress(_Line):
    """Steps done and in all of the present job, and its newest losses."""

    event: Literal["progress"] = "progress"
    key: str
    done: int
    total: int
    metrics: dict[str, float]


class Saved(_Line):
    """A checkpoint for peers lies at `path`; the worker does not touch it again."""

    event: Literal["saved"] = "saved"
    key: str
    path: Path
    step: int


class Hindered(_Line):
    """No checkpoint can be written, for this reason, and the job goes on. An empty reason: they can
    be written again."""

    event: Literal["hindered"] = "hindered"
    key: str
    reason: Told


class Done(_Line):
    """The job is finished and its output file is complete. An audit gives scores by silo."""

    event: Literal["done"] = "done"
    key: str
    metrics: dict[str, float]
    scores: dict[str, dict[str, float]] = {}


class Broken(_Line):
    """The set-up or a job failed. `exit_code` is set where the operator must act; `withheld`, where
    the privacy gate keeps an expert back."""

    event: Literal["broken"] = "broken"
    key: str
    reason: Told
    exit_code: int | None = None
    withheld: bool = False


class Asked(_Line):
    """What `worker.machine` is to look at.

    Attributes:
        device: as `worker.device` in node.toml.
        manifest: canonical bytes of the run's manifest, hex; empty if there is none.
    """

    device: str = "auto"
    manifest: str = ""


class Machine(_Line):
    """What torch found on this machine.

    Attributes:
        torch: its version.
        device: what the node would train on, such as "cpu"; empty if the wish cannot be met.
        gpu: its name; empty if there is none.
        gpu_free_bytes: free memory of the GPU; 0 without one.
        numbers: of the run's network; 0 without a manifest.
        error, fix: why the rest could not be found, and what to do; else empty.
    """

    torch: str
    device: str = ""
    gpu: str = ""
    gpu_free_bytes: int = 0
    numbers: int = 0
    error: Told = ""
    fix: Told = ""


Line = Starting | Ready | Progress | Saved | Hindered | Done | Broken
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="event")])
