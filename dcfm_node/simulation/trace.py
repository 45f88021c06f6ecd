"""What happened in a simulated run, and which events concern a violation."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from dcfm_node.api.simulation import TraceLine

LINES = 40
"""Most lines of a trace."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event at one node; if `who` is None, at several."""

    time: float
    who: bytes | None
    what: str
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Concern:
    """What a broken invariant is about. Events that share a silo or term with it matter."""

    silos: Collection[bytes] = ()
    term: int | None = None
    round: int | None = None


def relevant(trace: Sequence[Happening], concern: Concern) -> list[Happening]:
    """The newest events that concern a violation, and every fault."""

    def matters(happening: Happening) -> bool:
        if happening.what == "fault":
            return True
        term = happening.fields.get("term")
        if concern.term is not None and term is not None:
            return term == concern.term
        return happening.who in concern.silos

    return [happening for happening in trace if matters(happening)][-LINES:]


def line_of(happening: Happening, names: dict[bytes, str]) -> str:
    """ "12.3 s  silo-0003  published  vote, seq 4, round 0, term 2"."""
    who = names[happening.who] if happening.who is not None else ""
    return f"{happening.time:8.2f} s  {who:<9}  {_told(happening)}"


def document_of(happening: Happening, names: dict[bytes, str]) -> TraceLine:
    """The same event for JSON."""
    who = names[happening.who] if happening.who is not None else None
    return TraceLine(time=round(happening.time, 3), silo=who, what=_told(happening))


def _told(happening: Happening) -> str:
    fields = dict(happening.fields)
    head = [happening.what.replace("_", " ")] if happening.what != "fault" else ["FAULT"]
    bare = [str(fields.pop(name)) for name in ("kind", "why", "stage") if name in fields]
    return ", ".join([" ".join(head + bare), *(f"{name} {fields[name]}" for name in fields)])
