"""`init --data` on files that only one domain reads: a robot's episodes, and radiographs."""

import json
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import own_peer
from dcfm_node.config.run import load_run
from dcfm_node.data.source import SiloData
from dcfm_node.domains.base import of
from tests.unit.cli.running import run
from tests.unit.domains.chest.radiographs import write
from tests.unit.domains.robots.play import recorded

Capsys = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def loaded(folder: Path) -> SiloData:
    """The data as the node of this folder reads them."""
    node = load_node(folder / "node.toml")
    me = own_peer(node, load_keys(node.keys))
    manifest = load_run(folder / "run.toml", (me,), me, listed=folder)
    return of(manifest).load(manifest, node.data)


def test_episodes_make_a_node_that_reads_them(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    (tmp_path / "play").mkdir()
    play = recorded(tmp_path / "play", 2)
    assert run(monkeypatch, "init", tmp_path / "north", "--data", play) == 0
    told = capsys.readouterr().out
    assert f"found 2 episodes in 1 file in {play} (episodes)" in told
    assert "shipped one of the domain cube" in told
    assert "1. see what the node reads: dcfm-node check" in told and "2. write in" in told
    data = loaded(tmp_path / "north")
    assert data.notes[0].endswith("plans were cut from 2 episodes")
    assert data.train.x.shape[1:] == (17, 32)
    run(monkeypatch, "init", tmp_path / "south", "--data", play / "play.npz")
    files = [tmp_path / site / "run.toml" for site in ("north", "south")]
    assert run(monkeypatch, "run", "merge", tmp_path / "run.toml", *files) == 0


@pytest.mark.parametrize("archive", [False, True])
def test_radiographs_make_a_node_that_reads_them(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path, archive: bool
) -> None:
    (tmp_path / "hospital").mkdir()
    hospital = write(tmp_path / "hospital", archive=archive)
    assert run(monkeypatch, "init", tmp_path / "n", "--data", hospital, "--json") == 0
    found = json.loads(capsys.readouterr().out)["files"]
    assert (found["format"], found["domain"], found["samples"]) == (
        "radiographs",
        "chest-xray",
        120,
    )
    assert found["files"] == (1 if archive else 120)
    assert "domain codec chest-xray" in found["notes"][0]
    assert any("public = []" in note for note in found["notes"])
    assert loaded(tmp_path / "n").train.x.shape[1:] == (1, 32, 32)


def test_nothing_is_made_of_files_that_do_not_fit(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    rows = np.zeros((3, 2))
    (tmp_path / "mixed").mkdir()
    np.savez(tmp_path / "mixed" / "a.npz", observations=rows, actions=rows, terminals=rows[:, 0])
    np.savez(tmp_path / "mixed" / "b.npz", x=rows)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "Data_Entry_2017.csv").write_text("Image Index,Finding Labels,Patient ID")
    for data, told, options in (
        ("mixed", "b.npz: does not hold episodes, as a.npz beside it does", ()),
        ("bare", "has a table of radiographs, and no image", ()),
        ("mixed/a.npz", "leave out --attributes", ("--attributes", "source")),
    ):
        assert run(monkeypatch, "init", tmp_path / "n", "--data", tmp_path / data, *options) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "n").exists()
