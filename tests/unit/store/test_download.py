"""A student as one archive: the same bytes everywhere, and nothing else is unpacked."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dcfm_node.errors import Failed
from dcfm_node.store.card import model_card
from dcfm_node.store.download import Part, folder_parts, student_parts, tar, tar_size, unpack
from dcfm_node.store.student_check import MAX_TEXT_BYTES
from dcfm_node.student.facts import facts_of
from dcfm_node.student.folder import opened
from tests.unit.cli.running import run as dcfm
from tests.unit.student.made import make

NAMES = ["README.md", "config.json", "lineage.msgpack", "model.safetensors"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "student")


def packed(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, **more: object) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            for field, value in more.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return found.getvalue()


def test_the_archive_is_deterministic_and_any_tar_reads_it(folder: Path, tmp_path: Path) -> None:
    parts = folder_parts(folder)
    (folder / "notes.txt").write_text("mine")
    data = b"".join(tar(parts))
    assert len(data) == tar_size(parts)
    assert data == b"".join(tar(folder_parts(folder))), "other files are left out"
    (folder / "notes.txt").unlink()
    archive = tmp_path / "student.tar"
    archive.write_bytes(data)
    with tarfile.open(archive) as read:
        read.extractall(tmp_path, filter="data")
    for part in parts:
        content = (tmp_path / "student" / part.name).read_bytes()
        assert content == (folder / part.name).read_bytes()
        assert (part.size, part.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_node_offers_it_without_writing_a_folder(folder: Path) -> None:
    student, proven = opened(folder)
    parts = student_parts(
        model=student.model,
        manifest=proven.view.manifest,
        scale=proven.view.scale,
        digest=proven.student.body.snapshot.digest,
        lineage=student.lineage,
        card=model_card(proven.view.manifest, facts_of(proven)),
    )
    assert b"".join(tar(parts)) == b"".join(tar(folder_parts(folder)))


def test_verify_reads_the_archive(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = tmp_path / "student.tar"
    data = b"".join(tar(folder_parts(folder)))
    archive.write_bytes(data)
    assert dcfm(monkeypatch, "student", "verify", archive, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["standing"], told["unchecked"]) == ("not released", [])
    weights = data.index((folder / "model.safetensors").read_bytes()) + 1_000
    for changed in (data[:weights] + b"\0\1" + data[weights + 2 :], data[:weights], b"", b"x" * 99):
        archive.write_bytes(changed)
        assert dcfm(monkeypatch, "student", "verify", archive, "--json") == 1
        assert json.loads(capsys.readouterr().out)["where"].startswith(str(archive))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (packed(("student/../x", b"1")), "it holds"),
        (packed(("/student/README.md", b"1")), "it holds"),
        (packed(("README.md", b"1")), "it holds"),
        (packed(("student/codec.a/b", b"1")), "it holds"),
        (packed(("student/other", b"1")), "it holds 'student/other'"),
        (packed(("student/README.md", b"1"), ("student/README.md", b"2")), "twice"),
        (packed(*((f"student/codec.{n}", b"") for n in range(9))), "too many files"),
        (packed(("student/README.md", b""), kind=tarfile.SYMTYPE, linkname="/etc"), "it holds"),
        (packed(("student/README.md", b""), kind=tarfile.DIRTYPE), "it holds"),
        (packed((f"student/{'x' * 200}", b"")), "it holds '././@LongLink'"),
        (packed(("student/README.md", bytes(MAX_TEXT_BYTES + 1))), "too many"),
        (packed(("student/README.md", b"1")), "no model.safetensors, config.json, lineage"),
    ],
)
def test_nothing_else_is_unpacked(tmp_path: Path, data: bytes, why: str) -> None:
    archive, into = tmp_path / "a.tar", tmp_path / "into"
    into.mkdir()
    archive.write_bytes(data)
    with pytest.raises(Failed, match=why):
        unpack(archive, into)
    assert {path.name for path in tmp_path.rglob("*")} - {"a.tar", "into"} <= {
        "README.md",
        *(f"codec.{n}" for n in range(9)),
    }


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: packed(("student/README.md", b"1"), mtime=1), "not as a node writes it"),
        (lambda data: packed(("student/README.md", b"1"), uname="x"), "not as a node writes it"),
        (lambda data: data[:513] + b"x" + data[514:], "between README.md and what follows"),
        (lambda data: data[:-1] + b"x", "after its end"),
        (lambda data: data + b"x", "after its end"),
    ],
)
def test_nothing_is_hidden_beside_the_files(
    tmp_path: Path, change: Callable[[bytes], bytes], why: str
) -> None:
    archive, into = tmp_path / "a.tar", tmp_path / "into"
    into.mkdir()
    archive.write_bytes(change(packed(("student/README.md", b"1"))))
    with pytest.raises(Failed, match=why):
        unpack(archive, into)


def test_a_file_that_changes_while_it_is_sent_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    for content in (b"longer than before", b""):
        file.write_bytes(b"before")
        part = Part.of("model.safetensors", file)
        file.write_bytes(content)
        with pytest.raises(OSError, match="changed while it was sent"):
            b"".join(tar([part]))
