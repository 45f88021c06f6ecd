"""Results of earlier versions can still be shown, those of withdrawn arms among them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.running import run

RESULTS = Path(__file__).parents[3] / "docs" / "results"
NAMES = [path.name for path in sorted(RESULTS.iterdir()) if (path / "table.md").exists()]


@pytest.mark.parametrize("name", NAMES)
def test_results_that_were_published_can_be_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(RESULTS / name / "results.json", folder)
    assert run(monkeypatch, "experiment", "show", folder) == 0
    shown = capsys.readouterr().out
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert all(row["method"] in shown or row["rule"] in shown for row in rows)
    assert (folder / "table.md").read_text() == (RESULTS / name / "table.md").read_text()
