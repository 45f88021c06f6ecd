"""The two commands of README.md, as far as they can be checked without a network."""

import os
import subprocess

import pytest

from tests.packaging.tree import ROOT

SHELL = [ROOT / "scripts" / "demo", ROOT / "scripts" / "test", ROOT / ".ci" / "run"]


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_they_are_portable_shell(path):
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/bin/sh\n")
    for script in (path, ROOT / "scripts" / "environment.sh"):
        done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_vectors_verify():
    """SPEC's vectors are those that the code of today makes."""
    done = subprocess.run(
        [os.sys.executable, "scripts/make_vectors", "--verify"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
