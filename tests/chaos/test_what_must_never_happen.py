"""What ended real federations of hospitals and must never happen here: one test per row of the
table in docs/reliability.md. Each stands on its own; longer tests show most of it again.
"""

import ast
import asyncio
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dcfm_node.api.problems import Code
from dcfm_node.daemon.facts import student_facts
from dcfm_node.daemon.status import status
from dcfm_node.errors import OtherProtocolError, PeerError
from dcfm_node.records.entries import Student
from dcfm_node.records.manifest import Policy
from dcfm_node.records.messages import Entries
from dcfm_node.simulation.run import simulate
from dcfm_node.simulation.scenario import Scenario
from dcfm_node.simulation.world import World
from dcfm_node.store.lock import lock
from dcfm_node.store.tensors import check_snapshot
from dcfm_node.swarm.effects import Distil, Effect, LinkUp, Received, Tick, Waiting
from dcfm_node.swarm.outcome import student_of
from dcfm_node.swarm.plan import next_step
from dcfm_node.swarm.rounds import Phase
from dcfm_node.wire.canonical import pack
from dcfm_node.wire.envelope import decode_message
from tests.chaos.wires import wired
from tests.integration.cluster import ROOT, Site, cluster, released, until
from tests.integration.linking import Node, closing
from tests.unit.swarm.builders import Run, join, snapshot
from tests.unit.swarm.nodes import started
from tests.unit.swarm.plan_inputs import plan_input

TOLERANT = Scenario(participation="tolerant", stall_s=60.0, quiet_s=0.0)


def students(world: World) -> list[Student]:
    bodies = (sealed.entry.body for sealed in world.history.said.values())
    found = [body for body in bodies if isinstance(body, Student)]
    return sorted(found, key=lambda student: (student.round, student.term))


def named(site: Site) -> list[tuple[str, str]]:
    """Codes and subjects of the problems that a node's status has."""
    return [(p["code"], p["subject"]) for p in site.ask().get("problems", [])]


@pytest.mark.full
def test_a_run_of_17_hours_dies_of_one_vpn_drop(tmp_path: Path) -> None:
    """Nothing aborts a run: work waits and resumes. Real nodes, parted for longer than stall_s."""
    strict = 'participation = "strict"\nstall_s = 2.0\n'
    with cluster(tmp_path, steps=400, policy=strict) as sites, wired(sites) as wires:
        for site in sites:
            site.start()
        parted = sites[1]
        until(lambda: parted.ask().get("doing", {}).get("done", 0) > 0)
        wires.isolate(parted.name)
        missed = ("peer-silent", parted.name)
        until(lambda: missed in named(sites[0]))
        wires.heal()
        assert len(set(until(lambda: released(sites)).values())) == 1
        latest = parted.ask()["latest"]
        assert (latest["outcome"], latest["missing"]) == ("COMPLETE", [])
        assert all(site.process is not None and site.process.poll() is None for site in sites)


def test_a_run_quietly_trains_on_5_of_7_sites() -> None:
    """Strict is the default; under tolerance the student itself names who was missing."""
    assert Policy().participation == "strict"
    for participation in ("strict", "tolerant"):
        run = Run(7, participation=participation)
        run.publish_experts(0, but=(2, 5))
        absent = [run.keys[2], run.keys[5]]
        plan = plan_input(run, suspected=lambda duty, absent=absent: duty.silo in absent)
        if participation == "strict":
            step = next_step(plan)
            assert step.phase == Phase("local", 0)
            assert step.action == Waiting("waiting for experts", on=tuple(absent))
            continue
        claimed = run.elect(0)
        work = next_step(replace(plan, view=run.view())).action
        assert isinstance(work, Distil)
        assert work.lease == claimed.digest
        said = run.authors[0].say(student_of(work, snapshot("student"), {}, 0))
        facts = student_facts(run.view(), run.view().students[said.digest])
        assert (facts.outcome, facts.missing) == ("DEGRADED", ("silo-0002", "silo-0005"))


def test_a_site_is_healthy_for_three_weeks_and_never_took_part() -> None:
    """Health is participation: last record, last expert and last link, each with its age."""
    run = Run(3, stall_s=60.0)
    made = started(run)
    idle = run.authors[1]
    said = [idle.say(join("silo-0001")).envelope]
    made.handle(LinkUp(idle.key), 0.0)
    for second in range(0, 200, 5):  # it heartbeats, and does nothing
        heartbeats = (idle.heartbeat(second + 1).envelope,)
        message = Entries(run=run.id, entries=tuple(said), beats=heartbeats)
        made.handle(Received(idle.key, message), float(second))
        made.handle(Tick(), float(second))
    facts = status(made, 200.0)
    silo = next(silo for silo in facts.silos if silo.name == "silo-0001")
    assert silo.live
    assert (silo.expert_round, silo.expert_ago_s) == (None, None)
    assert silo.record_ago_s == pytest.approx(200.0)
    assert silo.link_ago_s == pytest.approx(5.0)
    assert facts.health == "degraded"
    assert (Code.PEER_STALLED, "silo-0001") in [(p.code, p.subject) for p in facts.problems]


