"""protocol/vectors/preparations.json: what silos build on (SPEC 6.11 and 6.12)."""

import pytest

from dcfm_node.records.entries import Accept, Propose, Vote
from dcfm_node.swarm.admission import Run, flaw
from dcfm_node.swarm.election import Booth, Stand
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.plan import next_step
from dcfm_node.swarm.plan_input import PlanInput
from dcfm_node.swarm.probes import choose
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import decode_manifest, open_entry, run_id
from tests.vectors.loading import cases, load, value_of

VECTORS = load("preparations")
MANIFESTS = {
    name: decode_manifest(bytes.fromhex(text)) for name, text in VECTORS["manifests"].items()
}


def view_of(case):
    manifest = MANIFESTS[case["manifest"]]
    entries = [open_entry(bytes.fromhex(VECTORS["envelopes"][place])) for place in case["entries"]]
    assert not [why for sealed in entries if (why := flaw(sealed.entry, Run(manifest)))]
    return View.of(manifest, entries)


def told(preparation):
    return {
        "joins": tuple(digest.hex() for digest in preparation.joins),
        "probes": preparation.probes,
        "scale": preparation.scale and preparation.scale.model_dump(),
    }


@cases(VECTORS["prepared"])
def test_agreements(case):
    """SPEC 6.11.1 and 6.11.2."""
    found = view_of(case).preparation
    assert (told(found) if found is not None else None) == value_of(case["prepared"])


@cases(VECTORS["answers"])
def test_answers(case):
    """SPEC 6.11.3 to 6.11.5: what a node does in the phase `prepare`, with everyone in sight."""
    view = view_of(case)
    keys = {silo.name: silo.key for silo in view.manifest.roster}
    late = [keys[name] for name in case["suspected"]]
    me = keys[case["me"]]
    booth = Booth(
        run=run_id(view.manifest),
        me=me,
        candidates=lambda: list(keys.values()),
        quorate=lambda: True,
        suspected=lambda duty: duty.silo in late,
        stand=Stand,
        timeout=8.0,
        not_before=0,
        now=0.0,
    )
    step = next_step(
        PlanInput(
            view=view,
            me=me,
            held=frozenset(),
            suspected=booth.suspected,
            failed=lambda key: False,
            lost=lambda digest: False,
            undelivered=lambda duty: False,
            booth=booth,
        )
    )
    assert step.phase.stage == "prepare"
    match step.action:
        case Accept() | Propose() as said:
            done = {said.kind: (said.term, told(said.preparation))}
        case Vote():
            done = {"vote": None}
        case _:
            done = {"wait": None}
    assert done == value_of(case["done"])


@cases(VECTORS["taken"])
def test_what_is_taken_back(case):
    """SPEC 3.4.3: a join on which others build."""
    journals = Journals(MANIFESTS[case["manifest"]])
    for place in case["entries"]:
        journals.offer(open_entry(bytes.fromhex(VECTORS["envelopes"][place])))
    assert journals.offer(open_entry(bytes.fromhex(case["taken"]))).value == case["outcome"]


@cases(VECTORS["probes"])
def test_probes(case):
    """SPEC 6.12: each list of counts is a silo's."""
    silos = [{tuple(label): n for label, n in counts} for counts in case["counts"]]
    share = value_of(case["share"])
    salt, listed = bytes.fromhex(case["salt"]), [tuple(c) for c in case.get("feasible", ())]
    found = choose(salt, silos, case["sizes"], share, case["margin"], feasible=listed)
    assert [list(label) for label in found.probes] == case["probes"]


@pytest.mark.parametrize("table", ["answers", "prepared"])
def test_tables_show_every_answer(table):
    if table == "prepared":
        assert {case["prepared"] is None for case in VECTORS[table]} == {True, False}
        return
    kinds = {next(iter(case["done"])) for case in VECTORS[table]}
    assert kinds == {"accept", "propose", "vote", "wait"}
