"""What of a node.toml may leave its site. Pure.

The text is written anew from what was read: only settings that are known to be harmless are shown,
so that neither a comment nor a spelling lets anything else through.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dcfm_node.config.node import NodeConfig

HIDDEN = '"REDACTED"'
_ADDRESS = r"tcp://(?:\[[0-9A-Fa-f:.%]+\]|[\w.*-]+):(?:\d{1,5}|\*)"
_TEXTS = {
    ("", "name"): r"[a-z0-9][a-z0-9_-]{0,31}",
    ("data", "format"): "npz|idx|folder|csv|builtin",
    ("listen", "control"): _ADDRESS,
    ("listen", "bulk"): _ADDRESS,
    ("advertise", "control"): _ADDRESS,
    ("advertise", "bulk"): _ADDRESS,
    ("privacy", "counts"): "exact|rounded|laplace",
    ("worker", "device"): "auto|cpu|cuda",
    ("log", "format"): "console|json",
    ("log", "level"): "debug|info|warning|error",
    ("page", "listen"): r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}",
}
"""Texts that are shown, by table and setting, if they look like this."""
_DATA = ("format", "holdout", "resize", "silo", "silos", "seed")
"""Settings of [data] that are shown: its format, and numbers."""
_MOST = 10**15


def shown_settings(values: Mapping[str, Any]) -> tuple[str, int]:
    """The settings as TOML, and how many are hidden.

    Args:
        values: a parsed node.toml; it need not be right.
    """
    lines = [f"# Written anew: private settings are {HIDDEN} or left out."]
    fields = NodeConfig.model_fields
    own = {key: item for key, item in values.items() if not isinstance(item, dict)}
    tables = {key: item for key, item in values.items() if isinstance(item, dict)}
    lines += _table("", own, [key for key in fields if key not in tables])
    for name, table in tables.items():
        if name not in fields:
            lines.append("# A table that node.toml does not know is left out.")
            continue
        inner = getattr(fields[name].annotation, "model_fields", {})
        lines += ["", f"[{name}]", *_table(name, table, _DATA if name == "data" else list(inner))]
    return "\n".join(lines) + "\n", sum(line.endswith(HIDDEN) for line in lines)


def _table(name: str, table: Mapping[str, Any], known: Any) -> Iterator[str]:
    for key in known:
        if key in table:
            yield f"{key} = {_value(name, key, table[key])}"
    if left := len(table.keys() - set(known)):
        yield f"# {left} more left out."


def _value(table: str, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) < _MOST:
        return str(value)
    if isinstance(value, str) and (allowed := _TEXTS.get((table, key))):
        return f'"{value}"' if re.fullmatch(allowed, value, re.ASCII) else HIDDEN
    return HIDDEN


def words_of_data(values: Mapping[str, Any], public: set[str]) -> set[str]:
    """Words in [data] that name something in private files: columns, values, constants.

    Args:
        public: words that all members of the run know.
    """
    data = values.get("data")
    if not isinstance(data, dict):
        return set()
    attributes = data.get("attributes")
    sources = attributes if isinstance(attributes, dict) else {}
    public = public | sources.keys()
    found = [item for key, item in data.items() if key not in ("format", "name", "attributes")]
    for source in filter(lambda it: isinstance(it, dict), sources.values()):
        found += [source.get("column"), source.get("constant")]
        found += source["values"] if isinstance(source.get("values"), dict) else []
    return {word for word in _strings(found) if len(word) > 2 and word not in public}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
