"""SPEC 4.7: how much is taken of one peer."""

from dcfm_node.net.rate_limits import BYTES_AT_ONCE, MESSAGES_AT_ONCE, MESSAGES_PER_S, LinkLimiter


def test_an_honest_peers_pace_is_never_cut() -> None:
    limiter = LinkLimiter(0.0)
    assert all(limiter.take(2_000, second / 10) for second in range(36_000))
    assert limiter.dropped == 0


def test_a_flood_is_cut_to_the_rate_and_counted() -> None:
    limiter = LinkLimiter(0.0)
    taken = sum(limiter.take(10, number / 10_000) for number in range(100_000))
    assert taken == MESSAGES_AT_ONCE + int(10 * MESSAGES_PER_S) - 1 or taken == (
        MESSAGES_AT_ONCE + 10 * MESSAGES_PER_S
    )
    assert limiter.dropped == 100_000 - taken


def test_bytes_are_bounded_as_well_as_messages() -> None:
    limiter = LinkLimiter(0.0)
    taken = sum(limiter.take(1 << 20, 0.0) for _ in range(100))
    assert taken == BYTES_AT_ONCE // 2**20


def test_who_keeps_still_may_speak_again() -> None:
    limiter = LinkLimiter(0.0)
    while limiter.take(1 << 20, 0.0):
        pass
    assert limiter.take(1 << 20, 3.0)


def test_a_clock_set_back_gives_nothing() -> None:
    limiter = LinkLimiter(100.0)
    while limiter.take(1 << 20, 100.0):
        pass
    assert not limiter.take(1 << 20, 0.0)
