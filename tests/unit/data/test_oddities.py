"""Data as people have it: each oddity is read as a person would, or refused by place with a fix.

Every case says what a person sees. A refusal names its file and, in a table, its line.
"""

import gzip
import io
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from dcfm_node.data import raw
from dcfm_node.data.source import SiloData, holdout_mask, load
from dcfm_node.data.spec import AttributeSource, FolderData, IdxData, NpzData
from dcfm_node.errors import DataError
from tests.unit.data.manifests import manifest

FINDING = ("finding", ("none", "mass", "naïve"))
RUN = manifest(shape=(1, 2, 3), attributes=(FINDING,))
COLOUR_RUN = manifest(shape=(3, 2, 3), attributes=(FINDING,))
ALPHA_RUN = manifest(shape=(4, 2, 3), attributes=(FINDING,))
VECTORS = manifest(shape=(2,), attributes=(FINDING,))


def everything(data: SiloData) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([data.x, data.holdout_x]), np.concatenate([data.c, data.holdout_c])


def grey(level: int, size: tuple[int, int] = (3, 2)) -> Image.Image:
    return Image.new("L", size, level)


def folder(path: Path, index: str | None = None, resize: bool = False) -> FolderData:
    listed = Path(index) if index is not None else None
    return FolderData(format="folder", path=path, index=listed, resize=resize)


# Tables --------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve pictures, i0.png to i11.png, all different."""
    for i in range(12):
        grey(20 * i).save(tmp_path / f"i{i}.png")
    return tmp_path


def told(where: Path, text: str | bytes) -> SiloData:
    data = text if isinstance(text, bytes) else text.encode()
    (where / "labels.csv").write_bytes(data)
    return load(folder(where, "labels.csv"), RUN)


TWO = "file,finding\ni0.png,mass\ni1.png,none\n"


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        "\ufeff" + TWO,
        TWO.replace("\n", "\r\n"),
        TWO.replace("\n", "\r"),
        TWO.replace("\n", "\n\n") + "\n\n",
        "\n" + TWO,
        TWO + ",\n , \n",
        TWO.replace("file,finding", " file , finding "),
        TWO.replace("mass", " mass "),
        TWO.replace("i0.png", " i0.png "),
        TWO.replace("i0.png", "./i0.png"),
        TWO.replace("i0.png", "sub/../i0.png"),
        TWO.replace("mass\n", "mass,\n"),
        TWO[:-1],
        'file,finding,notes\ni0.png,mass,"one line\nand another, with a comma"\ni1.png,none,""\n',
        'file,finding,notes\ni0.png,mass,"5"" lesion"\ni1.png,none,\n',
        'file,finding,notes\ni0.png,mass,5" lesion\ni1.png,none,6" lesion\n',
        'notes,finding,file\n"see i5.png\nand more, and more",mass,i0.png\n,none,i1.png\n',
        '"file","finding"\n"i0.png","mass"\n"i1.png","none"\n',
        ",file,finding,,\n0,i0.png,mass,,\n1,i1.png,none,,\n",
    ],
)
def test_a_table_is_read_as_people_see_it(pictures: Path, text: str) -> None:
    x, c = everything(told(pictures, text))
    found = {round((p[0, 0, 0] + 1) * 127.5): label for p, (label,) in zip(x, c, strict=True)}
    assert found == {0: 1, 20: 0}


SWALLOWED = [f"i{i}.png,{('mass', 'none')[i % 2]},ok" for i in range(12)]


