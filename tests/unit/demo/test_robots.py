"""The robots of the demo `cube`: what each has seen, and what they need."""

import io
from collections import Counter
from itertools import chain, product
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from dcfm_node.config.node import load_node
from dcfm_node.demo import live, robots, run, stage
from dcfm_node.demo.stage import Wish, prepare, silos_of
from dcfm_node.domains.robots import simulator
from dcfm_node.domains.robots.cube import DIAGONALS
from dcfm_node.errors import ConfigError, Failed, UserError
from dcfm_node.samples import Samples
from dcfm_node.swarm.probes import rank_needed, spanning

WISH = Wish("cube", silos=4)


def test_nobody_has_a_move_between_opposite_quadrants_and_the_rest_determines_it() -> None:
    held = Counter(chain.from_iterable(robots.request(name, 0).moves for name in robots.HALVES))
    assert set(product(range(4), repeat=2)) - set(held) == set(DIAGONALS)
    assert len(spanning(sorted(held), (4, 4))) == rank_needed((4, 4))
    # North, south, east and west are sides of the table as its front camera sees it.
    assert {end for _, end in robots.request("north", 0).moves} == {0, 1}
    assert {end for _, end in robots.request("west", 0).moves} == {0, 2}


def test_every_robot_of_every_demo_has_a_seed_of_its_own() -> None:
    seeds = [robots.request(name, seed).seed for seed in range(3) for name in robots.HALVES]
    assert len(set(seeds)) == len(seeds)
    assert robots.request("north", 0, 1e-9).episodes == robots.SHORTEST


def test_nodes_read_their_own_robot_s_episodes(tmp_path) -> None:
    made = prepare(tmp_path / "demo", WISH)
    data = [load_node(node.config).data for node in made.nodes]
    assert {one.format for one in data} == {"episodes"}
    assert [one.path for one in data] == [
        robots.folder(tmp_path / "demo", name) for name in ("north", "east", "south", "west")
    ]
    # They outlive the nodes.
    (episodes := data[0].path).mkdir(parents=True)
    (episodes / "made.json").write_text("{}")
    prepare(tmp_path / "demo", WISH)
    assert (episodes / "made.json").exists()


def test_episodes_are_counted_over_all_robots(tmp_path, monkeypatch) -> None:
    asked = []

    def make(folder, request, jobs, tell):
        asked.append((folder.name, request.episodes, jobs))
        tell(0)
        tell(request.episodes)

    monkeypatch.setattr(robots.making, "make", make)
    told = []
    robots.make(tmp_path, 0, 2, lambda done, total: told.append((done, total)))
    many = robots.EPISODES
    assert asked == [(name, many, 2) for name in robots.HALVES]
    assert told[0] == (0, 4 * many)
    assert told[-1] == (4 * many, 4 * many)
    assert told == sorted(told)


def test_there_are_as_many_nodes_as_robots() -> None:
    assert silos_of("cube") == len(robots.HALVES) == 4
    assert silos_of("digits") == 3
    WISH.check()
    with pytest.raises(ConfigError, match="has 4 nodes, not 3") as told:
        Wish("cube", silos=3).check()
    assert told.value.where == "--silos"


def test_without_the_simulator_no_folder_is_touched(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(simulator, "find_spec", lambda name: None if name == "mujoco" else name)
    monkeypatch.setattr(run, "play", lambda *_: pytest.fail("it began"))
    out = tmp_path / "out"
    with pytest.raises(UserError, match="needs mujoco, which is not installed") as told:
        run.run_demo(domain="cube", schedule=None, out=out, seed=0, silos=4, json_output=True)
    assert "dcfm-node[robots]" in told.value.fix
    with pytest.raises(UserError, match="needs mujoco"):
        run.staged(out, WISH, Console(quiet=True))
    assert not out.exists()


def test_what_no_robot_has_seen_is_novel(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(robots, "make", lambda *_: None)
    monkeypatch.setattr(simulator, "needed", lambda: None)
    made = run.staged(tmp_path / "demo", WISH, Console(quiet=True))
    manifest = run.read_manifest(made)

    def load(_, data):
        c = np.array(robots.request(data.path.name, 0).moves)
        x = np.zeros((len(c), *manifest.sample_shape), np.float32)
        return SimpleNamespace(train=Samples(x[1:], c[1:]), holdout=Samples(x[:1], c[:1]))

    split = run.split_of(made, WISH, manifest, SimpleNamespace(load=load))
    assert split.held_out == DIAGONALS
    assert [len(silo) for silo in split.silos] == [4, 4, 4, 4]
    holders = split.holders(stage.NAMES[:4])
    assert holders[0, 1] == ["north"]
    assert holders[0, 0] == ["north", "west"]
    assert holders[0, 3] == []


def test_what_is_counted_is_told_at_intervals_and_at_the_end(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=100)
    with live.counting(console, "the robots record episodes") as tell:
        for done in range(31):
            tell(done, 30)
            now[0] += 1.0
    text = console.file.getvalue()
    assert text.splitlines() == [
        f"the robots record episodes: {done} of 30" for done in (0, 10, 20, 30)
    ]
    screen = Console(file=io.StringIO(), width=100, force_terminal=True, _environ={})
    with live.counting(screen, "the robots record episodes") as tell:
        tell(3, 30)
    assert "3/30" in screen.file.getvalue()


def test_a_demo_that_fails_to_record_starts_no_node(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(simulator, "needed", lambda: None)
    monkeypatch.setattr(run, "Nodes", lambda _: pytest.fail("started"))

    def broken(*_):
        raise Failed("the simulator ended")

    monkeypatch.setattr(robots, "make", broken)
    with pytest.raises(Failed, match="the simulator ended"):
        run.play(tmp_path / "demo", WISH, Console(quiet=True), 0.0)
