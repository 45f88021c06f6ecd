"""The texts of node.toml and run.toml that commands write, from the packaged ones."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from dcfm_node.config.node import node_template
from dcfm_node.config.presets import settled
from dcfm_node.config.run import RunFile, SiteRun
from dcfm_node.config.toml import Document, frozen, written
from dcfm_node.data.names import ordered
from dcfm_node.data.spec import FileData
from dcfm_node.errors import ConfigError
from dcfm_node.files import shipped_text

Attributes = Sequence[tuple[str, tuple[str, ...]]]
"""(name, values) of each attribute."""

LOOPBACK = ("127.0.0.1", "localhost")
_ATTRIBUTES = re.compile(r"(?m)(?:^\[\[attribute\]\] *\n(?:^[\w ].*\n)+\n*)+")
_TABLE = re.compile(r"\[([\w.]+)\]")
_SETTING = re.compile(r"#(\w+) = .*")


def node_text(name: str, data: FileData | None, address: tuple[str, int] | None) -> str:
    """A commented node.toml.

    Args:
        data: the private data; None leaves an example.
        address: host at which peers reach this node, and its control port; the bulk port is the
            next. None leaves the packaged addresses, which are not advertised.

    Raises:
        ConfigError: `name` is not a valid silo name.
    """
    text = node_template(name)
    if data is not None:
        text = text.replace('format = "npz"\npath = "data.npz"\n', _data_text(data), 1)
        sources = "".join(
            f"[data.attributes.{attribute}]\ncolumn = {written(source.column)}\n\n"
            for attribute, source in data.attributes.items()
        )
        text = text.replace("# The training process.\n", f"{sources}# The training process.\n", 1)
    if address is not None:
        host, port = address
        inside = host if host in LOOPBACK else "0.0.0.0"  # noqa: S104 - peers come from outside
        for number, link in enumerate(("control", "bulk")):
            bound = f'{link} = "tcp://{inside}:{port + number}"'
            text = re.sub(rf'(?m)^{link} = "tcp://.*"$', bound, text, count=1)
            seen = f'{link} = "tcp://{host}:{port + number}"'
            text = re.sub(rf'(?m)^# {link} = "tcp://.*"$', seen, text, count=1)
        text = text.replace("# [advertise]\n", "[advertise]\n", 1)
    return text


def _data_text(data: FileData) -> str:
    said = data.model_dump(mode="json")
    lines = ((key, said.get(key)) for key in ("format", "path", "labels", "index", "resize"))
    return "".join(f"{key} = {written(value)}\n" for key, value in lines if value)


def run_template() -> str:
    """A commented run.toml; it fits the built-in domain `digits`."""
    return shipped_text("run.toml")


def run_text(name: str, sample_shape: tuple[int, ...], attributes: Attributes) -> str:
    """A commented run.toml for this data, with the values that `preset = "auto"` settles."""
    text = re.sub(r"(?m)^name = .*$", f"name = {written(name)}", run_template(), count=1)
    shape = f"sample_shape = {written(sample_shape)}"
    text = re.sub(r"(?m)^sample_shape = .*$", shape, text, count=1)
    return with_attributes(text, attributes)


def with_attributes(text: str, attributes: Attributes) -> str:
    """A run.toml with other attributes, and the comments' values as they then are settled.

    Raises:
        ValueError: its attributes are not tables in a row, without comments between.
    """
    tables = "".join(
        f"[[attribute]]\nname = {written(name)}\nvalues = {written(values)}\n\n"
        for name, values in attributes
    )
    text, found = _ATTRIBUTES.subn(lambda _: tables, text)
    if found != 1:
        raise ValueError("its [[attribute]] tables do not stand together")
    return commented_anew(text)


def merged_runs(documents: Sequence[Document]) -> tuple[str, Attributes]:
    """One run.toml from those of several sites, and its attributes, with the values of all.

    Raises:
        ConfigError: they differ in anything but the attributes' values.
    """
    first, *others = documents
    for other in others:
        for key in dict.fromkeys([*first.values, *other.values]):
            if key != "attribute" and first.values.get(key) != other.values.get(key):
                raise _unlike(first, other, key)
    attributes = {document.path: _attributes(document) for document in documents}
    for document in others:
        if missing := attributes[first.path].keys() ^ attributes[document.path].keys():
            raise _unlike_attributes(first, document, min(missing), attributes[first.path])
    merged = [
        (name, _merged([found[name] for found in attributes.values()]))
        for name in attributes[first.path]
    ]
    try:
        return with_attributes(first.text, merged), merged
    except ValueError as error:
        raise ConfigError(
            str(error), where=str(first.path), fix="write them as 'dcfm-node init' does"
        ) from None


def _merged(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """All values: in order if every site's are, else as they come."""
    together = dict.fromkeys(value for values in lists for value in values)
    return ordered(together) if all(v == ordered(v) for v in lists) else tuple(together)


def _attributes(document: Document) -> dict[str, tuple[str, ...]]:
    return {one.name: one.values for one in document.parse(SiteRun).attribute}


def _unlike(first: Document, other: Document, key: str) -> ConfigError:
    here, there = first.values.get(key), other.values.get(key)
    fix = f"give both the same {key}"
    if key == "sample_shape" and len(here or ()) == len(there or ()) == 3:
        fix += "; the site with other pictures then needs resize = true under [data] in node.toml"
    return ConfigError(
        f"{key} is {written(there)}, in {first.path} {written(here)}",
        where=other.where(key),
        fix=fix,
    )


def _unlike_attributes(
    first: Document, other: Document, name: str, known: Mapping[str, object]
) -> ConfigError:
    lacks, has = (other, first) if name in known else (first, other)
    return ConfigError(
        f"has no attribute {name!r}, which {has.path} has",
        where=lacks.where("attribute"),
        fix="add it, with the value that all samples of this site have, and set that value as"
        f" constant under [data.attributes.{name}] in its node.toml; or remove it there",
    )


def commented_anew(text: str) -> str:
    """A run.toml whose commented settings have the values that it settles."""
    values = _complete(frozen(tomllib.loads(text)))
    lines, table = [], values
    for line in text.splitlines():
        if header := _TABLE.fullmatch(line):
            table = _at(values, header[1])
        setting = _SETTING.fullmatch(line)
        value = table.get(setting[1]) if setting else None
        lines.append(line if value is None or not setting else f"#{setting[1]} = {written(value)}")
    return "\n".join([*lines, ""])


def _complete(said: dict[str, Any]) -> dict[str, Any]:
    """All settings. An attribute with one value, as one silo may have, counts as if with two."""
    padded = [
        {**one, "values": one["values"] if len(one["values"]) > 1 else (*one["values"], "\0")}
        for one in said["attribute"]
    ]
    return RunFile.model_validate(settled({**said, "attribute": tuple(padded)})).model_dump()


def _at(values: dict[str, Any], table: str) -> dict[str, Any]:
    for key in table.split("."):
        values = values.get(key) or {}
    return values
