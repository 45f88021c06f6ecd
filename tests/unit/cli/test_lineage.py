"""What `student verify` and the model card say of a student's own run, and of the one before it."""

import json
from pathlib import Path

import pytest

from dcfm_node.cli.lineage import earlier_text, verified
from dcfm_node.cli.student import verified_text
from dcfm_node.errors import PeerError
from dcfm_node.records.entries import Endorse, Withdraw
from dcfm_node.records.manifest import Continues, Manifest
from dcfm_node.store.card import model_card
from dcfm_node.store.student import write_student
from dcfm_node.student.facts import facts_of
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.lineage import MAX_RUNS, Lineage, bundle, claimed, replayed, verify
from dcfm_node.swarm.succession import inherited
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import run_id
from tests.unit.cli.running import run as dcfm
from tests.unit.swarm.builders import Run, journals, snapshot

WEIGHTS = b"weights" * 100


def left_by_the_third() -> Run:
    """A run whose student the third silo taught, and then took back by leaving."""
    old = Run(3, schedule="paper")
    old.publish_experts(0)
    old.distil(0)
    old.authors[2].say(Withdraw(reason="consent | ended"))
    return old


def following(old: Run, continues: Continues) -> tuple[Manifest, Journals]:
    """The run of the two who stay, and its records; its student is the newest."""
    changes = {"roster": old.manifest.roster[:2], "continues": continues}
    new = Run(2)
    new.manifest = old.manifest.model_copy(update=changes)
    new.id = run_id(new.manifest)
    new.authors = [author.anew(new.id) for author in old.authors[:2]]
    for silo, author in zip(new.manifest.roster, new.authors, strict=True):
        brought = inherited(old.view(), silo.name)
        assert brought is not None
        author.say(brought)
    new.publish_experts(1)
    new.distil(0, round_=1)
    return new.manifest, journals(new)


def proven(manifest: Manifest, said: Journals, earlier: bytes | None) -> Lineage:
    return verify(bundle(manifest, said, earlier), snapshot("student 1 1").digest)


def test_who_left_the_earlier_run_is_named_also_where_that_left_no_student() -> None:
    """SPEC 9.4."""
    old = left_by_the_third()
    manifest, said = following(old, Continues(run=old.id, student=None))
    lineage = proven(manifest, said, bundle(old.manifest, journals(old)))
    facts = facts_of(lineage)
    earlier = facts.continues
    assert earlier is not None and earlier.verified and facts.withdrawn == []
    assert earlier.departed == {"silo-0002": "withdrew: consent | ended"}
    text, card = earlier_text(earlier), model_card(manifest, facts)
    found = verified(lineage, compared=False, unchecked=())
    assert text in verified_text(found, keys="not compared")
    assert "there, silo-0002 withdrew: consent | ended" in text
    assert f"goes on from run `{old.id.hex()}`" in card
    assert "Of that run: silo-0002 withdrew: consent \\| ended. The experts of later" in card


def test_the_earlier_student_and_its_teachers_are_named() -> None:
    old = left_by_the_third()
    made = snapshot("student 1 0")
    manifest, said = following(old, Continues(run=old.id, student=made))
    facts = facts_of(proven(manifest, said, bundle(old.manifest, journals(old))))
    teachers = "silo-0000, silo-0001, silo-0002"
    assert facts.continues is not None
    assert f"from student {made.digest.hex()[:12]} of {teachers}" in earlier_text(facts.continues)
    assert f"its student `{made.digest.hex()}`, of {teachers}" in model_card(manifest, facts)


def test_a_newcomers_folder_says_who_has_the_earlier_runs_records() -> None:
    old = left_by_the_third()
    manifest, said = following(old, Continues(run=old.id, student=None))
    facts = facts_of(proven(manifest, said, None))
    assert facts.continues is not None and not facts.continues.verified
    ask = "not in this folder: fetch the student at a node that has them: silo-0000, silo-0001."
    assert ask in earlier_text(facts.continues)
    assert ask in model_card(manifest, facts)


