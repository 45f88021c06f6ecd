"""Settings, state, journals and students of every earlier release load with today's code."""

import json
import shutil
from pathlib import Path

import pytest

from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import load_peers, own_peer
from dcfm_node.config.run import load_run
from dcfm_node.store.archive import last_run
from dcfm_node.wire.envelope import run_id
from tests.integration.cluster import Site, dcfm, dcfm_json, until

RELEASES = sorted(
    path for path in (Path(__file__).parents[1] / "upgrade").iterdir() if path.is_dir()
)
EVERY_RELEASE = pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)


@pytest.fixture
def site(release: Path, tmp_path: Path) -> Site:
    """A copy of a release's node, with the modes that git does not keep."""
    copy = tmp_path / release.name
    shutil.copytree(release, copy)
    for path in copy.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return Site(copy, "north")


def test_the_first_release_is_here() -> None:
    assert "0.1.0" in {path.name for path in RELEASES}


@EVERY_RELEASE
def test_its_settings_make_the_run_that_its_journals_hold(release: Path, site: Site) -> None:
    """Another id would be another run: after the upgrade, the node would start from nothing."""
    settings = load_node(site.folder / "node.toml")
    me = own_peer(settings, load_keys(settings.keys, {}))
    manifest = load_run(site.run, load_peers(site.peers), me, listed=site.peers)
    kept = last_run(site.state)
    assert kept is not None
    assert run_id(kept) == run_id(manifest)


@EVERY_RELEASE
def test_its_templates_still_load(release: Path, site: Site) -> None:
    templates = release / "templates"
    assert load_node(templates / "node.toml").name
    assert load_run(templates / "run.toml", load_peers(site.peers), None, listed=site.peers).name


@EVERY_RELEASE
def test_its_records_are_read_while_no_daemon_runs(release: Path, site: Site) -> None:
    config = ("--config", site.folder / "node.toml")
    for silo in ("north", "east"):
        entries = dcfm_json("journal", "--silo", silo, *config)["entries"]
        kinds = [entry["body"]["kind"] for entry in entries]
        assert kinds[0] == "join"
        assert kinds.count("expert") == 3
        assert [entry["seq"] for entry in entries] == list(range(len(entries)))
    students = dcfm_json("student", "list", *config)["students"]
    assert [student["released"] for student in students] == [False, False, True]
    assert students[-1]["held"]


@EVERY_RELEASE
def test_its_student_is_verified_and_sampled(release: Path, site: Site, tmp_path: Path) -> None:
    folder = release / "student"
    found = dcfm("student", "verify", folder, "--json")
    # A later version may write another card, and then says so.
    assert found.returncode == (0 if json.loads(found.stdout)["card"] == "same" else 3)
    assert json.loads(found.stdout)["verified"]
    out = tmp_path / "samples.npz"
    assert dcfm("student", "sample", folder, "-n", 8, "--out", out).returncode == 0
    assert out.is_file()


@EVERY_RELEASE
def test_a_card_that_says_more_is_not_trusted(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    shutil.copytree(release / "student", folder)
    with (folder / "README.md").open("a") as card:
        card.write("Approved for clinical use.\n")
    found = dcfm("student", "verify", folder)
    assert found.returncode == 3
    assert "README.md is not the card that this version writes" in found.stdout
    (folder / "README.md").unlink()
    assert dcfm("student", "verify", folder).returncode == 0


@EVERY_RELEASE
def test_a_node_goes_on_from_its_state(release: Path, site: Site) -> None:
    site.start()
    try:
        status = until(lambda: found if (found := site.ask()).get("phase") else None)
    finally:
        site.kill()
    assert status["phase"] == {"stage": "done", "round": 2}
    assert status["latest"]["digest"].startswith("b303e6ac1126")
    (copied,) = site.state.glob("snapshots/b303e6ac1126*")
    assert copied.is_file()
