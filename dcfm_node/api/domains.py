"""The documents that `domain` prints."""

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
