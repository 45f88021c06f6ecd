"""Pictures of draws: one for each combination, of vectors, series and images."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcfm_node.api.document import RunName
from dcfm_node.api.run import RunAttribute, RunFacts
from dcfm_node.page.pictures import MAX_COMBINATIONS, SIDE, cells, how_many
from dcfm_node.samples import Samples
from dcfm_node.student.columns import write_npz
from tests.unit.swarm.builders import Run

MANIFEST = Run(2).manifest


def facts(shape: tuple[int, ...], combinations: int = 4) -> RunFacts:
    attributes = tuple(RunAttribute(name=a.name, values=a.values) for a in MANIFEST.attributes)
    return RunFacts(
        run=RunName(name="r", id="0"),
        node="a",
        sample_shape=shape,
        attributes=attributes,
        combinations=combinations,
        held=(),
        held_more=0,
    )


def archive(folder: Path, x: np.ndarray, labels: list[list[int]]) -> Path:
    path = folder / "draws.npz"
    write_npz(path, MANIFEST, Samples(x.astype(np.float32), np.asarray(labels)))
    return path


@pytest.mark.parametrize(
    "shape", [(2,), (7,), (1,), (1, 30), (3, 5), (1, 8, 8), (3, 8, 8), (4, 8, 8), (2, 8, 8)]
)
def test_a_combination_gets_a_picture(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, *shape))
    path = archive(tmp_path, x, [[0, 0], [0, 1]] * 3)
    found = cells(facts(shape), path)
    assert set(found) == {"0-0", "0-1"}
    for content in found.values():
        image = Image.open(io.BytesIO(content))
        assert image.size == ((8, 8) if len(shape) == 3 else (SIDE, SIDE))
        assert len(np.unique(np.asarray(image.convert("RGBA")))) > 1


def test_draws_that_are_no_numbers_still_make_a_picture(tmp_path: Path) -> None:
    path = archive(tmp_path, np.full((2, 2), np.nan), [[0, 0], [1, 1]])
    assert set(cells(facts((2,)), path)) == {"0-0", "1-1"}


def test_the_first_two_numbers_are_across_and_up(tmp_path: Path) -> None:
    x = np.asarray([[0, 0], [10, 10], [10, 0], [0, 10]])
    found = cells(facts((2,)), archive(tmp_path, x, [[0, 0], [0, 0], [0, 0], [0, 1]]))
    image = np.asarray(Image.open(io.BytesIO(found["0-1"])))[..., 3]
    rows, columns = np.nonzero(image)
    assert rows.max() < SIDE / 2  # up is large
    assert columns.max() < SIDE / 2  # left is small


def test_draws_of_another_run_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, np.zeros((2, 3)), [[0, 0], [1, 1]])
    with pytest.raises(ValueError, match="holds other samples"):
        cells(facts((2,)), path)


def test_how_much_is_drawn_is_bounded() -> None:
    assert how_many(facts((3, 8, 8), 60_000)) == MAX_COMBINATIONS
    assert how_many(facts((3, 8, 8), 6)) == 6
    assert how_many(facts((2,), 60_000)) <= 65_536
