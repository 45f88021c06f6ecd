"""The file of a finder: encoders that label samples by found factors, and the factors' names.

One site makes it, and the others label their own samples with it: values that are found at two
sites by themselves do not correspond. A file of another site is refused unless its size, header,
names, shapes, types and numbers are those of a finder.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dcfm_node.errors import DataError
from dcfm_node.files import read_bounded
from dcfm_node.flow.discovery import Finder, Wish
from dcfm_node.records.base import Model
from dcfm_node.records.manifest import Attribute
from dcfm_node.store.tensors import MAX_MAGNITUDE
from dcfm_node.wire.canonical import sha256

MAX_BYTES = 64 << 20
"""Largest size of the file."""
MAX_HEADER_BYTES = 64 << 10
MAX_NUMBERS = 1 << 20
"""Most numbers of a sample."""
KEY = "finder"
"""Of the header's text about the factors."""


class FoundFactor(Attribute):
    """A found factor: the name and values that a silo declares, and what it sees of a sample."""

    sees: Literal["everything", "brightness", "mean-colour"] = "everything"


class Said(Model):
    """What the header says."""

    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=3)]
    """Of a sample."""
    width: Annotated[int, Field(ge=8, le=1_024)]
    """Hidden units of an encoder."""
    factors: Annotated[tuple[FoundFactor, ...], Field(min_length=1, max_length=4)]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if math.prod(self.shape) > MAX_NUMBERS:
            raise ValueError(f"a sample has more than {MAX_NUMBERS} numbers")
        if len({factor.name for factor in self.factors}) != len(self.factors):
            raise ValueError("two factors have the same name")
        picture = len(self.shape) == 3 and self.shape[0] == 3
        if not picture and any(factor.sees != "everything" for factor in self.factors):
            raise ValueError("only pictures with three channels have brightness and mean-colour")
        return self

    @property
    def wishes(self) -> list[Wish]:
        """As the training wants them."""
        return [Wish(len(factor.values), factor.sees) for factor in self.factors]


class FinderFile(NamedTuple):
    """A finder, what is said of it, and the SHA-256 of its file."""

    finder: Finder
    said: Said
    digest: str


def packed(finder: Finder, said: Said) -> bytes:
    """The file's bytes."""
    parts = {name: part.contiguous() for name, part in finder.state_dict().items()}
    return bytes(save(parts, metadata={KEY: said.model_dump_json(ensure_ascii=True)}))


def read_finder(file: Path, digest: str = "") -> FinderFile:
    """Read a finder that another site may have made.

    Args:
        digest: SHA-256 that the file must have, hex; empty takes any.

    Raises:
        DataError: the file cannot be read, has another digest, or is not a finder.
    """
    fix = "get the file again from the site that made it, and compare the SHA-256"
    try:
        data = read_bounded(file, MAX_BYTES)
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}", where=str(file), fix=fix
        ) from error
    found = sha256(data).hex()
    if digest and found != digest.lower():
        what = f"is another file: its SHA-256 is {found}, not {digest.lower()}"
        raise DataError(what, where=str(file), fix=fix)
    try:
        said = _said(data)
        with torch.device("meta"):  # no memory before the tensors are compared
            finder = Finder(said.shape, said.wishes, said.width)
        held: dict[str, Tensor] = load(data)
        _check(held, finder.state_dict())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        what = f"is not a finder: {place} {told}".replace("  ", " ")
        raise DataError(what, where=str(file), fix=fix) from error
    except (SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise DataError(f"is not a finder: {error}", where=str(file), fix=fix) from error
    finder.load_state_dict(held, assign=True)
    return FinderFile(finder.eval().requires_grad_(False), said, found)


def _said(data: bytes) -> Said:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ValueError("the header's length exceeds the file or 64 KiB")
    header = json.loads(data[8 : 8 + length])
    about = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(about, dict) or not isinstance(about.get(KEY), str):
        raise ValueError("the header says nothing about factors")
    return Said.model_validate_json(about[KEY])


def _check(held: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    forms = {name: tuple(part.shape) for name, part in wanted.items()}
    if {name: tuple(part.shape) for name, part in held.items()} != forms:
        raise ValueError("the tensors are not those of its factors")
    for name, part in held.items():
        if part.dtype != torch.float32 or not bool((part.abs() <= MAX_MAGNITUDE).all()):
            raise ValueError(f"the tensor {name} does not hold finite float32 numbers")
        if name.endswith(".deviation") and not bool((part > 0).all()):
            raise ValueError(f"the tensor {name} is not positive")
