"""DICOM files that the test writes, read as a viewer shows them."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.data.dicom import DEFLATED, RUNS, SPARE_BYTES, read_dicom, unpacked
from dcfm_node.errors import DataError, UserError

pydicom = pytest.importorskip("pydicom", reason="needs the extra medical")

RAMP = np.arange(16, dtype=np.uint16).reshape(4, 4) * 100
SECRET = "a private note"


def written(folder: Path, pixels: np.ndarray = RAMP, **elements: object) -> Path:
    """A file of 12-bit pixels, MONOCHROME2 if nothing else is said."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    found.PatientName = "Doe^Jane"
    found.Rows, found.Columns = pixels.shape[-2:]
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    found.PixelRepresentation = 0
    found.PixelData = pixels.tobytes()
    found.private_block(0x0011, "tests", create=True).add_new(1, "LO", SECRET)
    for name, value in elements.items():
        setattr(found, name, value)
    file = folder / "a.dcm"
    found.save_as(file, enforce_file_format=True)
    return file


def shades(file: Path) -> list[float]:
    found = read_dicom(file)
    assert found.shape == (4, 4)
    assert found.dtype == np.float32
    return ((found.flatten() + 1) / 2).tolist()


def test_without_a_window_the_stored_bits_are_the_range(tmp_path: Path) -> None:
    assert shades(written(tmp_path)) == pytest.approx((RAMP / 4095).flatten().tolist(), abs=1e-6)
    signed = written(tmp_path, RAMP.astype(np.int16) - 800, PixelRepresentation=1)
    wanted = ((RAMP.astype(float) - 800 + 2048) / 4095).flatten()
    assert shades(signed) == pytest.approx(wanted.tolist(), abs=1e-6)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = shades(written(tmp_path))
    inverted = shades(written(tmp_path, PhotometricInterpretation="MONOCHROME1"))
    assert inverted == pytest.approx([1 - shade for shade in plain], abs=1e-6)


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    file = written(tmp_path, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=900.5,
                   WindowWidth=1001)  # fmt: skip
    wanted = np.clip((2.0 * RAMP - 100 - 400) / 1000, 0, 1).flatten()
    assert shades(file) == pytest.approx(wanted.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        ("LINEAR", lambda v: np.clip((v - 699.5) / 399 + 0.5, 0, 1)),
        ("LINEAR_EXACT", lambda v: np.clip((v - 700) / 400 + 0.5, 0, 1)),
        ("SIGMOID", lambda v: 1 / (1 + np.exp(-4 * (v - 700) / 400))),
    ],
)
def test_windows_follow_the_standard(
    tmp_path: Path, function: str, rule: Callable[[np.ndarray], np.ndarray]
) -> None:
    file = written(tmp_path, WindowCenter=[700, 1], WindowWidth=[400, 2], VOILUTFunction=function)
    assert shades(file) == pytest.approx(rule(RAMP.astype(float)).flatten().tolist(), abs=1e-6)


def test_a_table_of_values_of_interest_is_applied(tmp_path: Path) -> None:
    lut = pydicom.Dataset()
    lut.LUTDescriptor = [1600, 0, 16]
    lut.LUTData = (np.arange(1600, dtype=np.uint16) * 40).tobytes()
    lut["LUTData"].VR = "OW"
    lut["LUTDescriptor"].VR = "US"
    file = written(tmp_path, VOILUTSequence=[lut], WindowCenter=1, WindowWidth=2)
    assert shades(file) == pytest.approx((RAMP * 40.0 / 65535).flatten().tolist(), abs=1e-6)


def test_nothing_private_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    usual = pydicom.dcmread

    def watched(*args: object, **named: object) -> object:
        seen.append(usual(*args, **named))
        return seen[0]

    monkeypatch.setattr(pydicom, "dcmread", watched)
    file = written(tmp_path)
    assert SECRET.encode() in file.read_bytes()
    read_dicom(file)
    (found,) = seen
    assert not any(element.tag.is_private for element in found)
    assert "PatientName" not in found


