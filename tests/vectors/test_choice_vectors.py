"""protocol/vectors/choices.json: what a node does (SPEC 3.5, 4.6, 7.3 and 7.4)."""

import pytest
from pydantic import TypeAdapter

from dcfm_node.records.entries import Body, Lease, Vote
from dcfm_node.swarm.election import Booth, Lead, Stand, next_move
from dcfm_node.swarm.epochs import Epochs
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.swarm.outcome import still_true
from dcfm_node.swarm.recovery import Recovery
from dcfm_node.swarm.view import View
from dcfm_node.wire.canonical import unpack
from dcfm_node.wire.envelope import (
    decode_manifest,
    decode_message,
    open_entry,
    open_heartbeat,
    run_id,
)
from tests.vectors.loading import cases, load

CHOICES = load("choices")
MANIFEST = decode_manifest(bytes.fromhex(CHOICES["manifests"]["tolerant"]))
KEYS = {silo.name: silo.key for silo in MANIFEST.roster}
BODY = TypeAdapter(Body)


def entries(case):
    return [open_entry(bytes.fromhex(CHOICES["envelopes"][place])) for place in case["entries"]]


def told(move):
    match move:
        case Vote():
            return {"vote": [move.term, MANIFEST.silo_name(move.candidate)]}
        case Lease():
            return {"lease": [move.term, [digest.hex() for digest in move.votes]]}
        case Lead():
            return {"lead": move.term}
    return {"wait": None}


@cases(CHOICES["moves"])
def test_moves(case):
    """SPEC 7.2, 7.3 and 3.5.4."""
    view, stands = View.of(MANIFEST, entries(case)), {}
    for now, done in case["steps"]:
        booth = Booth(
            run=run_id(MANIFEST),
            me=KEYS[case["me"]],
            candidates=lambda: [
                KEYS[name] for name in case["candidates"] if KEYS[name] in view.active()
            ],
            quorate=lambda: case["quorate"],
            suspected=lambda duty: case["suspected"],
            stand=lambda round_, ruled: stands.setdefault(ruled, Stand(round_, ruled)),
            timeout=CHOICES["timeout_s"],
            not_before=case["not_before"],
            now=now,
        )
        assert told(next_move(view, case["round"], booth)) == done, now


@cases(CHOICES["fences"])
def test_fences(case):
    """SPEC 7.4."""
    body = BODY.validate_python(unpack(bytes.fromhex(case["record"])))
    view = View.of(MANIFEST, entries(case))
    assert still_true(body, view, KEYS[case["me"]]) is case["publishes"]


@cases(CHOICES["gates"])
def test_gates(case):
    """SPEC 3.5.1 to 3.5.3: whether a node may choose an epoch, which, and whether it may write."""
    journals = Journals(MANIFEST)
    for sealed in entries(case):
        journals.offer(sealed)
    recovery = Recovery(KEYS[case["me"]], MANIFEST.quorum, len(KEYS) - 1)
    for name, text in case["syncs"]:
        recovery.hear(KEYS[name], decode_message(bytes.fromhex(text)))
    for text in case["shown"]:
        recovery.show(open_heartbeat(bytes.fromhex(text)).heartbeat)
    linked = [KEYS[name] for name in case["linked"]]
    known = recovery.known(
        journals,
        linked,
        settled=case["waited"] != "",
        at_last=case["waited"] == "stall",
        doubted=[KEYS[name] for name in case["doubted"]],
    )
    assert known is (case["epoch"] is not None)
    if known:
        assert recovery.begin(journals, 0)
        assert recovery.epoch == case["epoch"]
    for name, text in case["then"]:
        recovery.hear(KEYS[name], decode_message(bytes.fromhex(text)))
    writes = known and recovery.acknowledged(linked, settled=case["waited"] != "")
    assert writes is case["writes"]


@cases(CHOICES["beats"])
def test_beats(case):
    """SPEC 4.6.1 and 4.6.4."""
    author, epochs = KEYS[case["author"]], Epochs()
    liveness = Liveness(live_s=12.0, stall_s=60.0, duty_s=600.0)
    for sealed in (open_heartbeat(bytes.fromhex(text)) for text in case["beats"]):
        epochs.breathe()
        epochs.take([sealed])
        liveness.hear(sealed, 0.0)
    assert liveness.counters[author] == case["held"]
    assert epochs.of(author) == case["kept"]


def test_every_kind_of_act_has_a_vector():
    """SPEC 7.3."""
    acts = {next(iter(done)) for case in CHOICES["moves"] for _, done in case["steps"]}
    assert acts == {"vote", "lease", "lead", "wait"}


@pytest.mark.parametrize("table", ["fences", "gates"])
def test_tables_show_both_answers(table):
    field = {"fences": "publishes", "gates": "writes"}[table]
    assert {case[field] for case in CHOICES[table]} == {True, False}
