"""The documents that `domain` prints: data that were made, and plans that were executed."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model


class MadePlans(Model):
    """Plans of one combination that episodes hold."""

    values: tuple[str, ...]
    """One per attribute: source, destination."""
    plans: int


class LeftOut(Model):
    """Pieces of episodes that are not plans."""

    why: str
    pieces: int


class DomainMade(Document):
    """`domain make`."""

    schema_: Literal["dcfm-node/domain-made/1"] = Field("dcfm-node/domain-made/1", alias="schema")
    domain: str
    folder: str
    seed: int
    moves: tuple[str, ...] = ()
    """SOURCE:DESTINATION of the only moves that the robot made; empty if it might make all."""
    episodes: int
    new: int
    """Of these, how many this command made; the others were there."""
    frames: int
    """In all episodes."""
    attributes: tuple[str, ...]
    combinations: tuple[MadePlans, ...]
    """All of them, in the order of the attributes' values."""
    left_out: tuple[LeftOut, ...]
    seconds: float
    """That this command took."""


class DomainCodec(Document):
    """`domain codec`."""

    schema_: Literal["dcfm-node/domain-codec/1"] = Field("dcfm-node/domain-codec/1", alias="schema")
    domain: str
    kind: str
    """Of the codec."""
    file: str
    digest: str
    """SHA-256 of the file: `codec.file` in run.toml."""
    section: tuple[str, ...]
    """The lines of the section `codec` of a run.toml that uses it."""
    samples: int
    """Public samples that it was fitted to."""
    shape: tuple[int, ...]
    """Of an encoded sample."""
    error_fitted: float
    """Root mean square error of these samples, as a share of the range of values."""
    error: float
    """The same of the last tenth of them, by a codec that was fitted to the others."""
    picture: str
    seconds: float


class FoundValue(Model):
    """A value of a found factor."""

    value: str
    samples: int
    """That have it."""


class FoundFactor(Model):
    """A factor that was found without labels."""

    name: str
    sees: str
    """What it may see of a sample: everything, brightness, mean-colour."""
    values: tuple[FoundValue, ...]


class DomainDiscovered(Document):
    """`domain discover`."""

    schema_: Literal["dcfm-node/domain-discovered/1"] = Field(
        "dcfm-node/domain-discovered/1", alias="schema"
    )
    folder: str
    data: str
    """The archive of the samples with their found values, for `init --data`."""
    finder: str
    """The file with which other sites label their samples alike."""
    digest: str
    """SHA-256 of that file."""
    picture: str
    """Examples of every value; empty where the samples are not pictures."""
    samples: int
    shape: tuple[int, ...]
    """Of a sample."""
    note: str
    """How the samples were changed to fit the finder; empty if they were not."""
    factors: tuple[FoundFactor, ...]
    seconds: float


class Share(Model):
    """How many of some plans, with the 95 % interval of their share (Wilson, 1927)."""

    count: int
    of: int
    share: float
    """0 to 1; 0 of no plans."""
    low: float
    high: float


class Executed(Model):
    """What became of plans. Those that are not feasible are not executed, and no success."""

    feasible: Share
    """They begin and end with the cube on the table, in the quadrants asked for."""
    success: Share
    """The planner, which plans again as the arm moves, led the cube within 4 cm of the goal."""
    success_2cm: Share
    tracked: Share
    """The plan's own commands led the cube within 4 cm of the goal."""
    tracked_2cm: Share


class ExecutedPlans(Executed):
    """Plans of one combination."""

    values: tuple[str, ...]
    """One per attribute: source, destination."""
    novel: bool
    """No silo trained on it."""


class DomainRun(Document):
    """`domain run`."""

    schema_: Literal["dcfm-node/domain-run/1"] = Field("dcfm-node/domain-run/1", alias="schema")
    domain: str
    digest: str
    """Of the student."""
    seed: int
    plans: int
    """In all."""
    drawing_s: float
    """Seconds of drawing one plan, of all plans that are drawn together; of the fastest time."""
    seconds: float
    """Of drawing and executing all of them."""
    attributes: tuple[str, ...]
    combinations: tuple[ExecutedPlans, ...]
    known: Executed | None
    """All known combinations together; null if none was asked for."""
    novel: Executed | None
    files: tuple[str, ...]
    """Pictures that were written."""
    missing: tuple[str, ...]
    """What was not written, why, and what to do."""
