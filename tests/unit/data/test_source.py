"""Checks, split and counts, through the npz reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.data.scale import odd_scale
from dcfm_node.data.source import SiloData, counts, holdout_mask, load
from dcfm_node.data.spec import AttributeSource, NpzData
from dcfm_node.errors import DataError
from dcfm_node.samples import unit
from tests.unit.data.manifests import COLOUR, manifest
from tests.unit.data.oddities import everything

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 2)).astype(np.float32)
DIGIT = RNG.integers(10, size=50)
GREY = 2 * np.arange(100).reshape(50, 2)
HUES = np.array(["red", "green", "blue"])[RNG.integers(3, size=50)]


def saved(folder: Path, **arrays: Any) -> NpzData:
    np.savez(folder / "d.npz", **arrays)
    return NpzData(format="npz", path=folder / "d.npz")


def whole(data: SiloData) -> set[tuple[tuple[float, ...], tuple[int, ...]]]:
    x, c = everything(data)
    x = unit(x)
    rows = zip(x.reshape(len(x), -1).tolist(), c.tolist(), strict=True)
    return {(tuple(values), tuple(label)) for values, label in rows}


def test_samples_keep_their_labels_through_the_split(tmp_path: Path) -> None:
    data = load(saved(tmp_path, x=X, digit=DIGIT, colour=HUES), manifest())
    assert (data.train.x.dtype, data.train.c.dtype) == (np.float32, np.int64)
    assert (data.train.x.shape, data.train.c.shape) == ((45, 2), (45, 2))
    assert (data.holdout.x.shape, data.holdout.c.shape) == ((5, 2), (5, 2))
    labels = zip(DIGIT.tolist(), [COLOUR[1].index(hue) for hue in HUES], strict=True)
    assert whole(data) == set(zip(map(tuple, X.tolist()), labels, strict=True))


def test_the_split_is_the_same_every_time_and_follows_the_seed(tmp_path: Path) -> None:
    spec = saved(tmp_path, x=X, digit=DIGIT, colour=HUES)
    once, again, other = (load(spec, manifest(seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(once.holdout.x, again.holdout.x)
    assert np.array_equal(once.train.c, again.train.c)
    assert not np.array_equal(once.holdout.x, other.holdout.x)


def test_the_digest_is_that_of_samples_and_labels(tmp_path: Path) -> None:
    def digest(**arrays: Any) -> str:
        return load(saved(tmp_path, **arrays), manifest()).digest

    ours = digest(x=X, digit=DIGIT, colour=HUES)
    assert digest(x=X.copy(), digit=DIGIT, colour=HUES) == ours
    assert digest(x=X + np.float32(1e-3), digit=DIGIT, colour=HUES) != ours
    assert digest(x=X, digit=DIGIT[::-1], colour=HUES) != ours


def test_counts_are_those_of_the_training_part(tmp_path: Path) -> None:
    data = load(saved(tmp_path, x=X, digit=DIGIT, colour=HUES), manifest())
    assert list(data.counts) == sorted(data.counts)
    assert sum(n for _, n in data.counts) == len(data.train.c)
    assert (
        dict(data.counts)[tuple(data.train.c[0].tolist())]
        == (data.train.c == data.train.c[0]).all(1).sum()
    )
    assert all(type(n) is int and type(label[0]) is int for label, n in data.counts)


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (X * 3.0, ()),
        (X * 40.0 + 1.0, ("standard deviation 3", "(x - mean) / deviation")),
        (X * 0.001, ("standard deviation 0.00", "(x - mean) / deviation")),
        (X + 500.0, ("mean 500", "standard deviation 0.9")),
        (np.zeros((50, 2), np.float32), ("standard deviation 0,",)),
        (GREY.astype(np.float32), ("from 0 to 196", "(x - mean) / deviation")),
        (GREY.astype(np.uint8), ()),
    ],
    ids=["unit", "large", "small", "far", "constant", "0 to 255", "pixels"],
)
def test_a_scale_far_from_unit_is_warned_of_with_figures(
    tmp_path: Path, x: Any, told: tuple[str, ...]
) -> None:
    data = load(saved(tmp_path, x=x, digit=DIGIT, colour=HUES), manifest(standardise="none"))
    assert len(data.warnings) == bool(told)
    for words in told:
        assert words in str(data.warnings[0])
    if told:
        assert data.warnings[0].code == "data-scale"
        assert data.warnings[0].what.startswith(f"{tmp_path / 'd.npz'}: ")
        assert data.warnings[0].fix.endswith("at every site")


def test_the_scale_of_data_that_the_run_standardises_is_not_warned_of(tmp_path: Path) -> None:
    data = load(saved(tmp_path, x=X * 40.0 + 1_013.0, digit=DIGIT, colour=HUES), manifest())
    few = saved(tmp_path, x=X[:9] * 40.0, digit=DIGIT[:9], colour=HUES[:9])  # too few for moments
    for found in (data, load(few, manifest())):
        assert [(w.code, w.unscaled) for w in found.warnings] == [("data-scale", True)]
    (warning,) = load(few, manifest(standardise="none")).warnings
    assert not warning.unscaled


def test_the_scale_of_each_feature_is_looked_at_alone() -> None:
    x = X * [1.0, 9.0] + [0.0, 1_013.0]
    told = odd_scale(x, ("wind", "hPa"))
    assert told.startswith("values of feature 'hPa' from 9")
    assert "with mean" not in told and "have mean 101" in told
    assert odd_scale(X * [1.0, 1e-4], ("wind", "rain")) == ""  # `odd_features` tells of it


def test_an_odd_feature_is_warned_of_by_its_number(tmp_path: Path) -> None:
    x = X.copy()
    x[7, 1] = -9_999.0
    *_, warning = load(saved(tmp_path, x=x, digit=DIGIT, colour=HUES), manifest()).warnings
    assert warning.code == "data-features"
    assert warning.what.startswith(f"{tmp_path / 'd.npz'}: feature 1 of 1 samples is far")


def test_images_from_0_to_255_are_told_how_pixels_are_stored() -> None:
    assert "x / 127.5 - 1" in odd_scale(GREY.reshape(25, 1, 2, 2).astype(np.float32))


def test_the_scale_of_large_data_is_that_of_all_of_it() -> None:
    x = np.zeros((3, 1, 1 << 20), np.float32)
    x[2, 0, -1] = 1e6
    deviation = float(x.astype(np.float64).std())
    assert f"standard deviation {deviation:.4g}," in odd_scale(x)


def test_counts_by_hand() -> None:
    assert counts(np.array([[1, 0], [0, 2], [1, 0]])) == (((0, 2), 1), ((1, 0), 2))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=60),
    st.floats(0.001, 0.999),
    st.integers(0, 5),
)
def test_the_split_leaves_something_on_both_sides_and_uncovers_no_combination(
    labels: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    c = np.array(labels)
    held = holdout_mask(c, fraction, seed)
    assert 1 <= held.sum() < len(c)
    combinations = set(labels)
    if len(combinations) < len(labels):
        assert {tuple(row) for row in c[~held].tolist()} == combinations
        assert held.sum() <= max(1, round(fraction * len(c)))
    assert np.array_equal(held, holdout_mask(c, fraction, seed))


def test_pixels_are_scaled(tmp_path: Path) -> None:
    x = np.array([0, 255, 51], np.uint8).reshape(3, 1, 1, 1)
    spec = saved(tmp_path, x=x, digit=np.array([0, 1, 2]), colour=np.zeros(3, int))
    data = load(spec, manifest(shape=(1, 1, 1)))
    values = {label[0]: value for (value,), label in whole(data)}
    assert values == pytest.approx({0: -1.0, 1: 1.0, 2: -0.6})


def test_double_precision_is_taken(tmp_path: Path) -> None:
    spec = saved(tmp_path, x=X.astype(np.float64), digit=DIGIT, colour=HUES)
    assert load(spec, manifest()).train.x.dtype == np.float32


def test_labels_as_one_matrix(tmp_path: Path) -> None:
    c = np.stack([DIGIT, np.arange(50) % 3], axis=1)
    data = load(saved(tmp_path, x=X, c=c), manifest())
    assert {label for _, label in whole(data)} == set(map(tuple, c.tolist()))


def test_an_array_of_its_own_goes_before_the_matrix(tmp_path: Path) -> None:
    c = np.stack([DIGIT, np.zeros(50, int)], axis=1)
    data = load(saved(tmp_path, x=X, c=c, colour=HUES), manifest())
    assert {label[1] for _, label in whole(data)} == {0, 1, 2}


def test_the_matrix_does_not_stand_in_for_an_array_that_was_asked_for(tmp_path: Path) -> None:
    spec = saved(tmp_path, x=X, c=np.zeros((50, 2), int))
    sources = {"digit": AttributeSource(column="typo")}
    with pytest.raises(DataError, match="no array 'typo'"):
        load(spec.model_copy(update={"attributes": sources}), manifest())


def test_other_names_and_constants(tmp_path: Path) -> None:
    words = np.array(["zero", "one"])[np.arange(50) % 2]
    sources = {
        "digit": AttributeSource(column="target", values={"zero": "0", "one": "1"}),
        "colour": AttributeSource(constant="blue"),
    }
    spec = saved(tmp_path, x=X, target=words).model_copy(update={"attributes": sources})
    data = load(spec, manifest())
    assert [label for label, _ in data.counts] == [(0, 2), (1, 2)]


BAD = X.copy()
BAD[7, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "where", "what"),
    [
        ({"x": BAD}, "d.npz: row 7", "NaN or infinite values (1 samples)"),
        ({"x": np.full((50, 2), 1e300)}, "d.npz: row 0", "NaN or infinite"),
        ({"x": X[:, :1]}, "d.npz", "samples have shape [1], the run's have [2]"),
        ({"x": np.zeros((50, 2), np.int32)}, "d.npz", "stored as int32"),
        ({"x": X[:1], "digit": DIGIT[:1], "colour": HUES[:1]}, "d.npz", "holds 1 samples"),
        ({"x": X[:0], "digit": DIGIT[:0], "colour": HUES[:0]}, "d.npz", "holds 0 samples"),
        ({"x": np.float32(1)}, "d.npz", "holds 0 samples"),
        ({"digit": DIGIT[:9]}, "d.npz", "'digit' has shape (9,) for 50 samples"),
        ({"digit": DIGIT[:, None, None]}, "d.npz", "'digit' has shape (50, 1, 1)"),
        ({"digit": DIGIT + 1}, "d.npz: row", "'10' is not a value of attribute 'digit'"),
        ({"colour": np.array(["pink"] * 50)}, "d.npz: row 0", "'pink' is not a value"),
    ],
)
def test_what_does_not_fit_the_run_is_refused(
    tmp_path: Path, arrays: dict[str, Any], where: str, what: str
) -> None:
    spec = saved(tmp_path, **{"x": X, "digit": DIGIT, "colour": HUES} | arrays)
    with pytest.raises(DataError) as caught:
        load(spec, manifest())
    assert where in caught.value.where
    assert what in caught.value.what
    assert caught.value.fix


def test_an_attribute_that_the_run_lacks_is_refused(tmp_path: Path) -> None:
    sources = {"size": AttributeSource(constant="big")}
    spec = saved(tmp_path, x=X, digit=DIGIT, colour=HUES)
    with pytest.raises(DataError, match="no attribute 'size'") as caught:
        load(spec.model_copy(update={"attributes": sources}), manifest())
    assert caught.value.fix == "choose one of digit, colour"
