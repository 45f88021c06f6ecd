"""Table 3 of DCFM: bytes that real nodes on loopback send and receive, by their own counters.

Every method runs from new keys to its end, with few steps of a large network. Bytes are payload of
both planes, including gossip. One unit is the parameters of one network.
"""

import math
import shutil
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcfm_node.api.journal import Journal
from dcfm_node.api.requests import JournalRequest
from dcfm_node.api.status import Phase, Status
from dcfm_node.demo import stage
from dcfm_node.demo.nodes import Nodes, ask
from dcfm_node.demo.run import all_judged, read_manifest, released, terminable
from dcfm_node.errors import Failed
from dcfm_node.experiment.costs.settings import Communication, MethodName
from dcfm_node.experiment.results import Metrics
from dcfm_node.flow import networks
from dcfm_node.records.entries import Expert, Student
from dcfm_node.records.manifest import Manifest

POLL_S = 0.3
ENDLESS = 1_000_000
"""Steps of a stage during which the run is stopped."""
LENIENT = 1e6
"""`endorse_ratio`: after so few steps a student may well be poor."""
INTERFACES = Path("/proc/net/dev")

Tell = Callable[[str, float], None]
"""Called with the current activity and its finished share, 0 to 1."""


def measure(
    folder: Path, given: Communication, method: MethodName, seed: int, tell: Tell
) -> Metrics:
    """Run a method with real nodes and read their traffic.

    Args:
        folder: of the nodes; removed at the end, but kept with its logs if the run failed.

    Returns: as `units`; `seconds`, from keys to the end; and `loopback_units`, what the kernel
        counted on the loopback interface meanwhile, per silo, where it can be read: with headers,
        encryption and whatever else used it.

    Raises:
        Failed: a node ended, or the run did not end in `patience_s`.
    """
    wish = stage.Wish("gaussians", silos=given.silos, seed=seed)
    began, before, keep = time.monotonic(), loopback_bytes(), False
    made = stage.prepare(folder, wish, run_settings(given, method, seed))
    try:
        with terminable(), Nodes(made) as nodes:
            statuses = _watch(nodes, method, given, tell)
            journals = [_journal(node) for node in made.nodes]
            after = loopback_bytes()
        size = parameter_bytes(read_manifest(made))
    except Failed:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder)
    found = units(list(statuses.values()), journals, size)
    if before is not None and after is not None:
        found["loopback_units"] = (after - before) / size / given.silos
    return found | {"seconds": time.monotonic() - began}


def units(statuses: Sequence[Status], journals: Sequence[Journal], size: int) -> Metrics:
    """Traffic in networks' parameters, each of `size` bytes.

    Args:
        statuses: every silo's.
        journals: every silo's own records, as `dcfm-node journal` has them.

    Returns: per silo `sent_units` and `received_units`; `recorded_units`, what it would receive if
        it fetched every snapshot that another published once; `most_units`, sent and received by
        the busiest silo; and `unit_bytes`.
    """
    silos = len(statuses)
    sent = [status.bytes_sent / size for status in statuses]
    received = [status.bytes_received / size for status in statuses]
    published = sum(
        entry.body.snapshot.size
        for journal in journals
        for entry in journal.entries
        if isinstance(entry.body, Expert | Student)
    )
    return {
        "sent_units": sum(sent) / silos,
        "received_units": sum(received) / silos,
        "recorded_units": published / size * (silos - 1) / silos,
        "most_units": max(map(sum, zip(sent, received, strict=True))),
        "unit_bytes": float(size),
    }


def run_settings(given: Communication, method: MethodName, seed: int) -> dict[str, Any]:
    """Contents of run.toml: Gaussian modes, with the given number of steps."""
    training = given.training.model_dump()
    every: dict[str, Any] = {"seed": seed, "solver": "euler", "solver_steps": 1, "local": training}
    dcfm = every | {"refine": training, "distil": training}
    rounds = {"min_rounds": given.rounds, "max_rounds": given.rounds}
    averaged = training | {"steps": training["steps"] * given.averagings}
    methods: dict[MethodName, dict[str, Any]] = {
        "fedflow": every | {"name": "fedflow", "max_rounds": given.averagings, "local": averaged},
        "ddm": every | {"name": "ddm"},
        "dfd": every | {"name": "dfd"},
        "dcfm-a": dcfm | rounds | {"schedule": "paper"},
        "dcfm-alternating": dcfm | rounds,
        # Only Stage I and its student; the run is stopped after that.
        "dcfm-b": dcfm | {"refine": training | {"steps": ENDLESS}},
    }
    return tomllib.loads(stage.run_text("gaussians")) | {
        "network": given.network.model_dump(),
        "method": methods[method],
        "policy": {"endorse_ratio": LENIENT, "novel_floor": 0.0},
    }


def ended(statuses: Mapping[str, Status], method: MethodName) -> bool:
    """Whether every silo holds what the method needs.

    DCFM-B's runs end once every silo holds the first student, others with the released one.
    """
    if method != "dcfm-b":
        return released(statuses) and all_judged(statuses)
    return all(
        status.phase == Phase(stage="refine", round=1)
        and status.doing.activity == "refine"
        and not status.doing.fetching
        for status in statuses.values()
    )


def parameter_bytes(manifest: Manifest) -> int:
    """Size of one network's parameters, all float32."""
    return sum(4 * math.prod(shape) for _, shape in networks.schema(manifest).values())


def loopback_bytes() -> int | None:
    """Bytes sent over the loopback interface since it came up; None if unknown."""
    try:
        lines = INTERFACES.read_text().splitlines()
    except OSError:
        return None
    sent = (line.split(":")[1].split()[8] for line in lines if line.strip().startswith("lo:"))
    return next(map(int, sent), None)


def _watch(
    nodes: Nodes, method: MethodName, given: Communication, tell: Tell
) -> Mapping[str, Status]:
    """Every node's status at the end."""
    deadline = time.monotonic() + given.patience_s
    while time.monotonic() < deadline:
        statuses = nodes.statuses()
        if nodes.lost:
            raise Failed(f"nodes were killed: {nodes.lost}", fix="run the same command to go on")
        if len(statuses) == given.silos and ended(statuses, method):
            return statuses
        tell(*_doing(statuses))
        time.sleep(POLL_S)
    raise Failed(
        f"the run of {method} did not end within {given.patience_s:g} s",
        where=str(nodes.alive[0].log),
        fix="read that log; raise communication.patience_s in a copy of the settings",
    )


def _doing(statuses: Mapping[str, Status]) -> tuple[str, float]:
    """Of the first node that does something."""
    for status in statuses.values():
        doing, phase = status.doing, status.phase
        if doing.activity != "idle" and doing.total and phase is not None:
            return f"{doing.activity}, round {phase.round}", doing.done / doing.total
    return "waiting for nodes", 0.0


def _journal(node: stage.NodeFolder) -> Journal:
    answer = ask(node, JournalRequest())
    if answer is None:
        raise Failed("the node does not answer any more", where=str(node.log))
    return answer
