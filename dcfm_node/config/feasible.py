"""The combinations that can occur and the values of nothing, as run.toml files name them. Pure."""

from collections.abc import Sequence
from typing import Protocol

from dcfm_node.config.advice import Problem
from dcfm_node.config.toml import Document, written
from dcfm_node.errors import ConfigError


class Named(Protocol):
    """An attribute of a run.toml."""

    @property
    def name(self) -> str: ...
    @property
    def values(self) -> tuple[str, ...]: ...
    @property
    def absent(self) -> str | None: ...


class Space(Protocol):
    """What a run.toml says of combinations: each is a value of every attribute, in their order."""

    @property
    def attribute(self) -> Sequence[Named]: ...
    @property
    def feasible(self) -> tuple[tuple[str, ...], ...]: ...


def indices(run: Space) -> tuple[tuple[int, ...], ...]:
    """The feasible combinations as indices, in ascending order. `wrong` finds nothing in them."""
    values = [attribute.values for attribute in run.attribute]
    return tuple(
        sorted(
            tuple(of.index(name) for of, name in zip(values, names, strict=True))
            for names in run.feasible
        )
    )


def wrong(run: Space) -> list[Problem]:
    """What does not fit the attributes."""
    found, seen = [], set[tuple[str, ...]]()
    for place, names in enumerate(run.feasible):
        fix = "write one value of each attribute, in their order"
        if len(names) != len(run.attribute):
            what = f"has {len(names)} values for {len(run.attribute)} attributes"
            found.append(Problem(("feasible", place), what, fix))
        for attribute, name in zip(run.attribute, names, strict=False):
            if name not in attribute.values:
                what = f"{attribute.name} has no value {name!r}"
                found.append(Problem(("feasible", place), what, fix))
        if names in seen:
            found.append(Problem(("feasible", place), "is there twice", "remove one"))
        seen.add(names)
    return found


def check_same(first: tuple[Document, Space], other: tuple[Document, Space]) -> None:
    """Check that two sites name the same combinations, and the same value of nothing.

    Raises:
        ConfigError: they do not. Names the other site's file.
    """
    (here, ours), (there, theirs) = first, other
    known = {one.name: one.absent for one in ours.attribute}
    for place, one in enumerate(theirs.attribute):
        if one.absent != known[one.name]:
            raise ConfigError(
                f"{one.name!r} has {_said(one.absent)}, in {here.path} {_said(known[one.name])}",
                where=there.where("attribute", place, "absent"),
                fix="agree whether one of its values says that nothing is there; write that value"
                " as absent in both files, or remove it from both",
            )
    mine, its = _combinations(ours), _combinations(theirs)
    if mine == its:
        return
    fix = f"agree on one list, and copy it into both files; {here.path} has {len(mine)}"
    if not mine or not its:
        has, lacks = (here, there) if mine else (there, here)
        what = f"{has.path} lists the combinations that can occur, and {lacks.path} has no list"
        fix = "agree on one list, and copy it into both files, or remove it from both"
    else:
        lone = min(mine ^ its)
        alone = ", ".join(f"{name} = {value}" for name, value in lone)
        what = f"{alone} can occur in {(here if lone in mine else there).path} alone"
    raise ConfigError(what, where=there.where("feasible"), fix=fix)


def _said(absent: str | None) -> str:
    return "no absent" if absent is None else f"absent = {written(absent)}"


def _combinations(run: Space) -> set[tuple[tuple[str, str], ...]]:
    """Each as (attribute, value) by name, since sites may list attributes in another order."""
    names = [one.name for one in run.attribute]
    return {tuple(sorted(zip(names, values, strict=False))) for values in run.feasible}
