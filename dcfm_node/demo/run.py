"""Runs the demo: prepare, start, watch, evaluate, report. All processes end with the call."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dcfm_node.api.demo import DemoReport
from dcfm_node.api.requests import StudentRequest
from dcfm_node.api.status import Status
from dcfm_node.api.students import StudentFiles
from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import load_peers, own_peer
from dcfm_node.config.run import load_run
from dcfm_node.data.spec import RadiographsData
from dcfm_node.demo import live, radiographs, report, robots
from dcfm_node.demo.nodes import Nodes, PortTakenError, ask
from dcfm_node.demo.progress import Pace, frame
from dcfm_node.demo.stage import NAMES, NodeFolder, Stage, Wish, called, prepare, to_toml
from dcfm_node.domains import base as domains
from dcfm_node.domains.base import Domain, Split, SplitSpec
from dcfm_node.domains.robots import simulator
from dcfm_node.errors import Failed
from dcfm_node.records.entries import Entry, Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import joined
from dcfm_node.store.snapshots import describe
from dcfm_node.swarm import lineage
from dcfm_node.wire.canonical import unpack
from dcfm_node.wire.envelope import open_entry

if TYPE_CHECKING:
    from dcfm_node.demo.evaluate import Evaluation

JUDGE = "judge"
"""Folder for what evaluators keep."""
KEPT = "snapshots"
"""Folder for copies of all snapshots of the nodes."""
POLL_S = 0.5
PORT_TRIES = 3
GRACE_S = 15.0
"""Seconds to wait for scores of the released student."""


def run_demo(
    *,
    domain: str,
    schedule: str | None,
    out: Path,
    seed: int,
    silos: int,
    json_output: bool,
    shorten: float = 1.0,
    data: Path | None = None,
) -> DemoReport:
    """Run a demo in a folder, and write its report there.

    Args:
        schedule: "alternating" if None.
        json_output: write progress to stderr instead of stdout.
        shorten: factor on the training steps, for tests; default 1.
        data: folder of radiographs, for the domain that needs one.

    Returns: the report, as in `out`/report.json.

    Raises:
        UserError: an option is invalid, a node failed, or the run released no student.
    """
    began, began_ms = time.monotonic(), time.time_ns() // 1_000_000
    wish = Wish(domain, schedule or "alternating", seed, silos, shorten, data)
    wish.check()
    domains.named(domain).check_packages()
    if domain == robots.DOMAIN:
        simulator.needed()
    console = live.screen(stderr=json_output)
    with terminable():
        stage, manifest, statuses, answers, lost = play(out, wish, console, began)
        released_s = time.monotonic() - began
        live.tell(console, f"released after {live.clock(released_s)}; judging what it can draw")
        held = {name: answer for name, answer in answers.items() if answer is not None}
        student = next(iter(held.values()))
        evaluation = evaluated(stage, wish, student)
        events = report.timeline(entries(student), manifest, began_ms)
        found = report.build(
            wish,
            statuses=statuses,
            student=student.student,
            digests={
                node.name: digest_of(node.state / held[node.name].path)
                for node in stage.nodes
                if node.name in held
            },
            lost=lost,
            events=events,
            accuracy=evaluation.accuracy,
            detail=evaluation.detail,
            released_s=released_s,
            elapsed_s=time.monotonic() - began,
        )
    (out / "report.json").write_text(json.dumps(found.plain(), indent=2) + "\n")
    if not json_output:
        table, steps = report.table(found), report.next_steps(stage, manifest, called())
        live.tell(console, "", *table.split("\n"), "", *steps.split("\n"))
    return found


def read_manifest(stage: Stage) -> Manifest:
    """Read the run's manifest as the nodes do."""
    config = load_node(stage.nodes[0].config)
    me = own_peer(config, load_keys(config.keys))
    return load_run(stage.run, load_peers(stage.peers), me, listed=stage.peers)


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the demo with its clean-up, as Ctrl-C does."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def play(
    out: Path, wish: Wish, console: Console, began: float, tries: int = PORT_TRIES
) -> tuple[Stage, Manifest, dict[str, Status], dict[str, StudentFiles | None], dict[str, str]]:
    """Prepare, start and watch; start again if another process took a port.

    Returns: the stage, its manifest, every node's last status, its student, and the lost nodes.
    """
    stage = staged(out, wish, console)
    manifest = read_manifest(stage)
    title = f"dcfm-node demo  {wish.domain}, {wish.schedule}, {wish.silos} nodes, seed {wish.seed}"
    try:
        with Nodes(stage) as nodes:
            with live.view(console, title) as show:

                def look(seen: Any) -> None:
                    keep_snapshots(stage)
                    show(seen)

                statuses = watch(nodes, manifest, look, began)
            answers = {node.name: ask(node, StudentRequest()) for node in nodes.alive}
            fetch(stage, nodes.alive[0])
            return stage, manifest, statuses, answers, nodes.lost
    except PortTakenError:
        if tries == 1:
            raise
    return play(out, wish, console, began, tries - 1)


