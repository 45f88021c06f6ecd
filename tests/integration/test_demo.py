"""A whole demo, shortened: real node processes on loopback, from keys to report."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from dcfm_node.api.client import call
from dcfm_node.api.requests import StatusRequest
from dcfm_node.demo.run import run_demo
from dcfm_node.errors import Unreachable
from dcfm_node.store.snapshots import describe

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
    for figures in report.accuracy.values():
        assert set(figures) == {"known", "novel"}
        assert all(0 <= share <= 1 for share in figures.values())
    assert report.accuracy_detail.combinations == {"known": 3, "novel": 1}


def test_there_is_a_picture(report, out):
    with Image.open(out / "report.png") as image:
        assert min(image.size) > 900


def test_nothing_of_it_still_runs(report, out):
    for name in ("east", "north"):
        with pytest.raises(Unreachable):
            call(out / "nodes" / name / "state", StatusRequest(), timeout_s=5.0)


def test_the_student_s_lineage_holds(report, out):
    command = [sys.executable, "-m", "dcfm_node", "student", "verify", str(out / "student")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["digest"] == report.student_digest
