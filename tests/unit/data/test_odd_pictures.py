"""Pictures as people have them: what a viewer shows, or a refusal."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from dcfm_node.data.source import load
from dcfm_node.errors import DataError
from tests.unit.data.manifests import manifest
from tests.unit.data.oddities import ALPHA_RUN, COLOUR_RUN, FINDING, RUN, everything, folder, grey


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
    with pytest.raises(DataError, match="looks almost black") as caught:
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
    with pytest.raises(DataError, match="looks almost black"):
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
    with pytest.raises(DataError, match="has transparent pixels"):
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


def linear_grey() -> bytes:
    """A profile of grey levels in proportion to light."""
    white = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    text = b"linear\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0100) + bytes(2),
    }
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = struct.pack(">I", at + len(body))
    head = size + bytes(4) + b"\x02\x10\0\0" + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + white + bytes(128 - len(head) - 12) + struct.pack(">I", len(tags)) + table + body


@pytest.mark.parametrize("bits", [8, 16])
def test_greys_are_shown_through_their_profile(tmp_path: Path, bits: int) -> None:
    levels = np.full((2, 3), 55 * 257 if bits == 16 else 55, f"u{bits // 8}")
    levels[1, 1] = np.iinfo(levels.dtype).max
    Image.fromarray(levels).save(tmp_path / "a.png", icc_profile=linear_grey())
    assert shown(tmp_path)[0, 0, 0] == pytest.approx(128 / 127.5 - 1, abs=0.02)


def test_a_colour_is_as_deep_as_its_highest_level(tmp_path: Path) -> None:
    blue = np.zeros((2, 3, 3), np.uint16)
    blue[..., 2] = 65_535
    png(tmp_path / "a.png", 2, blue.astype(">u2").tobytes())
    assert shown(tmp_path)[0, 0, 0] == pytest.approx(0.114 * 2 - 1, abs=0.01)


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
