"""SPEC 2.7: whose keys may change from one run to the next, and what goes on."""

import pytest

from dcfm_node.records.entries import Withdraw
from dcfm_node.records.manifest import Continues, Handover, Manifest, Silo
from dcfm_node.records.moments import Scale
from dcfm_node.swarm.succession import (
    Changed,
    begins_anew,
    changed_keys,
    check_student,
    inherited,
)
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Signer, hand_over, run_id
from tests.unit.swarm.builders import Run, snapshot

NEW, LINK = Signer.from_seed(b"n" * 32), b"l" * 32


def following(old: Run, **changes: object) -> Manifest:
    """The next run, in which the first silo bears the new key."""
    first, *others = old.manifest.roster
    roster = (Silo(name=first.name, key=NEW.key), *others)
    continues = Continues.model_validate({"run": run_id(old.manifest), "student": None, **changes})
    return old.manifest.model_copy(update={"roster": roster, "continues": continues})


def handover(signature: bytes) -> tuple[Handover, ...]:
    return (Handover(name="silo-0000", link_key=LINK, signature=signature),)


def test_an_old_key_hands_over_to_a_new_one() -> None:
    old = Run(3)
    signature = hand_over(old.authors[0].signer, NEW.key, LINK)
    found = changed_keys(old.manifest, following(old, handovers=handover(signature)))
    assert found == [Changed("silo-0000", "handed over")]


def test_a_lost_key_is_replaced_by_agreement() -> None:
    old = Run(3)
    found = changed_keys(old.manifest, following(old, replaced=("silo-0000",)))
    assert found == [Changed("silo-0000", "replaced")]


def test_a_key_that_changed_by_itself_is_refused() -> None:
    """No signature, another silo's, or one over another key or link key."""
    old = Run(3)
    mine, others = old.authors[0].signer, old.authors[1].signer
    wrong = [
        hand_over(others, NEW.key, LINK),
        hand_over(mine, others.key, LINK),
        hand_over(mine, NEW.key, b"x" * 32),
        hand_over(NEW, NEW.key, LINK),
        bytes(64),
    ]
    for changes in ({}, *({"handovers": handover(signature)} for signature in wrong)):
        with pytest.raises(ValueError, match="silo-0000 did not hand over"):
            changed_keys(old.manifest, following(old, **changes))


def test_who_comes_or_leaves_needs_no_word_of_anyone() -> None:
    old, more = Run(3), Run(5)
    continues = Continues(run=old.id, student=None)
    grown = more.manifest.model_copy(update={"continues": continues})
    shrunk = old.manifest.model_copy(update={"continues": continues})
    assert changed_keys(old.manifest, grown) == []
    assert changed_keys(more.manifest, shrunk) == []


def test_another_network_is_no_continuation() -> None:
    old = Run(3)
    wide = old.manifest.network.model_copy(update={"width": 512})
    other = following(old, replaced=("silo-0000",)).model_copy(update={"network": wide})
    with pytest.raises(ValueError, match="network differs"):
        changed_keys(old.manifest, other)


def test_the_student_named_must_count_in_the_old_run() -> None:
    old = Run(3)
    old.publish_experts(0)
    made = old.distil(0)
    named = following(old, student=made.entry.body.snapshot)
    check_student(old.view(), named)
    with pytest.raises(ValueError, match="no counting student"):
        check_student(old.view(), following(old, student=snapshot("another")))
    old.authors[2].say(Withdraw(reason="moving"))
    with pytest.raises(ValueError, match="no counting student"):
        check_student(old.view(), named)


def test_a_silo_inherits_its_newest_expert_by_its_name() -> None:
    old = Run(3)
    old.publish_experts(0)
    old.publish_experts(1)
    kept = inherited(old.view(), "silo-0001")
    assert kept is not None
    assert (kept.round, kept.snapshot) == (0, snapshot("expert 1 1"))
    assert kept.parents == (kept.snapshot.digest,)
    assert inherited(old.view(), "newcomer") is None
    old.authors[1].say(Withdraw(reason="moving"))
    assert inherited(old.view(), "silo-0001") is None


def test_another_run_of_the_same_name_begins_anew_unless_it_continues_the_old_one() -> None:
    old = Run(3).manifest
    other = Run(4).manifest
    assert not begins_anew(old, old)
    assert not begins_anew(old, following(Run(3)))
    assert begins_anew(old, other)
    assert not begins_anew(old, other.model_copy(update={"name": "another study"}))


def test_a_run_that_continues_another_keeps_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    old, scale = Run(3), Scale(mean=(0.0, 1013.0), deviation=(1.0, 9.0))
    monkeypatch.setattr(View, "scale", scale)
    check_student(old.view(), following(old, scale=scale))
    for other in (None, Scale(mean=(0.0, 1013.0), deviation=(1.0, 9.1))):
        with pytest.raises(ValueError, match="not the scale of the run it continues"):
            check_student(old.view(), following(old, scale=other))
