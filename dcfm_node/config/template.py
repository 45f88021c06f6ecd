"""The texts of node.toml and run.toml that commands write, from the packaged ones."""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from textwrap import wrap
from types import MappingProxyType
from typing import Any, NamedTuple

from dcfm_node.config import feasible
from dcfm_node.config.columns import Columns, joined_columns, padded, together, with_columns
from dcfm_node.config.node import node_template
from dcfm_node.config.presets import settled
from dcfm_node.config.ranges import joined_ranges, with_domain, with_ranges
from dcfm_node.config.run import RunFile, SiteAttribute, SiteRun
from dcfm_node.config.toml import Document, frozen, written
from dcfm_node.data.names import alike, normal, unlike
from dcfm_node.data.spec import AttributeSource, EpisodesData, FileData, RadiographsData
from dcfm_node.domains.settings import TextSettings, TrajectoriesSettings
from dcfm_node.errors import ConfigError
from dcfm_node.files import shipped_text

Attributes = Sequence[tuple[str, tuple[str, ...]]]
"""(name, values) of each attribute."""
SiteData = FileData | EpisodesData | RadiographsData
"""Data of a site's own."""

MERGED = ("attribute", "features", "feasible")
"""Settings of a run.toml in which sites may differ."""
LOOPBACK = ("127.0.0.1", "localhost")
_ATTRIBUTES = re.compile(r"(?m)(?:^\[\[attribute\]\] *\n(?:^[\w ].*\n)+\n*)+")
_TABLE = re.compile(r"\[([\w.]+)\]")
_SETTING = re.compile(r"#(\w+) = .*")


def node_text(name: str, data: SiteData | None, address: tuple[str, int] | None) -> str:
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
            f"[data.attributes.{attribute}]\n{_source(source)}\n\n"
            for attribute, source in (data.attributes if isinstance(data, FileData) else {}).items()
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


def _source(source: AttributeSource) -> str:
    if source.constant is not None:
        return f"constant = {written(source.constant)}"
    return f"column = {written(source.column)}"


def _data_text(data: SiteData) -> str:
    said = data.model_dump(mode="json")
    lines = (
        (key, said.get(key))
        for key in ("format", "path", "labels", "index", "names", "ignore", "resize", "cut")
    )
    return "".join(f"{key} = {written(value)}\n" for key, value in lines if value)


def run_template() -> str:
    """A commented run.toml; it fits the built-in domain `digits`."""
    return shipped_text("run.toml")


def run_text(
    name: str,
    sample_shape: tuple[int, ...],
    attributes: Attributes,
    assumed: str = "",
    features: Sequence[str] = (),
    *,
    domain: TrajectoriesSettings | TextSettings | Columns | None = None,
) -> str:
    """A commented run.toml for this data, with the values that `preset = "auto"` settles.

    Args:
        assumed: what the shape assumes, for a comment; empty if nothing.
        features: names of the numbers of a sample, if they have names.
        domain: what a robot's recordings, texts or categories need; None for other data.
    """
    text = re.sub(r"(?m)^name = .*$", f"name = {written(name)}", run_template(), count=1)
    comment = "".join(f"# {line}\n" for line in wrap(f"{assumed}." if assumed else "", 97))
    shape = f"{comment}sample_shape = {written(sample_shape)}"
    text = re.sub(r"(?m)^sample_shape = .*$", shape, text, count=1)
    if features:
        text = _with_features(text, features)
    if domain is not None:
        text = with_domain(text, domain)
    return with_attributes(text, attributes)


def _with_features(text: str, features: Sequence[str]) -> str:
    """A run.toml with these names of a sample's numbers, in place of its commented example."""
    line = f"features = {written(features)}"
    text, found = re.subn(r"(?m)^# features = .*$", lambda _: line, text, count=1)
    if not found:
        text = re.sub(r"(?m)^sample_shape = .*$", lambda at: f"{at[0]}\n{line}", text, count=1)
    return text


def with_attributes(
    text: str, attributes: Attributes, absent: Mapping[str, str | None] = MappingProxyType({})
) -> str:
    """A run.toml with other attributes, and the comments' values as they then are settled.

    Args:
        absent: the value of an attribute that says that nothing is there, if one does.

    Raises:
        ValueError: its attributes are not tables in a row, without comments between.
    """
    tables = "".join(
        f"[[attribute]]\nname = {written(name)}\nvalues = {written(values)}\n"
        + (f"absent = {written(nothing)}\n\n" if (nothing := absent.get(name)) else "\n")
        for name, values in attributes
    )
    text, found = _ATTRIBUTES.subn(lambda _: tables, text)
    if found != 1:
        raise ValueError("its [[attribute]] tables do not stand together")
    return commented_anew(text)


