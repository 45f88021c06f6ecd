"""The command line as an engineer meets it: set-up, mistakes, exit codes, JSON."""

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.cluster import ROOT, Done, dcfm, dcfm_json, dcfm_process

DATA = """
[data]
format = "npz"
path = "data.npz"
"""
NODE = 'name = "north"\n[worker]\ndevice = "cpu"\nthreads = 1\n'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A node with its keys, a peers.toml of itself and a peer, and the gaussians' run."""
    folder, blocks = tmp_path / "north", []
    for of in (folder, tmp_path / "peer"):
        assert dcfm("init", of).returncode == 0
        blocks.append(dcfm("id", "--config", of / "node.toml").stdout)
    (folder / "node.toml").write_text(NODE + DATA)
    (folder / "peers.toml").write_text("".join(blocks))
    run = (ROOT / "configs" / "runs" / "gaussians.toml").read_text()
    (folder / "run.toml").write_text(run)
    return folder


def start(site: Path) -> Done:
    """Start a node that cannot start."""
    return dcfm_process("start", "--peers", site / "peers.toml", "--config", site / "node.toml")


def test_init_makes_a_node_with_private_keys(tmp_path: Path) -> None:
    made = json.loads(dcfm_process("init", tmp_path / "east", "--json").stdout)
    assert made["schema"] == "dcfm-node/init/1"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "east/keys").iterdir()}
    assert modes == {0o600}
    again = dcfm("init", tmp_path / "east")
    assert again.returncode == 1
    assert "the folder already holds a node" in again.stderr


def test_a_folder_whose_name_is_no_silo_name_leaves_nothing_behind(tmp_path: Path) -> None:
    done = dcfm("init", tmp_path / "Not A Name")
    assert done.returncode == 2
    assert not (tmp_path / "Not A Name").exists()


def test_id_prints_the_same_block_as_json(site: Path) -> None:
    block = dcfm_process("id", "--config", site / "node.toml").stdout
    peer = dcfm_json("id", "--config", site / "node.toml")["peer"]
    assert peer["name"] == "north"
    assert peer["sign_key"] in block
    assert peer["link_key"] in block


def test_no_daemon_is_exit_code_4_with_json_too(site: Path) -> None:
    done = dcfm_process("status", "--config", site / "node.toml", "--json")
    assert done.returncode == 4
    error = json.loads(done.stdout)
    assert error["schema"] == "dcfm-node/error/1"
    assert error["exit_code"] == 4
    assert "dcfm-node start" in error["fix"]


NO_DATA: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a label outside the vocabulary": (
        {
            "x": np.zeros((4, 2), np.float32),
            "horizontal": ["left", "up", "left", "left"],
            "vertical": ["top"] * 4,
        },
        ("horizontal", "'up'", "left"),
    ),
    "a wrong shape": (
        {"x": np.zeros((4, 3), np.float32), "c": np.zeros((4, 2), np.int64)},
        ("shape [3]",),
    ),
    "an empty set": (
        {"x": np.zeros((0, 2), np.float32), "c": np.zeros((0, 2), np.int64)},
        (),
    ),
}
"""Arrays that no run takes, and what is said of them beside the file's name."""
FIRST, *OTHERS = NO_DATA


@pytest.mark.parametrize(
    "what", [FIRST, *(pytest.param(what, marks=pytest.mark.full) for what in OTHERS)]
)
def test_data_that_do_not_fit_start_nothing(site: Path, what: str) -> None:
    """tests/unit/data has many more; this is how one reaches the engineer."""
    arrays, words = NO_DATA[what]
    np.savez(site / "data.npz", **{name: np.asarray(value) for name, value in arrays.items()})
    done = start(site)
    assert done.returncode == 2
    assert [word for word in ("data.npz", *words) if word not in done.stderr] == []
    assert not (site / "state" / "control.sock").exists()


def test_a_wrong_setting_is_told_with_its_line(site: Path) -> None:
    (site / "node.toml").write_text(NODE.replace("threads = 1", "threads = -1") + DATA)
    done = start(site)
    assert done.returncode == 2
    assert "node.toml:4" in done.stderr
    assert "worker.threads" in done.stderr


def test_a_folder_that_is_no_student_is_told(tmp_path: Path) -> None:
    done = dcfm("student", "verify", tmp_path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["fix"]


def test_help_is_quick_and_names_the_exit_codes() -> None:
    done = dcfm_process("--help")
    assert done.returncode == 0
    assert "degraded" in done.stdout