def swallowing(*lines: tuple[int, str]) -> str:
    rows = list(SWALLOWED)
    for number, row in lines:
        rows[number] = row
    return "\n".join(["file,finding,notes", *rows, ""])


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (swallowing((2, 'i2.png,mass,"5 cm lesion')), 4, "has no end"),
        (swallowing((11, 'i11.png,none,"5 cm lesion')), 13, "has no end"),
        (swallowing((2, 'i2.png,mass,"5 cm'), (5, 'i5.png,none,6 cm"')), 4, "what look like rows"),
        (swallowing((2, 'i2.png,mass,"5 cm'), (5, 'i5.png,none,"')), 4, "what look like rows"),
        (swallowing((2, 'i2.png,mass,"5 cm'), (5, 'i5.png,none,6" big')), 4, "no row of CSV"),
        (swallowing((3, '"i3.png,none,ok')), 5, "has no end"),
        ('file,finding,"notes\n' + "\n".join(SWALLOWED), 1, "has no end"),
        ('file,finding,"notes\ni0.png,mass,"\n', 1, "what look like rows"),
        ('notes,finding,file\n"a\nb,none,i1.png\nc",mass,i0.png\n', 2, "what look like rows"),
        ('file,finding,notes\ni0.png,mass,"ok\ngone.png,none,ok"\n', 2, "what look like rows"),
        (
            'notes,finding,file\n5,none,i0.png\nlesion,"mass,i1.png\n6,none",i2.png\n',
            3,
            "what look like rows",
        ),
        ("file,finding,finding\ni0.png,mass,none\n", 1, "two columns 'finding'"),
        ("file,finding, finding\ni0.png,mass,none\n", 1, "two columns 'finding'"),
        ("file,file,finding\ni0.png,i1.png,none\n", 1, "two columns 'file'"),
        ("file,finding,a,a\ni0.png,none,,\n", 1, "two columns 'a'"),
        (TWO + "i0.png,none\n", 4, "line 2 lists already"),
        (TWO + "./i0.png,none\n", 4, "line 2 lists already"),
        (TWO + "hard.png,none\n", 4, "line 2 lists already"),
        (TWO + "soft.png,none\n", 4, "line 2 lists already"),
        (TWO + "through/i1.png,none\n", 4, "line 3 lists already"),
        ("file,finding,notes\ni0.png,mass\n", 2, "2 cells for 3 columns"),
        ("file,finding\ni0.png,mass,none\n", 2, "3 cells for 2 columns"),
        ("file,finding\ni0.png,mass, a note\n", 2, "3 cells for 2 columns"),
        ("file,finding\ni0.png\n", 2, "says nothing of 'finding'"),
        ("file,finding\n\n\ni0.png,\n", 4, "says nothing of 'finding'"),
        ("file,finding\ni0.png,  \n", 2, "says nothing of 'finding'"),
        ("file,Finding\ni0.png,mass\n", 2, "says nothing of 'finding'"),
        ("file,finding\n,mass\n", 2, "names no file"),
        ("file,finding\ni0.png,ma\0ss\n", 2, "NUL"),
        (b"file,finding\ni0.png,mass\ni1.png,na\xefve\n", 3, "not text in UTF-8"),
        (b"\xef\xbb\xbffile,finding\r\ni0.png,mass\r\ni1.png,na\xefve\n", 3, "not text in UTF-8"),
        (TWO.encode("utf-16"), 0, "UTF-16"),
        (TWO.encode("utf-16-le"), 1, "NUL"),
        (TWO.replace(",", ";"), 0, "semicolons part its columns"),
        (TWO.replace(",", "\t"), 0, "tabs part its columns"),
        (TWO.replace("file", "File"), 0, "no column 'file', only 'File', 'finding'"),
        ("file,finding\n/etc/passwd,mass\n", 2, "outside"),
        ("file,finding\n../i0.png,mass\n", 2, "outside"),
        ("file,finding\nsub/../../i0.png,mass\n", 2, "outside"),
        ("file,finding\n.,mass\n", 2, "no file"),
        ("file,finding\nthrough,mass\n", 2, "no file"),
    ],
)
def test_a_table_is_refused_by_line(
    pictures: Path, text: str | bytes, line: int, what: str
) -> None:
    (pictures / "hard.png").hardlink_to(pictures / "i0.png")
    (pictures / "soft.png").symlink_to("i0.png")
    (pictures / "through").symlink_to(".")
    with pytest.raises(DataError) as caught:
        told(pictures, text)
    assert what in caught.value.what
    assert caught.value.where == str(pictures / "labels.csv") + (f":{line}" if line else "")
    assert caught.value.fix


def test_a_pipe_or_a_missing_file_in_a_table_is_named(pictures: Path) -> None:
    os.mkfifo(pictures / "pipe.png")
    with pytest.raises(DataError, match=r"labels\.csv:2: names .*pipe\.png', which is no file"):
        told(pictures, "file,finding\npipe.png,mass\n")
    with pytest.raises(DataError, match=r"labels\.csv:3 lists") as caught:
        told(pictures, "file,finding\ni0.png,mass\nsub\\i1.png,mass\n")
    assert caught.value.where == str(pictures / "sub\\i1.png")
    assert "with / between folders" in caught.value.fix


# Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["NFC", "NFD"])
@pytest.mark.parametrize("here", ["NFC", "NFD"])
def test_names_are_the_same_in_either_form_of_unicode(
    tmp_path: Path, there: Any, here: Any
) -> None:
    stored, written = (unicodedata.normalize(form, "naïve") for form in (there, here))
    run = manifest(shape=(1, 2, 3), attributes=(("finding", ("none", written)),))
    (tmp_path / stored).mkdir()
    grey(0).save(tmp_path / stored / f"{stored}.png")
    grey(9).save(tmp_path / "b.png")
    table = f"file,{stored}\n{written}/{written}.png,{stored}\nb.png,none\n"
    (tmp_path / "labels.csv").write_text(table)
    source = {"finding": AttributeSource(column=written)}
    spec = folder(tmp_path, "labels.csv").model_copy(update={"attributes": source})
    assert sorted(everything(load(spec, run))[1][:, 0].tolist()) == [0, 1]

    tree = tmp_path / "tree"
    for i, (label, said) in enumerate([(stored, "none"), (stored, stored), (written, "none")]):
        path = tree / str(i) / f"{label}={said}"
        path.mkdir(parents=True)
        grey(i).save(path / "a.png")
    spec = folder(tree).model_copy(update={"attributes": source})
    assert sorted(everything(load(spec, run))[1][:, 0].tolist()) == [0, 0, 1]

    np.savez(tmp_path / "d.npz", **{stored: [stored, "none"], "x": np.eye(2)})
    vectors = manifest(shape=(2,), attributes=(("finding", ("none", written)),))
    npz = NpzData(format="npz", path=tmp_path / "d.npz", attributes=source)
    assert sorted(everything(load(npz, vectors))[1][:, 0].tolist()) == [0, 1]
    mapped = {"finding": AttributeSource(column=written, values={written: "none"})}
    npz = npz.model_copy(update={"attributes": mapped})
    assert everything(load(npz, vectors))[1][:, 0].tolist() == [0, 0]


def test_values_that_differ_in_form_alone_are_told_apart(tmp_path: Path) -> None:
    forms = tuple(unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    run = manifest(shape=(2,), attributes=(("finding", forms),))
    np.savez(tmp_path / "d.npz", x=np.eye(2), finding=forms)
    data = load(NpzData(format="npz", path=tmp_path / "d.npz"), run)
    assert sorted(everything(data)[1][:, 0].tolist()) == [0, 1]


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "finding=mass" / os.fsdecode(b"caf\xe9.png")
    path.parent.mkdir()
    grey(0).save(path)
    path.with_name("b.png").write_bytes(b"")
    path.write_bytes(b"broken")
    path.with_name("b.png").unlink()
    with pytest.raises(DataError) as caught:
        load(folder(tmp_path), RUN)
    assert r"caf\xe9.png" in caught.value.where
    str(caught.value).encode("utf-8")


# Folders -------------------------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two pictures in folders named by label."""
    for i, name in enumerate(["none", "mass"]):
        (tmp_path / f"finding={name}").mkdir()
        grey(i).save(tmp_path / f"finding={name}" / "a.png")
    return tmp_path


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found"]
)
@pytest.mark.parametrize("where", ["", "finding=mass"])
def test_what_file_servers_hide_is_no_data(labelled: Path, name: str, where: str) -> None:
    hidden = labelled / where / name
    (hidden / "finding=none").mkdir(parents=True)
    grey(9).save(hidden / "finding=none" / "a-checkpoint.png")
    grey(9).save(hidden / "b.png")
    for junk in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.png"):
        (labelled / "finding=mass" / junk).write_bytes(b"junk")
    data = load(folder(labelled), RUN)
    assert len(everything(data)[0]) == 2
    assert not data.warnings[1:]
    (note,) = data.notes
    assert "5 hidden files and folders were passed over" in note
    assert name in note


def test_a_hidden_folder_may_hold_all_of_it(labelled: Path) -> None:
    hidden = labelled / ".cache"
    hidden.mkdir()
    (labelled / "finding=none").rename(hidden / "finding=none")
    (labelled / "finding=mass").rename(hidden / "finding=mass")
    data = load(folder(hidden), RUN)
    assert len(everything(data)[0]) == 2
    assert data.notes == ()


