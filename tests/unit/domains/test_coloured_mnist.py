"""Coloured MNIST from four small files of the same form."""

import gzip
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dcfm_node.domains.coloured_mnist import SIDE, ColouredMnist, images, reduced
from dcfm_node.domains.colours import TEN
from dcfm_node.domains.dealing import held_combinations
from dcfm_node.domains.settings import ColouredMnistSettings
from dcfm_node.errors import DataError, UserError
from tests.unit.domains.idx_files import bars, idx, split_of, write

PARTITIONS = pytest.mark.parametrize("partition", ["iid", "noniid"])
MNIST = Path(os.environ.get("DCFM_DATA", Path(__file__).parents[4] / "shared" / "data")) / "mnist"


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def keys(x):
    """Each image's bytes."""
    return [image.tobytes() for image in x]


def test_every_combination_occurs_equally_often_and_no_image_twice(folder):
    for data, each in zip(images(folder, 14), (2, 1), strict=True):
        assert data.x.dtype == np.float32
        assert data.c.dtype == np.int64
        assert data.x.shape == (100 * each, 3, 14, 14)
        assert set(Counter(map(tuple, data.c.tolist())).values()) == {each}
        assert data.x.min() == -1
        assert data.x.max() <= 1
        grey = data.x.max(axis=1).reshape(len(data.x), -1)
        assert len(np.unique(grey / grey.max(axis=1, keepdims=True), axis=0)) == len(grey)


def test_images_show_their_digit_in_their_colour(folder):
    train, _ = images(folder, 14)
    for image, (digit, colour) in zip(train.x, train.c, strict=True):
        light = (image + 1) / 2
        assert light.max(axis=(0, 2)).nonzero()[0].tolist() == [2 + digit]
        rgb = light.sum(axis=(1, 2))
        wanted = np.array(list(TEN.values())[colour])
        assert rgb / rgb.max() == pytest.approx(wanted / wanted.max(), abs=1e-4)


def test_no_two_colours_lie_in_one_direction():
    """From black, where strokes fade to: 15 degrees apart at least."""
    rgb = np.array(list(TEN.values()))
    rgb /= np.linalg.norm(rgb, axis=1, keepdims=True)
    assert (rgb @ rgb.T - np.eye(len(rgb))).max() < np.cos(np.deg2rad(15))


@PARTITIONS
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_of_the_combinations_is_divided_among_the_silos(folder, partition, seed):
    split = split_of(folder, partition, seed)
    assert len(split.silos) == 5
    assert len(split.held_out) == len(split.known) == 50
    assert set(split.held_out).isdisjoint(split.known)
    for column in (0, 1):
        held = Counter(combination[column] for combination in split.known)
        assert sorted(held.items()) == [(value, 5) for value in range(10)]
    assert all(len(silo.x) == len(silo.c) > 0 for silo in split.silos)
    dealt = [key for silo in split.silos for key in keys(silo.x)]
    rows = [tuple(c) in set(split.known) for c in split.complete.c.tolist()]
    assert sorted(dealt) == sorted(keys(split.complete.x[rows]))
    labels = dict(zip(keys(split.complete.x), map(tuple, split.complete.c.tolist()), strict=True))
    for silo in split.silos:
        assert [labels[key] for key in keys(silo.x)] == list(map(tuple, silo.c.tolist()))


def test_nobody_trains_on_the_reference(folder):
    split = split_of(folder)
    assert set(keys(split.complete.x)).isdisjoint(keys(split.reference.x))
    assert len({tuple(c) for c in split.reference.c.tolist()}) == 100


def test_iid_is_even(folder):
    counts = [
        Counter(map(tuple, silo.c.tolist())) for silo in split_of(folder).silos
    ]  # two images of each of 50 combinations
    assert [sum(count.values()) for count in counts] == [20] * 5
    assert max(max(count.values()) for count in counts) == 1


def test_noniid_is_uneven(folder):
    split = split_of(folder, "noniid")
    pairs = [np.unique(silo.c, axis=0, return_counts=True)[1] for silo in split.silos]
    together = sum(int((counts == 2).sum()) for counts in pairs)
    assert together > 25, "most combinations lie in one silo"


@PARTITIONS
def test_a_split_is_a_function_of_its_seed(folder, partition):
    first, again, other = (split_of(folder, partition, seed) for seed in (3, 3, 4))
    assert first.held_out == again.held_out != other.held_out
    for one, two in zip(first.silos, again.silos, strict=True):
        assert np.array_equal(one.x, two.x)
        assert np.array_equal(one.c, two.c)
    assert np.array_equal(first.complete.x, other.complete.x)
    assert np.array_equal(first.reference.x, other.reference.x)


