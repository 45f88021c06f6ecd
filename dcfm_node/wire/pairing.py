"""Invite codes, the keys that follow from one, fingerprints, and signed pairing messages. Pure.

An invite is a secret of ten bytes. A Curve25519 key pair follows from it: whoever has the code can
make the one handshake that the host's gate admits beside its peers', and nobody else can (SPEC
4.8).
"""

import base64
import re
import struct
from dataclasses import dataclass
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dcfm_node.errors import ConfigError, PeerError
from dcfm_node.records.pairing import MAX_PAIRING_BYTES, Card, PairAnswer, PairRequest
from dcfm_node.wire.canonical import sha256
from dcfm_node.wire.envelope import Signs, ed25519, open_sealed, seal

REQUEST_DOMAIN = b"dcfm-node/pair-request/1\0"
ANSWER_DOMAIN = b"dcfm-node/pair-answer/1\0"
INVITE_DOMAIN = b"dcfm-node/invite/1\0"
FINGERPRINT_DOMAIN = b"dcfm-node/fingerprint/1\0"
CODE_DOMAIN = b"dcfm-node/code/1\0"

SECRET_BYTES = 10
MAX_CODE_CHARS = 1_024
PREFIX = "dcfm"
_VERSION = 1
_HEAD = struct.Struct(f">BI{SECRET_BYTES}s32s")
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base 32 of Crockford: no I, L, O and U."""
_RFC_4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ENCODED = str.maketrans(_RFC_4648, _DIGITS)
_DECODED = str.maketrans(_DIGITS, _RFC_4648)
_MISREAD = str.maketrans("OIL", "011")
_GROUP = 8
"""Characters of a group; the last one checks the others."""
_CHECK_BYTES = 2
MAX_INTRODUCED_BYTES = 384 << 10
"""The most bytes of the run.toml files of introduced sites in one answer. 64 cards, the host's own
file and the rest fit beside them."""
Said = TypeVar("Said", PairRequest, PairAnswer)
_FIX = "ask the other site for it again, and paste it whole"


@dataclass(frozen=True, slots=True)
class Code:
    """What an invite code says.

    Attributes:
        link_key: the host's, 32 bytes.
        address: "host:port" of its control port.
        expires_s: Unix seconds.
    """

    link_key: bytes
    address: str
    secret: bytes
    expires_s: int


@dataclass(frozen=True, slots=True)
class InviteKeys:
    """The Curve25519 pair of an invite, 32 bytes each."""

    public: bytes
    secret: bytes


def invite_keys(link_key: bytes, secret: bytes) -> InviteKeys:
    """The key pair that the guest of an invite dials with (SPEC 4.8.1).

    Args:
        link_key: the host's.
    """
    private = X25519PrivateKey.from_private_bytes(sha256(INVITE_DOMAIN, link_key, secret))
    return InviteKeys(private.public_key().public_bytes_raw(), private.private_bytes_raw())


def encode_code(code: Code) -> str:
    """An invite as text: groups of eight characters, each with a check of its own."""
    head = _HEAD.pack(_VERSION, code.expires_s, code.secret, code.link_key)
    body = head + code.address.encode()
    raw = body + sha256(CODE_DOMAIN, body)[:_CHECK_BYTES]
    text = base64.b32encode(raw).decode().rstrip("=").translate(_ENCODED)
    size = _GROUP - 1
    groups = [text[at : at + size] for at in range(0, len(text), size)]
    checked = [group + _check(number, group) for number, group in enumerate(groups)]
    return "-".join([PREFIX, *checked])


def decode_code(text: str) -> Code:
    """Read a code, in any case, with or without blanks and hyphens.

    Raises:
        ConfigError: it is not a code, or has a typo; names the group that is wrong.
    """
    bare = re.sub(r"[\s-]+", "", text[: 2 * MAX_CODE_CHARS]).upper()
    if not bare.startswith(PREFIX.upper()) or len(bare) > MAX_CODE_CHARS:
        what = f"is not an invite code: a code begins with {PREFIX}-"
        raise ConfigError(what, where="CODE", fix="copy what 'dcfm-node invite' printed there")
    bare = bare.removeprefix(PREFIX.upper()).translate(_MISREAD)
    groups = [bare[at : at + _GROUP] for at in range(0, len(bare), _GROUP)]
    for number, group in enumerate(groups):
        if set(group) - set(_DIGITS) or group[-1] != _check(number, group[:-1]):
            what = f"group {number + 1} of the code, {group!r}, has a typo"
            more = "; a character may also be missing there, or be one too many"
            raise ConfigError(what + more, where="CODE", fix=_FIX)
    joined = "".join(group[:-1] for group in groups).translate(_DECODED)
    try:
        raw = base64.b32decode(joined + "=" * (-len(joined) % 8))
        body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
        version, expires_s, secret, link_key = _HEAD.unpack(body[: _HEAD.size])
        address = body[_HEAD.size :].decode("ascii")
    except (ValueError, struct.error):
        raise ConfigError("the code is cut short", where="CODE", fix=_FIX) from None
    if sha256(CODE_DOMAIN, body)[:_CHECK_BYTES] != check:
        what = "groups of the code are missing or in another order"
        raise ConfigError(what, where="CODE", fix=_FIX)
    if version != _VERSION or not re.fullmatch(r"[A-Za-z0-9._:%\[\]-]+:\d{1,5}", address):
        what = "the code is of another version of dcfm-node"
        raise ConfigError(what, where="CODE", fix="install the same version at both sites")
    return Code(link_key, address, secret, expires_s)


def _check(number: int, group: str) -> str:
    return _DIGITS[sha256(CODE_DOMAIN, f"{number} {group}".encode())[0] % 32]


def fingerprint(sign_key: bytes, link_key: bytes) -> str:
    """96 bits of a site's two keys, as six groups of four hex digits that two people can compare by
    phone."""
    digits = sha256(FINGERPRINT_DOMAIN, sign_key, link_key).hex()[:24]
    return " ".join(digits[at : at + 4] for at in range(0, 24, 4))


def fingerprint_of(card: Card) -> str:
    """The fingerprint of the keys on a card."""
    return fingerprint(card.sign_key, card.link_key)


def seal_request(request: PairRequest, signer: Signs) -> bytes:
    """Sign a request with the key on its card. Of the introduced sites, the run.toml files that do
    not fit into a message are left out."""
    return seal(_fitting(request), signer, REQUEST_DOMAIN)


def seal_answer(answer: PairAnswer, signer: Signs) -> bytes:
    """The same for an answer."""
    return seal(_fitting(answer), signer, ANSWER_DOMAIN)


def _fitting(said: Said) -> Said:
    told, left = [], MAX_INTRODUCED_BYTES
    for site in said.introduced:
        left -= len(site.run)
        told.append(site if left >= 0 else site.model_copy(update={"run": b""}))
    return said.model_copy(update={"introduced": tuple(told)})


def open_request(envelope: bytes) -> PairRequest:
    """Read a guest's request.

    Raises:
        PeerError: it is too large, malformed, or not signed with the key on its card.
    """
    request = open_sealed(_bounded(envelope), PairRequest, REQUEST_DOMAIN, ed25519)
    return _own_card(request)


def open_answer(envelope: bytes) -> PairAnswer:
    """Read a host's answer. Raises as `open_request`."""
    return _own_card(open_sealed(_bounded(envelope), PairAnswer, ANSWER_DOMAIN, ed25519))


def _bounded(envelope: bytes) -> bytes:
    if len(envelope) > MAX_PAIRING_BYTES:
        what = f"a pairing message of {len(envelope)} bytes exceeds {MAX_PAIRING_BYTES}"
        raise PeerError(what)
    return envelope


def _own_card(said: Said) -> Said:
    if said.card.sign_key != said.author:
        raise PeerError("it is signed with another key than the one on its card")
    return said
