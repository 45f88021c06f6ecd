"""An image file as numbers, as a viewer shows it.

The picture is turned as its EXIF data says and converted to sRGB if it has another colour profile.
White is +1 and black is -1. Files that viewers show in different ways are refused: several frames,
transparency in a run without an alpha channel, CMYK, pixels without a known range.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from dcfm_node.data.raw import readable
from dcfm_node.errors import DataError
from dcfm_node.samples import Floats

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Number of channels in the run -> Pillow mode."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ALPHA = {"LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
_OPAQUE = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB"}
_WORDS = {"I": "32-bit integer", "F": "floating point", "CMYK": "CMYK", "LAB": "Lab", "HSV": "HSV"}
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
_ORIENTATION_TAG, _TURNED = 274, 5
"""EXIF orientations from 5 on exchange height and width."""
_BITS_TAG, _PHOTOMETRIC_TAG, _WHITE_IS_ZERO = 258, 262, 0
WHITE = 65_535
"""Level of white in 16-bit pictures."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file's pixels."""

    x: Floats
    """(channels, height, width), -1 to 1."""
    deepest: int | None
    """Its highest 16-bit level; None if it has fewer bits."""


def read_picture(
    file: Path,
    shape: tuple[int, ...],
    resize: bool,
    by: Image.Resampling = Image.Resampling.BICUBIC,
) -> Picture:
    """Read an image file as a viewer shows it.

    Args:
        shape: the run's sample_shape; colour is converted to grey and grey to colour.
        resize: resample a picture of another size; False refuses it.
        by: how it is resampled.

    Raises:
        DataError: the file is not an image, is damaged or too large, has another size, or viewers
            show it in different ways.
    """
    channels, height, width = shape
    with _opened(file) as image:
        if sorted(image.size) != sorted((width, height)) and not resize:
            raise _wrong_size(file, image, shape)
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            # Phones write MPO files; viewers show only their first picture.
            raise _refused(file, f"holds {cast(Any, image).n_frames} pictures", "save only one")
        opened = cast(Any, image)
        tags = opened.tag_v2 if image.format == "TIFF" else {}
        deep = image.format in ("PNG", "TIFF") and any(";16" in str(t[3]) for t in opened.tile)
        upright = ImageOps.exif_transpose(image)
    if upright.size != (width, height) and not resize:
        raise _wrong_size(file, upright, shape)
    with readable(file, Exception, fix="save it anew, as PNG"):
        if upright.mode.startswith("I;16"):
            planes, deepest = _sixteen(file, upright, tags, channels)
        else:
            deepest = _top(upright) * (WHITE // 255) if deep else None
            planes = map(_to_unit, _shown(file, upright, channels, deep).split())
        # One plane at a time: floating point takes four times the memory of the picture.
        fitted = [fitted_plane(plane, (width, height), by) for plane in planes]
    # Bicubic resampling overshoots at edges.
    return Picture(np.clip(np.stack(fitted), -1.0, 1.0), deepest)


def picture_shape(file: Path) -> tuple[int, int, int]:
    """(channels, height, width) of an image file as a viewer shows it: one channel for grey, four
    where pixels are transparent, else three.

    Raises:
        DataError: the file is not an image, is damaged or too large.
    """
    with _opened(file) as image:
        turned = image.getexif().get(_ORIENTATION_TAG, 1) >= _TURNED
        width, height = reversed(image.size) if turned else image.size
        channels = 1 if image.mode in _GREY else 3
        if image.mode in _ALPHA or "transparency" in image.info:
            alpha = image.convert("RGBA").getchannel("A")
            channels = 4 if cast(Any, alpha.getextrema())[0] < 255 else channels
        return channels, height, width


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """A decoder may raise any exception for a broken file."""
    with (
        readable(file, Exception, fix="replace it by a whole image file"),
        # Given a path, Pillow maps an uncompressed TIFF into memory and garbles a rotated one.
        file.open("rb") as stream,
        warnings.catch_warnings(),
    ):
        # All other warnings are harmless or lead to an error.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(stream, formats=FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            most = Image.MAX_IMAGE_PIXELS
            raise _refused(file, f"has more than {most} pixels", "make it smaller") from error
        except UnidentifiedImageError as error:
            raise OSError(f"it is not a whole image of {', '.join(FORMATS)}") from error
        with image:
            yield image


def _to_unit(plane: Image.Image) -> Floats:
    """8-bit levels to -1 to 1."""
    return np.asarray(plane, np.float32) * np.float32(2.0 / 255.0) - np.float32(1.0)


def _top(colour: Image.Image) -> int:
    """The highest level of red, green and blue."""
    return max(int(high) for _, high in cast(Any, colour.getextrema())[:3])


def fitted_plane(plane: Floats, size: tuple[int, int], by: Image.Resampling) -> Floats:
    """A plane (height, width) of floating point numbers, resampled to size (width, height)."""
    if plane.shape == size[::-1]:
        return plane
    return np.asarray(Image.fromarray(plane).resize(size, by))


def _sixteen(
    file: Path, image: Image.Image, tags: Any, channels: int
) -> tuple[Iterable[Floats], int | None]:
    """Planes -1 to 1 of 16-bit grey, and its highest level if the file announces all 16 bits."""
    levels: NDArray[Any] = np.asarray(image)
    clear = image.info.get("transparency")
    if clear is not None and (levels == clear).any():
        raise _transparent(file)
    bits = int(np.max(tags.get(_BITS_TAG, 16)))
    grey = levels.astype(np.float32) * np.float32(2.0 / (2**bits - 1)) - np.float32(1.0)
    if tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        grey = -grey
    convert = _conversion(image.info.get("icc_profile") or b"", "L")
    if convert is not None:
        ramp = np.arange(256, dtype=np.uint8)[None]
        curve = _to_unit(convert.apply(Image.fromarray(ramp)).getchannel(0))[0]
        grey = np.interp((grey + 1.0) * 127.5, ramp[0], curve).astype(np.float32)
    planes = [grey] * min(channels, 3) + [np.ones_like(grey)] * (channels == 4)
    return planes, int(levels.max()) if bits == 16 else None


def _shown(file: Path, image: Image.Image, channels: int, deep: bool) -> Image.Image:
    """The image with 8 bits, in the run's mode."""
    alpha = image.mode in _ALPHA or "transparency" in image.info
    if image.mode not in _ALPHA | _OPAQUE:
        what = f"its pixels are {_WORDS.get(image.mode, image.mode)}"
        why = ", which have no known range" if image.mode in ("I", "F") else ""
        raise _refused(
            file, what + why, "save it as 8-bit grey or RGB, in the same way at every site"
        )
    if deep and "transparency" in image.info:
        raise _transparent(file)
    plain = image.convert("RGBA" if alpha else _OPAQUE[image.mode])
    if alpha and channels != 4 and cast(Any, plain.getchannel("A").getextrema())[0] < 255:
        raise _transparent(file)
    profile = image.info.get("icc_profile")
    return (_in_srgb(plain, profile) if profile else plain).convert(MODES[channels])


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB; ignore a broken profile or one for other pixels, as viewers do."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    grey = image.mode == "L"
    convert = _conversion(profile, "L" if grey else "RGB")
    if convert is None:
        return image
    shown = convert.apply(image if grey else image.convert("RGB"))
    if alpha is not None:
        shown.putalpha(alpha)
    return shown


@lru_cache(maxsize=8)
def _conversion(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        there = ImageCms.ImageCmsProfile(BytesIO(profile))
        kind = cast(Any, there.profile).xcolor_space.strip()
        if kind != {"L": "GRAY", "RGB": "RGB"}[mode] or "sRGB" in _described(there):
            return None
        srgb = cast(Any, ImageCms.createProfile("sRGB"))
        return ImageCms.buildTransform(there, srgb, mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None


def _described(profile: ImageCms.ImageCmsProfile) -> str:
    return str(cast(Any, profile.profile).profile_description or "")


def _wrong_size(file: Path, image: Image.Image, shape: tuple[int, ...]) -> DataError:
    _, height, width = shape
    return _refused(
        file,
        f"is {image.height} x {image.width}, the run's samples are {height} x {width}",
        "set resize = true under [data], or choose another sample_shape for the run",
    )


def _transparent(file: Path) -> DataError:
    fix = "put it on an opaque background, or use four channels in the run"
    return _refused(
        file, "has transparent pixels, and the run's samples have no alpha channel", fix
    )


def _refused(file: Path, what: str, fix: str) -> DataError:
    return DataError(what, where=str(file), fix=fix)
