"""Where two manifests differ (SPEC 2.6), for programs and for people."""

from collections.abc import Iterator, Mapping

from dcfm_node.records.base import Model
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import MethodSettings, Section

MAX_TOLD = 8
"""Most silos that the difference of two rosters names."""
MAX_VALUE = 40
"""Longest value that is shown, in characters."""

Difference = tuple[str, object, object]
"""The dotted name of a field, and its values in both manifests."""


def differing_fields(ours: Manifest, theirs: Manifest) -> tuple[str, ...]:
    """Dotted names of the fields in which two manifests differ, in document order."""
    return tuple(field for field, _, _ in _walk(ours, theirs, ""))


def differences(ours: Manifest, theirs: Manifest) -> tuple[str, ...]:
    """The same fields, described to people: with both values where these are short."""
    details = {"roster": _of_rosters, "plugins": _of_plugins}
    return tuple(
        f"{field} ({details[field](ours, theirs)})" if field in details else f"{field}{_both(a, b)}"
        for field, a, b in _walk(ours, theirs, "")
    )


def _walk(a: object, b: object, path: str) -> Iterator[Difference]:
    if isinstance(a, Section) and isinstance(b, Section) and type(a) is not type(b):
        name = "name" if isinstance(a, MethodSettings) else "kind"
        yield f"{path}.{name}", getattr(a, name), getattr(b, name)
    elif isinstance(a, Model) and type(a) is type(b):
        for field in type(a).model_fields:
            yield from _walk(
                getattr(a, field), getattr(b, field), f"{path}.{field}" if path else field
            )
    elif a != b:
        yield path, a, b


def _both(here: object, there: object) -> str:
    """Both values in brackets; empty where one is not a short number or word."""
    shown = [_value(one) for one in (here, there)]
    return f" ({shown[0]} here, {shown[1]} there)" if all(shown) else ""


def _value(of: object) -> str:
    if isinstance(of, bytes):
        return of.hex()[:8]
    if not isinstance(of, bool | int | float | str):
        return ""
    shown = repr(of)
    return shown if len(shown) <= MAX_VALUE else ""


def _of_plugins(ours: Manifest, theirs: Manifest) -> str:
    return differing_packages(packages_by_section(ours), packages_by_section(theirs))


def packages_by_section(run: Manifest) -> dict[str, str]:
    """The other packages of a run, as "networks toy": "toy-dcfm 1.0"."""
    return {f"{c.kind} {c.name}": f"{c.distribution} {c.version}" for c in run.plugins}


def differing_packages(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Where two runs' packages differ, in words; both as `packages_by_section`."""
    return "; ".join(
        f"{name}: {here.get(name, 'not used')} here, {there.get(name, 'not used')} there"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    )


def _of_rosters(ours: Manifest, theirs: Manifest) -> str:
    here = {silo.name: silo.key for silo in ours.roster}
    there = {silo.name: silo.key for silo in theirs.roster}
    found = [
        f"{name} is missing there"
        if name not in there
        else f"{name} is missing here"
        if name not in here
        else f"the key of {name}"
        for name in sorted(here.keys() | there.keys())
        if here.get(name) != there.get(name)
    ]
    more = [f"and {len(found) - MAX_TOLD} more"] if len(found) > MAX_TOLD else []
    return "; ".join(found[:MAX_TOLD] + more)