def test_fewer_images_are_a_part_of_the_more(folder):
    train, test = images(folder, 14)
    fewer, same = images(folder, 14, per_combination=1)
    assert len(fewer) == 100
    assert set(keys(fewer.x)) < set(keys(train.x))
    assert np.array_equal(same.x, test.x)
    assert len(images(folder, 14, references=1)[1]) == 100
    split = split_of(folder, "noniid", per_combination=1)
    assert sum(len(silo.x) for silo in split.silos) == 50
    assert all(len(silo.x) for silo in split.silos)


def test_a_silo_is_never_left_empty(folder):
    with pytest.raises(UserError, match="100 samples are too few for 51 silos") as caught:
        split_of(folder, silos=51, per_combination=1)
    assert "fewer silos" in caught.value.fix


def test_a_high_concentration_is_nearly_even(folder):
    split = split_of(folder, "noniid", silos=2, concentration=1e6)
    assert [len(silo.x) for silo in split.silos] == [50, 50]
    assert len(split.silos[0].c) == len(np.unique(split.silos[0].c, axis=0))


@pytest.mark.parametrize(("rows", "columns", "share"), [(10, 10, 0.5), (12, 6, 0.6), (8, 4, 0.25)])
def test_held_combinations_are_even(rows, columns, share):
    held = held_combinations(rows, columns, share, np.random.default_rng(0))
    assert len(held) == len(set(held)) == rows * round(share * columns)
    assert set(Counter(row for row, _ in held).values()) == {round(share * columns)}
    across = Counter(column for _, column in held).values()
    assert len(set(across)) == 1


def test_reduction_is_the_mean_of_squares():
    grey = np.zeros((1, SIDE, SIDE), np.uint8)
    grey[0, 2:4, 4:6] = [[255, 0], [51, 0]]
    small = reduced(grey, 14)
    assert small[0, 1, 2] == pytest.approx((1 + 0.2) / 4)
    assert small.sum() == small[0, 1, 2]
    assert np.array_equal(reduced(grey, SIDE)[0] * 255, grey[0])


@pytest.mark.parametrize("size", range(7, 65))
def test_reduction_keeps_all_light_and_the_middle(size):
    grey = np.zeros((1, SIDE, SIDE), np.uint8)
    grey[0, 13:15, 13:15] = 255
    grey[0, [0, 0, -1, -1], [0, -1, 0, -1]] = 255
    small = reduced(grey, size)
    square = -(-SIDE // size)
    assert small.shape == (1, size, size)
    assert small.sum() * square**2 == pytest.approx(8)
    if (square * size - SIDE) % 2 == 0:  # else the border is a pixel wider on one side
        assert np.allclose(small, small[:, ::-1, ::-1])


def test_packed_files_are_read_too(folder):
    images.cache_clear()
    plain, _ = images(folder, 14)
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    images.cache_clear()
    assert np.array_equal(images(folder, 14)[0].x, plain.x)


@pytest.mark.parametrize(
    "name",
    [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ],
)
def test_a_missing_file_is_named_with_a_place_that_has_it(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"no file {name} or {name}.gz") as caught:
        ColouredMnist(ColouredMnistSettings()).check(folder)
    assert caught.value.where == str(folder)
    assert "https://" in caught.value.fix


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="train-images") as caught:
        split_of(tmp_path / "absent")
    assert caught.value.where == str(tmp_path / "absent")


def test_images_of_another_size_are_refused(folder):
    wide, _ = bars(23, 0)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(wide[:, :20]))
    with pytest.raises(DataError, match="images are 20 x 28"):
        images(folder)


def test_too_few_of_a_digit_are_refused(folder):
    _, digits = bars(12, 1)
    digits[digits == 7] = 1
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(digits))
    with pytest.raises(DataError, match="too few images of some digit") as caught:
        images(folder)
    assert caught.value.where == str(folder / "t10k-images-idx3-ubyte")


@pytest.mark.parametrize("settings", [{"size": 6}, {"per_combination": 0}, {"references": -1}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        ColouredMnistSettings(**settings)


def test_without_a_folder_it_says_what_to_name():
    with pytest.raises(UserError, match="no folder is given") as caught:
        ColouredMnist(ColouredMnistSettings()).check(None)
    assert "--data" in caught.value.fix


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}; set DCFM_DATA to have it")
def test_mnist():
    train, test = images(MNIST, 14)
    assert (len(train), len(test)) == (100 * 542, 100 * 89)
    split = split_of(MNIST, "noniid")
    assert sum(len(silo.x) for silo in split.silos) == 50 * 542
