"""Archives that are not what they should be."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.data.source import load
from dcfm_node.data.spec import NpzData
from dcfm_node.errors import DataError
from tests.unit.data.manifests import manifest

X = np.zeros((4, 2), np.float32)
C = np.zeros(4, int)


def refusal(file: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load(NpzData(format="npz", path=file), manifest())
    assert caught.value.where == str(file)
    assert caught.value.fix
    return caught.value


def test_no_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.npz").what


def test_a_folder(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path).what


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(b"x,y\n1,2\n")
    assert "cannot be read" in refusal(tmp_path / "d.npz").what


@pytest.mark.parametrize("missing", ["x", "digit"])
def test_a_missing_array_is_named_beside_what_there_is(tmp_path: Path, missing: str) -> None:
    arrays = {"x": X, "digit": C, "colour": C}
    del arrays[missing]
    np.savez(tmp_path / "d.npz", **arrays)
    error = refusal(tmp_path / "d.npz")
    assert error.what == f"has no array {missing!r}, only {', '.join(sorted(arrays))}"


def test_a_matrix_with_another_number_of_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, c=np.zeros((4, 3), int))
    assert refusal(tmp_path / "d.npz").what == "c has shape (4, 3)"


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    hues = np.array([Trap()] * 4, dtype=object)
    np.savez(tmp_path / "d.npz", x=X, digit=C, colour=hues, allow_pickle=True)
    assert "cannot be read" in refusal(tmp_path / "d.npz").what


def test_an_entry_that_is_a_bare_pickle_is_never_loaded(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name in ("x", "digit", "colour"):
            archive.writestr(f"{name}.npy", pickle.dumps(Trap()))
    refusal(tmp_path / "d.npz")


def test_a_truncated_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, digit=C, colour=C)
    data = (tmp_path / "d.npz").read_bytes()
    for size in range(0, len(data), 37):
        (tmp_path / "cut.npz").write_bytes(data[:size])
        refusal(tmp_path / "cut.npz")


def test_an_archive_with_flipped_bytes_is_read_or_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", x=X, digit=C, colour=C)
    data = (tmp_path / "d.npz").read_bytes()
    refused = 0
    for position in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[position] ^= 0xFF
        (tmp_path / "bad.npz").write_bytes(flipped)
        try:
            load(NpzData(format="npz", path=tmp_path / "bad.npz"), manifest())
        except DataError:
            refused += 1
    assert refused > 50


def test_a_header_of_absurd_size_is_refused_before_it_is_believed(tmp_path: Path) -> None:
    header = np.lib.format.magic(1, 0)
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1125899906842624, 2)}\n"
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", header + len(text).to_bytes(2, "little") + text)
        for name in ("digit", "colour"):
            archive.writestr(f"{name}.npy", b"")
    refusal(tmp_path / "d.npz")
