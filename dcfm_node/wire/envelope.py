"""Signed envelopes: canonical(body bytes, Ed25519 signature) (SPEC 3.2).

The signature covers a domain string and the exact bytes of the body, so that a heartbeat can never
pass for an entry. `open_entry` and `open_heartbeat` return typed, bounded, authentic objects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import TypeAdapter, ValidationError

from dcfm_node import plugins
from dcfm_node.errors import MissingPackageError, OtherProtocolError, PeerError
from dcfm_node.records.base import Model
from dcfm_node.records.entries import Entry
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import (
    MAX_ENTRIES_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_MESSAGE_BYTES,
    PROTOCOL,
    Bundle,
    Heartbeat,
    Message,
)
from dcfm_node.wire.canonical import pack, sha256, unpack

ENTRY_DOMAIN = b"dcfm-node/entry/1\0"
HEARTBEAT_DOMAIN = b"dcfm-node/beat/1\0"
BUNDLE_DOMAIN = b"dcfm-node/bundle/1\0"
HANDOVER_DOMAIN = b"dcfm-node/handover/1\0"
EGRESS_DOMAIN = b"dcfm-node/egress/1\0"
RUN_DOMAIN = b"dcfm-node/run/1\0"

MAX_MESSAGE_WEIGHT = 1 << 15
"""Most weight of a control message; the heaviest is a `sync` of a thousand silos. An envelope is
one byte string, so it weighs 1."""
MAX_TOLD = 80
"""Most characters of a peer's text in an error."""
MAX_ERRORS = 100
"""Most flaws of one record or message that are examined."""

AnyModel = TypeVar("AnyModel", bound=Model)
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


class Signs(Protocol):
    """Signs in a node's name; `key` is the node's id (32 bytes)."""

    key: bytes

    def sign(self, data: bytes) -> bytes:
        """64 bytes that only the holder of the key can make."""
        ...


Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether (key, signature, data) fit. Runs use Ed25519; a simulation may use a cheaper function."""


class Signer:
    """Holds a node's Ed25519 key; `key` is its public half and the node's id."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = private.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> "Signer":
        """Make a signer from the 32 secret bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)


FIELD = 2**255 - 19
"""The prime of Curve25519's field."""
_Y8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
SMALL_ORDER_Y = frozenset({0, 1, FIELD - 1, _Y8, FIELD - _Y8})
"""y of the eight points whose order divides 8. Under such a key anyone can sign."""


