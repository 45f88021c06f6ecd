"""SPEC 5.1.3: each record is judged by what it says itself that a snapshot is."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dcfm_node.daemon.forms import CHECKPOINT, NETWORK, Form, Forms
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.daemon.vetting import Vetting
from dcfm_node.daemon.work import job_for
from dcfm_node.records.entries import Checkpoint, Snapshot
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.effects import AuditExperts, Distil, Event, Held, Score, Unfit
from dcfm_node.swarm.verdicts import on_unfit
from dcfm_node.worker.messages import Ready
from tests.unit.swarm.builders import Run, expert
from tests.unit.swarm.nodes import tell, writing

TENSORS = {"weight": ("F32", (2,))}
READY = Ready(
    device="cpu",
    counts=(),
    data="",
    tensors=TENSORS,
    checkpoint={"model.weight": ("F32", (2,)), "step": ("I64", (1,))},
)


class Desk:
    """What a node takes in of a run."""

    def __init__(self, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.run, self.store = folder, run, SnapshotStore(folder)
        self.said: list[Event] = []
        self.forms = Forms(run.manifest, READY, self.store)
        present: Any = None
        self.vetting = Vetting(self.forms, Troubles(lambda: 0.0), present, self.said.append)
        monkeypatch.setattr(self.vetting, "_view", run.view)

    def file(self, *names: str) -> Snapshot:
        """A file with such tensors, on the disk."""
        tensors = {name: np.ones(2, np.float32) for name in names if name != "step"}
        more = {"step": np.ones(1, np.int64)} if "step" in names else {}
        save_file({**tensors, **more}, self.folder / "made")
        return self.store.adopt(self.folder / "made")

    def check(self, snapshot: Snapshot) -> list[Event]:
        asyncio.run(self.vetting.check(snapshot.digest))
        return self.said


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, Run(3, participation="tolerant"), monkeypatch)


def progress(run: Run, made: Snapshot) -> Checkpoint:
    """A checkpoint that no leader published."""
    known = next(iter(run.view().expert_entries))
    return Checkpoint(term=1, round=0, lease=run.id, snapshot=made, teachers=(known,), step=1)


def test_nobody_makes_a_leaders_student_unfit_by_saying_it_is_a_checkpoint(desk: Desk) -> None:
    """Else every honest node refuses it, and after two its leader is in quarantine."""
    run = desk.run
    made = desk.file("weight")
    run.publish_experts(0)
    student = run.student(run.elect(0)).model_copy(update={"snapshot": made})
    run.authors[0].say(student)
    lie = run.authors[2].say(progress(run, made))
    held, unfit = desk.check(made)
    assert held == Held(made.digest)
    assert isinstance(unfit, Unfit) and unfit.entry == lie.digest
    assert on_unfit(run.view(), unfit) == []
    assert desk.forms.intact({made.digest: {NETWORK, CHECKPOINT}}) == {made.digest}


def test_an_expert_that_is_a_checkpoint_is_refused_and_the_checkpoint_stays(desk: Desk) -> None:
    run = desk.run
    made = desk.file("model.weight", "step")
    run.publish_experts(0, but=(2,))
    run.authors[0].say(progress(run, made))
    lie = run.authors[2].say(expert(0).model_copy(update={"snapshot": made}))
    held, unfit = desk.check(made)
    assert held == Held(made.digest)
    assert isinstance(unfit, Unfit) and unfit.entry == lie.digest
    node = writing(run)
    tell(node, run)
    node.handle(unfit, 2.0)
    said = node.replica.view.verdicts[lie.digest][node.me].body
    assert (said.cause, said.subject) == ("snapshot", run.keys[2])


def test_who_says_another_size_of_a_snapshot_is_refused_and_nobody_else(desk: Desk) -> None:
    run = desk.run
    made = desk.file("weight")
    run.authors[0].say(expert(0).model_copy(update={"snapshot": made}))
    other = made.model_copy(update={"size": made.size + 1})
    lie = run.authors[2].say(expert(0).model_copy(update={"snapshot": other}))
    held, unfit = desk.check(made)
    assert held == Held(made.digest)
    assert isinstance(unfit, Unfit) and unfit.entry == lie.digest and "bytes" in unfit.reason


def test_what_fits_nothing_that_is_said_of_it_is_removed(desk: Desk) -> None:
    made = desk.file("bias")
    desk.run.authors[2].say(expert(0).model_copy(update={"snapshot": made}))
    (unfit,) = desk.check(made)
    assert isinstance(unfit, Unfit) and unfit.entry is None
    assert desk.store.path(made.digest) is None


@pytest.mark.parametrize("kind", ["audit", "distil"])
def test_what_is_held_for_one_use_is_checked_before_another(desk: Desk, kind: str) -> None:
    """A checkpoint that all hold, and that a silo publishes as its expert afterwards: it failed
    every audit and every leader's work, until nobody was ready."""
    run = desk.run
    made = desk.file("model.weight", "step")
    run.publish_experts(0, but=(2,))
    run.authors[0].say(progress(run, made))
    assert desk.check(made) == [Held(made.digest)]
    desk.said.clear()
    lie = run.authors[2].say(expert(0).model_copy(update={"snapshot": made}))
    named = (run.keys[2], lie.digest, made.digest)
    work: Any = AuditExperts(0, (named,))
    if kind == "distil":
        work = Distil(0, 1, run.id, (named,), (), final=False, resume=None)
    doubtful = desk.forms.doubtful(work, run.view())
    assert doubtful == [(made.digest, NETWORK)]
    assert asyncio.run(desk.vetting.doubt(doubtful))
    assert [(e.digest, e.entry) for e in desk.said if isinstance(e, Unfit)] == [
        (made.digest, lie.digest)
    ]


