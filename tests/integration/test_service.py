"""A node as a service: stopped while it starts, and moved to another machine."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.cluster import PATIENCE_S, ROOT, Site, dcfm, until


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A node with a state, which it made in an earlier release."""
    release = tmp_path / "release"
    shutil.copytree(ROOT / "tests" / "upgrade" / "0.1.0", release)
    for path in release.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return Site(release, "north")


def starting(site: Site) -> None:
    """Start a node, and wait until its worker is on the way."""
    site.start()
    until(lambda: "worker_starting" in site.log.read_text())


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "stop"])
def test_a_node_that_starts_can_be_stopped(site: Site, how: str) -> None:
    starting(site)
    assert site.process is not None
    if how == "stop":
        assert dcfm("stop", "--config", site.folder / "node.toml").stdout == "stopped\n"
    else:
        site.process.send_signal(signal.Signals[how])
    assert site.process.wait(PATIENCE_S) == 0
    log = site.log.read_text()
    assert "stopped" in log and "a signal ended the node" in log and "Traceback" not in log
    assert not (site.state / "control.sock").exists()


def test_a_moved_node_starts_on_the_new_machine_alone(site: Site, tmp_path: Path) -> None:
    file, config = tmp_path / "north.node", site.folder / "node.toml"
    files = ("--run", site.run, "--peers", site.peers)
    assert dcfm("export-state", file, "--config", config, "--plain", *files).returncode == 0
    site.start()
    assert site.process is not None
    assert site.process.wait(PATIENCE_S) == 2, "a service manager must not try again"
    assert "was exported to another machine" in site.log.read_text()
    new = Site(tmp_path, "new")
    assert dcfm("import-state", file, new.folder).returncode == 0
    new.peers, new.run = new.folder / "peers.toml", new.folder / "run.toml"
    new.start()
    try:
        status = until(lambda: found if (found := new.ask()).get("phase") else None)
    finally:
        new.kill()
    assert (status["node"], status["phase"]["stage"]) == ("north", "done")
