"""What every command sets up before it runs, and how it fails."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dcfm_node import __version__
from dcfm_node.cli.options import state_folder
from dcfm_node.errors import ConfigError
from dcfm_node.files import shipped_text
from tests.unit.cli.running import run


@pytest.mark.parametrize(("before", "after"), [("", "passive"), ("active", "active")])
def test_waiting_threads_sleep_unless_the_operator_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", before)
    if not before:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert run(monkeypatch, "version") == 0
    assert os.environ["OMP_WAIT_POLICY"] == after


@pytest.mark.parametrize(
    ("arguments", "what", "where"),
    [
        (("status", "--nope"), "--nope", "dcfm-node status"),
        (("simulate", "--seeds", "many"), "--seeds", "dcfm-node simulate"),
        (("withdraw",), "--reason", "dcfm-node withdraw"),
        (("statsu",), "statsu", "dcfm-node"),
        (("student", "fetch"), "--out", "dcfm-node student fetch"),
    ],
)
def test_mistakes_of_usage_are_json_where_json_was_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    what: str,
    where: str,
) -> None:
    assert run(monkeypatch, *arguments, "--json") == 2
    told = capsys.readouterr()
    error = json.loads(told.out)
    assert told.err == ""
    assert (error["schema"], error["exit_code"]) == ("dcfm-node/error/1", 2)
    assert what in error["error"]
    assert (error["where"], error["fix"]) == (where, f"see '{where} --help'")
    assert run(monkeypatch, *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert what in told.err


def test_a_node_is_told_what_is_not_there_before_the_daemon_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    north, config = tmp_path / "north", tmp_path / "north" / "node.toml"
    assert run(monkeypatch, "init", north) == 0
    monkeypatch.setitem(sys.modules, "dcfm_node.daemon.compose", None)  # loading it fails
    (tmp_path / "all.toml").write_text(shipped_text("peers.toml"))
    capsys.readouterr()
    assert run(monkeypatch, "start", "--peers", tmp_path / "all.toml", "--config", config) == 2
    assert f"{north / 'data.npz'}: cannot be read: No such file" in capsys.readouterr().err
    (north / "data.npz").write_text("")
    assert run(monkeypatch, "start", "--peers", tmp_path / "none.toml", "--config", config) == 2
    assert f"{tmp_path / 'none.toml'}: there is no such file" in capsys.readouterr().err
    with pytest.raises(ImportError):
        run(monkeypatch, "start", "--peers", tmp_path / "all.toml", "--config", config)
    assert f"{tmp_path / 'all.toml'} does not list this node, 'north'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "told"), [(("--data", "/nowhere"), "/nowhere"), ((), "no folder is given")]
)
def test_an_experiment_misses_its_data_before_torch_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    option: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # loading it fails
    arguments = ("experiment", "run", "coloured-mnist", "--out", tmp_path / "out", *option)
    assert run(monkeypatch, *arguments) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_version_is_json_where_json_was_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "version", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"schema": "dcfm-node/version/1", "version": __version__}


@pytest.mark.parametrize("argument", ["--out=~/eve", "~/eve"])
def test_a_tilde_that_a_shell_leaves_standing_is_the_user_s_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, argument: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if argument.startswith("--"):
        assert run(monkeypatch, "demo", "--prepare", "--domain", "gaussians", argument) == 0
    else:
        assert run(monkeypatch, "init", argument) == 0
    assert (tmp_path / "home" / "eve").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_node_is_asked_where_its_settings_say_with_mark_and_tilde(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    config = tmp_path / "node.toml"
    config.write_text('\ufeffstate = "~/state"\n', encoding="utf-8")
    assert state_folder(config) == Path("/home/eve/state")
    config.write_text('state = "~no-such-user/state"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="this user does not exist"):
        state_folder(config)
    config.write_text('# é\nstate = "state"\n', encoding="latin-1")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        state_folder(config)


def test_the_version_is_an_option_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"dcfm-node {__version__}\n"


def completed(words: str, index: int) -> list[str]:
    """What bash would offer; fails if torch was loaded for it."""
    program = "import sys; sys.modules['torch'] = None; from dcfm_node.cli.main import main; main()"
    asked = {
        "_DCFM_NODE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(index),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_shells_complete_commands_and_options() -> None:
    assert completed("dcfm-node stat", 1) == ["status"]
    assert completed("dcfm-node student fe", 2) == ["fetch"]
    assert completed("dcfm-node status --expl", 2) == ["--explain"]


def test_an_interrupt_while_the_commands_are_loaded_is_no_traceback() -> None:
    """On a slow disk that takes seconds, in which people press Ctrl-C."""
    program = """
import sys

class Interrupted:
    def find_spec(self, name, *_):
        if name == "dcfm_node.cli.main":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
from dcfm_node.cli.entry import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    with Path("pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["scripts"]["dcfm-node"] == "dcfm_node.cli.entry:main"
