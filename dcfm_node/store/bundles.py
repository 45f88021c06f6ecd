"""Bundles on disk: what a site without a network exchanges by courier (SPEC 10).

    DIR/bundle                            the signed label
    DIR/entries                           control messages, each after its length
    DIR/snapshots/<hex>.safetensors       snapshots, named by their digests

What is read is hostile until checked: files are opened without following links, read in bounded
pieces, and snapshots are looked up by the digests of records, never by what the folder names. It is
bounded as a whole too (SPEC 10.1.4), for who writes one as for who reads it.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from dcfm_node.errors import Failed, PeerError
from dcfm_node.files import open_regular
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.entries import Snapshot
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import MAX_ENTRIES_BYTES, MAX_MESSAGE_BYTES, Bundle, Entries
from dcfm_node.store.snapshots import SUFFIX, describe, digest_of_name
from dcfm_node.swarm.bundle import read_label
from dcfm_node.wire.envelope import decode_message, encode_message

LABEL, ENTRIES, SNAPSHOTS = "bundle", "entries", "snapshots"
LENGTH_BYTES = 4
COPY_BYTES = 1 << 20
MAX_ENTRIES_FILE_BYTES = 64 << 20
MAX_MESSAGES = 4_096
MAX_ENVELOPES = 262_144
MAX_SNAPSHOTS = 4_096
MAX_SNAPSHOTS_BYTES = 1 << 38
MAX_TOLD = 8
"""Damaged snapshots that are named."""


def write_bundle(
    folder: Path,
    messages: Iterable[Entries],
    snapshots: Mapping[bytes, Path],
    sign: Callable[[bytes], bytes],
) -> None:
    """Write a bundle's folder, whole or not at all.

    Args:
        snapshots: where each lies, by digest.
        sign: gives the label's envelope for the SHA-256 of the entries.

    Raises:
        Failed: the folder is there already, or cannot be written; or it is too much for a bundle.
    """
    target = folder.resolve()
    if target.exists():
        raise Failed("is there already", where=str(folder), fix="name a new folder")
    if sum(path.stat().st_size for path in snapshots.values()) > MAX_SNAPSHOTS_BYTES:
        raise _too_much(folder, f"more than {MAX_SNAPSHOTS_BYTES} bytes of snapshots")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir(mode=0o700)  # it holds weights, in the clear
            (new / SNAPSHOTS).mkdir()
            hashed, left = hashlib.sha256(), MAX_ENTRIES_FILE_BYTES
            with (new / ENTRIES).open("wb") as file:
                for message in messages:
                    data = encode_message(message)
                    framed = len(data).to_bytes(LENGTH_BYTES, "big") + data
                    if (left := left - len(framed)) < 0:
                        what = f"more than {MAX_ENTRIES_FILE_BYTES} bytes of records"
                        raise _too_much(folder, what)
                    hashed.update(framed)
                    file.write(framed)
            for digest, path in snapshots.items():
                shutil.copyfile(path, new / SNAPSHOTS / f"{digest.hex()}{SUFFIX}")
            (new / LABEL).write_bytes(sign(hashed.digest()))
            new.rename(target)
            os.sync()
    except OSError as error:
        raise Failed(
            f"cannot write the bundle: {error.strerror}",
            where=str(error.filename or folder),
            fix="choose a new folder that you may write, on a disk with room for the snapshots",
        ) from error


def _too_much(folder: Path, what: str) -> Failed:
    return Failed(
        f"it would hold {what}, which no node takes in",
        where=str(folder),
        fix="leave out what its receiver has: --since with a bundle of its site",
    )


def read_envelope(folder: Path) -> bytes:
    """The envelope of a bundle's label; unchecked.

    Raises:
        Failed: there is none, or it cannot be read or is too large.
    """
    with _opened(folder / LABEL, MAX_ENTRIES_BYTES) as file:
        return file.read(MAX_ENTRIES_BYTES)


@dataclass(frozen=True)
class CarriedBundle:
    """A bundle whose label, and the SHA-256 of whose entries, hold."""

    folder: Path
    label: Bundle

    def messages(self) -> Iterator[Entries]:
        """The messages that carry its entries, each as a link would deliver it.

        Raises:
            PeerError: one is malformed, of another kind or run, or one too many; those before it
                were given.
        """
        messages, envelopes = 0, 0
        with _opened(self.folder / ENTRIES, MAX_ENTRIES_FILE_BYTES) as file:
            while prefix := file.read(LENGTH_BYTES):
                length = int.from_bytes(prefix, "big")
                if len(prefix) < LENGTH_BYTES or length > MAX_MESSAGE_BYTES:
                    raise PeerError("its entries are not framed as messages are")
                message = decode_message(file.read(length))
                if not isinstance(message, Entries) or message.run != self.label.run:
                    raise PeerError("it holds a message that bears no entries of its run")
                messages, envelopes = messages + 1, envelopes + len(message.entries)
                if messages > MAX_MESSAGES or envelopes > MAX_ENVELOPES:
                    most = f"{MAX_MESSAGES} messages or {MAX_ENVELOPES} entries"
                    raise PeerError(f"it holds more than {most}")
                yield message

    def snapshots(self) -> dict[bytes, Path]:
        """What is named as a snapshot in the folder, by the digest that each claims; unchecked. Of
        what else a file manager left there, nothing is read.

        Raises:
            PeerError: there is too much.
        """
        folder = self.folder / SNAPSHOTS
        listed = list(islice(folder.iterdir() if folder.is_dir() else (), MAX_SNAPSHOTS + 1))
        if len(listed) > MAX_SNAPSHOTS:
            raise PeerError(f"more than {MAX_SNAPSHOTS} files lie in its folder {SNAPSHOTS}")
        named = ((digest_of_name(path), path) for path in sorted(listed))
        found = {digest: path for digest, path in named if digest is not None}
        if sum(path.lstat().st_size for path in found.values()) > MAX_SNAPSHOTS_BYTES:
            raise PeerError(f"its snapshots take more than {MAX_SNAPSHOTS_BYTES} bytes")
        return found

    def damage(
        self,
        sound: Collection[bytes] = (),
        most: int = MAX_SNAPSHOT_BYTES,
        named: Mapping[bytes, Collection[int]] = MappingProxyType({}),
    ) -> str:
        """Which of its snapshots are missing or not sound, in words; empty if none is.

        Args:
            sound: digests of those that were read and found so already.
            most: what none is larger than, in bytes; no more is read, nor what its author did not
                sign for.
            named: sizes in bytes that records give to a digest: what has another is not read.

        Raises:
            PeerError: there is too much.
        """
        there = self.snapshots()
        found = {
            "missing": [d for d, here in self.label.held.items() if here and d not in there],
            "not what the name says, or not to be read": [
                digest
                for digest, path in there.items()
                if digest not in sound
                and not (
                    self.label.held.get(digest) and _is_sound(path, digest, most, named.get(digest))
                )
            ],
        }
        return "; ".join(f"{what}: {_told(digests)}" for what, digests in found.items() if digests)

    def take(self, snapshot: Snapshot, target: Path) -> bool:
        """Copy a snapshot that a record names to `target`. False if the bundle has it not.

        Raises:
            PeerError: the bundle's file is not what the record says.
        """
        path = self.folder / SNAPSHOTS / f"{snapshot.digest.hex()}{SUFFIX}"
        if not path.is_file():
            return False
        with _opened(path, MAX_SNAPSHOT_BYTES) as source, target.open("wb") as file:
            left = snapshot.size if os.fstat(source.fileno()).st_size == snapshot.size else 0
            while left and (piece := source.read(min(left, COPY_BYTES))):
                file.write(piece)
                left -= len(piece)
        if not target.stat().st_size or describe(target) != snapshot:
            target.unlink()
            raise PeerError(f"its snapshot {snapshot.digest.hex()[:12]} is not what a record says")
        return True


def _told(digests: Collection[bytes]) -> str:
    named = [f"{SNAPSHOTS}/{digest.hex()}{SUFFIX}" for digest in sorted(digests)]
    more = f" and {len(named) - MAX_TOLD} more" if len(named) > MAX_TOLD else ""
    return ", ".join(named[:MAX_TOLD]) + more


def _is_sound(path: Path, digest: bytes, most: int, sizes: Collection[int] | None) -> bool:
    try:
        if sizes is not None and path.lstat().st_size not in sizes:
            return False
        return not path.is_symlink() and describe(path, most=most).digest == digest
    except OSError:  # a damaged disk gives that for what it held
        return False


def read_bundle(folder: Path, manifest: Manifest) -> CarriedBundle:
    """Open a bundle of a run.

    Raises:
        Failed: it cannot be read.
        PeerError: it is not a bundle of this run, signed by a silo of its roster, or was altered.
    """
    label = read_label(read_envelope(folder), manifest)
    with _opened(folder / ENTRIES, MAX_ENTRIES_FILE_BYTES) as file:
        found = hashlib.file_digest(file, "sha256").digest()
    if found != label.entries:
        raise PeerError("its entries are not those that its author signed")
    return CarriedBundle(folder, label)


def _opened(path: Path, most: int) -> BufferedReader:
    """A regular file of at most so many bytes, opened for reading without following a link."""
    try:
        return open_regular(path, most, follow=False)
    except OSError as error:
        raise Failed(
            f"cannot be read: {error.strerror}",
            where=str(path),
            fix="name a folder that 'dcfm-node bundle export' wrote, and copy it whole",
        ) from error
