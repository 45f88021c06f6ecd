"""The documents that `simulate` prints."""

from typing import Literal

from pydantic import ConfigDict, Field

from dcfm_node.api.document import Document, Model


class TraceLine(Model):
    """Something that happened in a run."""

    time: float
    """Seconds of the simulated clock."""
    silo: str | None
    what: str


class Violation(Model):
    """A run that broke an invariant, reduced to the fewest faults that still break it."""

    seed: int
    time: float
    rule: str
    what: str
    faults: tuple[str, ...]
    """The fewest faults found that still break the invariant."""
    needs: tuple[str, ...]
    """The other settings of the scenario that are needed, such as "loss 0.3"."""
    trace: tuple[TraceLine, ...]
    repeat: str
    """The command that repeats the run."""


class Simulation(Document):
    """`simulate SCENARIO`."""

    schema_: Literal["dcfm-node/simulation/1"] = Field("dcfm-node/simulation/1", alias="schema")
    scenario: str
    nodes: int
    first_seed: int
    runs: int
    simulated_s: float
    """Seconds of the simulated clock, summed over all runs."""
    messages: int
    seconds: float
    """Real seconds that all runs took."""
    violations: tuple[Violation, ...]


class ListedScenario(Model):
    """A scenario that comes with the package, with all its settings."""

    model_config = ConfigDict(extra="allow")

    name: str
    title: str
    nodes: int


class Scenarios(Document):
    """`simulate` without a scenario."""

    schema_: Literal["dcfm-node/scenarios/1"] = Field("dcfm-node/scenarios/1", alias="schema")
    scenarios: tuple[ListedScenario, ...]
