"""The report of a demo: report.json, a short table, and the next commands."""

from collections.abc import Iterable, Mapping, Sequence
from shlex import quote

from dcfm_node.api.demo import (
    AccuracyDetail,
    DemoNode,
    DemoPhase,
    DemoReport,
    EndorseEvent,
    Event,
    ExpertEvent,
    JoinEvent,
    Leader,
    LeaseEvent,
    RefuseEvent,
    StudentEvent,
)
from dcfm_node.api.status import Status
from dcfm_node.api.students import Estimated, Expected, StudentFacts
from dcfm_node.demo import radiographs, robots
from dcfm_node.demo.live import clock, size
from dcfm_node.demo.stage import Stage, Wish
from dcfm_node.records.entries import (
    PREPARATION,
    Body,
    Endorse,
    Entry,
    Expert,
    Join,
    Lease,
    Refuse,
    Student,
)
from dcfm_node.records.manifest import Manifest

METHODS = (
    ("single_silo_best", "the best silo alone"),
    ("independent_experts", "independent experts (DDM)"),
    ("experts", "refined experts (DCFM-A)"),
    ("student", "the student (DCFM-B)"),
)
LEARNED = {
    "utility": "finds all",
    "utility_multiple": "of several",
    "specificity": "specificity",
}
"""Metrics of samples of radiographs together: `domains.chest.evaluation`."""
REAL = (
    ("floor", "real images of one hospital (mean)"),
    ("ceiling", "real images of all hospitals"),
)
REDRAWN = (
    ("success", "the student, executed in the simulator"),
    ("tracked", "the same, by each plan's own commands"),
)
"""Metrics of one domain, which the table shows where they were measured."""


def timeline(entries: Iterable[Entry], manifest: Manifest, began_ms: int) -> list[Event]:
    """Records with their times in seconds since the demo began, by the authors' own clocks."""
    events = []
    for entry in sorted(entries, key=lambda entry: (entry.time_ms, entry.author, entry.seq)):
        at_s = round((entry.time_ms - began_ms) / 1000, 2)
        event = _event(entry.body, at_s, manifest.silo_name(entry.author))
        if event is not None:
            events.append(event)
    return events


def phases(events: Sequence[Event]) -> list[DemoPhase]:
    """When each stage of each round began and ended. A phase ends with its last record."""
    ends: dict[tuple[str, int], float] = {}
    rounds = (e.round for e in events if isinstance(e, ExpertEvent | LeaseEvent | StudentEvent))
    last_round = max(rounds, default=0)
    for event in events:
        match event:
            case ExpertEvent(round=number):
                ends["refine" if number else "local", number] = event.at_s
            case StudentEvent(round=number):
                ends["distil", number] = event.at_s
            case EndorseEvent() | RefuseEvent():
                ends["release", last_round] = event.at_s
    began = next((event.at_s for event in events if isinstance(event, JoinEvent)), 0.0)
    found = []
    for (stage, number), end in sorted(ends.items(), key=lambda item: item[1]):
        found.append(DemoPhase(stage=stage, round=number, from_s=began, to_s=end))
        began = end
    return found


def build(
    wish: Wish,
    *,
    statuses: Mapping[str, Status],
    student: StudentFacts,
    digests: Mapping[str, str],
    lost: Mapping[str, str],
    events: Sequence[Event],
    accuracy: Mapping[str, Mapping[str, float]],
    detail: Mapping[str, object],
    released_s: float,
    elapsed_s: float,
) -> DemoReport:
    """The report, as report.json has it.

    Args:
        statuses: every node's last answer to `status`.
        student: facts of the released student.
        digests: node -> digest of the student file on its disk.
        lost: node that was killed -> how.
        released_s: when every node held the released student, in seconds since the demo began.
    """
    some = next(iter(statuses.values()))
    return DemoReport(
        domain=wish.domain,
        schedule=wish.schedule,
        seed=wish.seed,
        silos=wish.silos,
        run_id=some.run.id,
        released_s=round(released_s, 1),
        elapsed_s=round(elapsed_s, 1),
        student_digest=student.digest,
        outcome=student.outcome,
        missing=student.missing,
        lost=dict(lost),
        endorsed_by=student.endorsed_by,
        refused_by=student.refused_by,
        rounds=student.round,
        terms=some.terms,
        leaders=tuple(
            Leader(round=event.round, term=event.term, silo=event.silo)
            for event in events
            if isinstance(event, StudentEvent)
        ),
        nodes=tuple(
            DemoNode(
                name=name,
                student_digest=digests.get(name),
                bytes_sent=status.bytes_sent,
                bytes_received=status.bytes_received,
                peak_rss_mb=status.peak_rss_mb,
                problems=tuple(map(str, status.problems)),
            )
            for name, status in sorted(statuses.items())
        ),
        accuracy={name: dict(accuracy[name]) for name, _ in METHODS},
        accuracy_detail=AccuracyDetail.model_validate(detail),
        expected=student.expected,
        coverage=some.coverage,
        phases=tuple(phases(events)),
        timeline=tuple(events),
    )


