"""The gate (SPEC 4.1.1) and what sockets are told."""

import pytest
from zmq.utils import z85

from dcfm_node.net.curve import ZAP_DOMAIN, Gate, protocol_failure

KEY = bytes(range(32))
NAME = z85.encode(KEY).decode()


def request(
    key: bytes = KEY, domain: bytes = ZAP_DOMAIN, mechanism: bytes = b"CURVE"
) -> list[bytes]:
    return [b"1.0", b"7", domain, b"192.0.2.1", b"chosen", mechanism, key]


def test_a_known_key_enters_under_its_own_name() -> None:
    reply, stranger = Gate([NAME]).answer(request())
    assert reply == [b"1.0", b"7", b"200", b"OK", NAME.encode(), b""]
    assert stranger is None


def test_an_unknown_key_is_refused_and_told_with_its_address() -> None:
    reply, stranger = Gate([NAME]).answer(request(key=KEY[::-1]))
    assert reply[:3] == [b"1.0", b"7", b"400"]
    assert stranger == (z85.encode(KEY[::-1]).decode(), "192.0.2.1")


def test_a_key_that_makes_too_many_links_is_put_off_and_told() -> None:
    """Status 300: the client may try again, and is not told that its key is unknown."""
    reply, who = Gate([NAME], lambda link_key: link_key != NAME).answer(request())
    assert (reply[2], reply[4], who) == (b"300", b"", (NAME, "192.0.2.1"))


@pytest.mark.parametrize(
    "bad",
    [
        request(domain=b"other"),
        request(mechanism=b"NULL"),
        request(mechanism=b"PLAIN"),
        request(key=KEY[:31]),
        [b"2.0", *request()[1:]],
        request()[:-1],
        [*request(), b"more"],
        [b"1.0"],
        [],
    ],
)
def test_any_other_request_is_answered_with_a_refusal(bad: list[bytes]) -> None:
    reply, _ = Gate([NAME]).answer(bad)
    assert len(reply) == 6 and reply[2] in (b"400", b"500") and reply[4] == b""


def test_failures_of_the_handshake_have_words() -> None:
    assert protocol_failure(0x11000001) == "zmtp cryptographic"
    assert protocol_failure(0x12345) == "code 0x12345"
