"""The report as data, as a table, and what it tells to type next."""

import json
from pathlib import Path

import pytest

from dcfm_node.api.demo import DemoReport, ExpertEvent, Leader
from dcfm_node.api.students import Expected
from dcfm_node.demo import report
from dcfm_node.demo.run import read_manifest
from dcfm_node.demo.stage import NodeFolder, Stage, Wish, prepare
from dcfm_node.domains.robots.cube import DIAGONALS
from dcfm_node.records.entries import (
    Endorse,
    Entry,
    Expert,
    Join,
    Lease,
    Refuse,
    Snapshot,
    Student,
    Vote,
)
from dcfm_node.swarm.quality import Announcement, Estimate
from tests.unit.demo.conftest import EAST, NORTH
from tests.unit.demo.conftest import student as facts

SNAPSHOT = Snapshot(digest=b"\x03" * 32, size=10)
DIGEST = "03" * 32
ACCURACY = {
    "single_silo_best": {"known": 0.56, "novel": 0.34},
    "independent_experts": {"known": 0.95, "novel": 0.5},
    "experts": {"known": 0.96, "novel": 0.75},
    "student": {"known": 0.97, "novel": 0.874},
}


def entry(author, at_s, body, seq=0):
    return Entry(
        run=b"\x05" * 32,
        author=author,
        epoch=0,
        seq=seq,
        prev=b"\x06" * 32,
        time_ms=1_000_000 + int(at_s * 1_000),
        body=body,
    )


def expert(author, at_s, round_):
    metrics = {"ci_gap": 0.1}
    return entry(author, at_s, Expert(round=round_, snapshot=SNAPSHOT, parents=(), metrics=metrics))


def student(author, at_s, round_, term):
    return entry(
        author,
        at_s,
        Student(
            term=term,
            round=round_,
            lease=b"\x07" * 32,
            snapshot=SNAPSHOT,
            teachers=(b"\x08" * 32,),
            missing=(),
            resumed=None,
            final=round_ == 1,
            seed=0,
            version="1",
            metrics={},
        ),
    )


def join(author, at_s):
    return entry(author, at_s, Join(name="north", distils=True, version="1", counts=()))


@pytest.fixture
def events(manifest):
    said = [
        join(NORTH, 1.0),
        join(EAST, 1.5),
        expert(EAST, 30.0, 0),
        expert(NORTH, 20.0, 0),
        entry(NORTH, 30.2, Vote(term=1, round=0, candidate=NORTH)),
        entry(NORTH, 30.5, Lease(term=1, round=0, votes=(b"\x09" * 32,))),
        student(NORTH, 40.0, 0, 1),
        expert(NORTH, 50.0, 1),
        expert(EAST, 51.0, 1),
        student(EAST, 60.0, 1, 2),
        entry(NORTH, 61.0, Endorse(student=b"\x0a" * 32, metrics={})),
        entry(EAST, 62.0, Refuse(student=b"\x0a" * 32, reason="poor", metrics={})),
    ]
    return report.timeline(said, manifest, 1_000_000)


@pytest.fixture
def built(events, says):
    return report.build(
        Wish("gaussians", "alternating", seed=4, silos=2),
        statuses={"north": says("north", "done", 1), "east": says("east", "done", 1)},
        student=facts(DIGEST, ["north"], ["east"], outcome="DEGRADED", missing=("east",), round=1),
        digests={"north": DIGEST},
        lost={"east": "killed by signal 9"},
        events=events,
        accuracy=ACCURACY,
        detail={"combinations": {"known": 3, "novel": 1}},
        released_s=62.34,
        elapsed_s=75.0,
    )


def test_the_timeline_is_in_order_and_names_silos(events):
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    assert events[2] == ExpertEvent(at_s=20.0, silo="north", round=0, metrics={"ci_gap": 0.1})
    assert {event.event for event in events} == {
        "join",
        "expert",
        "lease",
        "student",
        "endorse",
        "refuse",
    }


def test_phases_end_with_their_last_record(events):
    found = [(p.stage, p.round, p.from_s, p.to_s) for p in report.phases(events)]
    assert found == [
        ("local", 0, 1.0, 30.0),
        ("distil", 0, 30.0, 40.0),
        ("refine", 1, 40.0, 51.0),
        ("distil", 1, 51.0, 60.0),
        ("release", 1, 60.0, 62.0),
    ]
    assert report.phases([]) == []


