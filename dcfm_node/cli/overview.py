"""`status` as text: problems first, then where the run stands, then a row for each silo.

Without --explain it fits on a screen of 80 by 24 characters for three silos.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from dcfm_node.api.problems import Code, Problem
from dcfm_node.api.status import Eta, SiloStatus, Status
from dcfm_node.api.students import Estimated, Expected
from dcfm_node.cli.others import stranger_lines
from dcfm_node.cli.output import ago, share, shortened, size, table
from dcfm_node.cli.shown import (
    bulk_cell,
    bundle_lines,
    coverage_lines,
    crowd_lines,
    dial_lines,
    is_busy,
    judgement,
    knock_lines,
    peers_table,
    probe_lines,
    skew_lines,
    student_text,
    weight_lines,
    whereabouts,
)

MOST_PROBLEMS = 3
"""Problems that are shown without --explain."""
SETTLED_S = 10.0
"""A node that just started has asked its peers, and is not called behind before they answered."""
SLOW_S = 0.3
"""A round trip that takes longer is called slow."""
LEAST_ADDRESS = 9
JUDGES_ALONE = " (by judges alone, no combination was withheld to test with)"
INDENT = " " * 10
STAGES = {
    "prepare": "the silos agree on what to build on",
    "local": "each silo trains on its own data",
    "refine": "each silo trains on its own data, with what others published as a guide",
    "distil": "one silo distils a student from the experts of all",
    "release": "the silos judge the student",
    "done": "the run has ended",
}


def status_text(found: Status, *, explain: bool, width: int | None = None) -> str:
    """A node's status as text.

    Args:
        explain: adds the node's reasons, all problems with their codes, and what `peers` knows.
        width: most characters of a line; None for no limit.
    """
    parts = [
        [_title(found)],
        list(_problem_lines(found.problems, explain, width)),
        list(_run_lines(found, width)),
        [*_silo_table(found.silos, width), *_error_lines(found, width)],
        list(_machine_lines(found, width)),
    ]
    if explain:
        parts += [list(_reasons(found)), list(_explained(found))]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def style_of(line: str) -> str:
    """In which style a line of the text is shown on a terminal; empty for plain."""
    if line.startswith(("problem ", "error ")) or "  DEGRADED" in line:
        return "bad"
    if "  healthy  " in line:
        return "good"
    if line.startswith(("    fix ", "silo ", "peer ")):
        return "strong"
    return ""


def _title(found: Status) -> str:
    causes = sum(problem.follows is None for problem in found.problems)
    health = f"DEGRADED: {_many(causes, 'problem')}" if causes else found.health
    run = f"run {found.run.name} {found.run.id[:8]}"
    return f"{found.node}  {health}   {run}   up {ago(found.uptime_s)}"


def _problem_lines(problems: Sequence[Problem], explain: bool, width: int | None) -> Iterator[str]:
    """Causes with their fixes, and how many problems follow from each."""
    causes = [problem for problem in problems if problem.follows is None]
    for problem in causes if explain else causes[:MOST_PROBLEMS]:
        code = f"{_since(problem)}: " if explain else ""
        yield from _wrapped("problem", f"{code}{problem.sentence}", width)
        yield from _wrapped("    fix", problem.fix, width)
        effects = [p for p in problems if p.follows is not None and _is_of(p, problem)]
        if effects and not explain:
            follow = "follow" if len(effects) > 1 else "follows"
            yield f"{INDENT}{len(effects)} more {follow} from it (--explain)"
        for effect in effects if explain else ():
            yield from _wrapped("  hence", f"{_since(effect)}: {effect.sentence}", width)
    if (more := len(causes) - MOST_PROBLEMS) > 0 and not explain:
        yield f"{INDENT}and {_many(more, 'more problem')}: 'dcfm-node status --explain' shows all"


def _is_of(problem: Problem, cause: Problem) -> bool:
    of = problem.follows
    return of is not None and (of.code, of.subject) == (cause.code, cause.subject)


def _since(problem: Problem) -> str:
    since = f", for {ago(problem.since_s)}" if problem.since_s is not None else ""
    return f"{problem.code.value} ({problem.severity}{since})"


def _run_lines(found: Status, width: int | None) -> Iterator[str]:
    """Where the run stands."""
    yield from _wrapped("run", _place(found), width)
    if found.phase is not None and found.phase.stage != "done":
        yield from _wrapped("eta", _eta(found.eta), width)
    yield from _wrapped("quality", _quality(found), width)
    yield from _wrapped("student", student_text(found), width)


def _place(found: Status) -> str:
    """Round, stage, what is done in it and who is waited for."""
    if (phase := found.phase) is None:
        return found.doing.why
    if phase.stage == "done":
        return f"ended after round {phase.round}: {found.doing.why}"
    place = f"{phase.stage}: {STAGES.get(phase.stage, '')}"
    if phase.stage != "prepare":
        of = f" of {found.last_round}" if found.last_round else ""
        place = f"round {phase.round}{of}, stage {place}"
    if phase.stage in ("local", "refine"):
        active = [silo for silo in found.silos if not silo.withdrawn and not silo.quarantined]
        missing = [s.name for s in active if s.expert_round is None or s.expert_round < phase.round]
        place += f"; {len(active) - len(missing)} of {len(active)} are done"
        place += f", missing {_names(missing)}" if 0 < len(missing) < len(active) else ""
    elif found.doing.waiting_on:
        place += f"; waits for {_names(found.doing.waiting_on)}"
    return place


def _eta(eta: Eta | None) -> str:
    """When the stage and the run are expected to end."""
    if eta is None or eta.stage_s is None:
        return f"not known yet: {eta.why if eta is not None else 'nothing was measured'}"
    stage = f"stage in {ago(eta.stage_s)}"
    if eta.run_s is None:
        return f"{stage}; run not known yet: {eta.why}"
    return f"{stage}, run in {ago(eta.run_s)} if it needs all its rounds"


def _quality(found: Status) -> str:
    """The announced quality, with a word of judgement, or why it is not measured."""
    student = found.latest or next(iter(found.students[-1:]), None)
    if student is None:
        return "not measured: no student is distilled yet"
    expected = student.expected
    if expected.known is None and expected.novel is None:
        return f"not measured: {expected.why}"
    parts = (("known", expected.known), ("novel", expected.novel))
    told = [f"{name} combinations {_judged(part, expected)}" for name, part in parts]
    withheld = found.preparation is not None and found.preparation.probes
    alone = expected.novel is not None and not withheld
    text = f"right draws of {', of '.join(told)}{JUDGES_ALONE * alone}"
    if expected.awaited:
        all_ = expected.judged + expected.awaited
        return f"{expected.judged} of {all_} silos have judged so far: {text}"
    others = [f"{one.silo} says {one.value:.0%} of {one.kind} ones" for one in expected.dissent]
    return f"{text}; but {', '.join(others)}" if others else text


def _judged(part: Estimated | None, expected: Expected) -> str:
    if part is None:
        return f"not measured ({expected.why})"
    if expected.awaited:
        return f"at least {part.value:.0%}"
    word = judgement(part.value, expected.floor)
    return f"{part.value:.0%} ({part.low:.0%} to {part.high:.0%}): {word}"


def _elections(found: Status) -> str:
    """How many more losses stop elections."""
    if (votes := found.elections) is None:
        return "not known"
    seen = f"{_many(votes.present, 'silo')} alive, {votes.quorum} must vote for a leader"
    if votes.losses_left < 0:
        return f"nobody can be elected: {seen}"
    if votes.losses_left == 0:
        return f"{seen}: one more loss stops elections"
    return f"{seen}: elections go on after {_many(votes.losses_left, 'more loss', 'es')}"


HEADER = ("silo", "address", "control", "bulk", "does", "record", "data", "traffic")


def _silo_table(silos: Sequence[SiloStatus], width: int | None) -> Sequence[str]:
    rows = [_row(silo) for silo in silos]
    text = table(HEADER, rows).split("\n")
    over = max(map(len, text)) - width if width is not None else 0
    if over > 0:
        longest = max(len(str(row[1])) for row in rows)
        room = max(LEAST_ADDRESS, longest - over)
        rows = [(row[0], shortened(str(row[1]), room), *row[2:]) for row in rows]
        text = table(HEADER, rows).split("\n")
    return text if width is None else [shortened(line, width) for line in text]


def _row(silo: SiloStatus) -> tuple[object, ...]:
    sent, received = silo.bytes_sent, silo.bytes_received
    traffic = size(sent + received) if sent is not None and received is not None else None
    return (
        silo.name,
        "-" if silo.address is None else silo.address.removeprefix("tcp://"),
        _control(silo),
        _bulk(silo),
        _does(silo),
        ago(silo.record_ago_s) if silo.record_ago_s is not None else None,
        silo.samples if silo.joined else None,
        traffic,
    )


def _control(silo: SiloStatus) -> str:
    """How records go to and from a silo."""
    way = silo.links.get("control")
    if silo.own:
        return "here"
    if silo.by_bundle and silo.bundle is not None:
        return "bundle"
    if silo.linked:
        rtt_s = way.rtt_s if way is not None else None
        return "up" if rtt_s is None else _round_trip(rtt_s)
    since = f" {ago(way.for_s)}" if way is not None else ""
    return "relayed" if silo.live else f"down{since}"


def _bulk(silo: SiloStatus) -> str:
    """How snapshots go to and from a silo."""
    way = silo.links.get("bulk")
    if way is not None and way.via == "own" and way.rtt_s is not None:
        return _round_trip(way.rtt_s)
    return bulk_cell(silo)


def _round_trip(rtt_s: float) -> str:
    text = f"{rtt_s * 1000:.0f} ms" if rtt_s >= 0.0005 else "<1 ms"
    return f"{text} slow" if rtt_s > SLOW_S else text


def _does(silo: SiloStatus) -> str:
    """What a silo does, as far as it is known now."""
    if silo.withdrawn:
        return "withdrew"
    if silo.quarantined:
        return "quarantine"
    if silo.by_bundle and silo.bundle is not None:
        return f"bundle {ago(silo.bundle.ago_s)} ago"
    if not silo.live:
        return "not heard" if silo.heard_ago_s is None else f"silent {ago(silo.heard_ago_s)}"
    if is_busy(silo):
        done = f" {share(silo.done or 0, silo.total)}" if silo.total else ""
        return f"{silo.activity}{done}"
    return "idle"


def _error_lines(found: Status, width: int | None) -> Iterator[str]:
    """The last error of each plane that is down, unless a problem tells it."""
    for silo in found.silos:
        told = " ".join(p.sentence for p in found.problems if p.subject == silo.name)
        for plane, way in silo.links.items():
            if not way.via and way.failures and way.failures[-1].reason not in told:
                last = way.failures[-1]
                text = f"{silo.name} {plane}: {last.reason} ({last.times} times)"
                line = f"{'error':<10}{text}"
                yield line if width is None else shortened(line, width)


def _machine_lines(found: Status, width: int | None) -> Iterator[str]:
    """This node's traffic and disk, and what is odd about its surroundings."""
    traffic = f"{size(found.bytes_sent)} sent, {size(found.bytes_received)} received"
    yield from _wrapped("here", f"{traffic}; {_disk(found)}; on {found.worker.device}", width)
    if found.uptime_s >= SETTLED_S:
        for what in found.catching_up:
            yield from _wrapped("behind", what, width)
    odd = (
        *bundle_lines(found.silos),
        *skew_lines(found),
        *knock_lines(found),
        *crowd_lines(found),
    )
    for line in odd:
        yield from _wrapped(line[:10].strip(), line[10:], width)


