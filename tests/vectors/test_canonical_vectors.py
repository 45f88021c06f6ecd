"""protocol/vectors/canonical.json and manifests.json against the code (SPEC 1 and 2)."""

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.records.differing import differing_fields
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import decode_manifest, handed_over, manifest_bytes, run_id
from tests.vectors.loading import cases, load, raw, sha256, spell, value_of

CANONICAL = load("canonical")
MANIFESTS = load("manifests")


@cases(CANONICAL["accepted"])
def test_one_spelling_of_a_value(case):
    """SPEC 1.1: a value has the spelling of the vectors, by the code and by the text."""
    value = value_of(case["value"])
    assert spell(value).hex() == case["hex"]
    assert pack(value).hex() == case["hex"]
    assert repr(unpack(raw(case))) == repr(unpack(spell(value)))


@cases(CANONICAL["rejected"])
def test_other_spellings_are_refused(case):
    """SPEC 1.2.1: nothing but the one spelling is decoded."""
    with pytest.raises(PeerError):
        unpack(raw(case))


@cases(MANIFESTS["accepted"])
def test_run_id(case):
    """SPEC 2.1: the run id is SHA-256 over a domain and the whole manifest's canonical bytes."""
    value = value_of(case["manifest"])
    assert spell(value).hex() == case["hex"]
    assert sha256(b"dcfm-node/run/1\0", raw(case)).hex() == case["run"]
    manifest = decode_manifest(raw(case))
    assert manifest_bytes(manifest) == raw(case)
    assert run_id(manifest).hex() == case["run"]
    assert manifest.quorum == case["quorum"] == len(value["roster"]) // 2 + 1


@cases(MANIFESTS["differing"])
def test_differing_fields_are_named(case):
    """SPEC 2.6: two manifests of different run ids differ in fields that can be named."""
    ours = decode_manifest(raw(MANIFESTS["accepted"][0]))
    theirs = decode_manifest(bytes.fromhex(case["manifest"]))
    assert run_id(theirs).hex() == case["run"] != run_id(ours).hex()
    assert list(differing_fields(ours, theirs)) == case["fields"]


@cases(MANIFESTS["rejected"])
def test_manifests_that_make_no_run_are_refused(case):
    """SPEC 2.2 to 2.4."""
    assert unpack(raw(case))
    with pytest.raises(PeerError, match="malformed manifest"):
        decode_manifest(raw(case))


@cases(MANIFESTS["handovers"])
def test_handovers(case):
    """SPEC 2.7.2."""
    names = ("old", "new", "link_key", "signature")
    assert handed_over(*(bytes.fromhex(case[name]) for name in names)) is case["holds"]
