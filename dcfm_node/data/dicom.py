"""Single-frame grey DICOM images, as a viewer shows them. Needs pydicom (the extra `medical`).

Only the elements that decide the pixels are parsed: private elements, names and dates of patients
stay unread.
"""

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data.raw import bounded, readable
from dcfm_node.errors import DataError, UserError
from dcfm_node.samples import Floats

if TYPE_CHECKING:
    from pydicom import Dataset

READ = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
"""Keywords of the elements that are read (DICOM PS3.3, C.7.6.3, C.11.1 and C.11.2)."""
DEFLATED, RUNS = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
"""Transfer syntaxes: deflated, and run lengths (RLE Lossless)."""
RUNS_HEAD = 64
"""Bytes that name where the segments of a frame of runs begin."""
MOST_PIXELS, COPIES = 2**26, 2
"""Most pixels of an image, four times those of the largest detectors: compressed, they may take
little of a file. Copies of a file in memory."""
SPARE_BYTES = 2**16
"""Bytes that pixels may take beside twice those of the image."""
_FIX = "export it as a single-frame grey image without compression"


def read_dicom(file: Path) -> Floats:
    """The pixels (height, width) of a DICOM file, from black (-1) to white (+1).

    Rescale or modality table come first, then the window or table of values of interest, then the
    photometric interpretation. Without a window, all values that the stored bits allow are shown.

    Raises:
        DataError: the file is not DICOM, is damaged, compressed in a way that cannot be read, has
            several frames or colour.
        UserError: pydicom is not installed.
    """
    try:
        from pydicom import dcmread  # noqa: PLC0415 - an extra, and heavy
        from pydicom.filereader import read_file_meta_info  # noqa: PLC0415
        from pydicom.pixels.processing import apply_modality_lut  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            "DICOM files need pydicom, which is not installed",
            fix="pip install 'dcfm-node[medical]'",
        ) from error
    with readable(file, Exception, fix=_FIX):  # pydicom raises any exception for a broken file
        bounded([file.stat().st_size], COPIES, file)
        if read_file_meta_info(file).get("TransferSyntaxUID", "") == DEFLATED:
            # pydicom would unpack all of it, however large.
            raise DataError("is deflated", where=str(file), fix=_FIX)
        found = dcmread(file, specific_tags=list(READ))
        _check(file, found)
        if found.file_meta.TransferSyntaxUID == RUNS:
            _check_runs(file, found)
        stored = found.pixel_array
        shown = _shown(found, np.asarray(apply_modality_lut(stored, found), np.float64))
        if not np.isfinite(shown).all():
            raise ValueError("its rescale or window gives something else than numbers")
    if found.PhotometricInterpretation == "MONOCHROME1":
        shown = 1.0 - shown
    return np.asarray(2.0 * shown - 1.0, np.float32)


def _check(file: Path, found: "Dataset") -> None:
    frames = int(found.get("NumberOfFrames", None) or 1)
    kind = str(found.get("PhotometricInterpretation", "missing"))
    height, width = int(found.Rows), int(found.Columns)
    if height * width > MOST_PIXELS:
        what = f"has {height} x {width} pixels, more than {MOST_PIXELS}"
        raise DataError(what, where=str(file), fix="make it smaller")
    if frames != 1:
        raise DataError(f"holds {frames} frames", where=str(file), fix="export one frame of it")
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        what = f"its photometric interpretation is {kind[:40]}, not MONOCHROME1 or MONOCHROME2"
        raise DataError(what, where=str(file), fix=_FIX)
    native = height * width * -(-int(found.BitsAllocated) // 8)
    if (size := len(found.PixelData)) > 2 * native + SPARE_BYTES:
        # Runs that an image has no place for are unpacked before pydicom counts them.
        what = f"has {size} bytes of pixels, and {height} x {width} take {native}"
        raise DataError(what, where=str(file), fix=_FIX)


def _check_runs(file: Path, found: "Dataset") -> None:
    """Refuse runs that unpack to more than the image: two bytes of them can become 128, and
    pydicom counts them when they are unpacked (DICOM PS3.5, annex G)."""
    from pydicom.encaps import get_frame  # noqa: PLC0415

    frame = get_frame(found.PixelData, 0, number_of_frames=1)
    many = min(15, int.from_bytes(frame[:4], "little"))
    begins = struct.unpack_from(f"<{many}L", frame[:RUNS_HEAD], 4)
    ends = (*begins[1:], len(frame))
    plane = int(found.Rows) * int(found.Columns)
    for begin, end in zip(begins, ends, strict=True):
        if unpacked(frame[begin:end], plane + SPARE_BYTES) > plane + SPARE_BYTES:
            what = f"has runs that unpack to more than the {plane} bytes of a plane"
            raise DataError(what, where=str(file), fix=_FIX)


def unpacked(runs: bytes, most: int) -> int:
    """Bytes that runs (PackBits) unpack to, without unpacking them; counted until above `most`."""
    place = found = 0
    while place < len(runs) and found <= most:
        head = runs[place]
        place += 1
        if head < 128:
            found += head + 1
            place += head + 1
        elif head > 128:
            found += 257 - head
            place += 1
    return found


def _shown(found: "Dataset", values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values after the modality transform to shades, 0 (lowest) to 1."""
    if found.get("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi  # noqa: PLC0415

        table = found.VOILUTSequence[0]
        highest = 2.0 ** int(table.LUTDescriptor[2]) - 1.0
        return np.clip(apply_voi(values.astype(np.int64), found) / highest, 0.0, 1.0)
    if found.get("WindowWidth") is not None and found.get("WindowCenter") is not None:
        function = str(found.get("VOILUTFunction", None) or "LINEAR")
        return _windowed(values, _first(found.WindowCenter), _first(found.WindowWidth), function)
    low, high = _limits(found)
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _windowed(
    values: NDArray[np.float64], centre: float, width: float, function: str
) -> NDArray[np.float64]:
    """A window of values (DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if function == "LINEAR" and width >= 1.0:
        return np.clip((values - (centre - 0.5)) / max(width - 1.0, 1e-9) + 0.5, 0.0, 1.0)
    if width <= 0.0 or function not in ("LINEAR_EXACT", "SIGMOID"):
        raise ValueError(f"a window of width {width:g} with the function {function[:40]!r}")
    exact = (values - centre) / width
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(-4.0 * np.clip(exact, -20.0, 20.0))))
    return np.clip(exact + 0.5, 0.0, 1.0)


def _limits(found: "Dataset") -> tuple[float, float]:
    """The lowest and the highest value that the stored bits allow, after the rescale."""
    if found.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(found.ModalityLUTSequence[0].LUTDescriptor[2]) - 1.0
    bits = int(found.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not int(found.PixelRepresentation):
        low, high = 0, 2**bits - 1
    slope, intercept = (
        float(found.get(name, None) if found.get(name, None) is not None else usual)
        for name, usual in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    one, other = low * slope + intercept, high * slope + intercept
    if one == other:
        raise ValueError("a rescale slope of 0")
    return min(one, other), max(one, other)


def _first(value: Any) -> float:
    """Of several windows, viewers show the first."""
    return float(value if isinstance(value, str | int | float) else value[0])
