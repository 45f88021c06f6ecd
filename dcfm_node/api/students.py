"""Documents about students, from the `student` commands and the daemon."""

from typing import Literal, Self

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName
from dcfm_node.swarm.quality import Announcement


class Teacher(Model):
    """An expert that a student was distilled from."""

    silo: str
    round: int
    digest: str


class Estimated(Model):
    """An expected share of draws that are right in all attributes, with its interval; 0 to 1."""

    value: float
    low: float
    high: float


class Dissent(Model):
    """A silo's own word, across the floor from what is announced."""

    silo: str
    kind: Literal["known", "novel"]
    value: float
    """Share of draws that it expects to be right, 0 to 1."""


class Expected(Model):
    """What a student's draws are expected to be worth, by its judges' figures (SPEC 6.14)."""

    known: Estimated | None
    """Of combinations that silos train on; null if unmeasured."""
    novel: Estimated | None
    """Of all other combinations, probes among them; null if unmeasured."""
    floor: float
    """A final student is released only if neither is below it, as most silos measure it."""
    below: bool
    """Whether one of them is below the floor, once no silo is awaited."""
    judged: int = 0
    """How many silos have judged the student."""
    awaited: int = 0
    """How many others may still decide on it: values can only rise; 0 once it is decided."""
    dissent: tuple[Dissent, ...] = ()
    """Silos that do not agree; empty while any is awaited."""
    why: str
    """Why one is unmeasured; empty if none is."""
    text: str
    """All of it in words."""

    @classmethod
    def of(cls, found: Announcement, floor: float) -> Self:
        """The document of an announcement."""
        parts = {
            name: None
            if part is None
            else Estimated(value=part.value, low=part.low, high=part.high)
            for name, part in (("known", found.known), ("novel", found.novel))
        }
        return cls(
            **parts,
            floor=floor,
            below=found.below(floor),
            judged=found.judged,
            awaited=found.awaited,
            dissent=tuple(
                Dissent(silo=one.silo, kind=one.kind, value=one.value) for one in found.dissent
            ),
            why=found.why,
            text=str(found),
        )


class StudentFacts(Model):
    """One student, with its lineage by silo names. Digests are hex."""

    digest: str
    bytes: int
    round: int
    term: int
    final: bool
    outcome: Literal["COMPLETE", "DEGRADED"]
    missing: tuple[str, ...]
    """Active silos without an expert of its round among its teachers."""
    resumed: str | None
    """Digest of the checkpoint that it was trained from."""
    leader: str
    teachers: tuple[Teacher, ...]
    endorsed_by: tuple[str, ...]
    refused_by: dict[str, str]
    """Why each silo refused it, by silo name."""
    expected: Expected
    released: bool
    rejected: bool
    below_floor: bool
    """Whether so many silos measured it below the floor that it stays interim for good."""
    superseded: dict[str, str]
    """Why the student no longer counts, by name of a silo that taught it."""
    metrics: dict[str, float]


class ListedStudent(StudentFacts):
    """A student, when it was published, and whether this node holds it."""

    held: bool
    time_ms: int | None = None
    """When its leader published it, by the leader's clock, Unix milliseconds."""


class FolderStudents(Model):
    """The students in a folder that `student fetch` wrote. Digests are hex."""

    folder: str
    current: str
    previous: str | None
    """The student that `student rollback` goes back to; null if none is kept."""


class Students(Document):
    """Every student of a run."""

    schema_: Literal["dcfm-node/students/1"] = Field("dcfm-node/students/1", alias="schema")
    run: RunName
    students: tuple[ListedStudent, ...]
    fetched: FolderStudents | None = None
    """The students in the folder that was named; null if none was."""


class StudentFiles(Document):
    """All that `student fetch` needs to write a student's folder."""

    schema_: Literal["dcfm-node/student/1"] = Field("dcfm-node/student/1", alias="schema")
    path: str
    """The model's file, relative to the state folder."""
    lineage: str
    """The signed lineage (SPEC 9.1), hex."""
    student: StudentFacts


class Fetched(Document, StudentFacts):
    """A student's folder was written."""

    schema_: Literal["dcfm-node/fetched/1"] = Field("dcfm-node/fetched/1", alias="schema")
    folder: str
    written: bool
    """False if the folder keeps its student: the operator went back to it from this one."""
    offline: bool
    """Whether it was read from the node's files, because no daemon answered."""
    replaced: str | None
    """Digest of the student that the folder held before, or keeps."""


class RolledBack(Document):
    """A student's folder went back to the student before."""

    schema_: Literal["dcfm-node/rolled-back/1"] = Field("dcfm-node/rolled-back/1", alias="schema")
    folder: str
    digest: str
    """Of the student that the folder holds now."""
    run: RunName
    round: int
    standing: Literal["released", "not released", "interim", "superseded"]
    previous: str
    """Digest of the student that it held before, which is kept beside it."""


class Sampled(Document):
    """Samples were drawn into a file."""

    schema_: Literal["dcfm-node/sampled/1"] = Field("dcfm-node/sampled/1", alias="schema")
    count: int
    """Of samples, in all."""
    out: str
    combinations: int
    """How many different combinations were drawn."""
    novel: int
    """How many of these no teacher of the student trained on."""
    all_novel: bool
    """Whether that is so of all of them: exit code 3."""
    unseen: tuple[str, ...]
    """Values among these, as attribute=value, that no silo of the run holds."""
    expected: Expected
    """What draws of this student are expected to be worth."""
    columns: tuple[str, ...]
    """Names of the numbers of a sample in a table or a picture of vectors, in order; else empty."""
    columns_from: str
    """Where these names come from, in words; empty without them."""
    guidance_known: float
    """Guidance weight of combinations that a teacher of the student trained on."""
    guidance_novel: float
    """Guidance weight of the other combinations."""


class ComposedStudent(Model):
    """One of the students that were composed. Digests are hex."""

    name: str
    """What expressions call it: A, B, C, …"""
    folder: str
    digest: str
    run: RunName
    standing: Literal["released", "not released", "interim", "superseded"]
    expected: Expected
    """What its own draws are expected to be worth; nobody judged the composition."""


class Composed(Document):
    """Samples of several students at once were drawn into a file."""

    schema_: Literal["dcfm-node/composed/1"] = Field("dcfm-node/composed/1", alias="schema")
    count: int
    """Of samples, in all."""
    out: str
    students: tuple[ComposedStudent, ...]
    combinations: int
    """How many different combinations were drawn."""
    novel: int
    """In how many of these no silo of some student trained on what is asked of that student."""
    all_novel: bool
    """Whether that is so of all of them: exit code 3."""
    correct: Literal["none", "langevin", "mala", "smc"]
    columns: tuple[str, ...]
    """Names of the numbers of a sample in a table or a picture of vectors, in order; else empty."""
    columns_from: str
    """Where these names come from, in words; empty without them."""


class Exported(Document):
    """A student was exported as ONNX."""

    schema_: Literal["dcfm-node/exported/1"] = Field("dcfm-node/exported/1", alias="schema")
    folder: str
    digest: str
    files: tuple[str, ...]
