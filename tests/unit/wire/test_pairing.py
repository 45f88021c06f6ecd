"""Invite codes, their keys, fingerprints and signed pairing messages."""

import pytest
import zmq
from zmq.utils import z85

from dcfm_node.errors import ConfigError, PeerError
from dcfm_node.records.pairing import (
    MAX_PAIRING_BYTES,
    MAX_RUN_BYTES,
    Card,
    Introduced,
    PairRequest,
)
from dcfm_node.wire.envelope import Signer, seal
from dcfm_node.wire.pairing import (
    REQUEST_DOMAIN,
    Code,
    decode_code,
    encode_code,
    fingerprint,
    invite_keys,
    open_request,
    seal_request,
)

CODE = Code(bytes(range(32)), "north.example.org:7400", bytes(range(10)), 1_800_000_000)
TEXT = encode_code(CODE)
SIGNER = Signer.from_seed(b"s" * 32)


def card(signer: Signer = SIGNER, name: str = "east") -> Card:
    return Card(name=name, sign_key=signer.key, link_key=b"l" * 32)


def request(**changes: object) -> PairRequest:
    said = {"version": "1", "author": SIGNER.key, "invite": b"i" * 32, "card": card()}
    return PairRequest.model_validate({**said, **changes})


@pytest.mark.parametrize(
    "text", [TEXT, TEXT.lower(), TEXT.replace("-", " "), f"\n {TEXT}\n", TEXT.replace("-", "")]
)
def test_a_code_is_read_as_people_copy_it(text: str) -> None:
    assert decode_code(text) == CODE


def test_letters_that_look_like_digits_are_read_as_digits() -> None:
    assert "0" in TEXT[5:] and "1" in TEXT[5:]
    assert decode_code(TEXT[:5] + TEXT[5:].replace("0", "o").replace("1", "l")) == CODE


def test_a_typo_is_named_by_its_group() -> None:
    groups = TEXT.split("-")
    unnoticed = 0
    for number in range(1, len(groups)):
        for letter in "2X":
            wrong = letter + groups[number][1:]
            if wrong == groups[number]:
                continue
            with pytest.raises(ConfigError) as caught:
                decode_code("-".join([*groups[:number], wrong, *groups[number + 1 :]]))
            unnoticed += f"group {number} of the code, {wrong!r}" not in caught.value.what
    assert unnoticed <= 2  # a group's check has 32 values; the whole code's finds the rest


@pytest.mark.parametrize(
    "text", ["", "hello", "dcfm", "dcfm-", TEXT[:-9], TEXT[:60], "dcfm-" * 900]
)
def test_what_is_no_whole_code_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        decode_code(text)


def test_groups_in_another_order_are_refused() -> None:
    first, second, third, *rest = TEXT.split("-")
    with pytest.raises(ConfigError, match="group 1"):
        decode_code("-".join([first, third, second, *rest]))


def test_the_keys_of_an_invite_are_a_curve25519_pair_of_this_host_alone() -> None:
    keys = invite_keys(CODE.link_key, CODE.secret)
    assert zmq.curve_public(z85.encode(keys.secret)) == z85.encode(keys.public)
    assert keys.secret not in repr(CODE.link_key).encode()
    assert invite_keys(b"x" * 32, CODE.secret) != keys


def test_fingerprints_tell_both_keys_apart() -> None:
    first = fingerprint(b"a" * 32, b"b" * 32)
    assert len({first, fingerprint(b"c" * 32, b"b" * 32), fingerprint(b"a" * 32, b"c" * 32)}) == 3
    assert [len(group) for group in first.split()] == [4] * 6


def test_a_request_comes_back() -> None:
    assert open_request(seal_request(request(run=b"name = 1"), SIGNER)) == request(run=b"name = 1")


def test_a_request_for_a_card_of_another_is_refused() -> None:
    other = Signer.from_seed(b"o" * 32)
    forged = seal(request(card=card(other)), SIGNER, REQUEST_DOMAIN)
    with pytest.raises(PeerError, match="another key"):
        open_request(forged)
    signed_by_another = seal(request(), other, REQUEST_DOMAIN)
    with pytest.raises(PeerError, match="does not verify"):
        open_request(signed_by_another)


@pytest.mark.parametrize("data", [b"", b"\x00", b"x" * 100, b"x" * (MAX_PAIRING_BYTES + 1)])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        open_request(data)


@pytest.mark.parametrize(
    "field",
    [
        {"name": "e\x1b[2Jvil"},
        {"name": "../evil"},
        {"name": ""},
        {"control": 'tcp://a"b:1'},
        {"control": "tcp://a\x07b:1"},
        {"control": "tcp://a\nb:1"},
        {"control": "ipc:///tmp/x"},
        {"control": "tcp://" + "a" * 300 + ":1"},
        {"link_key": b"short"},
        {"more": 1},
    ],
)
def test_names_and_addresses_with_other_characters_are_refused(field: dict[str, object]) -> None:
    fields = {**request().model_dump(), "card": {**card().model_dump(), **field}}
    from dcfm_node.wire.canonical import pack

    body = pack(fields)
    with pytest.raises(PeerError, match="malformed"):
        open_request(pack((body, SIGNER.sign(REQUEST_DOMAIN + body))))


def test_files_that_do_not_fit_into_a_message_are_left_out() -> None:
    many = tuple(
        Introduced(card=card(Signer.from_seed(bytes([n]) * 32), f"s{n}"), run=b"r" * MAX_RUN_BYTES)
        for n in range(64)
    )
    sealed = seal_request(request(run=b"r" * MAX_RUN_BYTES, introduced=many), SIGNER)
    assert len(sealed) <= MAX_PAIRING_BYTES
    told = open_request(sealed).introduced
    assert len(told) == 64
    assert 5 <= sum(bool(site.run) for site in told) < 8
