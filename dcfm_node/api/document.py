"""The base of all documents: frozen models, each named and versioned by its `schema`.

A document is JSON that a command prints with `--json` or writes into a file, or that the daemon
answers on its control socket. The JSON Schemas are in `docs/schemas/`.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A part of a document. In JSON, bytes are hex. Unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        serialize_by_alias=True,
        ser_json_inf_nan="constants",
        ser_json_bytes="hex",
        val_json_bytes="hex",
        json_schema_serialization_defaults_required=True,
    )


class Document(Model):
    """A whole document. Each kind has a field `schema_`, "dcfm-node/NAME/VERSION" in JSON."""

    @classmethod
    def read(cls, data: bytes | str) -> Self:
        """A document from JSON. Fields that this version does not know are ignored.

        Raises:
            ValidationError: the JSON is not such a document.
        """
        return cls.model_validate_json(data, extra="ignore")

    def plain(self) -> dict[str, Any]:
        """The document as plain JSON values, `schema` first."""
        found = self.model_dump(mode="json")
        return {"schema": found["schema"]} | found


class RunName(Model):
    """A run."""

    name: str
    """From run.toml."""
    id: str
    """SHA-256 of the manifest, hex."""