class Merged(NamedTuple):
    """One run.toml for several sites.

    Attributes:
        attributes: (name, values of all sites) of each.
        notes: what was decided between sites that differ, and what cannot work.
    """

    text: str
    attributes: Attributes
    notes: tuple[str, ...]


def merged_runs(documents: Sequence[Document]) -> Merged:
    """One run.toml from those of several sites, with the values of all.

    Where sites read the same numbers in another shape, the one with more axes counts: a site sees
    a series or a picture only where its data show it clearly. Of pictures, colour counts, then the
    smallest size.

    Where robots' recordings have the same channels, each range becomes as wide as all need. Where
    tables of categories have the same columns, each gets the values of all.

    Raises:
        ConfigError: they differ in anything else but the attributes' values, such as the
            combinations that can occur; or two sites with tables have other columns.
    """
    first = max(documents, key=_size)
    others = [document for document in documents if document is not first]
    attributes = {document.path: _attributes(document) for document in (first, *others)}
    for document in others:
        if missing := attributes[first.path].keys() ^ attributes[document.path].keys():
            raise _unlike_attributes(first, document, min(missing), attributes[first.path])
    features, notes = _features(documents), _settled(first, others)
    site = first.parse(SiteRun)
    for document in others:
        feasible.check_same((first, site), (document, document.parse(SiteRun)))
    merged = [
        (name, together([found[name] for found in attributes.values()]))
        for name in attributes[first.path]
    ]
    for name, values in merged:
        if len(values) == 1:
            raise ConfigError(
                f"{name!r} is {values[0]!r} at all sites, and an attribute needs two values",
                where=first.where("attribute"),
                fix="remove it from all these files; list a column of a CSV table under ignore in"
                " [data] of node.toml as well, at every site",
            )
    absent = _checked(first, site, dict(merged))
    if len(merged) == 1:
        notes.append(f"{merged[0][0]!r} is the only attribute, so there is nothing to compose")
    notes += [_nearly_equal(name, group) for name, values in merged for group in alike(values)]
    text = first.text
    if (ranges := joined_ranges(documents)) is not None:
        text = with_ranges(text, ranges)
    if (columns := joined_columns(documents)) is not None:
        text = with_columns(text, columns)
    if features and "features" not in first.values:
        text = _with_features(text, features)
    try:
        return Merged(with_attributes(text, merged, absent), merged, tuple(notes))
    except ValueError as error:
        raise ConfigError(
            str(error), where=str(first.path), fix="write them as 'dcfm-node init' does"
        ) from None


def _checked(
    first: Document, site: SiteRun, values: Mapping[str, tuple[str, ...]]
) -> dict[str, str | None]:
    """The value of each attribute that says that nothing is there.

    Raises:
        ConfigError: it, or one of a combination that can occur, is no value of any site.
    """
    for place, one in enumerate(site.attribute):
        if one.absent is not None and one.absent not in values[one.name]:
            raise ConfigError(
                f"no site has the value {one.absent!r} of {one.name!r}",
                where=first.where("attribute", place, "absent"),
                fix="correct absent, or add this value to values, at every site",
            )
    whole = [SiteAttribute(name=one.name, values=values[one.name]) for one in site.attribute]
    if wrong := feasible.wrong(SiteRun(attribute=tuple(whole), feasible=site.feasible)):
        raise first.error(wrong)
    return {one.name: one.absent for one in site.attribute}


def _settled(first: Document, others: Sequence[Document]) -> list[str]:
    """Notes of what was decided where others differ from the first in the shape of a sample.

    Raises:
        ConfigError: they differ in another setting.
    """
    notes: list[str] = []
    for other in others:
        for key in dict.fromkeys([*first.values, *other.values]):
            if key == "domain" and joined_ranges([first, other]) is not None:
                continue
            if key in ("domain", "path") and joined_columns([first, other]) is not None:
                continue
            if key == "sample_shape" and _reads(_shape(first), _shape(other)):
                notes += [_decided(first, other)] if _shape(first) != _shape(other) else []
            elif key == "sample_shape" and _texts(first, other):
                notes += [_filled(first, other)] if _shape(first) != _shape(other) else []
            elif key == "sample_shape" and _pictures(first, other):
                notes.append(_resized(first, other))
            elif key not in MERGED and first.values.get(key) != other.values.get(key):
                raise _unlike(first, other, key)
    return notes


