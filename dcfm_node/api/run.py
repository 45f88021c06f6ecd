"""The document that answers `run`: what a run is about, and who holds which combination."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model, RunName


class RunAttribute(Model):
    """An attribute of the run."""

    name: str
    values: tuple[str, ...]


class HeldCombination(Model):
    """A combination that some silo says it holds."""

    label: tuple[int, ...]
    """An index for each attribute, into its values."""
    samples: dict[str, int]
    """By silo, how many training samples it counts."""
    probe: bool
    """Whether nobody trains on it (SPEC 6.12)."""


class RunFacts(Document):
    """What the run is about, and who holds which combination."""

    schema_: Literal["dcfm-node/run/1"] = Field("dcfm-node/run/1", alias="schema")
    run: RunName
    node: str
    """This node's silo."""
    sample_shape: tuple[int, ...]
    attributes: tuple[RunAttribute, ...]
    combinations: int
    """How many there are in all."""
    held: tuple[HeldCombination, ...]
    """In the order of their labels."""
    held_more: int
    """Further combinations that silos hold, which this document leaves out."""