def ed25519(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature verifies under a public key, by the one rule of SPEC 3.2.5.

    The library checks S < L and compares R's bytes with those of [S]B - [k]A (RFC 8032 without the
    cofactor). It accepts keys of small order and y of p or more, so they are refused first.
    """
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    if y >= FIELD or y in SMALL_ORDER_Y:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Sealed:
    """A journal entry whose signature and form were checked."""

    entry: Entry
    digest: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class SealedHeartbeat:
    """A heartbeat whose signature and form were checked."""

    heartbeat: Heartbeat
    envelope: bytes


def seal_entry(entry: Entry, signer: Signs) -> Sealed:
    """Sign an entry as its author."""
    body, envelope = _seal(entry, signer, ENTRY_DOMAIN)
    return Sealed(entry, sha256(ENTRY_DOMAIN, body), envelope)


def seal_heartbeat(heartbeat: Heartbeat, signer: Signs) -> SealedHeartbeat:
    """Sign a heartbeat as its author."""
    return SealedHeartbeat(heartbeat, _seal(heartbeat, signer, HEARTBEAT_DOMAIN)[1])


@dataclass(frozen=True, slots=True)
class Opener:
    """Verifies what peers sign.

    Attributes:
        entry: opens the envelope of a journal entry.
        heartbeat: opens the envelope of a heartbeat. Both raise PeerError if the envelope is too
            large, not canonical, of an unknown kind or field, out of bounds, or badly signed.
    """

    entry: Callable[[bytes], Sealed]
    heartbeat: Callable[[bytes], SealedHeartbeat]


def opener(verify: Verify = ed25519, *, heartbeats: int = 1_024, entries: int = 0) -> Opener:
    """Make an opener with its own caches.

    Args:
        verify: the signature check.
        heartbeats: cached heartbeats (default 1024); a cached one helps for the seconds in which
            it spreads.
        entries: cached entries (default 0); useful only for many nodes in one process. The
            journals of a single node know what they hold, and a refused entry must not stay here.
    """

    def entry(envelope: bytes) -> Sealed:
        body, opened = _open(envelope, Entry, ENTRY_DOMAIN, verify)
        return Sealed(opened, sha256(ENTRY_DOMAIN, body), envelope)

    def heartbeat(envelope: bytes) -> SealedHeartbeat:
        return SealedHeartbeat(_open(envelope, Heartbeat, HEARTBEAT_DOMAIN, verify)[1], envelope)

    return Opener(lru_cache(maxsize=entries)(entry), lru_cache(maxsize=heartbeats)(heartbeat))


OPENER = opener()
"""The opener of every real run."""
open_entry, open_heartbeat = OPENER.entry, OPENER.heartbeat


def entry_digest(envelope: bytes) -> bytes | None:
    """The digest of the entry in an envelope (SPEC 3.2.4), without any check of the entry; None if
    the envelope is not a pair of byte strings.

    Raises:
        PeerError: the envelope is not canonical.
    """
    match unpack(envelope) if len(envelope) <= MAX_ENTRIES_BYTES else None:
        case (bytes() as body, bytes()):
            return sha256(ENTRY_DOMAIN, body)
    return None


def seal(model: Model, signer: Signs, domain: bytes) -> bytes:
    """Sign a message whose field `author` is the signer's key; returns the envelope."""
    return _seal(model, signer, domain)[1]


def open_sealed(
    envelope: bytes, kind: type[AnyModel], domain: bytes, verify: Verify = ed25519
) -> AnyModel:
    """Verify such a message, and read it.

    Raises:
        PeerError: as `open_entry`.
    """
    return _open(envelope, kind, domain, verify)[1]


def seal_bundle(bundle: Bundle, signer: Signer) -> bytes:
    """Sign a bundle's label as its author; returns the envelope."""
    return _seal(bundle, signer, BUNDLE_DOMAIN)[1]


def open_bundle(envelope: bytes) -> Bundle:
    """Verify a bundle's label.

    Raises:
        PeerError: as `open_entry`.
    """
    return _open(envelope, Bundle, BUNDLE_DOMAIN, ed25519)[1]


def hand_over(old: Signer, new: bytes, link_key: bytes) -> bytes:
    """The signature by which a silo's old key names its new ones (SPEC 2.7.2)."""
    return old.sign(HANDOVER_DOMAIN + old.key + new + link_key)


def handed_over(old: bytes, new: bytes, link_key: bytes, signature: bytes) -> bool:
    """Whether the holder of an old key named these new ones."""
    return ed25519(old, signature, HANDOVER_DOMAIN + old + new + link_key)


def encode_message(message: Message) -> bytes:
    """Canonical bytes of a control message."""
    return pack(message.model_dump())


def decode_message(data: bytes) -> Message:
    """Parse a control message from an authenticated peer.

    Raises:
        OtherProtocolError: it has another protocol version; nothing else in it is examined.
        PeerError: it is too large, not canonical, of an unknown kind or field, or out of bounds.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise PeerError(f"a message of {len(data)} bytes exceeds {MAX_MESSAGE_BYTES}")
    fields = unpack(data, MAX_MESSAGE_WEIGHT)
    if isinstance(fields, dict):
        spoken, software = fields.get("protocol", 0), fields.get("version", "")
        if type(spoken) is int and spoken != PROTOCOL:
            raise OtherProtocolError(spoken, software[:32] if isinstance(software, str) else "")
    try:
        return _MESSAGE.validate_python(fields)
    except ValidationError as error:
        raise PeerError(f"malformed message: {_first(error)}") from error


def manifest_bytes(manifest: Manifest) -> bytes:
    """Canonical bytes of a manifest."""
    return pack(manifest.model_dump())


def run_id(manifest: Manifest) -> bytes:
    """SHA-256 of the manifest's canonical bytes under its domain (SPEC 2.1)."""
    return sha256(RUN_DOMAIN, manifest_bytes(manifest))