def test_the_report_says_what_was_promised(built):
    assert built.schema_ == "dcfm-node/demo-report/1"
    assert (built.domain, built.seed, built.silos) == ("gaussians", 4, 2)
    assert (built.run_id, built.student_digest) == ("ab" * 32, DIGEST)
    assert (built.released_s, built.elapsed_s) == (62.3, 75.0)
    assert built.accuracy == ACCURACY
    assert [(node.name, node.student_digest) for node in built.nodes] == [
        ("east", None),
        ("north", DIGEST),
    ]
    assert {(n.bytes_sent, n.bytes_received, n.peak_rss_mb) for n in built.nodes} == {
        (1_500, 2_500_000, 321.5)
    }
    assert built.leaders == (
        Leader(round=0, term=1, silo="north"),
        Leader(round=1, term=2, silo="east"),
    )
    assert DemoReport.read(json.dumps(built.plain())) == built


def test_the_table_is_short_and_hides_nothing(built):
    text = report.table(built)
    assert len(text.splitlines()) <= 12
    assert "DEGRADED without east" in text
    assert "north   holds the student" in text
    assert "east    lost: killed by signal 9" in text
    rows = {line.split("  ")[0]: line.split()[-2:] for line in text.splitlines()[-6:-1]}
    assert rows["the best silo alone"] == ["56%", "34%"]
    assert rows["the student (DCFM-B)"] == ["97%", "87%"]
    assert rows["the student, as announced: trained on, novel"] == ["?", "?"]
    assert "? is unmeasured: 0 of the 2 silos" in text


def test_what_was_announced_stands_below_what_is_true(built):
    found = Announcement(Estimate(0.96, 0.9, 1.0), Estimate(0.84, 0.8, 0.9), "")
    said = built.model_copy(update={"expected": Expected.of(found, 0.5)})
    true, announced = report.table(said).splitlines()[-2:]
    assert true.split()[-2:] == ["97%", "87%"]
    assert announced.split()[-2:] == ["96%", "84%"]


def test_plans_that_were_executed_stand_below_what_is_right(built):
    detail = built.accuracy_detail.model_copy(
        update={
            "redrawn": {
                "success": {"known": 0.7, "novel": 0.56},
                "success_2cm": {"known": 0.6, "novel": 0.5},
            }
        }
    )
    text = report.table(built.model_copy(update={"accuracy_detail": detail}))
    (row,) = (line for line in text.splitlines() if "executed in the simulator" in line)
    assert row.split()[-2:] == ["70%", "56%"]
    assert "own commands" not in text
    assert "simulator" not in report.table(built)


def test_what_a_classifier_learns_from_radiographs_stands_below(built):
    one = {"utility": 0.3, "utility_multiple": 0.12, "specificity": 0.6}
    detail = built.accuracy_detail.model_copy(
        update={"together": dict.fromkeys(ACCURACY, one | {"ceiling_utility": 0.53})}
    )
    accuracy = {name: {"known": of["known"]} for name, of in ACCURACY.items()}
    update = {"domain": "chest-xray", "accuracy_detail": detail, "accuracy": accuracy}
    lines = report.table(built.model_copy(update=update)).splitlines()
    (real,) = (line for line in lines if line.startswith("real images of all hospitals"))
    assert real.split()[-3:] == ["53%", "-", "-"]
    assert lines[-3].split()[-3:] == ["30%", "12%", "60%"]
    right = next(line for line in lines if line.startswith("the student (DCFM-B)"))
    assert right.split()[-2:] == ["97%", "-"]
    assert any("trained on (3)  not trained on (1)" in line for line in lines)


def test_a_node_without_the_student_is_told(built):
    text = report.table(built.model_copy(update={"lost": {}}))
    assert "east    LACKS the student" in text


def test_what_to_type_next_can_be_typed(manifest):
    out = Path("my demo")
    stage = Stage(out, (NodeFolder("north", out / "nodes" / "north"),))
    text = report.next_steps(stage, manifest, ".venv/bin/dcfm-node")
    assert "next      .venv/bin/dcfm-node student verify 'my demo/student'" in text
    commands = [line[10:] for line in text.splitlines()[1:]]
    assert all(command.startswith(".venv/bin/dcfm-node ") for command in commands)
    assert "--where horizontal=right --where vertical=top -n 16 --out samples.npz" in text
    assert "--config 'my demo/nodes/north/node.toml' --peers 'my demo/peers.toml'" in text


def test_robots_are_shown_a_move_that_none_has_seen(tmp_path):
    made = prepare(tmp_path / "demo", Wish("cube", silos=4))
    text = report.next_steps(made, read_manifest(made), "dcfm-node")
    asked = "--where source=top-left --where destination=bottom-right"
    film = tmp_path / "demo" / "film"
    assert f"dcfm-node domain run cube {made.student} {asked} --out {film}" in text
    assert f"dcfm-node student sample {made.student} {asked} -n 16 --out samples.npz" in text
    assert (0, 3) in DIAGONALS