def test_what_was_checked_for_its_use_or_is_this_nodes_own_is_loaded_at_once(desk: Desk) -> None:
    run = desk.run
    made, own = desk.file("weight"), Snapshot(digest=bytes(32), size=1)
    entries = [
        run.authors[number].say(expert(0).model_copy(update={"snapshot": snapshot}))
        for number, snapshot in enumerate((own, made))
    ]
    desk.check(made)
    experts = [
        (sealed.entry.author, sealed.digest, snapshot.digest)
        for sealed, snapshot in zip(entries, (own, made), strict=True)
    ]
    assert desk.forms.doubtful(AuditExperts(0, tuple(experts)), run.view()) == []
    run.authors[2].say(progress(run, own))
    assert desk.forms.doubtful(AuditExperts(0, tuple(experts)), run.view()) == [
        (own.digest, NETWORK)
    ]


def test_two_ensembles_of_one_snapshot_are_each_of_their_own_teachers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a leader that names fewer has the next one's student refused with its own."""
    run = Run(3, method="ddm", participation="tolerant")
    desk = Desk(tmp_path, run, monkeypatch)
    names = [silo.name for silo in run.manifest.roster]
    made = desk.file(*(f"expert.{name}.weight" for name in names))
    run.publish_experts(0)
    claimed = run.elect(2, term=1)
    honest = run.student(claimed)
    few = {"snapshot": made, "teachers": honest.teachers[:2], "missing": (run.keys[2],)}
    lie = run.authors[2].say(honest.model_copy(update=few))
    later = run.student(run.elect(0, term=2)).model_copy(update={"snapshot": made})
    good = run.authors[0].say(later)
    held, unfit = desk.check(made)
    assert held == Held(made.digest)
    assert isinstance(unfit, Unfit) and unfit.entry == lie.digest
    score = Score(good.digest, made.digest, None)
    assert desk.forms.doubtful(score, run.view()) == []
    assert desk.forms.of_student(run.view(), good.digest) == Form("ensemble", tuple(names))
    job = job_for(
        score,
        manifest=run.manifest,
        me=run.keys[0],
        view=run.view(),
        path=lambda digest: Path(digest.hex()),
        folder=tmp_path,
        data="",
    )
    assert [file.silo for file in job.teachers] == names