def staged(out: Path, wish: Wish, console: Console) -> Stage:
    """A demo folder whose nodes can start: with the robots' episodes, where there are robots, and
    with a codec, where there are radiographs."""
    if wish.domain == robots.DOMAIN:
        simulator.needed()
    stage = prepare(out, wish)
    if wish.domain == robots.DOMAIN:
        with live.counting(console, "the robots record episodes") as tell:
            robots.make(out, wish.seed, cores(), tell, wish.shorten)
    if wish.domain == radiographs.DOMAIN and wish.data is not None:
        run = tomllib.loads(stage.run.read_text())
        with live.counting(console, "a codec learns from public images") as tell:
            run["codec"] = radiographs.fit(out, run["domain"], wish.data, tell)
        stage.run.write_text(to_toml(run))
    return stage


def watch(
    nodes: Nodes, manifest: Manifest, show: Callable[[Any], None], began: float
) -> dict[str, Status]:
    """Follow the nodes until every running one holds the released student.

    Returns: node -> last status, including lost nodes.

    Raises:
        Failed: a node failed, or the run ended without a student.
    """
    pace = Pace(cores=cores())
    last: dict[str, Status] = {}
    complete_at: float | None = None
    while True:
        statuses = nodes.statuses()
        last |= statuses
        now = time.monotonic()
        pace.observe(statuses, now)
        show(frame(manifest, statuses, pace, now - began, nodes.lost))
        if ended_without(statuses):
            raise Failed(
                "the run released no student",
                more=list(map(str, next(iter(statuses.values())).problems)),
                fix="try another --seed; 'dcfm-node status --explain' shows a node's own reason",
            )
        if len(statuses) == len(nodes.alive) and released(statuses):
            complete_at = now if complete_at is None else complete_at
            if all_judged(statuses) or now - complete_at >= GRACE_S:
                return last
        time.sleep(POLL_S)


def released(statuses: Mapping[str, Status]) -> bool:
    """Whether all nodes report the same released student and have finished all work."""
    latest = [status.latest for status in statuses.values()]
    quiet = all(status.doing.activity == "idle" for status in statuses.values())
    digests = {student.digest if student else None for student in latest}
    return quiet and len(digests) == 1 and None not in digests


def all_judged(statuses: Mapping[str, Status]) -> bool:
    """Whether every running node has scored the released student."""
    return all(
        latest is not None and (name in latest.endorsed_by or name in latest.refused_by)
        for latest in (status.latest for status in statuses.values())
        for name in statuses
    )


def ended_without(statuses: Mapping[str, Status]) -> bool:
    """Whether a node reports that the run ended without a student."""
    return any(
        status.phase is not None and status.phase.stage == "done" and not status.latest
        for status in statuses.values()
    )


