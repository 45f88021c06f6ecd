"""The base of every record, message and manifest model: frozen, strict, bounded."""

from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)


class Model(BaseModel):
    """Frozen; refuses unknown fields; converts no type silently. Bytes are hex in JSON."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        ser_json_bytes="hex",
        val_json_bytes="hex",
    )


class Extended(Model):
    """A model with fields that a later version added. At their default they are not written out, so
    that what has none keeps its bytes (SPEC 2.1.2)."""

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _written(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialise(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].default:
                found.pop(name, None)
        return found


Digest = Annotated[bytes, Field(min_length=32, max_length=32)]
"""SHA-256, 32 raw bytes."""

Key = Annotated[bytes, Field(min_length=32, max_length=32)]
"""Ed25519 public key, 32 raw bytes; it is also the node's id."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
"""Name of a silo or an attribute: lower case, 1 to 32 characters."""

MAX_REASON = 500
Reason = Annotated[str, Field(max_length=MAX_REASON)]
Version = Annotated[str, Field(max_length=32)]
Round = Annotated[int, Field(ge=0, le=10_000)]
MAX_TERM = 2**40
Term = Annotated[int, Field(ge=1, le=MAX_TERM)]
MAX_COUNT = 2**53
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Epoch = Count
MAX_METRIC = 1e12
"""The bound keeps sums of metrics finite."""
Metrics = Annotated[
    dict[
        Annotated[str, Field(max_length=64)],
        Annotated[float, Field(ge=-MAX_METRIC, le=MAX_METRIC)],
    ],
    Field(max_length=32),
]

MAX_SNAPSHOT_BYTES = 8 * 2**30


class Snapshot(Model):
    """A safetensors file as a record names it (SPEC 5.1)."""

    digest: Digest
    """Covers the size and the hashes of the chunks."""
    size: Annotated[int, Field(ge=1, le=MAX_SNAPSHOT_BYTES)]
    """Bytes of the file."""
