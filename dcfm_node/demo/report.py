"""What a demo says at its end: report.json, a short table, and what to type next."""

from collections.abc import Iterable, Mapping, Sequence
from shlex import quote
from typing import Any

from dcfm_node.demo.live import clock, size
from dcfm_node.demo.progress import Status
from dcfm_node.demo.stage import Stage, Wish
from dcfm_node.records.entries import Endorse, Entry, Expert, Join, Lease, Refuse, Student
from dcfm_node.records.manifest import Manifest

SCHEMA = "dcfm-node/demo-report/1"
METHODS = (
    ("single_silo_best", "the best silo alone"),
    ("independent_experts", "independent experts (DDM)"),
    ("experts", "refined experts (DCFM-A)"),
    ("student", "the student (DCFM-B)"),
)


def timeline(entries: Iterable[Entry], manifest: Manifest, began_ms: int) -> list[dict[str, Any]]:
    """What was said when, in seconds since the demo began, by the authors' own clocks."""
    events = []
    for entry in sorted(entries, key=lambda entry: (entry.time_ms, entry.author, entry.seq)):
        event = _event(entry)
        if event is not None:
            at_s = round((entry.time_ms - began_ms) / 1000, 2)
            events.append({"at_s": at_s, "silo": manifest.silo_name(entry.author)} | event)
    return events


def phases(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """When each stage of each round began and ended: a phase ends with its last record."""
    ends: dict[tuple[str, int], float] = {}
    last_round = max((event["round"] for event in events if "round" in event), default=0)
    for event in events:
        match event["event"]:
            case "expert":
                number = event["round"]
                ends["refine" if number else "local", number] = event["at_s"]
            case "student":
                ends["distil", event["round"]] = event["at_s"]
            case "endorse" | "refuse":
                ends["release", last_round] = event["at_s"]
    began = next((event["at_s"] for event in events if event["event"] == "join"), 0.0)
    found = []
    for (stage, number), end in sorted(ends.items(), key=lambda item: item[1]):
        found.append({"stage": stage, "round": number, "from_s": began, "to_s": end})
        began = end
    return found


def build(
    wish: Wish,
    *,
    statuses: Mapping[str, Status],
    student: Mapping[str, Any],
    digests: Mapping[str, str],
    lost: Mapping[str, str],
    events: Sequence[Mapping[str, Any]],
    accuracy: Mapping[str, Mapping[str, float]],
    detail: Mapping[str, object],
    released_s: float,
    elapsed_s: float,
) -> dict[str, Any]:
    """The report, as report.json has it.

    Args:
        statuses: every node's last answer to `status`.
        student: facts of the released student.
        digests: node -> digest of the student as it is on its disk.
        lost: nodes that were killed meanwhile, and how.
        released_s: when every node held the released student, in seconds since the demo began.
    """
    some = next(iter(statuses.values()))
    return {
        "schema": SCHEMA,
        "domain": wish.domain,
        "schedule": wish.schedule,
        "seed": wish.seed,
        "silos": wish.silos,
        "run_id": some["run"]["id"],
        "released_s": round(released_s, 1),
        "elapsed_s": round(elapsed_s, 1),
        "student_digest": student["digest"],
        "outcome": student["outcome"],
        "missing": student["missing"],
        "lost": dict(lost),
        "endorsed_by": student["endorsed_by"],
        "refused_by": student["refused_by"],
        "rounds": student["round"],
        "terms": some["terms"],
        "leaders": [
            {"round": event["round"], "term": event["term"], "silo": event["silo"]}
            for event in events
            if event["event"] == "student"
        ],
        "nodes": [
            {
                "name": name,
                "student_digest": digests.get(name),
                "bytes_sent": status["bytes_sent"],
                "bytes_received": status["bytes_received"],
                "peak_rss_mb": status["peak_rss_mb"],
                "problems": status["problems"],
            }
            for name, status in sorted(statuses.items())
        ],
        "accuracy": {name: dict(accuracy[name]) for name, _ in METHODS},
        "accuracy_detail": dict(detail),
        "coverage": some["coverage"],
        "phases": phases(events),
        "timeline": list(events),
    }


def table(report: Mapping[str, Any]) -> str:
    """The report in a dozen lines."""
    counts = report["accuracy_detail"]["combinations"]
    header = ("", f"known ({counts['known']})", f"novel ({counts['novel']})")
    rows = [header] + [
        (words, *(f"{report['accuracy'][name][part]:.0%}" for part in ("known", "novel")))
        for name, words in METHODS
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{row[0].ljust(widths[0])}  {row[1].rjust(widths[1])}  {row[2].rjust(widths[2])}"
        for row in rows
    ]
    nodes = [
        f"{node['name'].ljust(7)} {_held(node, report)}  {size(node['bytes_sent'])} sent, "
        f"{size(node['bytes_received'])} received, {node['peak_rss_mb']:.0f} MB at most"
        for node in report["nodes"]
        if node["name"] not in report["lost"]
    ]
    lost = [f"{name.ljust(7)} lost: {how}" for name, how in report["lost"].items()]
    missing = f" without {', '.join(report['missing'])}" if report["missing"] else ""
    outcome = (
        f"student {report['student_digest'][:12]} of round {report['rounds']}, "
        f"{report['outcome']}{missing}, after {clock(report['released_s'])}; "
        f"judged after {clock(report['elapsed_s'])}"
    )
    title = "right samples, of combinations that some silo saw and that no silo saw:"
    return "\n".join([outcome, *nodes, *lost, "", title, *lines])


def next_steps(stage: Stage, manifest: Manifest, program: str) -> str:
    """What to type next; `program` is how a shell calls dcfm-node."""
    student, node = quote(str(stage.student)), stage.nodes[0]
    chosen = " ".join(
        f"--where {attribute.name}={quote(attribute.values[-1])}"
        for attribute in manifest.attributes
    )
    out = "samples.png" if len(manifest.sample_shape) == 3 else "samples.npz"
    start = f"--peers {quote(str(stage.peers))} --run {quote(str(stage.run))}"
    return "\n".join(
        [
            "look at   " + quote(str(stage.out / "report.png")),
            "next      " + f"{program} student verify {student}",
            "          " + f"{program} student sample {student} {chosen} -n 16 --out {out}",
            "          " + f"{program} start --config {quote(str(node.config))} {start}",
            "yours     " + f"{program} init my-silo",
        ]
    )


def _event(entry: Entry) -> dict[str, Any] | None:
    match entry.body:
        case Join():
            return {"event": "join"}
        case Expert() as body:
            return {"event": "expert", "round": body.round, "metrics": dict(body.metrics)}
        case Lease() as body:
            return {"event": "lease", "round": body.round, "term": body.term}
        case Student() as body:
            return {
                "event": "student",
                "round": body.round,
                "term": body.term,
                "final": body.final,
                "metrics": dict(body.metrics),
            }
        case Endorse() as body:
            return {"event": "endorse", "metrics": dict(body.metrics)}
        case Refuse() as body:
            return {"event": "refuse", "reason": body.reason}
        case _:
            return None


def _held(node: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    if node["student_digest"] == report["student_digest"]:
        return "holds the student"
    return "LACKS the student"
