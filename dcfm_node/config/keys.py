"""A node's two secret keys: one signs its records, the other encrypts its links."""

import os
import shlex
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dcfm_node.errors import ConfigError
from dcfm_node.files import private_folder, read_bounded

SIGN_FILE = "sign.key"
"""Ed25519 seed: 64 hex digits."""
LINK_FILE = "link.key"
"""Curve25519 secret key: 40 characters of Z85."""
HANDOVER_FILE = "handover"
"""The previous signing key's signature over the present keys: 128 hex digits (SPEC 2.7)."""
MAX_BYTES = 4_096
"""The most bytes that one of these files may have."""
PREVIOUS = "previous"
"""Folder of the previous keys."""


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """A node's secret keys. `repr` shows only the public halves."""

    sign: Ed25519PrivateKey = field(repr=False)
    link_secret: str = field(repr=False)
    """Curve25519, Z85, 40 characters."""
    link_public: str
    """Curve25519, Z85, 40 characters."""
    handover: bytes | None = None
    """The previous signing key's signature over these keys, 64 bytes; None if there were none.
    Public."""

    @property
    def sign_public(self) -> bytes:
        """Ed25519 public key, 32 bytes: the node's id."""
        return self.sign.public_key().public_bytes_raw()


def create_keys(folder: Path) -> NodeKeys:
    """Make both keys in a folder. Only their owner may read them (mode 0600).

    Raises:
        ConfigError: the folder holds a key already, or cannot be written.
    """
    sign, (link_public, link_secret) = Ed25519PrivateKey.generate(), zmq.curve_keypair()
    texts = {
        SIGN_FILE: sign.private_bytes_raw().hex(),
        LINK_FILE: link_secret.decode(),
    }
    for name in texts:
        if (folder / name).exists():
            raise ConfigError(
                "exists already, and a node's keys are its identity",
                where=str(folder / name),
                fix="keep it, or move it away to become another node",
            )
    try:
        private_folder(folder)
        for name, text in texts.items():
            _write_secret(folder / name, text)
    except OSError as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}", where=str(folder), fix="choose another folder"
        ) from error
    return NodeKeys(sign, link_secret.decode(), link_public.decode())


def rotate_keys(folder: Path, sign_over: Callable[[NodeKeys, NodeKeys], bytes]) -> NodeKeys:
    """Replace a node's keys: sign new ones with the old ones, which move to `previous` (SPEC 2.7).

    Args:
        sign_over: (old keys, new keys) -> the old signing key's signature over the new keys.

    Raises:
        ConfigError: `previous` still holds the keys of an earlier rotation; or a key is missing,
            malformed or cannot be written.
    """
    previous, fresh = folder / PREVIOUS, folder / "next"
    if previous.exists():
        raise ConfigError(
            "holds the keys of an earlier rotation, whose hand-over would be lost",
            where=str(previous),
            fix="once every site runs with the present keys, delete that folder and rotate again",
        )
    old = load_keys(folder, {})
    new = create_keys(fresh)
    handover = sign_over(old, new)
    try:
        _write_secret(fresh / HANDOVER_FILE, handover.hex())
        (folder / HANDOVER_FILE).unlink(missing_ok=True)
        private_folder(previous)
        for name in (SIGN_FILE, LINK_FILE):
            (folder / name).rename(previous / name)
        for name in (SIGN_FILE, LINK_FILE, HANDOVER_FILE):
            (fresh / name).rename(folder / name)
        fresh.rmdir()
    except OSError as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}",
            where=str(error.filename or folder),
            fix=f"put the old keys back: they are in {previous} or {folder}, new ones in {fresh} or"
            f" {folder}",
        ) from error
    return replace(new, handover=handover)


def load_keys(folder: Path, environ: Mapping[str, str] = os.environ) -> NodeKeys:
    """Read both keys: from $CREDENTIALS_DIRECTORY if it holds them, else from `folder`.

    Raises:
        ConfigError: a key is missing or malformed, or other users may read it.
        Failed: other users may use the folder, and its mode cannot be changed.
    """
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    # systemd grants credentials by ACL. Its mask looks like permissions of the group.
    granted = credentials is not None and any(
        (Path(credentials) / name).exists() for name in (SIGN_FILE, LINK_FILE)
    )
    if credentials is not None and granted:
        folder = Path(credentials)
    elif os.access(folder, os.W_OK):  # who cannot write it cannot change its mode
        private_folder(folder, make=False)
    sign, link = (_read_secret(folder / name, granted) for name in (SIGN_FILE, LINK_FILE))
    try:
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(sign))
    except ValueError:
        raise _malformed(folder / SIGN_FILE, "64 hex digits") from None
    try:
        public = zmq.curve_public(link.encode())
    except (ValueError, zmq.ZMQError):
        raise _malformed(folder / LINK_FILE, "40 characters of Z85") from None
    return NodeKeys(private, link, public.decode(), _handover(folder))


def _handover(folder: Path) -> bytes | None:
    """The previous keys' signature, if keys were rotated."""
    path = folder / HANDOVER_FILE
    try:
        signature = bytes.fromhex(read_bounded(path, MAX_BYTES).decode("ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _malformed(path, "128 hex digits") from error
    if len(signature) != 64:
        raise _malformed(path, "128 hex digits")
    return signature


def _read_secret(path: Path, granted: bool) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and not granted:
            raise ConfigError(
                f"other users may use this key (mode {mode:04o})",
                where=str(path),
                fix=f"chmod 600 {shlex.quote(str(path))}",
            )
        return read_bounded(path, MAX_BYTES).decode(errors="replace").strip()
    except FileNotFoundError as error:
        raise ConfigError(
            "the key does not exist",
            where=str(path),
            fix="set 'keys' in node.toml to their folder, or restore them from your copy; if they"
            " are lost, 'dcfm-node init OTHER --name NAME' makes new ones: move OTHER/keys here,"
            " send all sites what 'dcfm-node id' prints, and continue the run with the new keys",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=str(path), fix="run as the key's owner"
        ) from error


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _malformed(path: Path, form: str) -> ConfigError:
    # Never show what the file holds: it may be most of a secret.
    return ConfigError(
        f"is not a key of {form}",
        where=str(path),
        fix="restore the file from your copy; new keys would make this another node",
    )
