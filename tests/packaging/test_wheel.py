"""What `pip install` would bring."""

import subprocess
import sys
import zipfile

import pytest

from dcfm_node import __version__
from tests.packaging.tree import PACKAGE, ROOT, sources


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    manuals = {name for name in names if ".data/data/share/man/man1/" in name}
    assert len(manuals) == len(list((ROOT / "docs" / "man").glob("*.1"))) > 30
    names -= manuals
    assert {name.split("/")[0] for name in names} == {"dcfm_node"}
    assert {str(path.relative_to(ROOT)) for path in sources()} <= names
    assert not [name for name in names if "test" in name]
    assert "dcfm_node/py.typed" in names
    configs = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.toml")}
    assert {"configs/node.toml", "configs/run.toml", "configs/runs/digits.toml"} <= configs
    assert {f"dcfm_node/{name}" for name in configs} <= names
    static = {str(path.relative_to(ROOT)) for path in (PACKAGE / "page" / "static").iterdir()}
    assert len(static) > 3
    assert static <= names
    assert "dcfm_node/configs/monitoring/alerts.yml" in names


def test_the_wheel_says_its_version_and_command(wheel):
    [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert f"\nVersion: {__version__}\n" in wheel.read(metadata).decode()
    [entries] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "dcfm-node = dcfm_node.cli.entry:main" in wheel.read(entries).decode()
    assert (PACKAGE / "cli" / "main.py").is_file()
