"""The state folder's lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcfm_node.errors import Failed
from dcfm_node.store.lock import lock

HOLDER = """
import sys
from pathlib import Path
from dcfm_node.store.lock import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_by_pid_and_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with lock(state), pytest.raises(Failed) as refused, lock(state):
        pytest.fail("held twice")
    assert f"pid {os.getpid()}" in str(refused.value)
    assert str(state) in str(refused.value)
    assert refused.value.fix


def test_released_and_taken_again(tmp_path: Path) -> None:
    with lock(tmp_path):
        pass
    with lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_dies_with_a_killed_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Failed, match=f"pid {holder.pid}"), lock(tmp_path):
            pytest.fail("held twice")
        holder.kill()
        holder.wait()
    with lock(tmp_path):
        pass


def test_a_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    with lock(tmp_path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with child, lock(tmp_path):
        assert child.poll() is None
        child.communicate(b"")


def test_a_longer_pid_of_a_dead_holder_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999999999\n")
    with lock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_state_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(Failed, match="cannot use the state folder"), lock(tmp_path / "state"):
        pytest.fail("held a file")


def test_modes_are_private(tmp_path: Path) -> None:
    with lock(tmp_path / "state"):
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "state" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_others_could_read_is_tightened(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o755)
    with lock(state):
        assert state.stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_cannot_be_tightened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)  # as FAT takes it
    with pytest.raises(Failed, match="mode 0755"), lock(tmp_path / "state"):
        pytest.fail("held a folder that others may read")
