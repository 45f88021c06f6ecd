"""From digests to the worker's job."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.daemon.work import job_for
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.entries import Join
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.settings import MethodSettings, Training, find
from dcfm_node.swarm.effects import Distil, Score, Train, Work
from dcfm_node.swarm.view import View
from dcfm_node.worker.messages import Job
from tests.unit.swarm.builders import Run

ME, PEER = b"a" * 32, b"b" * 32
MINE, THEIRS, ANCHOR = b"1" * 32, b"2" * 32, b"3" * 32
COUNTS = {ME: (((0, 0), 7),), PEER: (((1, 0), 7),)}
STAGE = Training(steps=10)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        name="run",
        sample_shape=(2,),
        attributes=(
            Attribute(name="h", values=("left", "right")),
            Attribute(name="v", values=("bottom", "top")),
        ),
        method=Dcfm(local=STAGE, refine=STAGE, distil=STAGE, seed=3),
        roster=(Silo(name="east", key=ME), Silo(name="west", key=PEER)),
    )


def job(work: Work, manifest: Manifest, data: str = "") -> Job:
    view = View(manifest)
    for key, counts in COUNTS.items():
        view.joins[key] = Join(
            name=manifest.silo_name(key), distils=True, version="1", counts=counts
        )
    return job_for(
        work,
        manifest=manifest,
        me=ME,
        view=view,
        path=lambda digest: Path(digest.decode()[:1]),
        folder=Path("work"),
        data=data,
    )


def test_neither_another_run_nor_other_data_goes_on_from_a_checkpoint(manifest: Manifest) -> None:
    work = Train("local", 0)
    method = manifest.method.model_copy(update={"seed": 4})
    others = [
        job(work, manifest, data="other"),
        job(work, manifest.model_copy(update={"method": method})),
    ]
    ours = job(work, manifest)
    assert job(work, manifest).checkpoint == ours.checkpoint
    assert len({made.checkpoint for made in (ours, *others)}) == 3
    assert len({made.output for made in (ours, *others)}) == 3


def test_stage_one_starts_from_nothing(manifest: Manifest) -> None:
    made = job(Train("local", 0), manifest)
    assert (made.kind, made.silo, made.init, made.teachers) == ("train", "east", None, ())


def test_refining_against_a_student(manifest: Manifest) -> None:
    made = job(Train("refine", 1, anchor=ANCHOR), manifest)
    assert (made.kind, made.init, made.anchor) == ("train", None, Path("3"))


def test_refining_against_peers_names_this_silo_among_them(manifest: Manifest) -> None:
    made = job(Train("refine", 1, init=MINE, peers=((PEER, THEIRS),)), manifest)
    assert (made.kind, made.init) == ("train", Path("1"))
    assert [(t.silo, t.path, t.counts) for t in made.teachers] == [
        ("east", Path("1"), COUNTS[ME]),
        ("west", Path("2"), COUNTS[PEER]),
    ]


def test_a_silo_weighs_no_more_than_its_share(manifest: Manifest, monkeypatch: Any) -> None:
    """SPEC 6.9: what it says to count, others' workers take no more of."""
    monkeypatch.setitem(COUNTS, PEER, (((1, 0), 2**40), ((1, 1), 1)))
    teachers = ((ME, b"x" * 32, MINE), (PEER, b"y" * 32, THEIRS))
    made = job(Distil(1, 4, b"l" * 32, teachers, (), False), manifest)
    parts = 7 * 65_536
    assert [dict(t.counts) for t in made.teachers] == [{(0, 0): parts}, {(1, 0): parts, (1, 1): 1}]


def test_distilling_takes_every_teacher(manifest: Manifest) -> None:
    teachers = ((ME, b"x" * 32, MINE), (PEER, b"y" * 32, THEIRS))
    made = job(Distil(1, 4, b"l" * 32, teachers, (), False), manifest)
    assert (made.kind, made.init) == ("distil", None)
    assert [teacher.silo for teacher in made.teachers] == ["east", "west"]


def method(name: str, **settings: object) -> MethodSettings:
    return find("methods", MethodSettings, name).model_validate(
        {"name": name, "local": STAGE, "seed": 3} | settings
    )


def test_averaging_names_the_round_and_whose_parameters(manifest: Manifest) -> None:
    run = manifest.model_copy(update={"method": method("fedflow")})
    first = job(Train("local", 0), run)
    assert (first.kind, first.round, first.teachers) == ("train", 0, ())
    made = job(Train("refine", 2, peers=((ME, MINE), (PEER, THEIRS))), run)
    assert (made.kind, made.round, made.init) == ("train", 2, None)
    assert [(t.silo, t.path, t.counts) for t in made.teachers] == [
        ("east", Path("1"), COUNTS[ME]),
        ("west", Path("2"), COUNTS[PEER]),
    ]


def test_scoring_compares_with_this_silos_own_expert(manifest: Manifest) -> None:
    made = job(Score(b"s" * 32, ANCHOR, MINE), manifest)
    assert (made.kind, made.model, made.reference) == ("score", Path("3"), Path("1"))


@pytest.mark.parametrize(
    ("final", "floor", "measured"), [(True, 0.5, 1), (False, 0.5, 0), (True, 0, 0)]
)
def test_final_students_alone_are_measured_and_where_there_is_a_floor(
    final, floor, measured
) -> None:
    """SPEC 6.14."""
    run = Run(3, method="ddm" if final else "dcfm")
    policy = run.manifest.policy.model_copy(update={"novel_floor": float(floor)})
    run.begin(run.manifest.model_copy(update={"policy": policy}))
    run.publish_experts(0)
    made = run.distil(0)
    found = job_for(
        Score(made.digest, made.entry.body.snapshot.digest, None),
        manifest=run.manifest,
        me=run.keys[0],
        view=run.view(),
        path=lambda digest: Path(digest.hex()),
        folder=Path("work"),
        data="",
    )
    assert found.measure is bool(measured)


def test_other_inputs_are_another_job(manifest: Manifest) -> None:
    """A checkpoint made from other inputs must never be resumed."""
    keys = {
        job(work, manifest).key
        for work in (
            Train("local", 0),
            Train("refine", 1, init=MINE),
            Train("refine", 1, init=THEIRS),
            Train("refine", 1, anchor=ANCHOR),
            Train("refine", 1, anchor=THEIRS),
            Train("refine", 2, anchor=ANCHOR),
        )
    }
    assert len(keys) == 6


def test_a_new_term_resumes_the_same_distillation(manifest: Manifest) -> None:
    teachers = ((ME, b"x" * 32, MINE),)
    first = job(Distil(1, 4, b"l" * 32, teachers, (), False), manifest)
    again = job(Distil(1, 5, b"m" * 32, teachers, (), False), manifest)
    assert first.key == again.key


def test_anothers_checkpoint_is_of_the_same_job(manifest: Manifest) -> None:
    """The worker goes on from it or from its own, whichever came farther."""
    alone = Distil(1, 4, b"l" * 32, ((ME, b"x" * 32, MINE),), (), False)
    helped = job(replace(alone, resume=ANCHOR), manifest)
    assert helped.resume == Path("3")
    assert helped.key == job(alone, manifest).key


def test_seeds_differ_by_silo_and_round_and_repeat(manifest: Manifest) -> None:
    first, second = job(Train("local", 0), manifest), job(Train("local", 0), manifest)
    later = job(Train("refine", 1, anchor=ANCHOR), manifest)
    assert first.seed == second.seed != later.seed
