"""export-state and import-state as an engineer uses them."""

import json
import shutil
from pathlib import Path

import pytest

from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.store import sealing
from dcfm_node.store.lock import lock
from tests.unit.cli.running import run

NODE = """# A node
name = "north"
state = "/nowhere/else"  # far away
keys = "keys"

[data]
format = "builtin"
name = "gaussians"
silo = 0
silos = 2
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stopped node's folder, with a passphrase beside it."""
    monkeypatch.setattr(sealing, "COST", 2)
    folder = tmp_path / "north"
    assert run(monkeypatch, "init", folder) == 0
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (folder / "node.toml").write_text(NODE.replace("/nowhere/else", str(state)))
    (folder / "peers.toml").write_text("")
    (state / "journals.sqlite").write_text("journals")
    (state / "lock").write_text("")
    (tmp_path / "word").write_text("correct horse\n")
    return folder


def exported(monkeypatch: pytest.MonkeyPatch, site: Path, *more: object) -> int:
    config, word = site / "node.toml", site.parent / "word"
    given = ("--config", config, "--passphrase-file", word, *more)
    return run(monkeypatch, "export-state", site.parent / "north.node", *given)


def imported(monkeypatch: pytest.MonkeyPatch, site: Path, folder: Path, *more: object) -> int:
    word = site.parent / "word"
    file = site.parent / "north.node"
    return run(monkeypatch, "import-state", file, folder, "--passphrase-file", word, *more)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_same_node_comes_out_with_new_places(
    site: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    new = site.parent / "far" / "new"
    state = site.parent / "var" / "my state" if elsewhere else new / "state"
    before = load_keys(site / "keys", {})
    assert exported(monkeypatch, site) == 0
    shutil.rmtree(site)
    assert imported(monkeypatch, site, new, *(("--state", state) if elsewhere else ())) == 0
    settings = load_node(new / "node.toml")
    assert (settings.name, settings.state, settings.keys) == ("north", state, new / "keys")
    assert load_keys(settings.keys, {}).sign_public == before.sign_public
    assert {path.name: path.read_text() for path in state.iterdir()} == {
        "journals.sqlite": "journals"
    }
    assert {path.name for path in new.iterdir()} >= {"node.toml", "run.toml", "peers.toml", "keys"}
    assert not list(site.parent.rglob(".import-*"))


def test_an_empty_folder_such_as_a_mount_point_is_filled(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = site.parent / "new"
    new.mkdir()
    before = new.stat().st_ino
    assert exported(monkeypatch, site) == 0
    assert imported(monkeypatch, site, new) == 0
    assert new.stat().st_ino == before
    assert (new / "state" / "journals.sqlite").is_file()
    assert not list(new.glob(".*"))


def test_nothing_is_overwritten(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(monkeypatch, site) == 0
    assert imported(monkeypatch, site, site) == 1
    assert "exists already and is not empty" in capsys.readouterr().err
    assert (site / "node.toml").read_text().startswith("# A node")


def test_a_running_node_is_not_exported(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock(site.parent / "state"):
        assert exported(monkeypatch, site) == 1
    assert "already runs on this state folder" in capsys.readouterr().err
    assert not (site.parent / "north.node").exists()
    assert not (site.parent / "state" / "moved").exists()


def test_a_node_moves_once(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exported(monkeypatch, site, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["schema"] == "dcfm-node/state-exported/1"
    assert (made["silo"], made["encrypted"], made["left"]) == ("north", True, [])
    (site.parent / "north.node").unlink()
    assert exported(monkeypatch, site) == 2
    assert "was exported to another machine" in capsys.readouterr().err


def test_secrets_are_never_written_plain_by_accident(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, config = site.parent / "north.node", site / "node.toml"
    assert run(monkeypatch, "export-state", file, "--config", config) == 2
    assert "--plain" in capsys.readouterr().err
    assert not file.exists()
    assert run(monkeypatch, "export-state", file, "--config", config, "--plain") == 0
    assert (site / "keys" / "sign.key").read_bytes() in file.read_bytes()
    assert "NOT encrypted" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["run.toml", "peers.toml"])
def test_what_every_start_needs_must_be_there(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    (site / missing).rename(site.parent / "other")
    assert exported(monkeypatch, site) == 2
    option = f"--{missing.partition('.')[0]}"
    assert f"name it with {option}" in capsys.readouterr().err
    assert exported(monkeypatch, site, option, site.parent / "other") == 0


def test_a_damaged_file_leaves_nothing(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exported(monkeypatch, site) == 0
    file = site.parent / "north.node"
    file.write_bytes(file.read_bytes()[:-9])
    before = sorted(site.parent.rglob("*"))
    assert imported(monkeypatch, site, site.parent / "new") == 1
    assert sorted(site.parent.rglob("*")) == before
