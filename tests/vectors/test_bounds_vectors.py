"""protocol/vectors/bounds.json: of every field the first and last values, and what lies beyond."""

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.wire.envelope import (
    decode_manifest,
    decode_message,
    open_bundle,
    open_entry,
    open_heartbeat,
)
from tests.vectors.loading import load, raw

BOUNDS = load("bounds")
CASES, BASE = BOUNDS["cases"], bytes.fromhex(BOUNDS["base"])
READERS = {
    "entry": open_entry,
    "beat": open_heartbeat,
    "label": open_bundle,
    "message": decode_message,
    "manifest": decode_manifest,
}


def fits(case):
    try:
        READERS[case["what"]](raw(case, BASE))
    except PeerError:
        return False
    return True


@pytest.mark.parametrize("what", READERS)
def test_values_within_bounds_are_read_and_others_refused(what):
    """SPEC 1.2.2, 1.2.3, 2.2 to 2.8, 3.1, 3.6, 4.3 to 4.6 and 10.1.1."""
    cases = [case for case in CASES if case["what"] == what]
    assert {case["fits"] for case in cases} == {True, False}
    assert [case["name"] for case in cases if fits(case) is not case["fits"]] == []
