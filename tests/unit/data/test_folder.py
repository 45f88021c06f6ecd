"""Image folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcfm_node.data.source import SiloData, load
from dcfm_node.data.spec import FolderData
from dcfm_node.errors import DataError
from tests.unit.data.manifests import manifest
from tests.unit.data.oddities import everything

GREY, RGB = manifest(shape=(1, 2, 3)), manifest(shape=(3, 2, 3))


def picture(file: Path, level: int = 0, size: tuple[int, int] = (3, 2), mode: str = "L") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level if mode in ("L", "I;16", "I") else (level, 0, 255)).save(file)
    return file


def spec(folder: Path, index: str | None = None, resize: bool = False) -> FolderData:
    path = None if index is None else Path(index)
    return FolderData(format="folder", path=folder, index=path, resize=resize)


def first_pixels(data: SiloData) -> dict[tuple[int, ...], list[float]]:
    x, c = everything(data)
    return {tuple(label): x[row, :, 0, 0].tolist() for row, label in enumerate(c.tolist())}


def refusal(folder: FolderData) -> DataError:
    with pytest.raises(DataError) as caught:
        load(folder, GREY)
    assert caught.value.fix
    return caught.value


def test_labels_in_folder_names(tmp_path: Path) -> None:
    picture(tmp_path / "digit=3,colour=red" / "a.png", 0)
    picture(tmp_path / "digit=4, colour=blue" / "deeper" / "a.PNG", 255)
    picture(tmp_path / "colour=green" / "digit=5" / "a.bmp", 51)
    (tmp_path / "README.txt").write_text("not an image, and not in a folder")
    (tmp_path / "digit=3,colour=red" / ".DS_Store").write_bytes(b"")
    pixels = first_pixels(load(spec(tmp_path), GREY))
    assert set(pixels) == {(3, 0), (4, 2), (5, 1)}
    assert [pixels[3, 0], pixels[4, 2]] == [[-1.0], [1.0]]
    assert pixels[5, 1] == pytest.approx([-0.6])


def test_labels_in_an_index(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "sub" / "b.png")
    picture(tmp_path / "not-listed.png")
    (tmp_path / "i.csv").write_text(
        '\ufefffile,colour,digit,note\na.png,red,1,"x, y"\nsub/b.png,blue,2,\n', encoding="utf-8"
    )
    assert set(first_pixels(load(spec(tmp_path, "i.csv"), GREY))) == {(1, 0), (2, 2)}


def test_colour_planes(tmp_path: Path) -> None:
    picture(tmp_path / "digit=0,colour=red" / "a.png", 255, mode="RGB")
    picture(tmp_path / "digit=1,colour=red" / "a.png", 0)
    pixels = first_pixels(load(spec(tmp_path), RGB))
    assert pixels == {(0, 0): [1.0, -1.0, 1.0], (1, 0): [-1.0, -1.0, -1.0]}


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    for digit, level in enumerate((0, 65_535, 13_107)):
        picture(tmp_path / f"digit={digit},colour=red" / "a.png", level, mode="I;16")
    pixels = first_pixels(load(spec(tmp_path), GREY))
    assert [pixels[d, 0][0] for d in range(3)] == pytest.approx([-1.0, 1.0, -0.6])


def test_another_size_is_refused_unless_resizing_was_asked_for(tmp_path: Path) -> None:
    picture(tmp_path / "digit=0,colour=red" / "a.png", 51)
    big = picture(tmp_path / "digit=1,colour=red" / "b.png", 255, size=(30, 20))
    error = refusal(spec(tmp_path))
    assert error.where == str(big)
    assert error.what == "is 20 x 30, the run's samples are 2 x 3"
    assert "resize = true" in error.fix
    data = load(spec(tmp_path, resize=True), GREY)
    assert data.train.x.shape[1:] == (1, 2, 3)
    assert first_pixels(data)[1, 0] == pytest.approx([1.0])


def test_resizing_stays_within_the_range(tmp_path: Path) -> None:
    edges = np.zeros((40, 40), np.uint8)
    edges[:, 20:] = 255
    for digit in range(2):
        file = tmp_path / f"digit={digit},colour=red" / "a.png"
        file.parent.mkdir()
        Image.fromarray(edges).save(file)
    data = load(spec(tmp_path, resize=True), manifest(shape=(1, 9, 9)))
    assert (data.train.x.min(), data.train.x.max()) == (-1.0, 1.0)


def test_a_missing_label_is_named(tmp_path: Path) -> None:
    file = picture(tmp_path / "digit=3" / "a.png")
    error = refusal(spec(tmp_path))
    assert error.where == str(file)
    assert error.what == "gives no 'colour'"


def test_an_unknown_label_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "digit=3,colour=red" / "a.png")
    file = picture(tmp_path / "digit=3,colour=rot" / "b.png")
    error = refusal(spec(tmp_path))
    assert error.where == str(file)
    assert error.what == "'rot' is not a value of attribute 'colour'"


def test_a_labelled_file_that_is_no_image_is_not_passed_over(tmp_path: Path) -> None:
    picture(tmp_path / "digit=3,colour=red" / "a.png")
    scan = tmp_path / "digit=3,colour=red" / "b.dcm"
    scan.write_bytes(b"DICM")
    assert refusal(spec(tmp_path)).where == str(scan)


@pytest.mark.parametrize("data", [b"", b"not an image", None])
def test_a_broken_image_is_named(tmp_path: Path, data: bytes | None) -> None:
    file = picture(tmp_path / "digit=3,colour=red" / "a.png", size=(64, 64))
    file.write_bytes(file.read_bytes()[:60] if data is None else data)
    error = refusal(spec(tmp_path, resize=True))
    assert error.where == str(file)
    assert error.what.startswith("cannot be read")


def test_pixels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "digit=3,colour=red" / "a.tif"
    file.parent.mkdir()
    Image.fromarray(np.zeros((2, 3), np.float32)).save(file)
    assert "no known range" in refusal(spec(tmp_path)).what


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("name,digit,colour\na.png,1,red\n", "", "has no column 'file'"),
        ("", "", "has no column 'file'"),
        ("file,digit\na.png,1\n", ":2", "gives no 'colour'"),
        ("file,digit,colour\na.png,1,red\na.png,1\n", ":3", "has no cell for 'colour'"),
        ("file,digit,colour\na.png,1,red\n,1,red\n", ":3", "names no file"),
        ("file,digit,colour\na.png,1,red\nb.png,11,red\n", ":3", "'11' is not a value"),
        ("file,digit,colour\na.png,1,red\n", "", "holds 1 samples"),
    ],
)
def test_an_index_that_is_not_right_is_refused_by_line(
    tmp_path: Path, text: str, line: str, what: str
) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "i.csv").write_text(text)
    error = refusal(spec(tmp_path, "i.csv"))
    assert what in error.what
    if line:
        assert error.where == f"{tmp_path / 'i.csv'}{line}"


def test_an_index_that_names_a_missing_image(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("file,digit,colour\ngone.png,1,red\n")
    error = refusal(spec(tmp_path, "i.csv"))
    assert error.where == str(tmp_path / "gone.png")


def test_no_index_no_folder_no_images(tmp_path: Path) -> None:
    assert refusal(spec(tmp_path, "i.csv")).where == str(tmp_path / "i.csv")
    assert refusal(spec(tmp_path / "none")).what == "the folder does not exist"
    assert refusal(spec(tmp_path)).what == "holds 0 samples"


def test_a_run_that_is_not_on_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sample_shape"):
        load(spec(tmp_path), manifest(shape=(2,)))