def test_linked_folders_and_files_are_followed(labelled: Path, tmp_path_factory: Any) -> None:
    store = tmp_path_factory.mktemp("store")
    grey(7).save(store / "c.png")
    (labelled / "finding=none" / "linked").symlink_to(store)
    (labelled / "finding=mass" / "e.png").symlink_to("d")
    grey(8).save(labelled.parent / "d.png")
    (labelled / "finding=mass" / "e.png").unlink()
    (labelled / "finding=mass" / "e.png").symlink_to(labelled.parent / "d.png")
    assert len(everything(load(folder(labelled), RUN))[0]) == 4


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda f: (f / "loop").symlink_to(f), "is the same as"),
        (lambda f: (f / "finding=mass" / "loop").symlink_to(f), "is the same as"),
        (lambda f: (f / "again").symlink_to(f / "finding=mass"), "is the same as"),
        (lambda f: (f / "finding=mass" / "b.png").symlink_to("a.png"), "is the same as"),
        (lambda f: (f / "finding=mass" / "b.png").hardlink_to(f / "finding=none/a.png"), "same as"),
        (lambda f: (f / "finding=mass" / "b.png").symlink_to("gone.png"), "is a link to nothing"),
        (lambda f: (f / "gone").symlink_to("nowhere"), "is a link to nothing"),
        (lambda f: (f / "ring").symlink_to("ring"), "symbolic links"),
        (lambda f: os.mkfifo(f / "finding=mass" / "b.png"), "is neither a file nor a folder"),
        (lambda f: (f / "finding=mass" / "finding=none").mkdir(), "names 'finding' twice"),
        (lambda f: (f / "finding=mass" / "x=1, finding =mass").mkdir(), "names 'finding' twice"),
        (lambda f: (f / "finding=mass,finding=none").mkdir(), "names 'finding' twice"),
    ],
)
def test_a_folder_that_is_not_plain_is_refused_by_name(
    labelled: Path, make: Callable[[Path], Any], what: str
) -> None:
    before = set(labelled.rglob("*"))
    make(labelled)
    with pytest.raises(DataError, match=what) as caught:
        load(folder(labelled), RUN)
    (made,) = set(labelled.rglob("*")) - before
    known = {str(made), str(labelled / "finding=mass"), str(labelled / "finding=none" / "a.png")}
    known.add(str(labelled / "finding=mass" / "a.png"))
    assert caught.value.where in known
    assert caught.value.fix


# Pictures ------------------------------------------------------------------------------------


def shown(tmp_path: Path, run: Any = RUN, name: str = "a.png") -> np.ndarray:
    """The picture beside a black one, as the run has it."""
    (tmp_path / "finding=mass").mkdir(exist_ok=True)
    (tmp_path / name).rename(tmp_path / "finding=mass" / name)
    (tmp_path / "finding=none").mkdir()
    _, height, width = run.sample_shape
    grey(3, (width, height)).save(tmp_path / "finding=none" / "a.png")
    x, c = everything(load(folder(tmp_path), run))
    return x[c[:, 0] == 1][0]


CORNER = np.zeros((2, 3), np.uint8)
CORNER[0, 0] = 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path, orientation: int, name: str) -> None:
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).T,
        8: np.rot90,
    }[orientation]
    stored = np.kron(CORNER, np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if name == "a.webp" else {"quality": 100} if "jp" in name else {}
    picture = Image.fromarray(stored)
    (picture.convert("RGB") if name == "a.webp" else picture).save(
        tmp_path / name, exif=exif, **options
    )
    expected = turn(stored) / 127.5 - 1
    run = manifest(shape=(1, *expected.shape), attributes=(FINDING,))
    assert np.allclose(shown(tmp_path, run, name)[0], expected, atol=0.1)


def test_a_turned_picture_is_of_the_turned_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    grey(0).save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(DataError, match="is 3 x 2, the run's samples are 2 x 3"):
        shown(tmp_path, name="a.jpg")


LEVELS = np.array([[0, 65_535, 13_107], [40_000, 1, 65_534]], np.uint16)


def tiff(path: Path, levels: np.ndarray, photometric: int, order: str = "<") -> None:
    """One strip of 16-bit grey."""
    height, width = levels.shape
    data = levels.astype(f"{order}u2").tobytes()
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, photometric)]
    tags += [(273, 8), (277, 1), (278, height), (279, len(data))]
    entries = b"".join(struct.pack(f"{order}HHII", t, 4, 1, v) for t, v in tags)
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    end = struct.pack(f"{order}I", 0)
    path.write_bytes(head + data + struct.pack(f"{order}H", len(tags)) + entries + end)


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_sixteen_bits_of_either_sense(tmp_path: Path, white_is_zero: bool) -> None:
    tiff(tmp_path / "a.tif", LEVELS, 0 if white_is_zero else 1)
    expected = LEVELS / 32_767.5 - 1
    seen = shown(tmp_path, name="a.tif")
    assert np.allclose(seen[0], -expected if white_is_zero else expected, atol=1e-4)


