"""Progress of a demo: pure functions of the nodes' statuses and a clock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node.api.status import Phase as StatusPhase
from dcfm_node.api.status import Status
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Training

TRAINING = ("local", "refine", "distil")
MIN_SPAN_S = 1.5
"""Seconds between first and last measurement before a rate is used."""
RELEASE_S = 20.0
"""Approximate seconds to fetch and score the last student and receive a majority's scores."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stage of a round, or the final release."""

    stage: str
    round: int

    def __str__(self) -> str:
        return self.stage if self.stage in ("local", "release") else f"{self.stage} {self.round}"


@dataclass(frozen=True, slots=True)
class Row:
    """The current activity of one node.

    Attributes:
        share: finished part of the activity, 0 to 1; None while it waits.
        note: why it waits.
        loss: last reported matching loss.
        ci_gap: of its newest expert.
        links: number of linked peers.
        peers: number of peers.
        sent, received: bytes.
    """

    name: str
    activity: str
    round: int
    share: float | None
    note: str
    loss: float | None
    ci_gap: float | None
    links: int
    peers: int
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment of the demo.

    Attributes:
        phases: the whole schedule; the run skips some if it converges early.
        at: index of the current phase.
        left_s: upper bound of the seconds until release; None without measurements, or while the
            others wait for a lost node.
        lost: nodes that were killed.
    """

    phases: tuple[Phase, ...]
    at: int
    rows: tuple[Row, ...]
    elapsed_s: float
    left_s: float | None
    lost: tuple[str, ...] = ()

    @property
    def phase(self) -> Phase:
        return self.phases[self.at]


def schedule(manifest: Manifest) -> tuple[Phase, ...]:
    """All possible phases of the run, in order."""
    rounds = range(1, manifest.method.last_round + 1)
    phases = [Phase("local", 0)]
    if manifest.method.interim_students:
        phases.append(Phase("distil", 0))
        for number in rounds:
            phases += [Phase("refine", number), Phase("distil", number)]
    else:
        phases += [Phase("refine", number) for number in rounds]
        phases.append(Phase("distil", rounds[-1]))
    return (*phases, Phase("release", rounds[-1]))


def position(phases: Sequence[Phase], statuses: Mapping[str, Status]) -> int:
    """Index of the furthest phase that any node is in."""
    return max((_index(phases, status.phase) for status in statuses.values()), default=0)


def frame(
    manifest: Manifest,
    statuses: Mapping[str, Status],
    pace: "Pace",
    elapsed_s: float,
    lost: Collection[str] = (),
) -> Frame:
    """The frame to show now. A node without status that is not lost is starting."""
    phases = schedule(manifest)
    at = position(phases, statuses)
    names = [silo.name for silo in manifest.roster]
    rows = [
        _row(statuses[name]) if name in statuses else _silent(name, len(names), name in lost)
        for name in names
    ]
    left_s = None if lost else remaining_s(manifest, phases[at:], statuses, pace)
    return Frame(phases, at, tuple(rows), elapsed_s, left_s, tuple(sorted(lost)))


@dataclass
class Pace:
    """Measures seconds per step.

    Args:
        cores: how many processes can truly run at once.
    """

    cores: int
    _seen: dict[tuple[str, str, int], list[tuple[float, int]]] = field(default_factory=dict)
    """(node, activity, round) -> first and last (seconds, steps done)."""

    def observe(self, statuses: Mapping[str, Status], now: float) -> None:
        """Take a measurement of every node."""
        for name, status in statuses.items():
            doing, phase = status.doing, status.phase
            if doing.activity not in TRAINING or phase is None or not doing.done:
                continue
            seen = self._seen.setdefault((name, doing.activity, phase.round), [])
            # A worker that restarts its job begins a new measurement.
            if seen and doing.done < seen[-1][1]:
                seen.clear()
            if len(seen) < 2:
                seen.append((now, doing.done))
            elif doing.done > seen[-1][1]:
                seen[-1] = (now, doing.done)

    def seconds_per_step(self, stage: str) -> float | None:
        """Seconds per step of the slowest node, in the stage's newest measured round."""
        found: dict[int, float] = {}
        for (_, activity, number), seen in self._seen.items():
            rate = _rate(seen)
            if activity == stage and rate is not None:
                found[number] = max(found.get(number, 0.0), rate)
        return found[max(found)] if found else None

    def estimate(self, manifest: Manifest, stage: str) -> float | None:
        """Seconds per step of a stage, from another stage's rate if it has no measurement yet."""
        measured = self.seconds_per_step(stage)
        if measured is not None:
            return measured
        for other in TRAINING:
            known = self.seconds_per_step(other)
            if known is not None:
                work = cost(manifest, stage) / cost(manifest, other)
                return (
                    known * work * self._crowding(manifest, stage) / self._crowding(manifest, other)
                )
        return None

    def _crowding(self, manifest: Manifest, stage: str) -> float:
        """Factor on the time of a step because several nodes share the cores."""
        return max(1.0, at_once(manifest, stage) / self.cores)