@pytest.mark.parametrize(
    ("elements", "what"),
    [
        ({"NumberOfFrames": 2}, "holds 2 frames"),
        ({"PhotometricInterpretation": "RGB"}, "photometric interpretation is RGB"),
        ({"WindowCenter": 1, "WindowWidth": 0}, "a window of width 0"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "a rescale slope of 0"),
        ({"PixelData": b"short"}, "cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    tmp_path: Path, elements: dict[str, object], what: str
) -> None:
    with pytest.raises(DataError, match=what) as told:
        read_dicom(written(tmp_path, **elements))
    assert told.value.where == str(tmp_path / "a.dcm")
    assert told.value.fix


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no DICOM" * 40)
    with pytest.raises(DataError, match="cannot be read"):
        read_dicom(tmp_path / "a.dcm")


def test_without_pydicom_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match="need pydicom") as told:
        read_dicom(tmp_path / "a.dcm")
    assert "medical" in told.value.fix


def test_a_small_file_does_not_unpack_to_any_size(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    file = written(tmp_path)
    packed = pydicom.dcmread(file)
    packed.file_meta.TransferSyntaxUID = DEFLATED
    pydicom.dcmwrite(file, packed, enforce_file_format=True)
    with pytest.raises(DataError, match="is deflated") as told:
        read_dicom(file)
    assert told.value.fix

    side = 8_193
    packed = pydicom.dcmread(written(tmp_path))
    packed.file_meta.TransferSyntaxUID = RLELossless
    packed.Rows = packed.Columns = side
    runs = b"\x81\x00" * (side * side // 128 + 1)
    halves = [2, 64, 64 + len(runs), *[0] * 13]
    packed.PixelData = encapsulate([np.array(halves, "<u4").tobytes() + runs + runs])
    packed["PixelData"].VR = "OB"
    packed["PixelData"].is_undefined_length = True
    packed.save_as(file, enforce_file_format=True)
    assert file.stat().st_size < side * side / 16
    with pytest.raises(DataError, match=f"has {side} x {side} pixels"):
        read_dicom(file)


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": "nan", "RescaleIntercept": "0"},
        {"WindowCenter": "nan", "WindowWidth": "100"},
        {"WindowCenter": "0", "WindowWidth": "nan", "VOILUTFunction": "SIGMOID"},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_shades_that_are_no_numbers_are_refused(tmp_path: Path, elements: dict[str, str]) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_dicom(written(tmp_path, **elements))


def test_more_pixels_than_an_image_has_are_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="bytes of pixels, and 4 x 4 take 32"):
        read_dicom(written(tmp_path, PixelData=bytes(2**17)))


def runs(*segments: bytes) -> bytes:
    """A frame of run lengths, encapsulated."""
    from pydicom.encaps import encapsulate

    begins, at = [], 64
    for segment in segments:
        begins.append(at)
        at += len(segment)
    head = struct.pack("<16L", len(segments), *begins, *[0] * (15 - len(segments)))
    frame = head + b"".join(segments)
    return encapsulate([frame + bytes(len(frame) % 2)])


def of_runs(folder: Path, *segments: bytes) -> Path:
    file = written(folder)
    found = pydicom.dcmread(file)
    found.file_meta.TransferSyntaxUID = RUNS
    found.PixelData = runs(*segments)
    found["PixelData"].VR = "OB"
    found.save_as(file, enforce_file_format=True)
    return file


def test_run_lengths_are_read_and_those_of_more_than_the_image_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    high, low = (bytes([15]) + bytes(int(v) >> 8 * n & 255 for v in RAMP.flat) for n in (1, 0))
    assert shades(of_runs(tmp_path, high, low)) == pytest.approx(
        (RAMP / 4095).flatten().tolist(), abs=1e-6
    )
    monkeypatch.setattr("pydicom.Dataset.pixel_array", None)  # whatever reads it fails
    bomb = bytes([129, 0]) * (SPARE_BYTES // 128 + 1)
    for segments in ((high, bomb), (bomb, low)):
        with pytest.raises(DataError, match="more than the 16 bytes of a plane"):
            read_dicom(of_runs(tmp_path, *segments))


def test_runs_are_counted_as_they_unpack() -> None:
    rle = pytest.importorskip("pydicom.pixels.decoders.rle")
    rng = np.random.default_rng(0)
    for size in (0, 1, 2, 7, 300):
        found = rng.integers(256, size=size, dtype=np.uint8).tobytes()
        whole = len(rle._rle_decode_segment(found))
        assert whole <= unpacked(found, 10**9) <= whole + 128  # the last run may lack its bytes
    assert unpacked(bytes([129, 0]) * 100, 1_000) <= 1_128
