"""Documents about students, from the `student` commands and the daemon."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName


class Teacher(Model):
    """An expert that a student was distilled from."""

    silo: str
    round: int
    digest: str


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
    released: bool
    rejected: bool
    superseded: dict[str, str]
    """Why the student no longer counts, by name of a silo that taught it."""
    metrics: dict[str, float]


class ListedStudent(StudentFacts):
    """A student, and whether this node holds it."""

    held: bool


class Students(Document):
    """Every student of a run."""

    schema_: Literal["dcfm-node/students/1"] = Field("dcfm-node/students/1", alias="schema")
    run: RunName
    students: tuple[ListedStudent, ...]


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
    replaced: str | None
    """Digest of the student that the folder held before."""


class Sampled(Document):
    """Samples were drawn into a file."""

    schema_: Literal["dcfm-node/sampled/1"] = Field("dcfm-node/sampled/1", alias="schema")
    count: int
    out: str
    guidance_known: float
    """Guidance weight of combinations that a teacher of the student holds."""
    guidance_novel: float
    """Guidance weight of the other combinations."""