def fetch(stage: Stage, node: NodeFolder) -> None:
    """Write the student's folder with the command line, from a running node."""
    command = ["student", "fetch", "--latest", "--out", stage.student, "--config", node.config]
    done = subprocess.run(
        [sys.executable, "-m", "dcfm_node", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = done.stderr.split("\n")
        raise Failed("'dcfm-node student fetch' failed:", where=node.name, more=told)


def evaluated(stage: Stage, wish: Wish, student: StudentFiles) -> "Evaluation":
    """Evaluate the models and draw report.png. Imports torch only here, after the nodes ended."""
    from dcfm_node.demo.evaluate import evaluate, models, panels

    digest = bytes.fromhex(student.student.digest)
    proven = lineage.verify(bytes.fromhex(student.lineage), digest)
    manifest = proven.view.manifest
    domain = domains.of(manifest)
    prepared = proven.view.preparation
    split = split_of(stage, wish, manifest, domain, prepared.probes if prepared else ())
    evaluator = domain.evaluator(split, folder=stage.out / JUDGE, seed=wish.seed, device="cpu")
    codec = load_node(stage.nodes[0].config).codec
    given = models(proven.view, digest, lambda wanted: find(stage, wanted), codec)
    found = evaluate(domain, split, evaluator, given)
    holders = split.holders(NAMES[: wish.silos])
    shown = panels(split, found, student.student.expected)
    domain.draw(split.space, shown, holders).save(stage.out / "report.png")
    return found


def split_of(
    stage: Stage,
    wish: Wish,
    manifest: Manifest,
    domain: Domain[Any],
    probes: Sequence[Label] = (),
) -> Split:
    """What the nodes hold, and what none does.

    Args:
        probes: combinations that nobody trained on. Radiographs of them exist, so that what a
            student draws of them can be measured; the demo's other domains keep theirs.
    """
    if wish.domain not in (robots.DOMAIN, radiographs.DOMAIN):
        return domain.split(SplitSpec(manifest.attributes, silos=wish.silos, seed=wish.seed))
    data = [load_node(node.config).data for node in stage.nodes]
    if wish.domain == radiographs.DOMAIN:
        return radiographs.split(
            manifest, [one for one in data if isinstance(one, RadiographsData)], probes
        )
    held = [domain.load(manifest, one) for one in data]
    silos = tuple(joined((one.train, one.holdout)) for one in held)
    known = {combination for silo in silos for combination in silo.combinations}
    novel = tuple(c for c in manifest.space() if c not in known)
    return Split(manifest.attributes, manifest.sample_shape, silos, novel)


def cores() -> int:
    """How many processes can truly run at once."""
    return os.cpu_count() or 1


def keep_snapshots(stage: Stage) -> None:
    """Copy the nodes' snapshots, because nodes delete old ones that the report compares."""
    folder = stage.out / KEPT
    folder.mkdir(exist_ok=True)
    for node in stage.nodes:
        for path in (node.state / "snapshots").glob("*.safetensors"):
            if not (folder / path.name).exists():
                with contextlib.suppress(FileNotFoundError):  # dropped since it was listed
                    # Not every filesystem has hard links.
                    shutil.copyfile(path, part := folder / "part")
                    part.replace(folder / path.name)


def find(stage: Stage, digest: bytes) -> Path:
    """Path of the copy of a snapshot.

    Raises:
        Failed: no node held it.
    """
    found = stage.out / KEPT / f"{digest.hex()}.safetensors"
    if not found.exists():
        raise Failed(f"no node holds the snapshot {digest.hex()[:12]}", where=str(stage.out))
    return found


def entries(student: StudentFiles) -> Iterator[Entry]:
    """All records of the run, from the student's lineage."""
    document = unpack(bytes.fromhex(student.lineage))
    if not isinstance(document, dict):
        raise AssertionError("a verified lineage is a mapping")
    for envelope in document["entries"]:
        yield open_entry(envelope).entry


def digest_of(path: Path) -> str:
    """Digest of the snapshot in a file, hex."""
    return describe(path).digest.hex()
