"""Students in folders: which one may replace which, and which counts no more."""

from pathlib import Path

import pytest

from dcfm_node.api.verified import Newest, Superseded
from dcfm_node.cli.fetched import _replaced
from dcfm_node.cli.lineage import superseded_by, superseded_text
from dcfm_node.daemon.students import none_released
from dcfm_node.errors import Failed
from dcfm_node.records.entries import Withdraw
from dcfm_node.records.manifest import Continues, Manifest
from dcfm_node.store.snapshots import describe
from dcfm_node.store.student import write_student
from dcfm_node.student.facts import facts_of
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.lineage import Lineage, bundle
from dcfm_node.wire.envelope import run_id
from tests.unit.swarm.builders import Run, endorse

RUN = Run(3).manifest
OTHER = RUN.model_copy(update={"name": "other"})
NEXT = RUN.model_copy(
    update={"continues": Continues(run=run_id(OTHER), student=None, handovers=(), replaced=())}
)


def lineage_of(manifest: Manifest) -> bytes:
    return bundle(manifest, Journals(manifest))


@pytest.mark.parametrize(
    ("new", "manifest", "latest", "force", "may"),
    [
        (b"older", RUN, True, False, True),
        (b"older", RUN, False, False, True),
        (b"newer", RUN, True, False, True),
        (b"newer", RUN, False, False, False),
        (b"newer", RUN, False, True, True),
        (b"newer", OTHER, True, False, False),
        (b"newer", OTHER, True, True, True),
    ],
)
def test_the_latest_replaces_an_earlier_one_of_its_run_and_nothing_else_unforced(
    tmp_path: Path, new: bytes, manifest: Manifest, latest: bool, force: bool, may: bool
) -> None:
    out, older, newer = tmp_path / "student", tmp_path / "older", tmp_path / "newer"
    older.write_bytes(b"older")
    newer.write_bytes(new)
    digest = describe(newer).digest.hex()
    assert _replaced(out, digest, manifest, latest, force) is None
    write_student(out, model=older, manifest=RUN, scale=None, lineage=lineage_of(RUN), card="")
    if may:
        assert _replaced(out, digest, manifest, latest, force) == describe(older).digest.hex()
        return
    with pytest.raises(Failed, match="holds another student") as caught:
        _replaced(out, digest, manifest, latest, force)
    assert (caught.value.where, "--force" in caught.value.fix) == (str(out), True)


def test_the_latest_replaces_that_of_the_run_it_continues(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"older")
    out, said = tmp_path / "student", lineage_of(OTHER)
    write_student(out, model=tmp_path / "model", manifest=OTHER, scale=None, lineage=said, card="")
    assert _replaced(out, "00", NEXT, True, False)


def test_a_student_that_cannot_be_read_goes_by_force_alone(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"older")
    out = tmp_path / "student"
    write_student(out, model=tmp_path / "model", manifest=RUN, scale=None, lineage=b"", card="")
    with pytest.raises(Failed, match="lineage is unreadable"):
        _replaced(out, "00", RUN, True, False)
    (out / "model.safetensors").write_bytes(b"")
    with pytest.raises(Failed, match="is empty"):
        _replaced(out, "00", RUN, True, False)
    assert _replaced(out, "00", RUN, True, True)


def test_a_student_whose_teacher_left_is_superseded_and_the_newest_is_named() -> None:
    """Decision 17."""
    run = Run(4, schedule="paper")
    run.publish_experts(0)
    first = run.distil(0)

    def lineage() -> Lineage:
        view = run.view()
        (said,) = (s for s in view.valid_students() if s.digest == first.digest)
        return Lineage(said, view, run.id)

    assert superseded_by(lineage()) is None
    assert facts_of(lineage()).standing == "not released"
    for author in run.authors[:3]:
        author.say(endorse(first))
    assert facts_of(lineage()).standing == "released"
    run.authors[3].say(Withdraw(reason="consent ended"))
    found = superseded_by(lineage())
    assert found == Superseded(by={"silo-0003": "withdrew: consent ended"}, newest=None)
    assert "there was no other student" in superseded_text(found)
    untold = none_released(run.view())
    assert "superseded: silo-0003 withdrew: consent ended" in untold.what
    assert f"fetch --digest {first.entry.body.snapshot.digest.hex()[:12]} --out" in untold.fix
    facts = facts_of(lineage())
    assert facts.standing == "superseded"
    assert facts.superseded == {"silo-0003": "withdrew: consent ended"}
    second = run.elect(1, term=2)
    view = run.view()
    teachers = [view.experts[key][0].digest for key in run.keys[:3]]
    body = first.entry.body.model_copy(
        update={"term": 2, "lease": second.digest, "teachers": tuple(teachers)}
    )
    other = run.authors[1].say(body)
    found = superseded_by(lineage())
    assert found is not None
    newest = Newest(digest=body.snapshot.digest.hex(), round=0, released=False)
    assert found.newest == newest
    for author in run.authors[:3]:
        author.say(endorse(other))
    found = superseded_by(lineage())
    assert found is not None
    text = superseded_text(found)
    assert "SUPERSEDED: silo-0003 withdrew: consent ended" in text
    assert f"newest is {newest.digest[:12]} of round 0, released" in text


def test_an_interim_student_that_a_quorum_endorsed_is_not_released() -> None:
    """SPEC 6.1.6."""
    run = Run(4)
    run.publish_experts(0)
    interim = run.distil(0)
    for author in run.authors[:3]:
        author.say(endorse(interim))
    view = run.view()
    (said,) = view.valid_students()
    facts = facts_of(Lineage(said, view, run.id))
    assert (len(facts.endorsed_by), facts.standing) == (3, "interim")
