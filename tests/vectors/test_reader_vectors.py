"""Readers check writers (SPEC 3.7 and 6.8): every rule has a vector that it alone decides."""

import pytest

from dcfm_node.swarm import admission, conformity
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import decode_manifest, open_entry
from tests.vectors.loading import cases, load

READERS = load("readers")
MANIFESTS = {
    name: decode_manifest(bytes.fromhex(text)) for name, text in READERS["manifests"].items()
}


def fits(case):
    entry = open_entry(bytes.fromhex(case["envelope"])).entry
    return not admission.flaw(entry, admission.Run(MANIFESTS[case["manifest"]]))


def counts(case):
    manifest = MANIFESTS[case["manifest"]]
    entries = [open_entry(bytes.fromhex(text)) for text in case["entries"]]
    rules = admission.Run(manifest)
    assert not [why for sealed in entries if (why := admission.flaw(sealed.entry, rules))]
    valid = View.of(manifest, entries).valid_students()
    return case["student"] in [said.digest.hex() for said in valid]


@cases(READERS["records"])
def test_records(case):
    """SPEC 3.7: which records fit their run."""
    assert fits(case) is case["fits"]


@cases(READERS["students"])
def test_students(case):
    """SPEC 6.8: which students count."""
    assert counts(case) is case["counts"]


@pytest.mark.parametrize("clause", admission.RULES)
def test_each_rule_of_records_is_needed(clause, monkeypatch):
    """Without it some vector comes out differently: no other rule hides that it is gone."""
    monkeypatch.delitem(admission.RULES, clause)
    changed = {case["clause"] for case in READERS["records"] if fits(case) is not case["fits"]}
    assert changed == {clause}


@pytest.mark.parametrize("clause", conformity.RULES)
def test_each_rule_of_students_is_needed(clause, monkeypatch):
    """The same of leaders."""
    monkeypatch.delitem(conformity.RULES, clause)
    changed = {case["clause"] for case in READERS["students"] if counts(case) != case["counts"]}
    assert changed == {clause}
