"""protocol/vectors of chains, elections and lineages (SPEC 3.3, 6.1, 7.1 and 9)."""

from itertools import permutations

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.records.messages import Head
from dcfm_node.swarm import proof
from dcfm_node.swarm.admission import journal_budget
from dcfm_node.swarm.election import rank
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.lineage import verify
from dcfm_node.swarm.succession import changed_keys, check_student
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import decode_manifest, open_entry, run_id
from tests.vectors.loading import cases, load, raw, sha256, value_of

CHAINS = load("chains")
ELECTIONS = load("elections")
LINEAGES = load("lineages")
MANIFEST = decode_manifest(bytes.fromhex(ELECTIONS["manifest"]))


@cases(CHAINS["cases"])
def test_chains(case):
    """SPEC 3.3 and 3.4: what becomes of each entry offered, and where the chain ends."""
    journals = Journals(decode_manifest(bytes.fromhex(CHAINS["manifest"])))
    assert journals.run.hex() == CHAINS["run"]
    for envelope, outcome in case["offers"]:
        assert journals.offer(open_entry(bytes.fromhex(envelope))).value == outcome
    head = journals.head(bytes.fromhex(CHAINS["author"]))
    assert head.model_dump() == value_of(case["head"])


@cases(CHAINS["answers"])
def test_answers(case):
    """SPEC 4.4.1 to 4.4.3: what a peer with a head lacks of an author's chain."""
    journals = Journals(decode_manifest(bytes.fromhex(CHAINS["manifest"])))
    for envelope in case["held"]:
        journals.offer(open_entry(bytes.fromhex(envelope)))
    head = None if case["head"] is None else Head.model_validate(value_of(case["head"]))
    sent = journals.missing_from(bytes.fromhex(CHAINS["author"]), head)
    assert [sealed.envelope.hex() for sealed in sent] == case["sent"]


@cases(CHAINS["budgets"])
def test_budgets(case):
    """SPEC 3.3.6."""
    assert journal_budget(decode_manifest(bytes.fromhex(case["manifest"]))) == case["bytes"]


@pytest.mark.parametrize(
    "outcome", ["new", "known", "replaced", "stale", "gap", "fork", "foreign", "unfit"]
)
def test_every_outcome_has_a_vector(outcome):
    """SPEC 3.3: no rule is left without an example."""
    assert outcome in {said for case in CHAINS["cases"] for _, said in case["offers"]}


@cases(ELECTIONS["ranks"])
def test_ranks(case):
    """SPEC 7.1: SHA-256 over run id, round and attempt in eight bytes, key; the smallest first."""
    run = run_id(MANIFEST)
    ranks = []
    for key, expected in case["order"]:
        node = bytes.fromhex(key)
        numbers = (case[name].to_bytes(8, "big") for name in ("round", "attempt"))
        assert sha256(run, *numbers, node).hex() == expected
        assert rank(run, case["round"], case["attempt"], node).hex() == expected
        ranks.append(expected)
    assert ranks == sorted(ranks)
    assert {key for key, _ in case["order"]} == {silo.key.hex() for silo in MANIFEST.roster}


def _views(case):
    """The view of the case's entries, with the authors' chains folded in several orders."""
    chains = {}
    for sealed in map(open_entry, map(bytes.fromhex, case["entries"])):
        chains.setdefault(sealed.entry.author, []).append(sealed)
    for order in list(permutations(chains.values()))[:: max(1, len(chains))]:
        yield View.of(MANIFEST, [sealed for chain in order for sealed in chain])


@cases(ELECTIONS["leases"])
def test_certified_leases(case):
    """SPEC 6.1.3: whether a majority's votes stand behind a lease, in whatever order they came."""
    for view in _views(case):
        said = view.certified(bytes.fromhex(case["lease"]))
        assert (said is not None) is case["certified"]


@cases(ELECTIONS["students"])
def test_students(case):
    """SPEC 6.1.4 to 6.1.6: which students are valid, which counts, which is released."""
    for view in _views(case):
        valid = [said.digest.hex() for said in view.valid_students()]
        assert valid == case["valid"]
        counting = view.student(ELECTIONS["round"])
        counts = case.get("counts", valid[-1] if valid else None)
        assert (counting.digest.hex() if counting else None) == counts
        released = view.latest()
        assert (released.digest.hex() if released else None) == case["released"]


@cases(ELECTIONS["quarantines"])
def test_quarantines(case):
    """SPEC 6.7.3: who takes no part any more, and by what cause, in whatever order it came."""
    culprit = MANIFEST.roster[0].key
    for view in _views(case):
        assert (culprit in view.quarantined()) is (case["cause"] is not None)
        assert (culprit in view.active()) is (case["cause"] is None)
        for fault in view.proven().get(culprit, ()):
            assert fault.cause == case["cause"]


@cases(LINEAGES["accepted"])
def test_lineages(case):
    """SPEC 9.2: the student behind a model, found from its lineage alone."""
    found = verify(raw(case), bytes.fromhex(case["model"]))
    assert found.student.digest.hex() == case["student"]
    assert found.student.body.snapshot.digest.hex() == case["model"]


@cases(LINEAGES["rejected"])
def test_lineages_with_a_broken_link_are_refused(case):
    """SPEC 9.2: each breaks another link."""
    with pytest.raises(PeerError):
        verify(raw(case), bytes.fromhex(case["model"]))


@cases(LINEAGES["proofs"])
def test_proofs_of_forks(case):
    """SPEC 9.3."""
    if case["holds"]:
        assert proof.verify(raw(case)).first.digest != proof.verify(raw(case)).second.digest
        return
    with pytest.raises(PeerError):
        proof.verify(raw(case))


@cases(LINEAGES["successions"]["cases"])
def test_successions(case):
    """SPEC 2.7.1: which manifests go on from a run, and whose keys changed."""
    old, new = (decode_manifest(bytes.fromhex(case[name])) for name in ("old", "new"))
    envelopes = map(bytes.fromhex, LINEAGES["successions"]["envelopes"])
    said = [open_entry(envelope) for envelope in envelopes]
    view = View.of(old, [said[place] for place in case["entries"]])
    try:
        check_student(view, new)
        changed = {silo.name: silo.how for silo in changed_keys(old, new)}
    except ValueError:
        changed = None
    assert changed == case["changed"]
