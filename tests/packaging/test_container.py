"""scripts/Containerfile: what a container of a node must be, and the linter's opinion of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.tree import ROOT

FILE = ROOT / "scripts" / "Containerfile"
HADOLINT = shutil.which("hadolint") or shutil.which(str(Path(sys.executable).parent / "hadolint"))


def steps():
    """(instruction, arguments) of the last stage, which is the image."""
    found = []
    for line in FILE.read_text().splitlines():
        if line and not line.startswith("#"):
            instruction, _, arguments = line.partition(" ")
            if instruction == "FROM":
                found = []
            found.append((instruction, arguments))
    return found


def test_the_node_is_not_root_and_its_state_is_a_volume():
    said = dict(steps())
    assert int(said["USER"]) > 0
    assert f"--uid {said['USER']}" in next(a for i, a in steps() if "useradd" in a)
    assert said["VOLUME"] == said["WORKDIR"] == "/var/lib/dcfm-node"
    order = [instruction for instruction, _ in steps()]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert order[-2:] == ["ENTRYPOINT", "CMD"]
    assert json.loads(said["ENTRYPOINT"]) == ["dcfm-node"]
    assert json.loads(said["CMD"])[0] == "start"


@pytest.mark.parametrize(("code", "healthy"), [(0, True), (3, True), (1, False), (4, False)])
def test_a_degraded_node_is_not_restarted(tmp_path, code, healthy):
    """The health check, run with a command that ends as `dcfm-node status` does."""
    command = json.loads(dict(steps())["HEALTHCHECK"].partition(" CMD ")[2])
    program = tmp_path / "dcfm-node"
    program.write_text(f"#!/bin/sh\n[ $1 = status ] && exit {code}\n")
    program.chmod(0o755)
    done = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
    assert (done.returncode == 0) == healthy


def test_what_it_copies_exists():
    lines = [
        line.split()[1:-1] for line in FILE.read_text().splitlines() if line.startswith("COPY")
    ]
    sources = [name for names in lines for name in names if not name.startswith(("-", "/"))]
    assert len(sources) > 4
    assert [name for name in sources if not (ROOT / name).exists()] == []


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_the_linter_finds_nothing():
    done = subprocess.run([HADOLINT, str(FILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