def _disk(found: Status) -> str:
    if found.disk_free is None:
        return "disk not measured"
    low = any(problem.code in (Code.DISK_LOW, Code.DISK_FULL) for problem in found.problems)
    held = f", snapshots {size(found.snapshots_bytes)}" if found.snapshots_bytes is not None else ""
    return f"disk {size(found.disk_free)} free{' (low)' if low else ''}{held}"


def _reasons(found: Status) -> Iterator[str]:
    """Why this node does what it does, whom it waits for, and what losses would do."""
    yield f"why       {found.doing.why}"
    for silo in found.silos:
        if silo.name in found.doing.waiting_on:
            yield f"waits for {silo.name}: {whereabouts(silo)}"
    yield f"leader    {_elections(found)}"
    method = found.method if found.schedule == found.method else f"{found.method}, {found.schedule}"
    yield f"method    {method}; participation {found.participation}"


def _explained(found: Status) -> Iterator[str]:
    """What the silos hold, and all that `peers` knows."""
    yield from coverage_lines(found.coverage)
    yield from probe_lines(found.preparation)
    yield from weight_lines(found.silos)
    yield ""
    yield from peers_table([silo for silo in found.silos if not silo.own]).split("\n")
    yield from dial_lines(found.silos)
    for stranger in found.pending:
        yield from ("", *stranger_lines(stranger))


def _wrapped(name: str, text: str, width: int | None) -> Sequence[str]:
    """A named paragraph of the screen."""
    if width is None:
        return [f"{name:<10}{text}"]
    lines = wrap(text, max(20, width - len(INDENT)), break_on_hyphens=False) or [""]
    return [f"{name if not n else '':<10}{line}" for n, line in enumerate(lines)]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[:4] if more else names) + more


def _many(count: int, thing: str, plural: str = "s") -> str:
    return f"{count} {thing}{'' if count == 1 else plural}"