def test_the_slow_site_is_declared_dead() -> None:
    """Deadlines move with progress: work of five times stall_s is waited for by the tolerant."""
    slow = TOLERANT.model_copy(update={"work_s": (250.0, 300.0), "nodes": 3})
    assert slow.work_s[0] > 4 * slow.stall_s
    world = simulate(slow, 0)
    assert students(world)
    assert not any(student.missing for student in students(world))


def test_late_work_is_rejected_and_aborts_the_run() -> None:
    """A late expert serves in the next round."""
    world = simulate(TOLERANT.model_copy(update={"late": 1, "late_s": 150.0}), 0)
    late = list(world.hosts)[-1]
    first, last = students(world)[0], students(world)[-1]
    assert first.missing == (late,)
    assert last.missing == ()


def test_the_aggregator_dies_and_all_retry_for_ever() -> None:
    """Terms are fenced, another leads and resumes: the dead leader costs one term."""
    world = World(TOLERANT.model_copy(update={"work_s": (20.0, 30.0)}), 0)

    doomed: list[bytes] = []

    def check(world: World, key: bytes, effects: Sequence[Effect]) -> None:
        """Soon after its first checkpoint, time enough to fetch it, the leader is lost."""
        node = world.hosts[key].node
        said = node.replica.view.checkpoints_of(0) if node is not None else []
        if said and not doomed:
            doomed.append(said[0].author)
            world.hosts[doomed[0]].dead = True
            world.clock.at(world.clock.now + 2.0, partial(world.crash, doomed[0], None))

    world.run(check)
    (dead,) = (key for key, host in world.hosts.items() if host.dead)
    first = students(world)[0]
    checkpoints = world.history.said.values()
    by_dead = [
        s for s in checkpoints if s.entry.author == dead and s.entry.body.kind == "checkpoint"
    ]
    assert first.resumed in [s.entry.body.snapshot.digest for s in by_dead]
    assert first.term == by_dead[0].entry.body.term + 1
    assert world.over()


def test_a_stale_lock_file_blocks_a_restart(tmp_path: Path) -> None:
    """Locks are the system's and die with the process: a file that is left says nothing."""
    holding = "import sys, pathlib; from dcfm_node.store.lock import lock\n" + (
        "with lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holding, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGKILL)
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")  # of a process that lives
    with lock(tmp_path):
        pass


def test_version_or_certificate_skew_shows_as_a_dead_server() -> None:
    """Refusals name their cause: in the handshake on both sides, and of another protocol."""

    async def scenario() -> None:
        server, stale = Node("server"), Node("stale")
        async with closing(server, stale):
            address = await server.start(Node("stale").peer())  # another key under its name
            await stale.start(server.peer(address), listen=None)
            at_door, at_home = await asyncio.gather(server.refusal(), stale.refusal())
            assert at_door.link_key == stale.keys[0]
            assert "not approved" in at_door.reason
            assert at_home.name == "server"
            assert at_home.reason

    asyncio.run(scenario())
    with pytest.raises(OtherProtocolError, match="protocol 0"):
        decode_message(pack({"protocol": 0, "kind": "sync"}))


def test_memory_grows_with_peers_and_model_size(tmp_path: Path) -> None:
    """Snapshots are streamed in chunks. A process of its own fetches 96 MB while it is measured."""
    measure = [sys.executable, "-m", "tests.chaos.streaming", str(tmp_path)]
    done = subprocess.run(
        measure, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    fetched, grown = map(int, done.stdout.split())
    assert fetched == 96 << 20
    assert grown < fetched // 3


def test_pickle_from_a_peer_runs_code(tmp_path: Path) -> None:
    """No module can unpickle, and what is no safetensors file is refused before it is loaded."""
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in (ROOT / "dcfm_node").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & forbidden, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("torch", "load"), path
    touched = tmp_path / "touched"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(touched),)

    hostile = tmp_path / "expert.safetensors"
    hostile.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(PeerError):
        check_snapshot(hostile, {"weight": ("F32", (1,))})
    assert not touched.exists()
