"""docs/extending.md: its package is installed as written, and real nodes run it to a student."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cluster import (
    DCFM,
    ENVIRONMENT,
    PATIENCE_S,
    ROOT,
    Site,
    cluster,
    released,
    until,
)

FILE = re.compile(r"^```\w+ file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SILOS = 2


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installs the page's package into; the page's files are beside it."""
    folder = tmp_path_factory.mktemp("extending")
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for name, text in FILE.findall(page):
        path = folder / "ring-dcfm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "ring-dcfm" / "ring_dcfm" / "__init__.py").touch()
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--target", "site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, "./ring-dcfm"]
    subprocess.run(command, cwd=folder, check=True, timeout=PATIENCE_S)
    return folder


def test_nodes_run_a_domain_a_network_and_a_method_of_another_package(
    installed: Path, tmp_path: Path
) -> None:
    environment = ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{installed / 'site'}"}

    def command(*arguments: object) -> None:
        subprocess.run(
            [*DCFM, *map(str, arguments)], env=environment, check=True, timeout=PATIENCE_S
        )

    with cluster(tmp_path, nodes=SILOS) as sites:
        run = (installed / "ring-dcfm" / "run.toml").read_text(encoding="utf-8")
        (tmp_path / "run.toml").write_text(run, encoding="utf-8")
        for site in sites:
            _on_a_ring(site)
            site.environment = environment
            site.start()
        until(lambda: released(sites))
        out = tmp_path / "student"
        node = ("--config", sites[0].folder / "node.toml")
        command("student", "fetch", "--latest", "--out", out, *node)
        assert sites[0].ask()["method"] == "once"
    command("student", "verify", out)
    command("student", "sample", out, "--where", "half=up", "-n", 64, "--out", tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as drawn:
        reach = np.linalg.norm(drawn["x"], axis=1)
    assert np.isfinite(reach).all() and 1.0 < np.median(reach) < 3.0


def _on_a_ring(site: Site) -> None:
    path = site.folder / "node.toml"
    path.write_text(path.read_text().replace('name = "gaussians"', 'name = "ring"'))
