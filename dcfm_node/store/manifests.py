"""A manifest as JSON: as `config.json` of a student's folder has it."""

import json
from typing import Any

from pydantic import ValidationError

from dcfm_node.records.manifest import Manifest


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain JSON values; bytes in hex."""
    plain: dict[str, Any] = json.loads(json.dumps(manifest.model_dump(), default=bytes.hex))
    return plain


def manifest_from_json(document: object) -> Manifest:
    """The manifest that `manifest_to_json` wrote.

    Raises:
        ValueError: it is no manifest; the message names the first field that is wrong.
    """
    values = _frozen(document)
    try:
        read = values | {"roster": tuple(_raw(silo, "key") for silo in values["roster"])}
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError("roster: not a list of silos with their keys in hex") from error
    try:
        read["continues"] = _continues(values.get("continues"))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError("continues: not a run with its digests in hex") from error
    try:
        return Manifest.model_validate(read)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in detail["loc"])
        raise ValueError(f"{place}: {detail['msg']}") from error


def _continues(said: Any) -> Any:
    if said is None:
        return None
    student = said["student"]
    handovers = tuple(_raw(handover, "link_key", "signature") for handover in said["handovers"])
    return _raw(said, "run") | {
        "student": None if student is None else _raw(student, "digest"),
        "handovers": handovers,
    }


def _raw(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """With these values as the bytes that their hex spells."""
    return values | {name: bytes.fromhex(values[name]) for name in names}


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples that records have."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value
