"""A node in one file: what comes back, and what hostile or damaged files do."""

import hashlib
import io
import os
from pathlib import Path

import pytest

from dcfm_node.errors import ConfigError, Failed
from dcfm_node.store import sealing
from dcfm_node.store.export import MAGIC, Contents, Import, export, files_in, refuse_moved
from dcfm_node.store.sealing import PIECE_BYTES, SealedReader, SealingWriter, Wrong

WORD = "correct horse"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in no time."""
    monkeypatch.setattr(sealing, "COST", 2)


def node(folder: Path) -> dict[str, Path]:
    """Files of a node, a large one among them."""
    state = folder / "state"
    (state / "snapshots").mkdir(parents=True)
    (folder / "node.toml").write_text('name = "north"\n')
    (state / "journals.sqlite").write_bytes(os.urandom(2 * PIECE_BYTES + 7))
    (state / "snapshots" / "ab.safetensors").write_bytes(b"")
    return {"node.toml": folder / "node.toml", **files_in(state, "state")[0]}


def exported(folder: Path, passphrase: str | None = WORD) -> Path:
    target = folder / "north.node"
    export(
        target,
        node(folder),
        silo="north",
        version="1",
        now_ms=5,
        passphrase=passphrase,
        state=folder / "state",
    )
    return target


def imported(file: Path, folder: Path, passphrase: str = WORD) -> Contents:
    opened = Import(file, lambda: passphrase)
    try:
        opened.unpack({"": folder, "keys": folder / "keys", "state": folder / "state"})
    finally:
        opened.close()
    return opened.contents


@pytest.mark.parametrize("passphrase", [None, WORD])
def test_every_byte_comes_back_and_is_private(tmp_path: Path, passphrase: str | None) -> None:
    file = exported(tmp_path / "old", passphrase)
    assert file.stat().st_mode & 0o777 == 0o600
    contents = imported(file, tmp_path / "new")
    assert contents.silo == "north"
    for name in ("node.toml", "state/journals.sqlite", "state/snapshots/ab.safetensors"):
        assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "old" / name).read_bytes()
        assert (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "new" / "state" / "moved").exists()


def test_nothing_readable_is_in_an_encrypted_file(tmp_path: Path) -> None:
    data = exported(tmp_path).read_bytes()
    assert b"node.toml" not in data
    assert b"north" not in data


def test_what_a_new_machine_makes_anew_and_what_is_strange_stays(tmp_path: Path) -> None:
    node(tmp_path)
    state = tmp_path / "state"
    for name in ("lock", "worker.log", "half.tmp", "journals.sqlite-shm"):
        (state / name).write_text("")
    (state / "partial").mkdir()
    (state / "partial" / "cd").write_text("")
    (state / "link").symlink_to("/etc/passwd")
    (state / "it's mine").write_text("")
    os.mkfifo(state / "pipe")
    found, strange = files_in(state, "state")
    assert set(found) == {"state/journals.sqlite", "state/snapshots/ab.safetensors"}
    assert {path.name for path in strange} == {"link", "it's mine", "pipe"}


def test_the_old_node_is_marked_and_refused_until_the_mark_is_deleted(tmp_path: Path) -> None:
    refuse_moved(tmp_path / "state")
    exported(tmp_path)
    with pytest.raises(ConfigError, match="exported to another machine") as caught:
        refuse_moved(tmp_path / "state")
    mark = tmp_path / "state" / "moved"
    assert f"rm {mark}" in caught.value.fix
    mark.unlink()
    refuse_moved(tmp_path / "state")


def test_a_failed_export_leaves_neither_a_file_nor_a_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(path: Path, target: Path) -> None:
        assert (tmp_path / "state" / "moved").exists(), "the mark comes first"
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(Failed, match="No space left"):
        exported(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.toml", "state"]
    refuse_moved(tmp_path / "state")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_once_the_file_is_there_the_mark_stays_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def failing(path: Path) -> None:
        if path == tmp_path:
            raise error

    monkeypatch.setattr("dcfm_node.store.export.sync", failing)
    with pytest.raises((Failed, KeyboardInterrupt)):
        exported(tmp_path)
    assert (tmp_path / "north.node").exists()
    with pytest.raises(ConfigError, match="exported to another machine"):
        refuse_moved(tmp_path / "state")


@pytest.mark.parametrize("name", ["moved", "control.sock", "lock", "partial/x", "a.tmp"])
def test_what_a_new_machine_makes_anew_is_not_imported(tmp_path: Path, name: str) -> None:
    file = tmp_path / "hostile"
    file.write_bytes(hostile(f'{{"name": "state/{name}", "size": 0, "sha256": "{EMPTY}"}}'))
    with pytest.raises(Failed, match=f"names state/{name}, which a new machine makes anew"):
        Import(file, lambda: "")


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "north.node").write_text("mine")
    with pytest.raises(Failed, match="exists already"):
        exported(tmp_path)
    assert (tmp_path / "north.node").read_text() == "mine"
    refuse_moved(tmp_path / "state")


@pytest.mark.parametrize("passphrase", [None, WORD])
@pytest.mark.parametrize("place", [0, 19, 40, 300, 2_000, PIECE_BYTES + 900, -1])
def test_a_changed_byte_is_found(tmp_path: Path, place: int, passphrase: str | None) -> None:
    file = exported(tmp_path / "old", passphrase)
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.raises(Failed):
        imported(file, tmp_path / "new")


@pytest.mark.parametrize("passphrase", [None, WORD])
def test_a_file_that_is_cut_off_or_longer_is_found(tmp_path: Path, passphrase: str | None) -> None:
    file = exported(tmp_path / "old", passphrase)
    data = file.read_bytes()
    for number, changed in enumerate((data[:-1], data[: PIECE_BYTES + 51], data[:25], data + b"x")):
        file.write_bytes(changed)
        with pytest.raises(Failed):
            imported(file, tmp_path / f"new{number}")


def test_a_wrong_passphrase_is_named(tmp_path: Path) -> None:
    file = exported(tmp_path / "old")
    with pytest.raises(Failed, match="the passphrase is wrong"):
        imported(file, tmp_path / "new", "correct horses")


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/passwd",
        "state/../../x",
        "state/..",
        "state",
        "state/",
        "state//x",
        "state/.ssh",
        "keys/a/b/c/d",
        "other.toml",
        "state/a\\nb",
        "state/a\\u0000",
    ],
)
def test_names_outside_the_node_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "hostile"
    entry = f'{{"name": "{name}", "size": 0, "sha256": "{EMPTY}"}}'
    file.write_bytes(hostile(entry))
    with pytest.raises(Failed, match="its list is malformed"):
        Import(file, lambda: "")


def hostile(*entries: str, length: int | None = None) -> bytes:
    listed = (
        f'{{"silo": "x", "version": "1", "exported_ms": 1, "files": [{", ".join(entries)}]}}'
    ).encode()
    said = (length or len(listed)).to_bytes(8, "big") + hashlib.sha256(listed).digest()
    return MAGIC + b"\0" + said + listed


def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "hostile"
    entries = [
        f'{{"name": "{name}", "size": 0, "sha256": "{EMPTY}"}}' for name in ("state/a", "state/a/b")
    ]
    file.write_bytes(hostile(*entries))
    with pytest.raises(Failed, match="cannot be written"):
        imported(file, tmp_path / "new")
    file.write_bytes(hostile(entries[0], entries[0]))
    with pytest.raises(Failed, match="names a file twice"):
        imported(file, tmp_path / "new")


def test_sizes_are_bounded_before_anything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "hostile"
    file.write_bytes(hostile(length=1 << 40))
    with pytest.raises(Failed, match="its list has more than"):
        Import(file, lambda: "")
    file.write_bytes(hostile(f'{{"name": "state/a", "size": {1 << 60}, "sha256": "{EMPTY}"}}'))
    with pytest.raises(Failed, match="its list is malformed"):
        Import(file, lambda: "")
    entry = '{{"name": "state/{}", "size": {}, "sha256": "{}"}}'
    file.write_bytes(hostile(*(entry.format(n, 1 << 42, EMPTY) for n in "ab")))
    with pytest.raises(Failed, match="too many bytes"):
        Import(file, lambda: "")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(Failed, match="not a regular file"):
        Import(file, lambda: "")


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_pieces_are_bound_to_their_places(size: int) -> None:
    data, file = os.urandom(size), io.BytesIO()
    writer = SealingWriter(file, WORD)
    writer.write(data)
    writer.finish()
    sealed = file.getvalue()
    reader = SealedReader(io.BytesIO(sealed), WORD)
    assert b"".join(iter(lambda: reader.read(1 << 19), b"")) == data
    if size > PIECE_BYTES:
        first = sealed[: sealing.SALT_BYTES + PIECE_BYTES + sealing.TAG_BYTES]
        with pytest.raises(Wrong):  # the first piece is whole, and is not the last
            SealedReader(io.BytesIO(first), WORD).read(1)