def test_sixteen_bits_of_the_other_byte_order(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", LEVELS, 1, ">")
    assert np.allclose(shown(tmp_path, name="a.tif")[0], LEVELS / 32_767.5 - 1, atol=1e-4)


@pytest.mark.parametrize("levels", [LEVELS, LEVELS.astype(np.uint8)])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_white_is_zero_however_it_is_packed(
    tmp_path: Path, levels: np.ndarray, compression: Any
) -> None:
    options = {"compression": compression, "tiffinfo": {262: 0}}
    Image.fromarray(levels).save(tmp_path / "a.tif", **options)
    white = np.iinfo(levels.dtype).max
    with Image.open(tmp_path / "a.tif") as there:
        assert cast(Any, there).tag_v2[262] == 0
        stored = np.asarray(there) if levels is LEVELS else white - np.asarray(there)
    assert np.allclose(shown(tmp_path, name="a.tif")[0], 1 - stored / (white / 2), atol=1e-4)


def test_sixteen_bits_in_a_run_with_alpha_are_opaque(tmp_path: Path) -> None:
    Image.fromarray(LEVELS).save(tmp_path / "a.png")
    seen = shown(tmp_path, ALPHA_RUN)
    assert (seen[3] == 1.0).all()
    assert np.allclose(seen[:3], LEVELS / 32_767.5 - 1, atol=1e-4)


@pytest.mark.parametrize("top", [255, 1_023, 4_095, 16_383])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_fewer_bits_in_sixteen_are_refused(tmp_path: Path, top: int, kind: str) -> None:
    Image.fromarray(LEVELS // (65_535 // top)).save(tmp_path / f"a.{kind}")
    with pytest.raises(DataError, match="shows as all but black") as caught:
        shown(tmp_path, name=f"a.{kind}")
    assert caught.value.where.endswith(f"finding=mass/a.{kind}")
    assert f"by {65_536 // (top + 1)} if" in caught.value.fix


def png(path: Path, colour: int, pixels: bytes, *chunks: tuple[bytes, bytes]) -> None:
    """A 3 x 2 PNG of 16 bits a channel, which Pillow doesn't write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 3, 2, 16, colour, 0, 0, 0)
    half = len(pixels) // 2
    rows = b"\0" + pixels[:half] + b"\0" + pixels[half:]
    middle = b"".join(chunk(kind, data) for kind, data in chunks)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + middle
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_sixteen_bits_in_colour(tmp_path: Path) -> None:
    rgb = np.stack([LEVELS, LEVELS[::-1], LEVELS[:, ::-1]], axis=-1)
    png(tmp_path / "a.png", 2, rgb.astype(">u2").tobytes())
    assert np.allclose(
        shown(tmp_path, COLOUR_RUN), rgb.transpose(2, 0, 1) / 32_767.5 - 1, atol=0.01
    )


def test_twelve_bits_in_sixteen_in_colour_are_refused(tmp_path: Path) -> None:
    rgb = np.stack([LEVELS // 16] * 3, axis=-1)
    png(tmp_path / "a.png", 2, rgb.astype(">u2").tobytes())
    with pytest.raises(DataError, match="shows as all but black"):
        shown(tmp_path, COLOUR_RUN)


def with_alpha(alpha: int) -> Image.Image:
    image = Image.new("RGBA", (3, 2), (200, 100, 50, 255))
    image.putpixel((1, 1), (200, 100, 50, alpha))
    return image


def palette(clear: bool) -> Image.Image:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    if clear:
        image.info["transparency"] = 1
    return image


def saved_palette(path: Path, clear: bool) -> None:
    options = {"transparency": 1} if clear else {}
    palette(False).save(path, **options)


TRANSPARENT: list[tuple[str, Callable[[Path], Any]]] = [
    ("a.png", lambda p: with_alpha(254).save(p)),
    ("a.webp", lambda p: with_alpha(0).save(p, lossless=True)),
    ("a.tif", lambda p: with_alpha(0).save(p)),
    ("a.png", lambda p: with_alpha(0).convert("LA").save(p)),
    ("a.png", lambda p: saved_palette(p, True)),
    ("a.gif", lambda p: saved_palette(p, True)),
    ("a.png", lambda p: grey(7).save(p, transparency=7)),
    ("a.png", lambda p: Image.new("RGB", (3, 2), (1, 2, 3)).save(p, transparency=(1, 2, 3))),
    ("a.png", lambda p: png(p, 0, LEVELS.astype(">u2").tobytes(), (b"tRNS", b"\xff\xff"))),
    ("a.png", lambda p: png(p, 4, bytes(6 * 4), *[])),
]


@pytest.mark.parametrize("case", range(len(TRANSPARENT)))
def test_a_transparent_picture_is_refused_where_the_run_has_no_alpha(
    tmp_path: Path, case: int
) -> None:
    name, write = TRANSPARENT[case]
    write(tmp_path / name)
    with pytest.raises(DataError, match="is transparent in part"):
        shown(tmp_path, COLOUR_RUN, name)


@pytest.mark.parametrize("kind", ["RGBA", "P", "L"])
def test_an_opaque_picture_is_read_whatever_it_could_have_been(tmp_path: Path, kind: str) -> None:
    if kind == "P":
        saved_palette(tmp_path / "a.png", False)
    elif kind == "L":
        grey(7).save(tmp_path / "a.png", transparency=9)
    else:
        with_alpha(255).save(tmp_path / "a.png")
    level = [7, 7, 7] if kind == "L" else [200, 100, 50]
    seen = shown(tmp_path, COLOUR_RUN)
    assert seen[:, 1, 1] == pytest.approx([v / 127.5 - 1 for v in level], abs=1e-5)


def test_a_run_with_alpha_keeps_it(tmp_path: Path) -> None:
    with_alpha(51).save(tmp_path / "a.png")
    seen = shown(tmp_path, ALPHA_RUN)
    assert seen[3].ravel().tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0, -0.6, 1.0])


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_several_pictures_in_a_file_are_refused(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (3, 2), (v, v, v)) for v in (0, 200)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="holds 2 pictures"):
        shown(tmp_path, name=name)


def test_of_a_phone_s_pictures_in_one_file_the_first_is_shown(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (3, 2), (v, v, v)) for v in (255, 0)]
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:])
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    assert shown(tmp_path, name="a.jpg").min() > 0.95


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "F", "I"])
def test_colours_and_ranges_that_viewers_differ_over_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="its pixels are"):
        shown(tmp_path, name="a.tif")


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(CORNER).convert("1").save(tmp_path / "a.png")
    assert shown(tmp_path)[0].ravel().tolist() == [1, -1, -1, -1, -1, -1]


def swapped() -> bytes:
    """A profile whose red is sRGB's green and whose green is its red."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(struct.unpack(">I", data[128:132])[0]):
        at = 132 + 12 * i
        name = bytes(data[at : at + 4])
        data[at : at + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_colours_are_shown_through_their_profile(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "a.png", icc_profile=swapped())
    assert shown(tmp_path, COLOUR_RUN)[:, 0, 0] == pytest.approx([-1, 1, -1], abs=0.05)


@pytest.mark.parametrize("profile", [b"nonsense", b"", "sRGB", "grey"])
def test_a_profile_that_changes_nothing(tmp_path: Path, profile: bytes | str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"icc_profile": profile if isinstance(profile, bytes) else srgb}
    mode, level = ("L", 90) if profile == "grey" else ("RGB", (90, 90, 90))
    Image.new(mode, (3, 2), level).save(tmp_path / "a.png", **options)
    assert np.allclose(shown(tmp_path, COLOUR_RUN), 90 / 127.5 - 1, atol=1e-5)


def test_a_picture_of_a_page_s_size_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    run = manifest(shape=(1, 2, 3), attributes=(FINDING,))
    for size in ((40, 40), (400, 400)):
        (tmp_path / "finding=mass").mkdir(exist_ok=True)
        grey(0, size).save(tmp_path / "finding=mass" / "a.png")
        with pytest.raises(DataError, match="more than 1000 pixels") as caught:
            load(folder(tmp_path, resize=True), run)
        assert "smaller" in caught.value.fix


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpg", "png", "ppm", "tif", "webp"])
def test_a_damaged_picture_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "finding=mass").mkdir()
    file = tmp_path / "finding=mass" / f"a.{kind}"
    Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(file)
    whole = file.read_bytes()
    run, refused = manifest(shape=(3, 16, 16), attributes=(FINDING,)), 0
    damaged = [whole[:n] for n in range(0, len(whole) - 8, max(1, len(whole) // 40))]
    places = range(0, len(whole), max(1, len(whole) // 80))
    damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in places]
    for data in damaged:
        file.write_bytes(data)
        with pytest.raises(DataError) as caught:
            load(folder(tmp_path), run)  # one sample is refused too, once it could be read
        refused += "samples" not in caught.value.what.split()[-1:]
    assert refused > 20


def test_a_text_in_a_picture_is_bounded(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("bomb", "0" * 2**22, zip=True)
    grey(7).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(DataError, match="cannot be read"):
        shown(tmp_path)


# Duplicates ----------------------------------------------------------------------------------


def test_samples_that_are_alike_are_on_one_side_of_the_split(tmp_path: Path) -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(40, 2)), 3, axis=0)
    labels = np.array(["none", "mass"])[np.arange(120) % 2]
    np.savez(tmp_path / "d.npz", x=x, finding=labels)
    data = load(NpzData(format="npz", path=tmp_path / "d.npz", holdout=0.25), VECTORS)
    assert len(data.holdout_x) == 30
    assert not set(map(tuple, data.x.tolist())) & set(map(tuple, data.holdout_x.tolist()))
    (note,) = data.notes
    assert "80 of 120 samples repeat an earlier one, 40 under other labels" in note
    assert "row 1, which is" in note
    assert not data.warnings


def test_where_all_samples_are_alike_it_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.tile([[1.0, -1.0]], (9, 1)), finding=["none"] * 9)
    data = load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    assert (len(data.x), len(data.holdout_x)) == (8, 1)
    assert "all samples are the same" in data.warnings[0]


def test_without_repeats_the_split_is_what_it_was() -> None:
    c = np.arange(30)[:, None] % 3
    assert np.array_equal(holdout_mask(c, 0.2, 1), holdout_mask(c, 0.2, 1, np.arange(30)))


# Labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "what", "fix"),
    [
        ([1, 2, 3, 1], "3 is not a value", "subtract 1, if the labels count from 1"),
        ([0, 2, 3, 1], "3 is not a value", "an index from 0 to 2"),
        ([0, -1, 1, 1], "-1 is not a value", "an index from 0 to 2"),
        ([0.0, 1.0, 0.0, 1.0], "stored as float64", "labels.astype(int)"),
        ([True, False, True, False], "stored as bool", "labels.astype(int)"),
        ([b"none", b"mass", b"mass", b"none"], "stored as |S4", "labels.astype(str)"),
        (np.eye(3)[[0, 1, 2, 0]], "shape (4, 3) for 4 samples", "argmax(axis=1)"),
        (np.zeros((4, 1), int), "shape (4, 1) for 4 samples", "labels[:, 0]"),
        (np.array(0), "shape () for 4 samples", "one value per sample"),
        (np.array([0, 1, 1j, 0]), "stored as complex128", "labels.astype(int)"),
        (np.zeros(4, "datetime64[D]"), "stored as datetime64[D]", "labels.astype(int)"),
        (["none", "", "mass", "none"], "'' is not a value", "none, mass, naïve"),
    ],
)
def test_labels_that_are_no_positions_or_values_are_refused(
    tmp_path: Path, labels: Any, what: str, fix: str
) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(8.0).reshape(4, 2), finding=labels)
    with pytest.raises(DataError) as caught:
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    assert what in caught.value.what
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("labels", "values", "warned"),
    [
        ([1, 2, 1, 2], {}, True),
        ([2, 2, 2, 2], {}, True),
        ([0, 2, 2, 2], {}, False),
        (["mass"] * 4, {}, False),
        ([1, 2, 1, 2], {"1": "mass", "2": "naïve"}, False),
    ],
)
def test_positions_that_may_count_from_one_are_told(
    tmp_path: Path, labels: Any, values: dict[str, str], warned: bool
) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(8.0).reshape(4, 2), finding=labels)
    source = {"finding": AttributeSource(values=values)}
    spec = NpzData(format="npz", path=tmp_path / "d.npz", attributes=source)
    found = load(spec, VECTORS).warnings
    assert len(found) == warned
    if warned:
        assert "no label of attribute 'finding' is 0" in found[0]
        assert "2 as 'naïve'" in found[0]
        assert "2 for 'mass'" in found[0]
        assert "[data.attributes.finding.values]" in found[0]


