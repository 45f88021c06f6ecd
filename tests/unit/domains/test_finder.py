"""The file of a finder: what another site sends is refused unless it is one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from dcfm_node.domains.discovering import MOST_PIXELS, contact_sheet
from dcfm_node.domains.finder import KEY, MAX_HEADER_BYTES, Said, packed, read_finder
from dcfm_node.errors import DataError
from dcfm_node.flow.discovery import Finder

SAID = Said.model_validate_json(
    '{"shape": [3, 4, 4], "width": 8, "factors": ['
    '{"name": "shape", "values": ["a", "b"], "sees": "brightness"},'
    '{"name": "colour", "values": ["rot", "grün", "v3"], "sees": "mean-colour"}]}'
)


def made() -> Finder:
    torch.manual_seed(0)
    return Finder(SAID.shape, SAID.wishes, SAID.width)


def test_a_finder_labels_alike_after_its_file_was_read(tmp_path: Path) -> None:
    finder, x = made(), torch.rand(30, 3, 4, 4) * 2 - 1
    (tmp_path / "f").write_bytes(packed(finder, SAID))
    read = read_finder(tmp_path / "f")
    assert read.said == SAID
    torch.testing.assert_close(read.finder.values(x), finder.values(x))
    assert read_finder(tmp_path / "f", read.digest.upper()).digest == read.digest
    with pytest.raises(DataError, match="is another file: its SHA-256 is"):
        read_finder(tmp_path / "f", "00" * 32)


def tampered(change: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
    parts = {name: part.clone() for name, part in made().state_dict().items()}
    change(parts)
    return bytes(save(parts, metadata={KEY: SAID.model_dump_json(ensure_ascii=True)}))


def about(text: str) -> bytes:
    return bytes(save({"x": torch.zeros(1)}, metadata={KEY: text}))


NAME = "encoders.0.layers.0.weight"
DEVIATION = "encoders.0.deviation"
GIANT = SAID.model_dump_json().replace("[3,4,4]", "[3,40000,40000]")
WIDE = SAID.model_dump_json().replace('"width":8', '"width":9')
HOSTILE = {
    "empty": (b"", "header"),
    "long header": ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + bytes(1 << 17), "64 KiB"),
    "not JSON": ((4).to_bytes(8, "little") + b"{{{{", "is not a finder"),
    "deep JSON": ((60_000).to_bytes(8, "little") + b"[" * 60_000, "is not a finder"),
    "no factors": (bytes(save({"x": torch.zeros(1)})), "says nothing about factors"),
    "giant": (about(GIANT), "numbers"),
    "others' tensors": (about(SAID.model_dump_json()), "not those of its factors"),
    "another width": (about(WIDE), "not those of its factors"),
    "not finite": (tampered(lambda p: p[NAME].fill_(float("nan"))), NAME),
    "huge": (tampered(lambda p: p[NAME].fill_(1e30)), NAME),
    "no deviation": (tampered(lambda p: p[DEVIATION].zero_()), "is not positive"),
    "another type": (tampered(lambda p: p.update({NAME: p[NAME].double()})), NAME),
    "cut": (packed(made(), SAID)[:-3], "is not a finder"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_a_finder_is_refused(tmp_path: Path, case: str) -> None:
    data, why = HOSTILE[case]
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(DataError, match=why):
        read_finder(tmp_path / "f")


def test_a_finder_that_gives_no_probabilities_labels_nothing(tmp_path: Path) -> None:
    """Its numbers are finite, and what it makes of samples is not."""
    (tmp_path / "f").write_bytes(tampered(lambda parts: parts[DEVIATION].fill_(1e-44)))
    finder = read_finder(tmp_path / "f").finder
    with pytest.raises(ValueError, match="something else than probabilities"):
        finder.values(torch.rand(30, 3, 4, 4))


@pytest.mark.parametrize(("shape", "values"), [((3, 1, 300_000), 32), ((3, 64, 64), 1_000)])
def test_a_contact_sheet_stays_small_whatever_a_finder_names(
    shape: tuple[int, ...], values: int
) -> None:
    factor = {"name": "f", "values": [f"v{i}" for i in range(values)], "sees": "mean-colour"}
    said = Said.model_validate_json(json.dumps({"shape": shape, "width": 8, "factors": [factor]}))
    x = np.zeros((2, *shape), np.uint8)
    sheet = contact_sheet(x, np.zeros((2, 1), np.int64), said)
    assert sheet.width * sheet.height <= MOST_PIXELS
    assert sheet.width < 4_096
