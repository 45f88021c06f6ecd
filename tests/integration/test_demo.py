"""A whole demo, shortened: real node processes on loopback, from keys to report."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from dcfm_node.demo.run import run_demo
from dcfm_node.store.snapshots import describe
from tests.integration.cluster import dcfm_process

SHORTEN = 0.05


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def report(out):
    return run_demo(
        domain="gaussians",
        schedule=None,
        out=out,
        seed=3,
        silos=2,
        json_output=True,
        shorten=SHORTEN,
    )


def test_every_node_holds_the_same_student_byte_for_byte(report, out):
    digest = report.student_digest
    assert [node.name for node in report.nodes] == ["east", "north"]
    assert {node.student_digest for node in report.nodes} == {digest}
    for name in ("east", "north"):
        snapshot = out / "nodes" / name / "state" / "snapshots" / f"{digest}.safetensors"
        assert describe(snapshot).digest.hex() == digest


def test_the_report_says_what_happened(report, out):
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report.plain()))
    assert (report.domain, report.seed, report.silos) == ("gaussians", 3, 2)
    assert (report.outcome, report.missing, report.lost) == ("COMPLETE", (), {})
    assert report.endorsed_by == ("east", "north")
    assert len(report.run_id) == 64
    assert 0 < report.released_s <= report.elapsed_s
    stages = [(phase.stage, phase.round) for phase in report.phases]
    assert stages == [("local", 0), ("distil", 0), ("refine", 1), ("distil", 1), ("release", 1)]
    for node in report.nodes:
        assert node.bytes_sent > 0
        assert node.bytes_received > 0
        assert node.peak_rss_mb > 0
        assert node.problems == ()


def test_every_method_was_judged(report):
    names = {"single_silo_best", "independent_experts", "experts", "student"}
    assert set(report.accuracy) == names
    assert all(set(figures) == {"known", "novel"} for figures in report.accuracy.values())
    assert report.accuracy_detail.combinations == {"known": 3, "novel": 1}


def test_there_is_a_picture(report, out):
    with Image.open(out / "report.png") as image:
        assert min(image.size) > 900


def test_nothing_of_it_still_runs(report, out):
    def of_it(process: Path) -> bool:
        with suppress(OSError):
            return str(out).encode() in (process / "cmdline").read_bytes()
        return False

    assert (out / "nodes" / "east" / "state").is_dir()
    assert [process for process in Path("/proc").glob("[0-9]*") if of_it(process)] == []


def test_the_student_s_lineage_holds(report, out):
    done = dcfm_process("student", "verify", out / "student", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["digest"] == report.student_digest
