"""When a demo is over, and how it ends."""

import os
import signal
from types import SimpleNamespace

import pytest
from rich.console import Console

from dcfm_node.demo import run
from dcfm_node.demo.nodes import PortTakenError
from dcfm_node.demo.stage import NodeFolder, Stage, Wish
from dcfm_node.domains import base
from dcfm_node.errors import ConfigError, Failed, UserError


def student(digest="aa", endorsed=("north", "east"), refused=()):
    return {
        "digest": digest,
        "endorsed_by": list(endorsed),
        "refused_by": dict.fromkeys(refused, "poor"),
    }


def both(says, *, stage="release", **more):
    return {name: says(name, stage, 1, **more) for name in ("north", "east")}


def test_released_means_the_same_student_on_every_node(says):
    assert run.released(both(says, latest=student()))
    assert not run.released(both(says))
    other = both(says, latest=student())
    other["east"]["latest"] = student("bb")
    assert not run.released(other)
    other["east"]["latest"] = None
    assert not run.released(other)


def test_a_node_that_still_works_is_not_done(says):
    assert not run.released(both(says, latest=student(), activity="score"))


def test_every_living_node_must_have_judged(says):
    assert run.all_judged(both(says, latest=student()))
    assert run.all_judged(both(says, latest=student(endorsed=("north",), refused=("east",))))
    assert not run.all_judged(both(says, latest=student(endorsed=("north",))))
    alone = both(says, latest=student(endorsed=("north",)))
    del alone["east"]
    assert run.all_judged(alone)


def test_a_run_without_a_student_is_seen(says):
    assert run.ended_without(both(says, stage="done"))
    assert not run.ended_without(both(says, stage="done", latest=student()))
    assert not run.ended_without(both(says))
    assert not run.ended_without({})


class Scripted:
    """Nodes that answer what a script says, look after look."""

    def __init__(self, looks):
        self.looks = iter(looks)
        self.lost = {}
        self.alive = [NodeFolder(name, None) for name in ("north", "east")]

    def statuses(self):
        return next(self.looks)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when the demo pauses."""
    now = [0.0]
    monkeypatch.setattr(run.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(run.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


def test_watching_shows_every_look_and_ends_once_all_have_judged(says, manifest, clock):
    looks = [
        {},
        both(says, stage="local"),
        both(says, latest=student(endorsed=("north",))),
        both(says, latest=student()),
    ]
    shown = []
    last = run.watch(Scripted(looks), manifest, shown.append, 0.0)
    assert len(shown) == 4
    assert set(last) == {"north", "east"}
    assert clock[0] == pytest.approx(3 * run.POLL_S)


def test_a_silo_that_never_judges_is_not_waited_for_for_ever(says, manifest, clock):
    look = both(says, latest=student(endorsed=("north",)))
    run.watch(Scripted(look for _ in range(1_000)), manifest, lambda _: None, 0.0)
    assert clock[0] == pytest.approx(run.GRACE_S)


def test_the_last_word_of_a_lost_node_is_kept(says, manifest, clock):
    nodes = Scripted([both(says), {"north": says("north", "release", 1, latest=student())}])
    nodes.alive = nodes.alive[:1]
    assert set(run.watch(nodes, manifest, lambda _: None, 0.0)) == {"north", "east"}


def test_a_run_without_a_student_ends_the_demo(says, manifest, clock):
    looks = [both(says, stage="done", problems=["the run ended without a released student"])]
    with pytest.raises(Failed, match="without a released student"):
        run.watch(Scripted(looks), manifest, lambda _: None, 0.0)


def test_a_snapshot_is_found_whichever_node_held_it_and_though_it_dropped_it(tmp_path):
    stage = Stage(tmp_path, tuple(NodeFolder(n, tmp_path / n) for n in ("north", "east")))
    held = tmp_path / "east" / "state" / "snapshots" / f"{'01' * 32}.safetensors"
    held.parent.mkdir(parents=True)
    held.write_bytes(b"weights")
    run.keep_snapshots(stage)
    held.unlink()
    run.keep_snapshots(stage)
    assert run.find(stage, b"\x01" * 32).read_bytes() == b"weights"
    with pytest.raises(Failed, match="no node holds"):
        run.find(stage, b"\x02" * 32)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_goes_through_the_clean_up(number):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught, run.terminable():
        os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == before


def test_a_wish_out_of_bounds_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "Nodes", lambda stage: pytest.fail("started"))
    with pytest.raises(ConfigError, match="9 silos"):
        run.run_demo(
            domain="gaussians",
            schedule=None,
            out=tmp_path / "demo",
            seed=0,
            silos=9,
            json_output=True,
        )


def test_a_failing_fetch_is_told(tmp_path, monkeypatch):
    done = SimpleNamespace(returncode=1, stderr="dcfm-node: no student is released yet")
    monkeypatch.setattr(run.subprocess, "run", lambda *_, **__: done)
    stage = Stage(tmp_path, (NodeFolder("north", tmp_path / "north"),))
    with pytest.raises(Failed, match="no student is released"):
        run.fetch(stage, stage.nodes[0])


@pytest.mark.parametrize("taken", [1, run.PORT_TRIES])
def test_a_port_taken_meanwhile_lays_the_demo_out_anew(tmp_path, monkeypatch, taken):
    laid_out = []

    class Unlucky:
        def __init__(self, stage):
            self.alive, self.lost = stage.nodes, {}

        def __enter__(self):
            if len(laid_out) <= taken:
                raise PortTakenError("north could not listen")
            return self

        def __exit__(self, *_):
            pass

    def prepare(out, wish):
        laid_out.append(out)
        return Stage(out, (NodeFolder("north", out / "north"),))

    monkeypatch.setattr(run, "Nodes", Unlucky)
    monkeypatch.setattr(run, "prepare", prepare)
    monkeypatch.setattr(run, "read_manifest", lambda stage: None)
    monkeypatch.setattr(run, "watch", lambda *_: {"north": {}})
    monkeypatch.setattr(run, "ask", lambda *_: {})
    monkeypatch.setattr(run, "fetch", lambda *_: None)
    console = Console(quiet=True)
    if taken == run.PORT_TRIES:
        with pytest.raises(PortTakenError):
            run.play(tmp_path, Wish(), console, 0.0)
        assert len(laid_out) == run.PORT_TRIES
    else:
        assert run.play(tmp_path, Wish(), console, 0.0)[2] == {"north": {}}
        assert len(laid_out) == 2


@pytest.mark.parametrize(
    ("domain", "absent", "told"),
    [
        ("digits", ("sklearn",), "scikit-learn"),
        ("digits", ("sklearn", "matplotlib"), "matplotlib and scikit-learn"),
        ("gaussians", ("sklearn",), ""),
        ("gaussians", ("matplotlib",), "matplotlib"),
        ("letters", ("matplotlib",), "'letters' is unknown"),
    ],
)
def test_what_the_demo_lacks_is_told_before_a_folder_is_touched(
    monkeypatch, tmp_path, domain, absent, told
):
    monkeypatch.setattr(base, "find_spec", lambda name: None if name in absent else name)
    monkeypatch.setattr(run, "play", lambda *_: (_ for _ in ()).throw(Failed("it began")))
    with pytest.raises(UserError, match=told or "it began"):
        run.run_demo(
            domain=domain, schedule=None, out=tmp_path / "out", seed=0, silos=2, json_output=True
        )
    assert not (tmp_path / "out").exists()
