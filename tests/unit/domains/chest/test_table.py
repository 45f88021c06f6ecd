"""Bad tables and images of radiographs: where, what, and what to do."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcfm_node.domains.chest import table
from dcfm_node.domains.chest.images import open_folder
from dcfm_node.errors import DataError
from tests.unit.domains.chest.radiographs import HEAD, row, write

NAME = "Data_Entry_2017.csv"


def with_rows(folder: Path, *rows: str) -> Path:
    (folder / NAME).write_text("\n".join([HEAD, *rows, ""]), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("rows", "what", "fix"),
    [
        ([row("a.png", "Effusoin", 1, "PA")], r":2: column 'Finding Labels': 'Effusoin'", "Mass"),
        ([row("a.png", "No Finding|Mass", 1, "PA")], ":2: .*stands beside findings", "No Finding"),
        ([row("a.png", "Mass", "one", "PA")], ":2: column 'Patient ID': 'one' is not", "number"),
        ([row("a.png", "Mass", -1, "PA")], ":2: column 'Patient ID': '-1' is not", "number"),
        ([row("a.png", "Mass", 1, "PA")] * 2, ":3: column 'Image Index': .*csv:2", "remove"),
        ([row("", "Mass", 1, "PA")], ":2: names no Image Index", "fill in"),
        (["a.png,Mass"], ":2: has 2 cells", "one cell per column"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: list[str], what: str, fix: str) -> None:
    with_rows(tmp_path, *rows)
    with pytest.raises(DataError, match=what) as told:
        table.read_entries(tmp_path / NAME)
    assert fix in told.value.fix


def test_columns_are_needed(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("Image Index,Patient ID\na.png,1\n", "utf-8")
    with pytest.raises(DataError, match=r":1: has no column 'Finding Labels'"):
        table.read_entries(tmp_path / NAME)


def test_a_table_may_be_packed_and_end_rows_with_a_comma(tmp_path: Path) -> None:
    text = "\n".join([HEAD + ",", row("a.png", "Mass|Edema", 7, "PA") + ","])
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(text.encode()))
    (found,) = table.read_entries(table.find_table(tmp_path)).values()
    assert (found.patient, found.view) == (7, "PA")
    assert table.named(found.findings) == "Edema|Mass"
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(text.encode())[:-9])
    table.read_entries.cache_clear()
    with pytest.raises(DataError, match="cannot be read"):
        table.read_entries(table.find_table(tmp_path))


def no_table(folder: Path) -> None:
    (folder / "Data_Entry_2017_v2020.csv").unlink()


def second_table(folder: Path) -> None:
    (folder / NAME).write_text(HEAD)


def no_image(folder: Path) -> None:
    (folder / "small.npz").unlink()


def unlisted(folder: Path) -> None:
    (folder / "images").mkdir()
    Image.new("L", (9, 9)).save(folder / "images" / "other.png")


def again(folder: Path) -> None:
    (folder / "images").mkdir()
    Image.new("L", (9, 9)).save(folder / "images" / "00000271_000.png")


def colour(folder: Path) -> None:
    np.savez(folder / "small.npz", image=np.zeros((2, 9, 9, 3)), name=np.array(["a", "b"]))


def names(folder: Path) -> None:
    np.savez(folder / "small.npz", image=np.zeros((2, 9, 9), np.uint8), name=np.array([1, 2]))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (no_table, "has no table"),
        (second_table, "has 2 tables"),
        (no_image, "holds no image"),
        (unlisted, r"no row for 1 of 121 images, such as 'other.png'"),
        (again, "holds '00000271_000.png' again"),
        (colour, "image is float64 of shape"),
        (names, "name is int64 of shape"),
    ],
)
def test_bad_folders_are_named(tmp_path: Path, spoil: Callable[[Path], None], what: str) -> None:
    spoil(write(tmp_path))
    with pytest.raises(DataError, match=what) as told:
        open_folder(tmp_path)
    assert told.value.fix
    assert str(tmp_path) in told.value.where


def saved(folder: Path, image: Image.Image) -> np.ndarray:
    with_rows(folder, row("a.png", "Mass", 1, "PA"))
    (folder / "images_01").mkdir(exist_ok=True)
    image.save(folder / "images_01" / "a.png")
    found = open_folder(folder)
    return found.read(found.entries, 8)[0, 0]


def test_any_kind_of_png_is_read_in_grey_and_by_area(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8
    wanted = ramp.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    rgba = Image.fromarray(np.dstack([ramp] * 3 + [np.full_like(ramp, 255)]))
    for image in (Image.fromarray(ramp), deep, rgba):
        assert np.abs(saved(tmp_path, image) - wanted).max() <= 1
    dark = Image.fromarray(ramp.astype(np.uint16))
    with pytest.raises(DataError, match="no 16-bit picture has a level above"):
        saved(tmp_path, dark)
    (tmp_path / "images_01" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png: cannot be read"):
        found = open_folder(tmp_path)
        found.read(found.entries, 8)