def test_records_of_another_run_or_without_the_student_it_names_are_refused() -> None:
    """SPEC 9.4."""
    old, other = left_by_the_third(), Run(3, stall_s=9.0)
    for student in (None, snapshot("student 1 0")):
        manifest, said = following(old, Continues(run=old.id, student=student))
        with pytest.raises(PeerError, match="earlier lineage"):
            proven(manifest, said, bundle(other.manifest, journals(other)))
    manifest, said = following(old, Continues(run=old.id, student=snapshot("another")))
    with pytest.raises(PeerError, match="lacks the student"):
        proven(manifest, said, bundle(old.manifest, journals(old)))


def test_an_earlier_lineage_of_the_wrong_type_or_out_of_place_is_refused() -> None:
    """SPEC 9.4: nothing that claims a past goes by unread."""
    old = left_by_the_third()
    manifest, said = following(old, Continues(run=old.id, student=None))
    fields = unpack(bundle(manifest, said))
    before = bundle(old.manifest, journals(old))
    for wrong in (0, "text", (before,)):
        with pytest.raises(PeerError, match="has an earlier lineage"):
            verify(pack(fields | {"continues": wrong}), snapshot("student 1 1").digest)
    with pytest.raises(PeerError, match="has an earlier lineage"):
        verify(bundle(old.manifest, journals(old), before), snapshot("student 1 0").digest)


@pytest.mark.parametrize(("leaves", "code"), [(False, 0), (True, 3)])
def test_a_superseded_student_is_told_by_the_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    leaves: bool,
    code: int,
) -> None:
    run, model, folder = Run(3, schedule="paper"), tmp_path / "model", tmp_path / "student"
    run.publish_experts(0)
    claimed = run.distil(0).entry.body
    run.authors[0].journal.pop()
    run.authors[0].say(claimed.model_copy(update={"snapshot": snapshot_of(WEIGHTS)}))
    if leaves:
        run.authors[2].say(Withdraw(reason="moving"))
    model.write_bytes(WEIGHTS)
    lineage = bundle(run.manifest, journals(run))
    card = model_card(run.manifest, facts_of(verify(lineage, snapshot_of(WEIGHTS).digest)))
    write_student(
        folder, model=model, manifest=run.manifest, scale=None, lineage=lineage, card=card
    )
    assert dcfm(monkeypatch, "student", "verify", folder) == code
    assert ("SUPERSEDED" in capsys.readouterr().out) == leaves
    assert dcfm(monkeypatch, "student", "verify", folder, "--json") == code
    assert (json.loads(capsys.readouterr().out)["superseded"] is not None) == leaves


def test_a_lineage_that_goes_back_without_end_is_refused() -> None:
    """SPEC 9.4: one run within the other, each a few hundred bytes."""
    run = Run(1)
    lineage = bundle(run.manifest, Journals(run.manifest))
    for _ in range(MAX_RUNS + 2):
        continues = Continues(run=run_id(claimed(lineage)), student=None)
        manifest = run.manifest.model_copy(update={"continues": continues})
        lineage = bundle(manifest, Journals(manifest), lineage)
    with pytest.raises(PeerError, match=f"more than {MAX_RUNS} earlier runs"):
        replayed(lineage).past(None, MAX_RUNS)


def test_a_lineage_whose_manifest_leaves_fields_out_is_refused() -> None:
    """SPEC 2.1.1: absent fields would be filled in before they are hashed."""
    run = Run(1)
    fields = run.manifest.model_dump()
    del fields["policy"]
    whole = unpack(bundle(run.manifest, Journals(run.manifest)))
    with pytest.raises(PeerError, match="not every field is written out"):
        replayed(pack(whole | {"manifest": pack(fields)}))


@pytest.mark.parametrize(
    ("novel", "standing", "text"),
    [(0.9, "released", "novel ones 90%"), (0.2, "interim", "(below the floor)")],
)
def test_the_quality_that_silos_measured_is_in_the_lineage(novel, standing, text) -> None:
    """SPEC 6.14."""
    run = Run(3, method="ddm")
    run.publish_experts(0)
    made = run.distil(0)
    figures = {"known_rate": 1.0, "novel_rate": novel, "judge_rate": 1.0}
    for author in run.authors:
        author.say(Endorse(student=made.digest, metrics=figures))
    lineage = verify(bundle(run.manifest, journals(run)), made.entry.body.snapshot.digest)
    found = verified(lineage, compared=False, unchecked=())
    assert found.standing == standing
    assert found.expected.novel is not None and found.expected.novel.value == novel
    assert text in verified_text(found, keys="not compared")
