"""Bundles on disk: folders that a site without a network exchanges by courier (SPEC 10).

    DIR/bundle                            the signed label
    DIR/entries                           control messages, each after its length
    DIR/snapshots/<hex>.safetensors       snapshots, named by their digests

A bundle is hostile until checked. Files are opened without following links, and read in bounded
pieces. Snapshots are looked up by the digests in records, never by the names in the folder. SPEC
10.1.4 bounds the whole bundle, for its writer and its reader.
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
"""Most damaged snapshots that a message names."""


def write_bundle(
    folder: Path,
    messages: Iterable[Entries],
    snapshots: Mapping[bytes, Path],
    sign: Callable[[bytes], bytes],
) -> None:
    """Write a bundle's folder, completely or not at all.

    Args:
        folder: must not exist yet.
        messages: carry the entries.
        snapshots: path of each snapshot, by digest.
        sign: returns the label's envelope for the SHA-256 of the entries file.

    Raises:
        Failed: the folder exists already or cannot be written, or the content is too large.
    """
    target = folder.resolve()
    if target.exists():
        raise Failed("exists already", where=str(folder), fix="name a new folder")
    if sum(path.stat().st_size for path in snapshots.values()) > MAX_SNAPSHOTS_BYTES:
        raise _too_much(folder, f"more than {MAX_SNAPSHOTS_BYTES} bytes of snapshots")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir(mode=0o700)  # it holds weights, not encrypted
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
            fix="choose a new folder that you may write, on a disk with space for the snapshots",
        ) from error


def framed_messages(folder: Path) -> Iterator[bytes]:
    """The messages of a bundle that this node wrote, as bytes, without their lengths."""
    with _opened(folder / ENTRIES, MAX_ENTRIES_FILE_BYTES) as file:
        while prefix := file.read(LENGTH_BYTES):
            yield file.read(int.from_bytes(prefix, "big"))


def sizes_of(folder: Path) -> tuple[int, int, dict[bytes, int]]:
    """Bytes of the label, of the entries, and of each snapshot of a bundle that this node wrote."""
    label, entries = ((folder / name).stat().st_size for name in (LABEL, ENTRIES))
    named = ((digest_of_name(path), path) for path in (folder / SNAPSHOTS).iterdir())
    snapshots = {digest: path.stat().st_size for digest, path in named if digest is not None}
    return label, entries, snapshots


def _too_much(folder: Path, what: str) -> Failed:
    return Failed(
        f"it would hold {what}, which no node takes in",
        where=str(folder),
        fix="leave out what the receiver has: --since with a bundle of that site",
    )


def read_envelope(folder: Path) -> bytes:
    """The envelope of a bundle's label, unchecked.

    Raises:
        Failed: the label does not exist, cannot be read, or is too large.
    """
    with _opened(folder / LABEL, MAX_ENTRIES_BYTES) as file:
        return file.read(MAX_ENTRIES_BYTES)


@dataclass(frozen=True)
class CarriedBundle:
    """A bundle with a valid label and the entries that the label names."""

    folder: Path
    label: Bundle

    def messages(self) -> Iterator[Entries]:
        """The messages that carry the entries, as a link would deliver them.

        Raises:
            PeerError: a message is malformed, of another kind or run, or exceeds the bounds. The
                messages before it were yielded.
        """
        messages, envelopes = 0, 0
        with _opened(self.folder / ENTRIES, MAX_ENTRIES_FILE_BYTES) as file:
            while prefix := file.read(LENGTH_BYTES):
                length = int.from_bytes(prefix, "big")
                if len(prefix) < LENGTH_BYTES or length > MAX_MESSAGE_BYTES:
                    raise PeerError("its entries are not framed as messages")
                message = decode_message(file.read(length))
                if not isinstance(message, Entries) or message.run != self.label.run:
                    raise PeerError("it holds a message without entries of its run")
                messages, envelopes = messages + 1, envelopes + len(message.entries)
                if messages > MAX_MESSAGES or envelopes > MAX_ENVELOPES:
                    most = f"{MAX_MESSAGES} messages or {MAX_ENVELOPES} entries"
                    raise PeerError(f"it holds more than {most}")
                yield message

    def snapshots(self) -> dict[bytes, Path]:
        """Paths of the files with the name of a snapshot, by the digest in the name; unchecked.
        Other files, such as those that a file manager leaves, are not read.

        Raises:
            PeerError: too many files, or too many bytes.
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
        """The snapshots that are missing or not sound, in words; empty if there are none.

        Args:
            sound: digests of snapshots that were read and found sound before.
            most: most bytes of a snapshot; a larger one is not read. A snapshot that the label
                does not list is not read either.
            named: sizes in bytes that records give, by digest; a file of another size is not read.

        Raises:
            PeerError: too many files, or too many bytes.
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
        """Copy a snapshot that a record names to `target`. False if the bundle does not hold it.

        Raises:
            PeerError: the bundle's file does not match the record.
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
    except OSError:  # a damaged disk raises this
        return False


def read_bundle(folder: Path, manifest: Manifest) -> CarriedBundle:
    """Open a bundle of a run.

    Raises:
        Failed: it cannot be read.
        PeerError: it is not of this run, not signed by a silo of its roster, or was altered.
    """
    label = read_label(read_envelope(folder), manifest)
    with _opened(folder / ENTRIES, MAX_ENTRIES_FILE_BYTES) as file:
        found = hashlib.file_digest(file, "sha256").digest()
    if found != label.entries:
        raise PeerError("its entries are not those that its author signed")
    return CarriedBundle(folder, label)


def _opened(path: Path, most: int) -> BufferedReader:
    """Open a regular file of at most `most` bytes for reading, without following a link."""
    try:
        return open_regular(path, most, follow=False)
    except OSError as error:
        raise Failed(
            f"cannot be read: {error.strerror}",
            where=str(path),
            fix="name a complete folder that 'dcfm-node bundle export' wrote",
        ) from error