def decode_manifest(data: bytes, like: Manifest | None = None) -> Manifest:
    """Parse a manifest's canonical bytes.

    Args:
        like: this node's own manifest, if the bytes are a peer's: of other packages' sections, only
            those that it has are read, and so loaded.

    Raises:
        PeerError: the bytes are too large, not canonical, not a valid manifest, or leave out a
            field (SPEC 2.1.1).
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise PeerError(f"a manifest of {len(data)} bytes exceeds {MAX_MANIFEST_BYTES}")
    context = None if like is None else {(code.kind, code.name) for code in like.plugins}
    fields = unpack(data)
    try:
        manifest = Manifest.model_validate(fields, context=context)
    except ValidationError as error:
        if lacking := _not_installed(fields):
            what = f"it needs packages that are not installed here: {', '.join(lacking)}"
            raise MissingPackageError(what) from error
        raise PeerError(f"malformed manifest: {_first(error)}") from error
    if manifest_bytes(manifest) != data:
        raise PeerError("malformed manifest: not every field is written out, each as its type")
    return manifest


def named_packages(data: bytes) -> dict[str, str]:
    """The packages that a manifest's bytes name, as `records.differing.packages_by_section`; also
    of one that cannot be read here. Loads nothing; empty if the bytes name none."""
    try:
        return {f"{kind} {name}": package for kind, name, package in _packages(unpack(data))}
    except PeerError:
        return {}


def _not_installed(fields: Any) -> list[str]:
    """The packages that a manifest's map names and that are not installed here."""
    named = _packages(fields)
    return [package for kind, name, package in named if not plugins.installed(kind, name)]


def _packages(fields: Any) -> list[tuple[str, str, str]]:
    """Kind, name and package of each section that a manifest's map says to need one."""
    named = fields.get("plugins") if isinstance(fields, dict) else None
    found = []
    for code in named[: len(plugins.BUILTIN)] if isinstance(named, tuple) else ():
        match code:
            case {"kind": str(kind), "name": str(name), "distribution": str(of), "version": str(v)}:
                kind, name = kind[:MAX_TOLD], name[:MAX_TOLD]
                found.append((kind, name, f"{of[:MAX_TOLD]} {v[:MAX_TOLD]}"))
    return found


def _seal(model: Model, signer: Signs, domain: bytes) -> tuple[bytes, bytes]:
    body = pack(model.model_dump())
    return body, pack((body, signer.sign(domain + body)))


def _open(
    envelope: bytes, kind: type[AnyModel], domain: bytes, verify: Verify
) -> tuple[bytes, AnyModel]:
    if len(envelope) > MAX_ENTRIES_BYTES:
        raise PeerError(f"an envelope of {len(envelope)} bytes exceeds {MAX_ENTRIES_BYTES}")
    parts: Any = unpack(envelope)
    match parts:
        case (bytes() as body, bytes() as signature) if len(signature) == 64:
            pass
        case _:
            raise PeerError("an envelope is not a pair of body and signature")
    try:
        model = kind.model_validate(unpack(body))
    except ValidationError as error:
        raise PeerError(f"malformed {kind.__name__.lower()}: {_first(error)}") from error
    author: bytes = model.author  # type: ignore[attr-defined]
    if not verify(author, signature, domain + body):
        raise PeerError(f"the signature on its {kind.__name__.lower()} does not verify")
    return body, model


def _first(error: ValidationError) -> str:
    """The first flaw, shortened: names of fields and kinds are a peer's text. With more than
    MAX_ERRORS flaws, finding the first costs too much."""
    if (places := error.error_count()) > MAX_ERRORS:
        return f"it is wrong in {places} places"
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part)[:MAX_TOLD] for part in detail["loc"][:4])
    return f"{place}: {detail['msg'][: 2 * MAX_TOLD]}"
