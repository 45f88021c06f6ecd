"""Coloured MNIST from four small files of the same form."""

import gzip
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.data.builtin import held_combinations
from dcfm_node.errors import DataError, UserError
from dcfm_node.experiment import coloured_mnist as module
from dcfm_node.experiment.coloured_mnist import PALETTE, SIDE, SILOS, coloured_mnist, reduced
from tests.unit.experiment.idx_files import bars, idx, write

PARTITIONS = pytest.mark.parametrize("partition", ["iid", "noniid"])
MNIST = Path(os.environ.get("DCFM_DATA", Path(__file__).parents[4] / "shared" / "data")) / "mnist"


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


@pytest.fixture
def mnist(folder):
    return coloured_mnist(folder, 14)


def keys(x):
    """Each image's bytes."""
    return [image.tobytes() for image in x]


def test_every_combination_occurs_equally_often_and_no_image_twice(mnist):
    for data, each in ((mnist.train, 2), (mnist.test, 1)):
        assert data.x.dtype == np.float32
        assert data.c.dtype == np.int64
        assert data.x.shape == (100 * each, 3, 14, 14)
        assert set(Counter(map(tuple, data.c.tolist())).values()) == {each}
        assert data.x.min() == -1
        assert data.x.max() <= 1
        grey = data.x.max(axis=1).reshape(len(data.x), -1)
        assert len(np.unique(grey / grey.max(axis=1, keepdims=True), axis=0)) == len(grey)


def test_images_show_their_digit_in_their_colour(mnist):
    for image, (digit, colour) in zip(mnist.train.x, mnist.train.c, strict=True):
        light = (image + 1) / 2
        assert light.max(axis=(0, 2)).nonzero()[0].tolist() == [2 + digit]
        rgb = light.sum(axis=(1, 2))
        wanted = np.array(list(PALETTE.values())[colour])
        assert rgb / rgb.max() == pytest.approx(wanted / wanted.max(), abs=1e-4)


def test_no_two_colours_lie_in_one_direction():
    """From black, where strokes fade to: 15 degrees apart at least."""
    rgb = np.array(list(PALETTE.values()))
    rgb /= np.linalg.norm(rgb, axis=1, keepdims=True)
    assert (rgb @ rgb.T - np.eye(len(rgb))).max() < np.cos(np.deg2rad(15))


@PARTITIONS
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_of_the_combinations_is_divided_among_the_silos(mnist, partition, seed):
    task = mnist.task(partition, seed)
    assert len(task.silos) == SILOS
    assert len(task.held_out) == len(task.known) == 50
    assert set(task.held_out).isdisjoint(task.known)
    for column in (0, 1):
        held = Counter(combination[column] for combination in task.known)
        assert sorted(held.items()) == [(value, 5) for value in range(10)]
    assert all(len(silo.x) == len(silo.c) > 0 for silo in task.silos)
    dealt = [key for silo in task.silos for key in keys(silo.x)]
    rows = [tuple(c) in set(task.known) for c in task.complete.c.tolist()]
    assert sorted(dealt) == sorted(keys(task.complete.x[rows]))
    labels = dict(zip(keys(task.complete.x), map(tuple, task.complete.c.tolist()), strict=True))
    for silo in task.silos:
        assert [labels[key] for key in keys(silo.x)] == list(map(tuple, silo.c.tolist()))


def test_nobody_trains_on_the_reference(mnist):
    task = mnist.task("iid", 0)
    assert set(keys(task.complete.x)).isdisjoint(keys(task.reference.x))
    assert len({tuple(c) for c in task.reference.c.tolist()}) == 100


def test_iid_is_even(mnist):
    counts = [
        Counter(map(tuple, silo.c.tolist())) for silo in mnist.task("iid", 0).silos
    ]  # two images of each of 50 combinations
    assert [sum(count.values()) for count in counts] == [20] * 5
    assert max(max(count.values()) for count in counts) == 1


def test_noniid_is_uneven(mnist):
    task = mnist.task("noniid", 0)
    pairs = [np.unique(silo.c, axis=0, return_counts=True)[1] for silo in task.silos]
    together = sum(int((counts == 2).sum()) for counts in pairs)
    assert together > 25, "most combinations lie in one silo"


@PARTITIONS
def test_a_task_is_a_function_of_its_seed(folder, partition):
    first, again, other = (coloured_mnist(folder, 14).task(partition, seed) for seed in (3, 3, 4))
    assert first.held_out == again.held_out != other.held_out
    for one, two in zip(first.silos, again.silos, strict=True):
        assert np.array_equal(one.x, two.x)
        assert np.array_equal(one.c, two.c)
    assert np.array_equal(first.complete.x, other.complete.x)
    assert np.array_equal(first.reference.x, other.reference.x)


def test_fewer_images_are_a_part_of_the_more(folder, mnist):
    fewer = coloured_mnist(folder, 14, per_combination=1)
    assert len(fewer.train.x) == 100
    assert set(keys(fewer.train.x)) < set(keys(mnist.train.x))
    assert np.array_equal(fewer.test.x, mnist.test.x)
    assert len(coloured_mnist(folder, 14, references=1).test.x) == 100
    task = fewer.task("noniid", 0)
    assert sum(len(silo.x) for silo in task.silos) == 50
    assert all(len(silo.x) for silo in task.silos)


def test_a_silo_is_never_left_empty(folder):
    fewer = coloured_mnist(folder, 14, per_combination=1)
    with pytest.raises(UserError, match="100 images leave one of 51 silos") as caught:
        fewer.task("iid", 0, silos=51)
    assert "fewer silos" in caught.value.fix


def test_a_high_concentration_is_nearly_even(mnist):
    task = mnist.task("noniid", 0, silos=2, concentration=1e6)
    assert [len(silo.x) for silo in task.silos] == [50, 50]
    assert len(task.silos[0].c) == len(np.unique(task.silos[0].c, axis=0))


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


@pytest.mark.parametrize("size", module.SIZES)
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


def test_packed_files_are_read_too(folder, mnist):
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert np.array_equal(coloured_mnist(folder, 14).train.x, mnist.train.x)


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
        coloured_mnist(folder)
    assert caught.value.where == str(folder)
    assert "https://" in caught.value.fix


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="train-images") as caught:
        coloured_mnist(tmp_path / "absent")
    assert caught.value.where == str(tmp_path / "absent")


def test_images_of_another_size_are_refused(folder):
    images, _ = bars(23, 0)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images[:, :20]))
    with pytest.raises(DataError, match="images are 20 x 28"):
        coloured_mnist(folder)


def test_too_few_of_a_digit_are_refused(folder):
    _, digits = bars(12, 1)
    digits[digits == 7] = 1
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(digits))
    with pytest.raises(DataError, match="too few images of some digit") as caught:
        coloured_mnist(folder)
    assert caught.value.where == str(folder / "t10k-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"size": 6}, "6 x 6"),
        ({"per_combination": 0}, "0 images of each combination"),
        ({"references": -1}, "-1 images of each combination"),
    ],
)
def test_settings_out_of_range_are_refused(folder, settings, what):
    with pytest.raises(UserError, match=what) as caught:
        coloured_mnist(folder, **settings)
    assert caught.value.fix


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST in {MNIST}; set DCFM_DATA to have it")
def test_mnist():
    mnist = coloured_mnist(MNIST, 14)
    assert (len(mnist.train.x), len(mnist.test.x)) == (100 * 542, 100 * 89)
    task = mnist.task("noniid", 0)
    assert sum(len(silo.x) for silo in task.silos) == 50 * 542
