"""What the worker makes of work, and what is said of work that fails."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dcfm_node.api.problems import Code
from dcfm_node.daemon.explain import failing
from dcfm_node.daemon.runner import JobRunner
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import (
    AuditExperts,
    Distil,
    Event,
    Train,
    Work,
    Worked,
    WorkFailed,
    WorkProgressed,
)
from dcfm_node.swarm.failing import MAX_FAILURES
from dcfm_node.worker.messages import Broken, Done, Job, Progress
from tests.unit.swarm.builders import Run, snapshot
from tests.unit.swarm.nodes import started

RUN = Run(3)
LOCAL = Train("local", 0)
DISTIL = Distil(0, 1, bytes(32), ((RUN.keys[1], bytes(32), bytes(32)),), (), False)


class Table:
    """A job runner whose supervisor notes its jobs, and the events that come of it."""

    def __init__(self, folder: Path) -> None:
        self.jobs: list[Job] = []
        self.events: list[Event] = []
        self.node = started(RUN)
        supervisor: Any = SimpleNamespace(submit=self.submit, cancel=lambda: None)
        self.runner = JobRunner(
            supervisor,
            SnapshotStore(folder),
            folder / "work",
            Troubles(lambda: 0.0),
            data="",
            put=self.events.append,
            spawn=asyncio.run,  # type: ignore[arg-type]
        )

    def submit(self, job: Job, notify: object) -> None:
        self.jobs.append(job)

    def fail(self, work: Work, reason: str) -> None:
        self.runner.start(work, self.node)
        self.runner.hear(Broken(key=self.jobs[-1].key, reason=reason))
        self.node.handle(self.events.pop(), 0.0)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


def test_an_expert_that_is_withheld_is_told_with_its_cause_and_fix_until_one_is_published(
    table: Table,
) -> None:
    assert table.runner.problems() == []
    table.runner.start(LOCAL, table.node)
    reason = "its expert is not published: an AUC of 0.9\n  fix: add samples"
    table.runner.hear(Broken(key=table.jobs[-1].key, reason=reason, withheld=True))
    (problem,) = table.runner.problems()
    assert problem.code is Code.EXPERT_WITHHELD
    assert problem.sentence == "its expert is not published: an AUC of 0.9"
    assert problem.fix == "add samples"
    assert problem.code.value in Code.WORK_FAILED.after
    table.fail(LOCAL, "something else")
    assert table.runner.problems() == []


def test_a_job_that_fails_is_counted_and_told_with_its_cause_until_work_succeeds(
    table: Table,
) -> None:
    for times in range(1, 14):
        table.fail(LOCAL, "IndexError: 1000\n  fix: see the labels")
        often = f"{times} times in a row" if times > 1 else "once"
        (problem,) = failing(table.node)
        assert problem.code is Code.WORK_FAILED
        assert problem.sentence == (
            f"its work (local) failed {often} and is tried again: IndexError: 1000; see the labels"
        )
    table.node.work = LOCAL
    table.node.handle(Worked(LOCAL, snapshot("mine"), {}), 0.0)
    assert failing(table.node) == []


def test_work_that_nobody_waits_for_any_more_is_said_to_be_set_aside(table: Table) -> None:
    for _ in range(MAX_FAILURES):
        table.runner.start(DISTIL, table.node)
        table.node.handle(table.events.pop(), 0.0)
    (said,) = failing(table.node)
    assert said.sentence.startswith(
        "its work (distil) failed 5 times in a row and is set aside: it cannot"
    )


def test_a_teacher_without_a_join_fails_its_job_and_not_the_node(table: Table) -> None:
    """Whatever a record names: what cannot be made a job of has failed."""
    table.runner.start(DISTIL, table.node)
    (event,) = table.events
    assert isinstance(event, WorkFailed)
    assert event.work == DISTIL
    assert event.reason == "it cannot be begun: silo-0001: no join says its label counts"
    assert table.jobs == []


def test_a_folder_that_cannot_be_used_fails_the_job(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    table = Table(tmp_path)
    table.runner.start(LOCAL, table.node)
    assert isinstance(table.events[0], WorkFailed)


def test_lines_of_other_jobs_are_let_pass(table: Table) -> None:
    table.runner.start(LOCAL, table.node)
    table.runner.hear(Progress(key="other", done=1, total=2, metrics={}))
    assert table.events == []
    table.runner.hear(Progress(key=table.jobs[0].key, done=1, total=2, metrics={}))
    assert table.events == [WorkProgressed(1, 2)]


@pytest.mark.parametrize(
    ("work", "done", "why"),
    [
        (LOCAL, {}, "No such file"),
        (Train("local", 1), {"file": b""}, "is empty"),
        (AuditExperts(0, ()), {"scores": {"nobody": {}}}, "KeyError"),
    ],
)
def test_what_cannot_be_handed_over_has_failed_and_is_not_waited_for(
    table: Table, work: Work, done: dict[str, Any], why: str
) -> None:
    table.runner.start(work, table.node)
    job = table.jobs[-1]
    if "file" in done:
        job.output.write_bytes(done.pop("file"))
    table.runner.hear(Done(key=job.key, metrics={}, **done))
    (event,) = table.events
    assert isinstance(event, WorkFailed)
    assert event.reason.startswith("what it made cannot be kept: ")
    assert why in event.reason
