"""How far peers' clocks are off."""

from dcfm_node.daemon.clocks import KEPT, Clocks

NOW_MS = 1_800_000_000_000


def test_the_fastest_message_counts() -> None:
    clocks = Clocks()
    for delay_ms in (900, 40, 300):
        clocks.heard(b"east", NOW_MS + 420_000 - delay_ms, NOW_MS)
    assert clocks.offsets() == {b"east": 419.96}


def test_a_clock_that_was_set_right_is_soon_seen_right() -> None:
    clocks = Clocks()
    clocks.heard(b"east", NOW_MS + 420_000, NOW_MS)
    for _ in range(KEPT):
        clocks.heard(b"east", NOW_MS - 5, NOW_MS)
    assert clocks.offsets() == {b"east": -0.005}


def test_a_peer_that_does_not_tell_has_no_offset() -> None:
    clocks = Clocks()
    clocks.heard(b"east", 0, NOW_MS)
    assert clocks.offsets() == {}
