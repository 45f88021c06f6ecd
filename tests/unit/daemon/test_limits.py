"""What is said of a silo before its node begins."""

import resource
import subprocess
import sys

import pytest

from dcfm_node.daemon.limits import MAX_ROOM, OWN_FILES, PEER_FILES, changed, room
from dcfm_node.records.entries import Join


def test_data_that_a_silo_did_not_join_with_is_told() -> None:
    counts = (((0, 0), 18), ((1, 0), 18))
    join = Join(name="silo", distils=True, version="", counts=counts)
    assert not changed(join, counts)
    assert not changed(None, counts)
    (said,) = changed(join, (((0, 0), 40), ((1, 1), 40)))
    assert "80 samples of 2 combinations to train on, and 36 samples of 2" in said.what


@pytest.mark.parametrize("open_files", [400, 1_024, 65_536])
@pytest.mark.parametrize("peers", [2, 15])
def test_strangers_at_both_ports_leave_what_the_node_needs(open_files: int, peers: int) -> None:
    places = room(open_files, peers)
    assert 0 < places <= MAX_ROOM
    if open_files > OWN_FILES + PEER_FILES * peers + 32:
        assert 2 * places + OWN_FILES + PEER_FILES * peers <= open_files


def test_no_core_is_written_of_what_holds_keys() -> None:
    code = (
        "import ctypes, resource\n"
        "from dcfm_node.daemon.limits import keep_secrets\n"
        "keep_secrets()\n"
        "print(*resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["0", "0", "0" if sys.platform == "linux" else "1"]


def test_the_process_may_open_what_the_system_allows() -> None:
    code = "from dcfm_node.daemon.limits import allow_connections; print(allow_connections())"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shell = f"ulimit -Sn 200; exec {sys.executable} -c '{code}'"
    said = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert int(said.stdout) == min(hard, 65_536)
