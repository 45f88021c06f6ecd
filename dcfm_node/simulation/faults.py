"""Faults: drawn from a scenario and a seed before the run begins, so that each can be left out."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dcfm_node.simulation.scenario import Scenario

Kind = Literal[
    "crash",
    "crash amid publishing",
    "disk lost",
    "disk lost amid publishing",
    "disk put back from a backup",
    "journals damaged",
    "snapshots damaged",
    "disk full",
    "stopped",
    "stopped amid finishing",
    "slow",
    "clock stepped",
    "split",
    "one way",
    "comes late",
    "withdraws",
    "dies",
    "key signs two histories",
    "spoils students",
    "writes a fat journal",
    "joins with counts of no run",
    "lies as a leader",
    "is busy for ever",
    "breaks for good",
]
BYZANTINE: tuple[Kind, ...] = (
    "key signs two histories",
    "writes a fat journal",
    "joins with counts of no run",
    "lies as a leader",
    "is busy for ever",
)
"""Kinds whose silos are outside the core from the beginning."""
UNFIT = ("range", "length", "empty", "zero")
"""How counts do not fit a run: an index out of range, another length, no counts, or none above
zero."""
BROKEN = ("has lost power", "stands still", "is cut off", "only hears")
"""States of a silo outside the core."""
HARMING: tuple[tuple[Kind, str], ...] = (
    ("disk lost", "disks_lost"),
    ("disk put back from a backup", "disks_old"),
    ("journals damaged", "journals_damaged"),
    ("snapshots damaged", "snapshots_damaged"),
)
"""Faults that harm a disk, and the setting that gives their number."""
RECOVERS_S = 60.0
"""Seconds after which a node that is up and linked has its journal back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a run.

    Attributes:
        at, until: seconds of the fake clock; `until` is None if nothing ends it.
        silos: indices in the roster; for a split, one of the halves.
        record, nth, share: for a fault amid an action: which record (or distillation), which number
            of it, and after which share of the effects. For a byzantine member or a broken machine,
            `record` names the way.
        amount: seconds: by how much a clock steps, or how old a backup is; for a slow node, the
            factor.
    """

    kind: Kind
    at: float = 0.0
    until: float | None = None
    silos: tuple[int, ...] = ()
    record: str = ""
    nth: int = 0
    share: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        who = ", ".join(f"silo-{index:04d}" for index in self.silos)
        if self.kind in ("crash amid publishing", "disk lost amid publishing"):
            what = (
                "power fails"
                if self.kind.startswith("crash")
                else "power fails and the disk is lost"
            )
            return f"{what} amid publishing {self.record} number {self.nth} of the run"
        if self.kind == "stopped amid finishing":
            return f"who finishes {self.record} number {self.nth} of the run stands still"
        end = f" until {self.until:.1f} s" if self.until is not None else ""
        amount = f" by {self.amount:.0f} s" if self.kind == "clock stepped" else ""
        how = f": {self.record}" if self.record else ""
        age = f" {self.amount:.0f} s old" if self.kind == "disk put back from a backup" else ""
        return f"{who}: {self.kind}{age}{amount}{how}{end}"


def draw(scenario: Scenario, seed: int) -> tuple[Fault, ...]:
    """Draw the faults of a run, in order of time."""
    rng = random.Random(f"faults {seed}")
    draws = (_of_machines, _of_disks, _of_the_network, _of_silos)
    found = [fault for drawn in draws for fault in drawn(scenario, rng)]
    if scenario.core:
        found += _at_last(found, scenario, rng)
    return tuple(sorted(_witnessed(found, scenario), key=lambda fault: fault.at))


def _witnessed(found: Sequence[Fault], scenario: Scenario) -> list[Fault]:
    """Leave out power cuts that leave less than a quorum of peers up while a node with a harmed
    disk asks how its journal ends. It would settle for those peers (SPEC 3.5.1), but others alone
    may have held its last votes and experts (decision 15 promises no more). Before that, all may
    restart."""
    spared: set[Fault] = set()
    peers = scenario.nodes - 1
    for harm in (fault for fault in found if fault.kind in dict(HARMING)):
        first = harm.until or harm.at
        cuts = [f for f in found if f.kind == "crash" and f.silos != harm.silos]
        amid = [f for f in cuts if f.at < first + RECOVERS_S and (f.until or f.at) > first]
        away = list(dict.fromkeys(f.silos for f in sorted(amid, key=lambda f: f.at)))
        spared |= {f for f in amid if f.silos in away[max(0, peers - scenario.quorum) :]}
    return [fault for fault in found if fault not in spared]


def _instant(scenario: Scenario, rng: random.Random) -> float:
    return rng.uniform(1, scenario.quiet_s)


def _of_machines(scenario: Scenario, rng: random.Random) -> Iterator[Fault]:
    def anyone() -> tuple[int]:
        return (rng.randrange(scenario.nodes),)

    for _ in range(scenario.crashes):
        at = _instant(scenario, rng)
        yield Fault("crash", at, at + rng.uniform(*scenario.down_s), anyone())
    for _ in range(scenario.crash_on_times if scenario.crash_on else 0):
        yield _amid("crash amid publishing", scenario.crash_on, scenario, rng)
    for _ in range(scenario.stops):
        at = _instant(scenario, rng)
        yield Fault("stopped", at, at + rng.uniform(*scenario.stop_s), anyone())
    for nth in rng.sample(range(1, scenario.rounds + 2), min(scenario.stop_on, scenario.rounds)):
        still = rng.uniform(*scenario.stop_s)
        yield Fault("stopped amid finishing", until=still, record="distil", nth=nth)
    for index in rng.sample(range(scenario.nodes), scenario.slow):
        yield Fault("slow", silos=(index,), amount=scenario.slowness)
    for _ in range(scenario.clock_steps):
        step = rng.uniform(-2, 2) * scenario.clock_skew_s
        yield Fault("clock stepped", _instant(scenario, rng), None, anyone(), amount=step)


def _amid(kind: Kind, records: Sequence[str], scenario: Scenario, rng: random.Random) -> Fault:
    record = rng.choice(records)
    most = {"vote": 3, "join": 1}.get(record, 2) * scenario.nodes
    nth = rng.randint(1, scenario.rounds if record in ("lease", "student") else most)
    down = rng.uniform(*scenario.down_s)
    return Fault(kind, until=down, record=record, nth=nth, share=rng.random())


def _of_disks(scenario: Scenario, rng: random.Random) -> Iterator[Fault]:
    for _ in range(scenario.disks_full):
        at = _instant(scenario, rng)
        who = (rng.randrange(scenario.nodes),)
        yield Fault("disk full", at, at + rng.uniform(*scenario.down_s), who)
    if scenario.disk_lost_on:
        yield _amid("disk lost amid publishing", scenario.disk_lost_on, scenario, rng)
    harms = [kind for kind, name in HARMING for _ in range(getattr(scenario, name))]
    rng.shuffle(harms)
    # One harmed disk at a time: the next falls only when the last node has had time to recover.
    for number, kind in enumerate(harms):
        room = scenario.quiet_s / len(harms)
        at = room * number + rng.uniform(1, room / 2)
        who = (rng.randrange(scenario.nodes),)
        yield Fault(kind, at, at + rng.uniform(*scenario.down_s), who, amount=rng.uniform(5, 60))


def _of_the_network(scenario: Scenario, rng: random.Random) -> Iterator[Fault]:
    both: tuple[tuple[Kind, tuple[tuple[float, float], ...]], ...] = (
        ("split", scenario.partitions_s),
        ("one way", scenario.one_way_s),
    )
    for kind, spans in both:
        for first, last in spans if scenario.nodes > 1 else ():
            half = rng.sample(range(scenario.nodes), rng.randint(1, scenario.nodes - 1))
            yield Fault(kind, first, last, tuple(sorted(half)))


def _of_silos(scenario: Scenario, rng: random.Random) -> Iterator[Fault]:
    for index in range(scenario.nodes - scenario.late, scenario.nodes):
        yield Fault("comes late", 0.0, scenario.late_s, (index,))
    ends: tuple[tuple[Kind, int], ...] = (
        ("dies", scenario.deaths),
        ("key signs two histories", scenario.equivocators),
        ("withdraws", scenario.leavers),
        ("spoils students", scenario.spoilers),
        ("writes a fat journal", scenario.fat),
        ("joins with counts of no run", scenario.misjoined),
        ("lies as a leader", scenario.liars),
        ("is busy for ever", scenario.busy),
    )
    who = rng.sample(range(scenario.nodes), sum(count for _, count in ends))
    for kind, count in ends:
        for _ in range(count):
            at, silos = _instant(scenario, rng), (who.pop(),)
            match kind:
                case "writes a fat journal":
                    yield Fault(kind, at, None, silos, record=rng.choice(scenario.fat_by))
                case "joins with counts of no run":
                    yield Fault(kind, 1.0, None, silos, record=rng.choice(UNFIT))
                case _:
                    yield Fault(kind, at, None, silos)


def _at_last(found: Sequence[Fault], scenario: Scenario, rng: random.Random) -> Iterator[Fault]:
    """Silos that break for good when faults stop, so that no more than a quorum is sound."""
    out = {f.silos[0] for f in found if f.kind in ("dies", "withdraws", *BYZANTINE)}
    sound = [index for index in range(scenario.nodes) if index not in out]
    for index in rng.sample(sound, max(0, len(sound) - scenario.quorum)):
        at = scenario.quiet_s
        yield Fault("breaks for good", at, None, (index,), record=rng.choice(BROKEN))
