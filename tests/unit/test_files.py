"""Files that others may have made."""

import os
from pathlib import Path

import pytest

from dcfm_node.errors import Failed
from dcfm_node.files import open_regular, private_folder, read_bounded, replacing


def test_a_file_of_the_most_that_there_may_be_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bounded(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="is too large: 100 bytes, 99 at most"):
        read_bounded(path, 99)
    with pytest.raises(OSError, match="cut short: 100 bytes"):
        open_regular(path, 200, least=101)
    path.write_bytes(b"")
    assert read_bounded(path, 0) == b""
    with pytest.raises(OSError, match="is empty"):
        open_regular(path, 1, least=1)


def test_what_has_no_size_is_read_no_further_than_the_bound() -> None:
    """The kernel's own files say 0 bytes and hold more."""
    assert read_bounded(Path("/proc/self/status"), 1 << 20)
    with pytest.raises(OSError, match="too large"):
        read_bounded(Path("/proc/self/status"), 10)


@pytest.mark.parametrize("what", ["fifo", "folder", "device", "link to a device"])
def test_what_is_no_regular_file_is_neither_read_nor_waited_for(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    match what:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")
        case _:
            path.symlink_to("/dev/zero")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(OSError, match="not a") as refused:
        read_bounded(path, 1 << 20)
    assert refused.value.filename == str(path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_link_is_followed_only_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_bounded(tmp_path / "link", 1) == b"x"
    with pytest.raises(OSError):
        read_bounded(tmp_path / "link", 1, follow=False)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o707, 0o777])
def test_a_folder_that_others_may_use_is_tightened(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_is_made_private_and_left_so(tmp_path: Path) -> None:
    private_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileNotFoundError):
        private_folder(tmp_path / "c", make=False)


def test_a_folder_that_cannot_be_tightened_is_refused_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o755)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(Failed, match="mode 0755") as told:
        private_folder(folder)
    assert told.value.fix == f"chmod 700 {folder}, as its owner"
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)  # as FAT takes it
    with pytest.raises(Failed, match="mode 0755") as told:
        private_folder(folder)
    assert "keeps modes" in told.value.fix
    monkeypatch.undo()
    folder.chmod(0o1777)
    with pytest.raises(Failed, match="mode 1777"):
        private_folder(folder)
    assert folder.stat().st_mode & 0o7777 == 0o1777


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