def table(report: DemoReport) -> str:
    """The report as text of about a dozen lines."""
    counts = report.accuracy_detail.combinations
    withheld = report.domain == radiographs.DOMAIN
    words = ("trained on", "not trained on") if withheld else ("held", "not held")
    header = ("", f"{words[0]} ({counts['known']})", f"{words[1]} ({counts['novel']})")
    rows = [header] + [
        (words, *(_share(report.accuracy[name], part) for part in ("known", "novel")))
        for name, words in METHODS
    ]
    said = (report.expected.known, report.expected.novel)
    rows.append(("the student, as announced: trained on, novel", *map(percent, said)))
    redrawn = report.accuracy_detail.redrawn
    rows += [
        (words, *(f"{redrawn[name][part]:.0%}" for part in ("known", "novel")))
        for name, words in REDRAWN
        if name in redrawn
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{row[0].ljust(widths[0])}  {row[1].rjust(widths[1])}  {row[2].rjust(widths[2])}"
        for row in rows
    ]
    nodes = [
        f"{node.name.ljust(7)} {_held(node, report)}  {size(node.bytes_sent)} sent, "
        f"{size(node.bytes_received)} received, {node.peak_rss_mb:.0f} MB at most"
        for node in report.nodes
        if node.name not in report.lost
    ]
    lost = [f"{name.ljust(7)} lost: {how}" for name, how in report.lost.items()]
    missing = f" without {', '.join(report.missing)}" if report.missing else ""
    outcome = (
        f"student {report.student_digest[:12]} of round {report.rounds}, "
        f"{report.outcome}{missing}, after {clock(report.released_s)}; "
        f"judged after {clock(report.elapsed_s)}"
    )
    title = "right samples, of combinations that some silo saw and that no silo saw:"
    if withheld:
        title = (
            "right samples, of combinations that hospitals trained on, and that none trained on:"
        )
    told = [*lines, *_unmeasured(report.expected), *_together(report)]
    return "\n".join([outcome, *nodes, *lost, "", title, *told])


def _share(of: Mapping[str, float], part: str) -> str:
    return f"{of[part]:.0%}" if part in of else "-"


def _together(report: DemoReport) -> list[str]:
    """What a classifier of radiographs learns from drawn ones; nothing for other domains."""
    found = report.accuracy_detail.together
    if not found:
        return []
    some = found["student"]
    rows = [(words, found[name]) for name, words in METHODS]
    rows += [
        (words, {name: some[f"{of}_{name}"] for name in LEARNED if f"{of}_{name}" in some})
        for of, words in REAL
    ]
    wide = max(len(words) for words, _ in rows)
    lines = [
        f"{words.ljust(wide)}  " + "  ".join(_share(of, name).rjust(11) for name in LEARNED)
        for words, of in rows
    ]
    header = " " * wide + "  " + "  ".join(words.rjust(11) for words in LEARNED.values())
    title = "what a classifier learns from drawn images alone, on real ones of other patients:"
    return ["", title, header, *lines]


def percent(share: Estimated | None) -> str:
    """An announced share; "?" if it is unmeasured."""
    return "?" if share is None else f"{share.value:.0%}"


def next_steps(stage: Stage, manifest: Manifest, program: str) -> str:
    """The next commands; `program` is how a shell calls dcfm-node."""
    student, node = quote(str(stage.student)), stage.nodes[0]
    robot = manifest.domain.kind == robots.DOMAIN
    values = {attribute.name: attribute.values[-1] for attribute in manifest.attributes}
    values |= robots.NOVEL if robot else {}
    if manifest.domain.kind == radiographs.DOMAIN:
        values = radiographs.NOVEL
    chosen = " ".join(f"--where {name}={quote(value)}" for name, value in values.items())
    film = f"{program} domain run cube {student} {chosen} --out {quote(str(stage.out / 'film'))}"
    out = "samples.png" if len(manifest.sample_shape) == 3 else "samples.npz"
    start = f"--peers {quote(str(stage.peers))} --run {quote(str(stage.run))}"
    return "\n".join(
        [
            "look at   " + quote(str(stage.out / "report.png")),
            "next      " + f"{program} student verify {student}",
            "          " + f"{program} student sample {student} {chosen} -n 16 --out {out}",
            *(["          " + film] if robot else []),
            "          " + f"{program} start --config {quote(str(node.config))} {start}",
            "yours     " + f"{program} init my-silo",
        ]
    )


def _event(body: Body, at_s: float, silo: str) -> Event | None:
    match body:
        case Join():
            return JoinEvent(at_s=at_s, silo=silo)
        case Expert(round=number):
            metrics = dict(body.metrics)
            return ExpertEvent(at_s=at_s, silo=silo, round=number, metrics=metrics)
        case Lease(round=number, term=term) if number != PREPARATION:
            return LeaseEvent(at_s=at_s, silo=silo, round=number, term=term)
        case Student(round=number, term=term, final=final):
            return StudentEvent(
                at_s=at_s,
                silo=silo,
                round=number,
                term=term,
                final=final,
                metrics=dict(body.metrics),
            )
        case Endorse():
            return EndorseEvent(at_s=at_s, silo=silo, metrics=dict(body.metrics))
        case Refuse(reason=reason):
            return RefuseEvent(at_s=at_s, silo=silo, reason=reason)
        case _:
            return None


def _unmeasured(expected: Expected) -> list[str]:
    return [f"? is unmeasured: {expected.why}"] if expected.why else []


def _held(node: DemoNode, report: DemoReport) -> str:
    return (
        "holds the student" if node.student_digest == report.student_digest else "LACKS the student"
    )
