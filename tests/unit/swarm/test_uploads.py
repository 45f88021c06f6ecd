"""What is sent next, and when (SPEC 5.3.2)."""

from math import inf

from dcfm_node.swarm.chunks import CHUNK_BYTES
from dcfm_node.swarm.transfer import WINDOW
from dcfm_node.swarm.uploads import Uploads

A, B = b"A" * 32, b"B" * 32
X = b"x" * 32


def taken(uploads: Uploads, now: float) -> list[tuple[bytes, int]]:
    """All that may go at an instant."""
    found = []
    while (upload := uploads.take(now)) is not None:
        found.append((upload[0], upload[2]))
    return found


def test_peers_take_turns() -> None:
    uploads = Uploads()
    for index in range(3):
        uploads.want(A, X, index)
    uploads.want(B, X, 0)
    assert taken(uploads, 0.0) == [(A, 0), (B, 0), (A, 1), (A, 2)]
    assert uploads.next_at(0.0) == inf


def test_a_chunk_wanted_twice_is_sent_once_and_a_window_is_the_most() -> None:
    uploads = Uploads()
    for index in [0, 0, *range(2 * WINDOW)]:
        uploads.want(A, X, index)
    assert taken(uploads, 0.0) == [(A, index) for index in range(WINDOW)]


def test_what_a_peer_wanted_goes_with_its_link() -> None:
    uploads = Uploads()
    uploads.want(A, X, 0)
    uploads.want(B, X, 1)
    uploads.forget(A)
    assert taken(uploads, 0.0) == [(B, 1)]


def test_the_rate_is_kept_over_any_time() -> None:
    """Never more than one chunk ahead of the rate, however the looks at the clock fall."""
    uploads, sent = Uploads(CHUNK_BYTES / 4), 0
    for step in range(400):
        now = 100.0 + step * 0.37
        uploads.want(A, X, step)
        sent += len(taken(uploads, now))
        assert sent <= (now - 100.0) / 4 + 1
    assert sent >= 400 * 0.37 / 4 - 1


def test_it_says_when_the_next_may_go() -> None:
    uploads = Uploads(CHUNK_BYTES / 4)
    for index in range(2):
        uploads.want(A, X, index)
    assert uploads.next_at(10.0) == 10.0
    assert taken(uploads, 10.0) == [(A, 0)]
    assert uploads.next_at(11.0) == 14.0
    assert taken(uploads, 13.9) == []
    assert taken(uploads, 14.0) == [(A, 1)]


def test_a_rest_saves_nothing_up() -> None:
    uploads = Uploads(CHUNK_BYTES)
    for index in range(5):
        uploads.want(A, X, index)
    assert len(taken(uploads, 1_000.0)) == 1
