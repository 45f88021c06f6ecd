"""What `/metrics` tells a Prometheus server: the status of a node as numbers.

`METRICS` is the whole list; `docs/metrics.md` is made from it, and nothing else is exposed. Labels
are silos of the roster, planes, kinds and problem codes: no peer can add one.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from dcfm_node.api.problems import Code
from dcfm_node.api.status import Peers, SiloStatus, Status
from dcfm_node.page.reader import Seen
from dcfm_node.swarm.rounds import Stage

STAGES = get_args(Stage)


class Metric(NamedTuple):
    """One metric: its type, what it says, and its labels."""

    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "dcfm_up": Metric("gauge", "1 if the daemon answers, else 0."),
    "dcfm_ready": Metric("gauge", "1 if this silo takes part in its run, as /readyz says, else 0."),
    "dcfm_build_info": Metric("gauge", "Always 1. The version of the daemon.", ("version",)),
    "dcfm_run_info": Metric(
        "gauge", "Always 1. The run, its method and this silo.", ("run", "id", "method", "silo")
    ),
    "dcfm_uptime_seconds": Metric("gauge", "Time since the daemon started."),
    "dcfm_memory_peak_bytes": Metric(
        "gauge", "The most memory that the daemon and its training process have used."
    ),
    "dcfm_problems": Metric(
        "gauge", "Problems of `status` by code, as in docs/problems.md.", ("code", "severity")
    ),
    "dcfm_operation_failures": Metric(
        "gauge", "How often operations failed that failed in the last two minutes."
    ),
    "dcfm_round": Metric("gauge", "The round that the run is in, from 0."),
    "dcfm_stage": Metric("gauge", "1 for the stage that the run is in, else 0.", ("stage",)),
    "dcfm_work_done_steps": Metric("gauge", "Steps done of this node's present work."),
    "dcfm_work_steps": Metric("gauge", "All steps of this node's present work; 0 if unknown."),
    "dcfm_work_loss": Metric("gauge", "The newest loss of this node's present work."),
    "dcfm_waited_for_silos": Metric("gauge", "Silos that this node waits for."),
    "dcfm_silos": Metric("gauge", "Silos of the roster."),
    "dcfm_live_silos": Metric("gauge", "Silos that this node hears of, itself included."),
    "dcfm_sent_bytes": Metric("counter", "Payload bytes sent to all peers."),
    "dcfm_received_bytes": Metric("counter", "Payload bytes received from all peers."),
    "dcfm_peer_sent_bytes": Metric("counter", "Payload bytes sent to a peer.", ("peer",)),
    "dcfm_peer_received_bytes": Metric("counter", "Payload bytes from a peer.", ("peer",)),
    "dcfm_peer_linked": Metric(
        "gauge", "1 if a link to the peer is up on the plane, else 0.", ("peer", "plane")
    ),
    "dcfm_peer_failed_dials": Metric(
        "gauge", "Dials to the peer that failed in a row.", ("peer", "plane")
    ),
    "dcfm_peer_heard_age_seconds": Metric(
        "gauge", "Time since the last sign of life, directly or through others.", ("peer",)
    ),
    "dcfm_peer_progress_age_seconds": Metric(
        "gauge", "Time since the peer last showed progress.", ("peer",)
    ),
    "dcfm_peer_late_seconds": Metric(
        "gauge",
        "For how long the run has waited for the peer beyond patience; 0 if not.",
        ("peer",),
    ),
    "dcfm_silo_records": Metric("gauge", "Records of the silo that this node has.", ("silo",)),
    "dcfm_silo_samples": Metric("gauge", "Training samples that the silo counts.", ("silo",)),
    "dcfm_silo_expert_round": Metric("gauge", "Round of the silo's newest expert.", ("silo",)),
    "dcfm_unknown_keys": Metric("gauge", "Unknown keys that tried to connect and are remembered."),
    "dcfm_unknown_connections": Metric(
        "gauge", "Connections at a port whose peer is still unknown.", ("plane",)
    ),
    "dcfm_combinations": Metric(
        "gauge",
        "Combinations of attribute values: all, held by a silo, or novel and not composable.",
        ("kind",),
    ),
    "dcfm_students": Metric("gauge", "Valid students of the run."),
    "dcfm_student_released": Metric("gauge", "1 once a student is released, else 0."),
    "dcfm_student_round": Metric("gauge", "Round of the newest student."),
    "dcfm_student_expected_ratio": Metric(
        "gauge",
        "Share of the newest student's draws that are expected to be right, 0 to 1.",
        ("kind",),
    ),
    "dcfm_page_watchers": Metric("gauge", "Clients that watch the page now."),
}

Sample = tuple[str, tuple[str, ...], float]
"""Name of a metric, the values of its labels, and the number. What is not known has none."""


def samples(seen: Seen, watchers: int) -> Iterator[Sample]:
    """Every number of one look at the daemon."""
    status = seen.status
    yield "dcfm_up", (), float(not seen.now.unreachable or seen.now.status is not None)
    yield "dcfm_ready", (), float(seen.now.ready.ready)
    yield "dcfm_page_watchers", (), float(watchers)
    if status is not None:
        yield from _of_run(status)
        yield from _of_machine(status)
        yield from _of_student(status)
        for silo in status.silos:
            yield from _of_silo(silo)
    if seen.peers is not None:
        yield from _of_traffic(seen.peers)


def _of_run(status: Status) -> Iterator[Sample]:
    run, doing = status.run, status.doing
    yield "dcfm_build_info", (status.version,), 1.0
    yield "dcfm_run_info", (run.name, run.id, status.method, status.node), 1.0
    if status.phase is not None:
        yield "dcfm_round", (), status.phase.round
        for stage in STAGES:
            yield "dcfm_stage", (stage,), float(stage == status.phase.stage)
    yield "dcfm_work_done_steps", (), doing.done
    yield "dcfm_work_steps", (), doing.total
    if "loss" in status.worker.metrics:
        yield "dcfm_work_loss", (), status.worker.metrics["loss"]
    yield "dcfm_waited_for_silos", (), len(doing.waiting_on)
    yield "dcfm_silos", (), len(status.silos)
    yield "dcfm_live_silos", (), sum(silo.live for silo in status.silos)
    found = status.coverage
    yield "dcfm_combinations", ("all",), found.combinations
    yield "dcfm_combinations", ("held",), found.observed
    yield "dcfm_combinations", ("not_composable",), found.outside_hull


def _of_machine(status: Status) -> Iterator[Sample]:
    yield "dcfm_uptime_seconds", (), status.uptime_s
    yield "dcfm_memory_peak_bytes", (), status.peak_rss_mb * 2**20
    codes = [problem.code for problem in status.problems]
    for code in Code:
        yield "dcfm_problems", (code.value, code.severity), codes.count(code)
    yield "dcfm_operation_failures", (), sum(trouble.times for trouble in status.troubles)
    yield "dcfm_unknown_keys", (), len(status.pending)
    for plane, crowd in status.unknown.items():
        yield "dcfm_unknown_connections", (plane,), crowd.waiting


def _of_student(status: Status) -> Iterator[Sample]:
    yield "dcfm_students", (), len(status.students)
    yield "dcfm_student_released", (), float(status.latest is not None)
    if status.students:
        newest = status.students[-1]
        yield "dcfm_student_round", (), newest.round
        for kind in ("known", "novel"):
            if (part := getattr(newest.expected, kind)) is not None:
                yield "dcfm_student_expected_ratio", (kind,), part.value


def _of_silo(silo: SiloStatus) -> Iterator[Sample]:
    name = (silo.name,)
    yield "dcfm_silo_records", name, silo.records
    yield "dcfm_silo_samples", name, silo.samples
    if silo.expert_round is not None:
        yield "dcfm_silo_expert_round", name, silo.expert_round
    if silo.own:
        return
    yield "dcfm_peer_late_seconds", name, silo.late_s or 0.0
    if silo.heard_ago_s is not None:
        yield "dcfm_peer_heard_age_seconds", name, silo.heard_ago_s
    if silo.moved_ago_s is not None:
        yield "dcfm_peer_progress_age_seconds", name, silo.moved_ago_s
    for plane, way in silo.links.items():
        yield "dcfm_peer_linked", (silo.name, plane), float(bool(way.via))
        yield (
            "dcfm_peer_failed_dials",
            (silo.name, plane),
            max((failure.times for failure in way.failures), default=0),
        )


def _of_traffic(peers: Peers) -> Iterator[Sample]:
    for what in ("sent", "received"):
        found = {peer.name: getattr(peer, f"bytes_{what}") for peer in peers.peers}
        measured = {name: float(count) for name, count in found.items() if count is not None}
        for name, count in measured.items():
            yield f"dcfm_peer_{what}_bytes", (name,), count
        yield f"dcfm_{what}_bytes", (), sum(measured.values())


def exposed(name: str) -> str:
    """The name that a metric has in a query: counters end in "_total"."""
    return f"{name}_total" if METRICS[name].kind == "counter" else name
