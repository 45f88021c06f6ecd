"""protocol/vectors/views.json: what a view says of some chains (SPEC 6.1, 6.2, 6.7 and 7.1)."""

import pytest

from dcfm_node.records.moments import Moments
from dcfm_node.swarm.admission import Run, flaw
from dcfm_node.swarm.quality import announced
from dcfm_node.swarm.rounds import current_phase
from dcfm_node.swarm.scaling import weighed
from dcfm_node.swarm.shares import capped
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import decode_manifest, open_entry
from tests.vectors.loading import cases, load, value_of

VIEWS = load("views")
MANIFESTS = {
    name: decode_manifest(bytes.fromhex(text)) for name, text in VIEWS["manifests"].items()
}


def _names(view, keys):
    return [silo.name for silo in view.manifest.roster if silo.key in keys]


def _phase(view, case):
    late = case["facts"].get("suspected", [])
    phase = current_phase(view, lambda duty: view.manifest.silo_name(duty.silo) in late)
    return [phase.stage, phase.round]


def _of_round(ask):
    return lambda view, case, told: {number: ask(view, int(number)) for number in told}


def _entry(said):
    return said.digest.hex() if said is not None else None


ASK = {
    "active": lambda view, case, told: _names(view, view.active()),
    "quarantined": lambda view, case, told: _names(view, view.quarantined()),
    "missing": _of_round(lambda view, round_: _names(view, view.missing(round_))),
    "blamed": _of_round(lambda view, round_: _names(view, view.blamed(round_))),
    "student": _of_round(lambda view, round_: _entry(view.student(round_))),
    "checkpoints": _of_round(lambda view, round_: list(map(_entry, view.checkpoints_of(round_)))),
    "valid": lambda view, case, told: list(map(_entry, view.valid_students())),
    "certified": lambda view, case, told: {
        lease: view.certified(bytes.fromhex(lease)) is not None for lease in told
    },
    "condemned": lambda view, case, told: {
        entry: view.condemned(bytes.fromhex(entry)) for entry in told
    },
    "released": lambda view, case, told: _entry(view.latest()),
    "phase": lambda view, case, told: _phase(view, case),
    "suspected": lambda view, case, told: told,
    "last_term": lambda view, case, told: view.last_term(),
    "attempts": lambda view, case, told: [*told[:2], view.ballots.attempts(told[0], told[1])],
}
"""The facts that a case may state, and how a view is asked for them."""


def views(case):
    """The view of the case's entries, with the authors' chains folded in two orders."""
    manifest = MANIFESTS[case["manifest"]]
    entries = [open_entry(bytes.fromhex(VIEWS["envelopes"][place])) for place in case["entries"]]
    assert not [why for sealed in entries if (why := flaw(sealed.entry, Run(manifest)))]
    authors = dict.fromkeys(sealed.entry.author for sealed in entries)
    backwards = [s for author in reversed(authors) for s in entries if s.entry.author == author]
    return View.of(manifest, entries), View.of(manifest, backwards)


@pytest.mark.parametrize("clause", dict.fromkeys(case["clause"] for case in VIEWS["cases"]))
def test_views(clause):
    """SPEC 6.1: the same in whatever order the entries came; each case states what it decides."""
    wrong = []
    for case in (case for case in VIEWS["cases"] if case["clause"] == clause):
        assert case["facts"]
        for view in views(case):
            found = {fact: ASK[fact](view, case, told) for fact, told in case["facts"].items()}
            if found != case["facts"]:
                wrong.append((case["name"], found, case["facts"]))
    assert wrong == []


@cases(VIEWS["weights"])
def test_weights(case):
    """SPEC 6.9: each list of counts is a silo's, by label."""
    silos = [bytes([number]) * 32 for number in range(len(case["counts"]))]
    counts = {
        silo: {(i,): n for i, n in enumerate(given)}
        for silo, given in zip(silos, case["counts"], strict=True)
    }
    found = capped(counts, value_of(case["max_share"]))
    assert [list(found[silo].values()) for silo in silos] == case["weighed"]


@cases(VIEWS["qualities"])
def test_qualities(case):
    """SPEC 6.14.2: what the figures of several silos say together."""
    told = [{name: value_of(given) for name, given in of.items()} for of in case["figures"]]
    found = announced(told, 2, final=True)
    for estimate, wanted in ((found.known, case["known"]), (found.novel, case["novel"])):
        bounds = estimate and [estimate.value, estimate.low, estimate.high]
        assert bounds == (wanted and list(map(value_of, wanted)))


@cases(VIEWS["scales"])
def test_scales(case):
    """SPEC 6.13: of silos that each state samples, mean and deviation of one group."""
    told = {
        bytes([place]) * 32: (
            many,
            Moments(mean=(value_of(mean),), deviation=(value_of(deviation),)),
        )
        for place, (many, mean, deviation) in enumerate(case["silos"])
    }
    found = weighed(told, 0.5)
    assert found is not None
    assert [*found.mean, *found.deviation] == [value_of(number) for number in case["scale"]]
