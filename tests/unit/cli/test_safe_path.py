"""A module that lies in the current folder, beside private data say, is never imported."""

import os
import subprocess
import sys
from pathlib import Path

from tests.packaging.tree import ROOT

MODULES = ("queue", "typer", "structlog", "json", "dataclasses", "asyncio", "pydantic")


def test_the_command_line_imports_nothing_of_the_current_folder(tmp_path: Path) -> None:
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()")
    done = subprocess.run(
        [sys.executable, "-m", "dcfm_node", "version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()
