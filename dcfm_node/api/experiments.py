"""The documents that `experiment` prints, and results.json."""

from typing import Literal

from pydantic import Field, JsonValue

from dcfm_node.api.document import Document, Model


class ListedExperiment(Model):
    """An experiment that comes with the package."""

    name: str
    title: str
    presets: tuple[str, ...]


class Experiments(Document):
    """`experiment list`."""

    schema_: Literal["dcfm-node/experiments/1"] = Field("dcfm-node/experiments/1", alias="schema")
    experiments: tuple[ListedExperiment, ...]


class ResultRow(Model):
    """One method on one partition with one seed."""

    method: str
    partition: str
    seed: int
    rule: str
    """The way of sampling that `metrics` belongs to."""
    metrics: dict[str, float]
    variants: dict[str, dict[str, float]]
    """Metrics by way of sampling."""
    rounds: tuple[dict[str, float], ...]
    """For every round: its number, the cost up to its end, and the metrics after it."""
    cost: dict[str, float]
    compared: dict[str, float] = Field(default_factory=dict)
    """Distance from known hold-out data, by the ways of sampling that `rule` was chosen from."""


class ExperimentResults(Document):
    """`experiment run` and `show`, and results.json."""

    schema_: Literal["dcfm-node/experiment/1"] = Field("dcfm-node/experiment/1", alias="schema")
    experiment: str
    preset: str
    commit: str
    machine: str
    command: str
    rows: tuple[ResultRow, ...]
    settings: dict[str, JsonValue]
    planned: int | None = None
    """Number of rows of the whole experiment; with fewer, it has not ended. Null: it has."""