# Archives ------------------------------------------------------------------------------------

XS = np.random.default_rng(0).normal(size=(6, 2))
HUES = np.array(["none", "mass", "naïve"] * 2)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.asfortranarray(XS)},
        {"x": XS.astype(">f8")},
        {"x": XS.astype("<f2")},
        {"x": XS, "finding": np.array([0, 1, 2] * 2, ">i8")},
        {"x": XS, "finding": HUES.astype(">U9")},
        {"x": XS, "finding": np.array([0, 1, 2] * 2, np.uint64)},
        {"x": XS, "": np.zeros(3), "extra": np.array([None, {}], object)},
        {"x": XS, "finding": np.array([f" {hue} " for hue in HUES])},
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_is_read_however_it_was_written(
    tmp_path: Path, arrays: dict[str, Any], save: Any
) -> None:
    with (tmp_path / "d.npz").open("wb") as stream:
        save(stream, **({"finding": HUES} | arrays))
    x, c = everything(load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS))
    order = np.argsort(x[:, 0])
    assert np.allclose(x[order], XS[np.argsort(XS[:, 0])], atol=1e-3)
    assert sorted(c[:, 0].tolist()) == [0, 0, 1, 1, 2, 2]


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    said = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, said)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"x.npy": header((10**12, 2))}, "its header says 8000000000000"),
        ({"x.npy": header((6, 2)) + bytes(47)}, "holds 47 bytes, and its header says 48"),
        ({"x.npy": header((6, 2)) + bytes(49)}, "holds 49 bytes, and its header says 48"),
        ({"x.npy": header((-6, -2)) + bytes(48)}, "cannot be read"),
        ({"x.npy": header((6, 2), "|O") + bytes(96)}, "holds Python objects"),
        ({"x.npy": b"\x93NUMPY\x09\x00" + bytes(99)}, "cannot be read"),
        ({"x.npy": b""}, "cannot be read"),
        ({"x.npy": header((6, 2)) + bytes(48), "x": b""}, "holds two arrays 'x'"),
        ({"x.npy": header((6, 3)) + bytes(72)}, "samples have shape [3]"),
        ({"x.npy": header((0, 2))}, "holds 0 samples"),
        ({"x.npy": header((6, 2), "<c8") + bytes(96)}, "stored as complex64"),
        ({"x.npy": header((6, 2), "|b1") + bytes(12)}, "stored as bool"),
        ({"x.npy": header((6, 2), "<M8[D]") + bytes(96)}, "stored as datetime64"),
    ],
)
def test_an_archive_that_is_not_what_it_says_is_refused(
    tmp_path: Path, entries: dict[str, bytes], what: str
) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        archive.writestr("finding.npy", header((6,), "<i8") + bytes(48))
    with pytest.raises(DataError) as caught:
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    assert what in caught.value.what
    assert caught.value.fix


