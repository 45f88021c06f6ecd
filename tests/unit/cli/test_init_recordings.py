"""`init --data` on a robot's recordings, and `run merge` of what it wrote."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import own_peer
from dcfm_node.config.run import load_run
from dcfm_node.data.frames import Place
from dcfm_node.data.recordings import ranged
from dcfm_node.data.source import SiloData
from dcfm_node.domains.base import of
from dcfm_node.errors import DataError
from tests.unit.cli.running import run

pytest.importorskip("pyarrow")
from tests.unit.data.lerobot_files import episode, write

Capsys = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
ATTRIBUTES = ("--attributes", "task,observation.environment")


def site(
    patch: Patch,
    folder: Path,
    version: str = "v2.1",
    *,
    many: int = 24,
    times: float = 1.0,
    **more: Any,
) -> Path:
    """A node on recordings, its way in both directions, `times` as far."""
    episodes = [episode(i // 2 % 2, 40 + i, i) for i in range(many)]
    for one in episodes:
        one["observation.state"] *= np.float32(times)
    data = write(folder.with_suffix(".data"), episodes, version, **more)
    assert run(patch, "init", folder, "--data", data, *ATTRIBUTES) == 0
    return folder / "run.toml"


def loaded(folder: Path) -> SiloData:
    """The data as the node of this folder reads them."""
    node = load_node(folder / "node.toml")
    me = own_peer(node, load_keys(node.keys))
    manifest = load_run(folder / "run.toml", (me,), me, listed=folder)
    return of(manifest).load(manifest, node.data)


def test_recordings_make_a_node_that_reads_them(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    settings = site(monkeypatch, tmp_path / "north", "v3.0")
    told = capsys.readouterr().out
    assert "found 24 samples of shape 5 x 32" in told
    assert "observation.state[1] elbow.pos" in told
    assert "'success' is not used: it changes within an episode" in told
    made = tomllib.loads(settings.read_text())
    assert made["standardise"] == "none"
    assert made["domain"]["fps"] == 10
    first = {"column": "observation.state", "index": 0, "name": "shoulder.pos"}
    assert made["domain"]["channel"][0] == first | {"low": -1.1, "high": 1.1}
    data = loaded(tmp_path / "north")
    x = np.concatenate([data.train.x, data.holdout.x])
    assert x.shape == (24, 5, 32)
    assert np.abs(x).max() <= 1
    assert not data.warnings
    assert len(data.counts) == 4


def test_sites_join_ranges_without_seeing_data(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    north = site(monkeypatch, tmp_path / "north")
    south = site(monkeypatch, tmp_path / "south", "v3.0", times=2.0)
    out = tmp_path / "run.toml"
    assert run(monkeypatch, "run", "merge", out, north, south) == 0
    own, joined = (tomllib.loads(file.read_text())["domain"] for file in (north, out))
    assert (own["channel"][0]["low"], joined["channel"][0]["high"]) == (-1.1, 2.2)
    assert joined["channel"][0]["low"] == -2.2
    assert joined["channel"][3] == own["channel"][3]  # the same at both
    other = tmp_path / "other.toml"
    assert run(monkeypatch, "run", "merge", other, south, north) == 0
    assert tomllib.loads(other.read_text())["domain"] == joined


def test_other_joints_or_rates_cannot_be_merged(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    north = site(monkeypatch, tmp_path / "north")
    for name, old, new in (
        ("joint", 'name = "elbow.pos"', 'name = "wrist.pos"'),
        ("rate", "fps = 10.0", "fps = 30.0"),
        ("range", "low = -1.1", 'low = "wide"'),
    ):
        other = tmp_path / f"{name}.toml"
        other.write_text(north.read_text().replace(old, new, 1))
        capsys.readouterr()
        assert run(monkeypatch, "run", "merge", tmp_path / "out.toml", north, other) == 2
        assert "domain is " in capsys.readouterr().err


def test_the_order_of_joints_is_compared(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    settings = site(monkeypatch, tmp_path / "north")
    settings.write_text(settings.read_text().replace('"elbow.pos"', '"wrist.pos"'))
    with pytest.raises(DataError, match=r"state\[1\] is 'elbow.pos'; the run's is 'wrist.pos'"):
        loaded(tmp_path / "north")


def test_a_short_episode_makes_the_horizon_shorter_or_is_refused(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    for frames, code in ((20, 0), (5, 2)):
        data = write(tmp_path / f"{frames}.data", [episode(0), episode(1, frames)])
        assert run(monkeypatch, "init", tmp_path / str(frames), "--data", data) == code
        told = capsys.readouterr()
    made = tomllib.loads((tmp_path / "20" / "run.toml").read_text())
    assert made["sample_shape"] == [5, 16]
    assert "episode 1: has 5 frames; a sample needs 8" in told.err
    assert not (tmp_path / "5").exists()


def test_long_tasks_and_missing_labels_are_told(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    episodes = [episode(i % 2) for i in range(4)]
    for i, one in enumerate(episodes):
        one["operator"] = f"worker {i}"
        one["observation.environment"] = np.arange(40)[:, None]
    data = write(tmp_path / "arm", episodes)
    tasks = data / "meta" / "tasks.jsonl"
    tasks.write_text(tasks.read_text().replace("right", "right, " + "and then " * 9))
    assert run(monkeypatch, "init", tmp_path / "north", "--data", data) == 2
    told = capsys.readouterr().err
    assert "gives no attribute" in told
    assert "is longer than 64 characters" in told
    assert "'operator' is not used: it has another value for nearly every sample" in told
    assert "give a rule for each attribute" in told
    assert not (tmp_path / "north").exists()


@pytest.mark.parametrize(
    ("least", "greatest", "low", "high"),
    [
        (-1.0, 1.0, -1.1, 1.1),
        (0.0, 0.0, -0.01, 0.01),
        (57.0, 57.0, 56.7, 57.3),
        (-180.0, 179.0, -200.0, 200.0),
        (1200.0, 3400.0, 1000.0, 3600.0),
    ],
)
def test_ranges_are_wider_than_the_values(
    least: float, greatest: float, low: float, high: float
) -> None:
    found = ranged(Place("state"), least, greatest)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.low < least
    assert found.high > greatest
