"""The document that `debug bundle` prints."""

from typing import Literal

from pydantic import Field

from dcfm_node.api.document import Document, Model


class BundledFile(Model):
    """A file of a debug bundle."""

    name: str
    bytes: int
    what: str
    """What is in it."""


class DebugBundle(Document):
    """What a debug bundle holds."""

    schema_: Literal["dcfm-node/debug-bundle/1"] = Field("dcfm-node/debug-bundle/1", alias="schema")
    file: str | None
    """The archive; null if it was only listed."""
    files: tuple[BundledFile, ...]
    redacted: dict[str, int]
    """What was taken out, and how often."""
