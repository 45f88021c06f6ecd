"""`dcfm-node experiment` as its user runs it."""

import json
from pathlib import Path

from tests.integration.cluster import dcfm, dcfm_process
from tests.unit.experiment import tiny


def test_a_file_of_ones_own_becomes_results_a_table_and_pictures(tmp_path: Path) -> None:
    path = tiny.write(tmp_path)
    run = ("experiment", "run", path, "--seeds", 1, "--out")
    ran = dcfm_process(*run, "found", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "found" / "results.json").read_text())
    assert json.loads(ran.stdout) == document
    assert document["schema"] == "dcfm-node/experiment/1"
    assert [(r["method"], r["seed"]) for r in document["rows"][:2]] == [("ddm+l", 0), ("dfd", 0)]
    assert {r["seed"] for r in document["rows"]} == {0}
    assert document["planned"] == len(document["rows"])
    for row in document["rows"]:
        assert {"known_accuracy", "novel_accuracy", "w2_known", "w2_novel"} <= set(row["metrics"])
        assert row["metrics"] == row["variants"][row["rule"]]
    by_name = {r["method"]: r for r in document["rows"]}
    assert [r["round"] for r in by_name["dcfm-alternating"]["rounds"]] == [0, 1]
    assert (tmp_path / "found" / "samples-noniid.png").stat().st_size > 0
    shown = dcfm("experiment", "show", tmp_path / "found")
    assert shown.returncode == 0, shown.stderr
    assert "| **dcfm-alternating** |" in shown.stdout

    # A second run measures nothing again.
    rows = sorted((tmp_path / "found" / "rows").iterdir())
    before = [row.stat().st_mtime_ns for row in rows]
    again = dcfm(*run, tmp_path / "found")
    assert again.returncode == 0, again.stderr
    assert [row.stat().st_mtime_ns for row in rows] == before


def test_a_mistake_ends_with_code_2_and_says_where(tmp_path: Path) -> None:
    ran = dcfm("experiment", "run", tiny.write(tmp_path, silo="top"), "--out", tmp_path / "found")
    assert ran.returncode == 2
    assert "observes held-out" in ran.stderr
    assert dcfm("experiment", "show", tmp_path / "nowhere").returncode == 1
