"""Processes are ended whatever happens; a node that dies is told with the end of its log."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcfm_node.api.requests import Stopping
from dcfm_node.demo import nodes
from dcfm_node.demo.stage import NodeFolder, Stage
from dcfm_node.errors import Failed


@pytest.fixture
def stage(tmp_path):
    folders = [NodeFolder(name, tmp_path / name) for name in ("north", "east", "south")]
    for node in folders:
        node.folder.mkdir()
        node.log.write_text("".join(f"line {n}\n" for n in range(40)))
    return Stage(tmp_path, tuple(folders))


@pytest.fixture
def started(monkeypatch):
    """Stands in for nodes: `cat` lives as long as its stdin, or until it is told to end."""
    processes = {}

    def start(stage, node):
        processes[node.name] = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        return processes[node.name]

    monkeypatch.setattr(nodes, "_start", start)
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


def test_leaving_ends_every_node(stage, started):
    with nodes.Nodes(stage) as running:
        assert len(running.alive) == 3
        assert running.statuses() == {}
    assert all(process.returncode is not None for process in started.values())


def test_an_exception_ends_every_node(stage, started):
    with pytest.raises(KeyboardInterrupt), nodes.Nodes(stage):
        raise KeyboardInterrupt
    assert all(process.returncode is not None for process in started.values())


def test_a_node_that_cannot_start_takes_the_others_with_it(stage, started, monkeypatch):
    start = nodes._start

    def fails(stage, node):
        if node.name == "south":
            raise OSError("no more processes")
        return start(stage, node)

    monkeypatch.setattr(nodes, "_start", fails)
    with pytest.raises(OSError, match="no more"), nodes.Nodes(stage):
        pytest.fail("the context must not be entered")
    assert [process.returncode is not None for process in started.values()] == [True, True]


def test_a_node_that_ends_by_itself_is_told_with_the_end_of_its_log(stage, started):
    with nodes.Nodes(stage) as running:
        started["east"].communicate()
        with pytest.raises(Failed, match="exit code 0") as caught:
            running.statuses()
    assert "line 39" in str(caught.value)
    assert "line 20" not in str(caught.value)
    assert caught.value.where == str(stage.nodes[1].log)


def test_a_killed_minority_is_lost_and_named_a_killed_majority_ends_the_demo(stage, started):
    with nodes.Nodes(stage) as running:
        started["east"].kill()
        started["east"].wait()
        running.statuses()
        assert running.lost == {"east": "killed by signal 9"}
        assert [node.name for node in running.alive] == ["north", "south"]
        started["north"].kill()
        started["north"].wait()
        with pytest.raises(Failed, match="not a majority"):
            running.statuses()


def test_only_answers_count(stage, started, monkeypatch):
    def call(state, request, timeout_s):
        if state.parent.name == "east":
            raise Failed("not yet")
        return Stopping(grace_s=1.0)

    monkeypatch.setattr(nodes, "call", call)
    with nodes.Nodes(stage) as running:
        assert list(running.statuses()) == ["north", "south"]


def test_the_tail_of_a_log_that_was_never_written(tmp_path):
    assert nodes.tail(tmp_path / "node.log") == ["(no log was written)"]


def test_a_port_that_was_taken_meanwhile_is_told_apart(stage, started):
    stage.nodes[1].log.write_text("cannot listen on tcp://127.0.0.1:1: Address already in use\n")
    with nodes.Nodes(stage) as running:
        started["east"].communicate()
        with pytest.raises(nodes.PortTakenError, match="east could not listen"):
            running.statuses()


PARENT = """
import subprocess
from dcfm_node.demo.nodes import _end_with_parent
child = subprocess.Popen(["sleep", "600"], preexec_fn=_end_with_parent)
print(child.pid, flush=True)
child.wait()
"""


def test_a_demo_killed_with_9_leaves_no_node_behind():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    status = Path(f"/proc/{child}/stat")
    deadline = time.monotonic() + 60
    while status.exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
