"""The columns of tables of categories in run.toml, whose values sites join."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationError

from dcfm_node.config.toml import Document, written
from dcfm_node.data.names import ordered
from dcfm_node.records.base import Model

_COLUMNS = re.compile(r"(?m)(?:^\[\[domain\.column\]\] *\n(?:^[\w ].*\n)+\n*)+")
_TOKENS = re.compile(r"(?m)^tokens = \d+$")


class SiteColumn(Model):
    """A column with the values that one site has. A run needs two (`domains.settings.Category`)."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    values: Annotated[tuple[str, ...], Field(min_length=1, max_length=4_096)]


Columns = tuple[SiteColumn, ...]


def column_tables(columns: Columns) -> str:
    """Tables of run.toml."""
    return "".join(
        f"[[domain.column]]\nname = {written(one.name)}\nvalues = {written(one.values)}\n\n"
        for one in columns
    )


def most_values(columns: Columns) -> int:
    """Values of the column that has most, at least the 2 that a path needs."""
    return max(2, *(len(one.values) for one in columns))


def with_columns(text: str, columns: Columns) -> str:
    """A run.toml with these columns in place of its own, and as many tokens as they need."""
    text = _COLUMNS.sub(lambda _: column_tables(columns), text, count=1)
    return _TOKENS.sub(f"tokens = {most_values(columns)}", text, count=1)


def joined_columns(documents: Sequence[Document]) -> Columns | None:
    """The columns of all sites with the values of each, in the first one's order; None if they are
    not tables of categories with columns of the same names and otherwise equal paths."""
    sites: list[dict[str, tuple[str, ...]]] = []
    paths: list[dict[str, Any]] = []
    for one in documents:
        domain, path = one.values.get("domain"), one.values.get("path")
        if not isinstance(domain, dict) or domain.get("kind") != "categories":
            return None
        try:
            found = [SiteColumn.model_validate(column) for column in domain.get("column", ())]
        except ValidationError:
            return None
        sites.append({column.name: column.values for column in found})
        paths.append({**path, "tokens": 0} if isinstance(path, dict) else {})
    if any(site.keys() != sites[0].keys() for site in sites) or paths != paths[:1] * len(paths):
        return None
    return tuple(
        SiteColumn(name=name, values=together([site[name] for site in sites])) for name in sites[0]
    )


def together(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """All values: in order if every site's are, else as they come."""
    found = dict.fromkeys(value for values in lists for value in values)
    return ordered(found) if all(v == ordered(v) for v in lists) else tuple(found)


def padded(named: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Attributes or columns, each with two values or more."""
    return tuple(
        {**one, "values": one["values"] if len(one["values"]) > 1 else (*one["values"], "\0")}
        for one in named
    )
