"""A student as one file, for machines that only use it: an uncompressed tar archive.

It holds the files of a student's folder below `student/`, in one order, with fixed times, owners
and modes. So two sites that offer the same student offer the same bytes. `student verify` reads it.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcfm_node.errors import Failed
from dcfm_node.files import PIECE_BYTES, open_regular
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.store.student import (
    CARD,
    CODEC,
    CONFIG,
    FILES,
    LINEAGE,
    MODEL,
    config_of,
    json_bytes,
)
from dcfm_node.store.student_check import MAX_LINEAGE_BYTES, MAX_TEXT_BYTES

FOLDER = "student"
MEDIA_TYPE = "application/x-tar"
MOST = {CONFIG: MAX_TEXT_BYTES, CARD: MAX_TEXT_BYTES, LINEAGE: MAX_LINEAGE_BYTES}
"""Most bytes of a file; of all others, those of a snapshot."""
_BLOCK = tarfile.BLOCKSIZE
_CODEC_NAME = re.compile(rf"{CODEC}(\.[A-Za-z0-9_-]{{1,32}})?")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a student, in memory or on disk.

    Attributes:
        size: in bytes.
        sha256: of its content, in hex.
    """

    name: str
    content: bytes | Path
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes | Path) -> "Part":
        """Read once, for size and digest.

        Raises:
            OSError: the file cannot be read, or is too large.
        """
        hashed, size = hashlib.sha256(), 0
        for piece in _pieces(name, content):
            hashed.update(piece)
            size += len(piece)
        return cls(name, content, size, hashed.hexdigest())


def folder_parts(folder: Path) -> list[Part]:
    """The files of a student's folder; other files in it are left out.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    codecs = sorted(path.name for path in folder.iterdir() if _CODEC_NAME.fullmatch(path.name))
    return [Part.of(name, folder / name) for name in (*FILES, *codecs[:1])]


def student_parts(
    *,
    model: Path,
    manifest: Manifest,
    scale: Scale | None,
    digest: bytes,
    lineage: bytes,
    card: str,
) -> list[Part]:
    """The same files of a student that a node holds, without writing a folder. A run with a codec
    needs the codec's file too: `Part.of("codec.safetensors", path)`.

    Args:
        model: the snapshot with this digest.
        scale, lineage, card: as for `write_student`.
    """
    config = json_bytes(config_of(manifest, scale, digest))
    contents: dict[str, bytes | Path] = {
        MODEL: model,
        CONFIG: config,
        CARD: card.encode(),
        LINEAGE: lineage,
    }
    return [Part.of(name, contents[name]) for name in FILES]


def tar_size(parts: Sequence[Part]) -> int:
    """Bytes of the archive, for Content-Length."""
    return sum(_BLOCK + part.size + _padding(part.size) for part in parts) + 2 * _BLOCK


def tar(parts: Sequence[Part]) -> Iterator[bytes]:
    """The archive, piece by piece.

    Raises:
        OSError: a file changed its size since it was described, or cannot be read.
    """
    for part in parts:
        yield _header(part.name, part.size)
        sent = 0
        for piece in _pieces(part.name, part.content):
            sent += len(piece)
            if sent > part.size:
                break
            yield piece
        if sent != part.size:
            raise OSError(f"{part.name} changed while it was sent")
        yield bytes(_padding(part.size))
    yield bytes(2 * _BLOCK)


def unpack(archive: Path, into: Path) -> None:
    """Write the files of an archive into an empty folder. Anyone may have made the archive.

    Raises:
        Failed: it is not such an archive, holds anything else, or cannot be read or written.
    """
    fix = "download the student again"
    try:
        with open_regular(archive, 2 * MAX_SNAPSHOT_BYTES) as file:
            found = _read(file, into)
    except (OSError, tarfile.HeaderError) as error:
        what = f"not a student's archive: {getattr(error, 'strerror', None) or error}"
        raise Failed(what, where=str(archive), fix=fix) from error
    if missing := [name for name in (MODEL, CONFIG, LINEAGE) if name not in found]:
        raise Failed(f"the archive has no {', '.join(missing)}", where=str(archive), fix=fix)


def _read(file: io.BufferedReader, into: Path) -> set[str]:
    """Names of the files that were written."""
    found: set[str] = set()
    while (header := file.read(_BLOCK)) != bytes(_BLOCK):
        # One block alone is parsed: no extended header, whose size would be the sender's to choose.
        info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        name = info.name.removeprefix(f"{FOLDER}/")
        known = name in FILES or _CODEC_NAME.fullmatch(name) is not None
        if info.type != tarfile.REGTYPE or not known or f"{FOLDER}/{name}" != info.name:
            raise OSError(f"it holds {info.name[:80]!r}")
        if name in found or len(found) > len(FILES):
            raise OSError(f"it holds {name!r} twice, or too many files")
        if not 0 <= info.size <= MOST.get(name, MAX_SNAPSHOT_BYTES):
            raise OSError(f"{name} has {info.size} bytes, which is too many")
        if header != _header(name, info.size):
            raise OSError(f"the header of {name} is not as a node writes it")
        found.add(name)
        left = info.size
        with (into / name).open("xb") as out:
            while left:
                piece = file.read(min(left, PIECE_BYTES))
                if not piece:
                    raise OSError(f"it is cut short in {name}")
                out.write(piece)
                left -= len(piece)
        if any(file.read(_padding(info.size))):
            raise OSError(f"there is something between {name} and what follows it")
    while piece := file.read(PIECE_BYTES):
        if any(piece):
            raise OSError("there is something after its end")
    return found


def _header(name: str, size: int) -> bytes:
    """The one header that a file of a student has."""
    info = tarfile.TarInfo(f"{FOLDER}/{name}")
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _pieces(name: str, content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with open_regular(content, MOST.get(name, MAX_SNAPSHOT_BYTES)) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _padding(size: int) -> int:
    return -size % _BLOCK