def at_once(manifest: Manifest, stage: str) -> int:
    """Number of nodes that train at the same time in a stage."""
    alone = stage == "distil" or (stage == "refine" and manifest.method.in_turn)
    return 1 if alone else len(manifest.roster)


def cost(manifest: Manifest, stage: str) -> float:
    """Cost of one step in forward passes of a row; a backward pass counts as two."""
    settings = training(manifest, stage)
    penalised = settings.ci_batch if settings.ci_weight else 0
    rows = settings.batch + 4 * penalised
    frozen = {"refine": 3 * penalised, "distil": settings.batch}.get(stage, 0)
    return 3.0 * rows + frozen


def training(manifest: Manifest, stage: str) -> Training:
    """A stage's settings."""
    return manifest.method.stage(stage)


def steps_of(manifest: Manifest, stage: str) -> int:
    """Steps of a stage, with the progress of replay after a distillation."""
    replay = getattr(manifest.method, "replay", None) if stage == "distil" else None
    return training(manifest, stage).steps + (replay.progress if replay is not None else 0)


def remaining_s(
    manifest: Manifest,
    phases: Sequence[Phase],
    statuses: Mapping[str, Status],
    pace: Pace,
) -> float | None:
    """Upper bound of the seconds until release: all remaining steps at the measured rates.

    Args:
        phases: the current one and all later ones.
    """
    total = RELEASE_S
    for place, phase in enumerate(phases):
        if phase.stage not in TRAINING:
            continue
        per_step = pace.estimate(manifest, phase.stage)
        if per_step is None:
            return None
        steps = steps_of(manifest, phase.stage)
        turns = len(manifest.roster) if _in_turn(manifest, phase) else 1
        left = _steps_left(manifest, phase, statuses) if place == 0 else steps * turns
        total += per_step * left
    return total


def _steps_left(manifest: Manifest, phase: Phase, statuses: Mapping[str, Status]) -> int:
    """Steps left in the current phase; sums over nodes if they train in turn."""
    steps = steps_of(manifest, phase.stage)
    busy: list[int] = [
        max(0, steps - status.doing.done)
        for status in statuses.values()
        if status.doing.activity == phase.stage
    ]
    if not _in_turn(manifest, phase):
        return max(busy, default=steps)
    waiting = len(_untrained(phase, statuses)) - len(busy)
    return sum(busy) + steps * max(0, waiting)


def _untrained(phase: Phase, statuses: Mapping[str, Status]) -> list[str]:
    """Silos that published no expert of this round, as far as any node knows."""
    rounds: dict[str, int] = {}
    for status in statuses.values():
        for silo in status.silos:
            known = -1 if silo.expert_round is None else silo.expert_round
            rounds[silo.name] = max(known, rounds.get(silo.name, -1))
    return [name for name, number in rounds.items() if number < phase.round]


def _in_turn(manifest: Manifest, phase: Phase) -> bool:
    return phase.stage == "refine" and manifest.method.in_turn


def _rate(seen: Sequence[tuple[float, int]]) -> float | None:
    if len(seen) < 2:
        return None
    (first_s, first), (last_s, last) = seen[0], seen[-1]
    return (last_s - first_s) / (last - first) if last_s - first_s >= MIN_SPAN_S else None


def _index(phases: Sequence[Phase], told: StatusPhase | None) -> int:
    if told is None:
        return 0
    if told.stage == "done":
        return len(phases) - 1
    found = Phase(told.stage, told.round)
    if found.stage == "release" and found not in phases:
        found = Phase("distil", found.round)  # an interim student is scored
    return phases.index(found) if found in phases else 0


def _row(status: Status) -> Row:
    doing, peers = status.doing, [silo for silo in status.silos if not silo.own]
    own = next(silo for silo in status.silos if silo.own)
    busy = doing.activity != "idle" and doing.total
    waits = ", ".join(doing.waiting_on)
    note = f"{doing.why}{f': {waits}' if waits else ''}" if doing.activity == "idle" else ""
    return Row(
        name=status.node,
        activity=doing.activity,
        round=status.phase.round if status.phase is not None else 0,
        share=doing.done / doing.total if busy else None,
        note=note,
        loss=status.worker.metrics.get("loss") if busy else None,
        ci_gap=own.metrics.get("ci_gap"),
        links=sum(silo.linked for silo in peers),
        peers=len(peers),
        sent=status.bytes_sent,
        received=status.bytes_received,
    )


def _silent(name: str, silos: int, lost: bool) -> Row:
    activity, note = ("lost", "killed") if lost else ("starting", "no answer yet")
    return Row(name, activity, 0, None, note, None, None, 0, silos - 1, 0, 0)
