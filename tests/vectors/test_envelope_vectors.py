"""protocol/vectors/envelopes.json against the code (SPEC 3.2, 3.6 and 4.6)."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dcfm_node.errors import PeerError
from dcfm_node.wire.canonical import unpack
from dcfm_node.wire.envelope import (
    Signer,
    open_bundle,
    open_entry,
    open_heartbeat,
    seal_bundle,
    seal_entry,
    seal_heartbeat,
)
from tests.vectors.loading import cases, load, raw, sha256, spell, value_of

VECTORS = load("envelopes")
ENTRY, HEARTBEAT = b"dcfm-node/entry/1\0", b"dcfm-node/beat/1\0"
BUNDLE = b"dcfm-node/bundle/1\0"
SIGNERS = {
    signer.key: signer
    for signer in map(Signer.from_seed, map(bytes.fromhex, VECTORS["seeds"].values()))
}


def test_domains():
    """SPEC 3.2.1."""
    named = {"entry": ENTRY.hex(), "beat": HEARTBEAT.hex(), "bundle": BUNDLE.hex()}
    assert VECTORS["domains"] == named


@cases(VECTORS["signatures"])
def test_signatures(case):
    """SPEC 3.2.5: each envelope is whole but for its signature or key."""
    if case["holds"]:
        open_entry(raw(case))
        return
    with pytest.raises(PeerError, match="does not verify"):
        open_entry(raw(case))


@cases(VECTORS["entries"]["accepted"])
def test_entries_open(case):
    """SPEC 3.2: body, signature and digest are what the text says, and the code agrees."""
    fields, envelope = value_of(case["entry"]), raw(case)
    body, signature = unpack(envelope)
    assert body == spell(fields)
    Ed25519PublicKey.from_public_bytes(fields["author"]).verify(signature, ENTRY + body)
    assert sha256(ENTRY, body).hex() == case["digest"]
    sealed = open_entry(envelope)
    assert sealed.digest.hex() == case["digest"]
    assert sealed.entry.model_dump() == fields


@cases([c for c in VECTORS["entries"]["accepted"] if c["clause"] == "3.6"])
def test_entries_are_sealed_into_the_same_bytes(case):
    """SPEC 3.2: Ed25519 is deterministic, so the envelope is too."""
    entry = open_entry(raw(case)).entry
    assert seal_entry(entry, SIGNERS[entry.author]).envelope == raw(case)


@cases(VECTORS["entries"]["rejected"])
def test_entries_that_break_a_rule_are_refused(case):
    """SPEC 1.2, 3.2 and 3.6, each by a vector that breaks one of their clauses alone."""
    with pytest.raises(PeerError) as refusal:
        open_entry(raw(case))
    assert str(refusal.value)
    if case["clause"] == "3.2.2":
        assert "does not verify" in str(refusal.value)
    if case["clause"] == "3.2.3":
        assert len(raw(case)) > 524_288
        assert "exceeds 524288" in str(refusal.value)


def test_the_oversize_entry_is_refused_for_its_size_alone():
    """SPEC 3.2.3: the vector keeps every other rule."""
    [case] = [c for c in VECTORS["entries"]["rejected"] if c["clause"] == "3.2.3"]
    body, signature = unpack(raw(case))
    author = unpack(body)["author"]
    Ed25519PublicKey.from_public_bytes(author).verify(signature, ENTRY + body)
    assert len(unpack(body)["body"]["counts"]) <= 65_536


@cases(VECTORS["beats"]["accepted"])
def test_heartbeats_open(case):
    """SPEC 4.6."""
    fields, envelope = value_of(case["heartbeat"]), raw(case)
    body, signature = unpack(envelope)
    assert body == spell(fields)
    Ed25519PublicKey.from_public_bytes(fields["author"]).verify(signature, HEARTBEAT + body)
    heartbeat = open_heartbeat(envelope).heartbeat
    assert heartbeat.model_dump() == fields
    assert seal_heartbeat(heartbeat, SIGNERS[heartbeat.author]).envelope == envelope


@cases(VECTORS["beats"]["rejected"])
def test_heartbeats_that_break_a_rule_are_refused(case):
    """SPEC 3.2.1: a heartbeat never passes for an entry, nor an entry for a heartbeat."""
    with pytest.raises(PeerError):
        open_heartbeat(raw(case))


@cases(VECTORS["bundles"]["accepted"])
def test_labels_of_bundles_open(case):
    """SPEC 10.1.1."""
    fields, envelope = value_of(case["bundle"]), raw(case)
    body, signature = unpack(envelope)
    assert body == spell(fields)
    Ed25519PublicKey.from_public_bytes(fields["author"]).verify(signature, BUNDLE + body)
    label = open_bundle(envelope)
    assert label.model_dump() == fields
    assert seal_bundle(label, SIGNERS[label.author]) == envelope


@cases(VECTORS["bundles"]["rejected"])
def test_labels_of_bundles_that_break_a_rule_are_refused(case):
    """SPEC 1.2 and 3.2."""
    with pytest.raises(PeerError):
        open_bundle(raw(case))


def test_keys_are_those_of_the_seeds():
    """Common types: a node's id is the public half of its Ed25519 seed."""
    for seed in map(bytes.fromhex, VECTORS["seeds"].values()):
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        assert public in SIGNERS
