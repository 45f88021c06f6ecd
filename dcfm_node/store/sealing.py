"""A stream that only a passphrase opens: AES-256-GCM in pieces, with a key by scrypt.

    header                      its own 16 random bytes
    pieces of PIECE_BYTES       each encrypted, with a tag of 16 bytes; the last may be shorter

The nonce of a piece is its number and whether it is the last (STREAM; Hoang et al., 2015). So
pieces cannot be exchanged, repeated, or cut off at the end.
"""

import os
from typing import BinaryIO, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

PIECE_BYTES = 1 << 20
SALT_BYTES, TAG_BYTES = 16, 16
COST, BLOCK = 1 << 17, 8
"""Of scrypt (RFC 7914): 128 MiB, half a second. A reader never takes them from the file."""


class Wrong(Exception):  # noqa: N818 - read where it is raised
    """The passphrase does not open the stream, or the stream was altered or cut off."""


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take these bytes."""


class SealingWriter:
    """Encrypts what is written to it. Without `finish` the stream counts as cut off."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        salt = os.urandom(SALT_BYTES)
        file.write(salt)
        self._file, self._cipher = file, AESGCM(_key(passphrase, salt))
        self._rest, self._number = bytearray(), 0

    def write(self, data: bytes) -> None:
        """Encrypt these bytes."""
        self._rest += data
        while len(self._rest) > PIECE_BYTES:  # one piece stays behind: it may be the last
            self._seal(bytes(self._rest[:PIECE_BYTES]), last=False)
            del self._rest[:PIECE_BYTES]

    def finish(self) -> None:
        """Write the last piece."""
        self._seal(bytes(self._rest), last=True)

    def _seal(self, piece: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last), piece, None))
        self._number += 1


class SealedReader:
    """Decrypts a stream. It gives out no byte before its piece is authenticated."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._file = file
        self._cipher = AESGCM(_key(passphrase, file.read(SALT_BYTES)))
        self._next, self._number = file.read(PIECE_BYTES + TAG_BYTES), 0
        self._piece, self._over = b"", False

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end.

        Raises:
            Wrong: the passphrase is wrong, or the stream was altered or cut off.
        """
        if not self._piece and not self._over:
            sealed, self._next = self._next, self._file.read(PIECE_BYTES + TAG_BYTES)
            self._over = not self._next
            try:
                nonce = _nonce(self._number, self._over)
                self._piece = self._cipher.decrypt(nonce, sealed, None)
            except (InvalidTag, ValueError) as error:
                raise Wrong from error
            self._number += 1
        given, self._piece = self._piece[:size], self._piece[size:]
        return given


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=COST, r=BLOCK, p=1).derive(passphrase.encode())