def _shape(document: Document) -> tuple[int, ...]:
    """A file's sample_shape; () if it gives none rightly."""
    said = document.values.get("sample_shape")
    whole = isinstance(said, tuple) and all(type(side) is int for side in said)
    return said if isinstance(said, tuple) and whole else ()


def _size(document: Document) -> tuple[int, int, int]:
    """What makes a site's shape count: more axes, then colour, then fewer pixels."""
    shape = _shape(document)
    return len(shape), sum(shape[:1]), -math.prod(shape)


def _pictures(first: Document, other: Document) -> bool:
    return len(_shape(first)) == len(_shape(other)) == 3


def _texts(first: Document, other: Document) -> bool:
    """Whether both are texts. Longer samples have room for shorter ones."""
    kinds = [one.values.get("domain") for one in (first, other)]
    alike = all(isinstance(kind, dict) and kind.get("kind") == "text" for kind in kinds)
    return alike and len(_shape(first)) == len(_shape(other)) == 1


def _filled(first: Document, other: Document) -> str:
    here, there = written(_shape(first)), written(_shape(other))
    return (
        f"texts of {other.path} have sample_shape = {there}; {here} of {first.path} counts, and"
        " nothing needs to be done at either site"
    )


def _resized(first: Document, other: Document) -> str:
    here, there = written(_shape(first)), written(_shape(other))
    return (
        f"pictures of {other.path} have sample_shape = {there}; {here} of {first.path} counts. The"
        " node of that site changes pictures in folders to it if its node.toml has resize = true"
        " under [data]; store those of an archive anew"
    )


def _reads(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether samples of the other shape can be read in this one: a row, or without its channel."""
    return shape == other or other in ((math.prod(shape),), shape[shape[:1] == (1,) :])


def _decided(first: Document, other: Document) -> str:
    here, there = written(_shape(first)), written(_shape(other))
    return (
        f"{other.path} has sample_shape = {there}; {here} of {first.path} counts, since these data"
        f" show an order. Nothing needs to be done at either site; where the numbers have no order,"
        f" set sample_shape = {there} in all files, and merge them again"
    )


def _attributes(document: Document) -> dict[str, tuple[str, ...]]:
    return {one.name: one.values for one in document.parse(SiteRun).attribute}


def _features(documents: Sequence[Document]) -> tuple[str, ...]:
    """The features that all sites with tables name; () if none does.

    Tables are read in the order of their columns' names, so another name is another order.
    """
    named = [(document, document.parse(SiteRun).features) for document in documents]
    named = [(document, features) for document, features in named if features]
    for other, features in named[1:]:
        if tuple(map(normal, features)) != tuple(map(normal, named[0][1])):
            there, here = unlike(features, named[0][1])
            raise ConfigError(
                f"the columns are {there}, and in {named[0][0].path} {here}",
                where=other.where("features"),
                fix="rename the columns in the table of one site as at the other, and make its node"
                " anew with 'init'; list a column that other sites do not have under ignore in"
                " [data] of node.toml, and remove it here",
            )
    return named[0][1] if named else ()


def _nearly_equal(name: str, values: Sequence[str]) -> str:
    told = ", ".join(map(repr, values))
    return (
        f"{name} has {told}, which differ only in case, blanks or hyphens and count as"
        f" {len(values)} values; if they are one, write it alike in the data of every site, make"
        " the nodes anew with 'init', and merge again"
    )


def _unlike(first: Document, other: Document, key: str) -> ConfigError:
    here, there = first.values.get(key), other.values.get(key)
    return ConfigError(
        f"{key} is {written(there)}, in {first.path} {written(here)}",
        where=other.where(key),
        fix=f"give both the same {key}",
    )


def _unlike_attributes(
    first: Document, other: Document, name: str, known: Mapping[str, object]
) -> ConfigError:
    lacks, has = (other, first) if name in known else (first, other)
    return ConfigError(
        f"has no attribute {name!r}, which {has.path} has",
        where=lacks.where("attribute"),
        fix="add it, with the value that all samples of this site have, and set that value as"
        f" constant under [data.attributes.{name}] in its node.toml; or remove it there; or make"
        " this site's node anew with 'init --attributes', if its data have it",
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
    """All settings. An attribute or a column with one value, as one silo may have, counts as if
    with two."""
    several = {**said, "attribute": padded(said["attribute"])}
    domain = said.get("domain", {})
    if domain.get("kind") == "categories":
        several["domain"] = {**domain, "column": padded(domain.get("column", ()))}
    return RunFile.model_validate(settled(several)).model_dump()


def _at(values: dict[str, Any], table: str) -> dict[str, Any]:
    for key in table.split("."):
        values = values.get(key) or {}
    return values