def test_the_same_member_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", header((6, 2)) + bytes(48))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", header((6, 2)) + bytes(48))
    with pytest.raises(DataError, match="holds two arrays 'x'"):
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)


def test_what_does_not_fit_in_memory_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 200_000
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((many, 2), np.float16), finding=["none"])
    np.savez_compressed(tmp_path / "e.npz", x=np.zeros((many, 2)), finding=np.zeros(many, int))
    images = bytes((0, 0, 8, 3)) + struct.pack(">III", many, 2, 3) + bytes(many * 6)
    labels = bytes((0, 0, 8, 1)) + struct.pack(">I", many) + bytes(many)
    (tmp_path / "x.gz").write_bytes(gzip.compress(images))
    (tmp_path / "y.gz").write_bytes(gzip.compress(labels))
    assert (tmp_path / "x.gz").stat().st_size < 10_000
    idx = IdxData(format="idx", path=tmp_path / "x.gz", labels=tmp_path / "y.gz")
    monkeypatch.setattr(raw, "memory", lambda: 1_000_000)
    with pytest.raises(DataError, match="attribute 'finding' has shape"):
        load(NpzData(format="npz", path=tmp_path / "d.npz"), VECTORS)
    with pytest.raises(DataError, match="announces 48"):
        load(NpzData(format="npz", path=tmp_path / "e.npz"), VECTORS)
    with pytest.raises(DataError, match="announces"):
        load(idx, RUN)
    for i in range(2):
        (tmp_path / f"finding={FINDING[1][i]}").mkdir()
        grey(i).save(tmp_path / f"finding={FINDING[1][i]}" / "a.png")
    monkeypatch.setattr(raw, "memory", lambda: 47)
    with pytest.raises(DataError, match="announces 48 bytes"):
        load(folder(tmp_path), RUN)


def test_there_is_memory() -> None:
    assert 2**28 < raw.memory() < 2**50


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero")])
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "d"
    make(path)
    for spec in (
        NpzData(format="npz", path=path),
        IdxData(format="idx", path=path, labels=path),
        folder(tmp_path, "d"),
    ):
        with pytest.raises(DataError, match="neither a file nor a folder"):
            load(spec, RUN)
