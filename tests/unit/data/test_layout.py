"""How the numbers of a sample lie, by names and by data."""

import numpy as np
import pytest

from dcfm_node.data.layout import in_order, layout, steadiness
from dcfm_node.data.raw import arranged, check_shapes
from dcfm_node.errors import DataError

RNG = np.random.default_rng(0)
MANY = 240
C = np.stack([np.arange(MANY) % 3, np.arange(MANY) % 2], axis=1)
TIMES = [f"t{i}" for i in range(32)]
HOURS = [f"{i}:00" for i in range(24)]


def tones(length: int, noise: float = 0.05, channels: int = 1) -> np.ndarray:
    """Tones at any phase in one of two envelopes: (N, channels, length)."""
    t = np.arange(length) / length
    turns = np.array([3, 5, 7])[C[:, 0], None, None] * t + RNG.random((MANY, channels, 1))
    envelope = np.exp(-(((t - np.array([0.3, 0.7])[C[:, 1], None]) / 0.3) ** 2))[:, None]
    x = envelope * np.cos(2 * np.pi * turns) + noise * RNG.standard_normal(turns.shape)
    return np.asarray(x, np.float32)


def walks(length: int) -> np.ndarray:
    return RNG.standard_normal((MANY, length)).cumsum(axis=1).astype(np.float32)


def factors(length: int, factors: int) -> np.ndarray:
    """Features that a few factors have in common."""
    common = RNG.standard_normal((MANY, factors)) @ RNG.standard_normal((factors, length))
    return (common + 0.5 * RNG.standard_normal((MANY, length))).astype(np.float32)


def groups(length: int, size: int) -> np.ndarray:
    """Groups of alike features that stand together."""
    common = RNG.standard_normal((MANY, length // size)).repeat(size, axis=1)
    return (common + 0.6 * RNG.standard_normal((MANY, length))).astype(np.float32)


@pytest.mark.parametrize(
    "x", [tones(32), tones(32, 0.4), tones(200), tones(17), walks(24), walks(12) * 1e6 + 1e7]
)
def test_series_are_seen_without_names(x: np.ndarray) -> None:
    flat = x.reshape(MANY, -1)
    found = layout(flat, C)
    assert found.shape == (1, flat.shape[1])
    assert f"sample_shape = [{flat.shape[1]}]" in found.assumed


@pytest.mark.parametrize(
    "x", [factors(32, 3), factors(10, 1), groups(32, 4), groups(32, 8), groups(12, 4), walks(6)]
)
def test_quantities_stay_apart(x: np.ndarray) -> None:
    assert layout(x, C).shape == x.shape[1:]
    assert layout(x, C, [f"x{i}" for i in range(x.shape[1])]).shape == x.shape[1:]


def test_the_means_of_combinations_do_not_count() -> None:
    """Profiles whose means are smooth add up; only what varies around them must be a series."""
    means = np.sin(np.arange(24) / 4)[None] * (1 + C[:, :1]) + C[:, 1:] * np.cos(np.arange(24) / 3)
    x = (means + 0.2 * RNG.standard_normal((MANY, 24))).astype(np.float32)
    assert layout(x, C) == ((24,), "")
    named = layout(x, C, HOURS)
    assert named.shape == (24,)
    assert "names are times" in named.assumed


def test_names_decide_where_data_are_in_doubt() -> None:
    halves = groups(32, 16)  # two large groups look nearly like a series
    unnamed, numbered = layout(halves, C), layout(halves, C, [f"x{i:02}" for i in range(32)])
    assert unnamed.shape == numbered.shape == (32,)
    assert "set sample_shape = [1, 32]" in unnamed.assumed
    assert layout(halves, C, TIMES).shape == (1, 32)
    series = tones(32).reshape(MANY, -1)
    assert layout(series, C, [f"x{i}" for i in range(32)]).shape == (1, 32)
    other = layout(series, C, in_order(f"{letter}{i}z" for letter in "abcd" for i in range(8)))
    assert other.shape == (32,)
    assert "separate quantities, although neighbours" in other.assumed


def test_channels_by_name() -> None:
    x = tones(32, channels=2)
    names = [f"{axis}_{i}" for axis in ("x", "y") for i in range(32)]
    assert layout(x.reshape(MANY, -1), C, names).shape == (2, 32)
    assert in_order([*names[::-1], "b", "a"]) == ("a", "b", *names)
    assert in_order(["t10", "t9", "10:00", "9:00"]) == ("9:00", "10:00", "t9", "t10")


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_arrays_with_two_axes(scale: float) -> None:
    series = tones(40, channels=2)
    assert layout(series, C) == ((2, 40), "")
    last = layout(series.swapaxes(1, 2), C)
    assert last.shape == (2, 40)
    assert "come last" in last.assumed
    many = layout(tones(40, channels=12), C)
    assert many.shape == (12, 40)
    assert "set sample_shape = [1, 12, 40]" in many.assumed
    at, y = RNG.uniform(3, 9, (2, MANY, 1, 1)), np.arange(12)
    blots = np.exp(-((y[:, None] - at[0]) ** 2 + (y - at[1]) ** 2) / 6).astype(np.float32)
    assert layout(blots, C).shape == (1, 12, 12)
    assert layout((blots * 255).astype(np.uint8), C).shape == (1, 12, 12)
    rows = np.rint(blots * 255).reshape(MANY, -1).astype(np.float32)
    assert layout(rows, C).shape == (1, 12, 12)
    assert layout(rows, C, [f"pixel{i}" for i in range(144)]).shape == (1, 12, 12)
    assert layout(rows, C, [f"gene{i}" for i in range(144)]).shape == (144,)


def test_channels_of_pictures_may_come_last() -> None:
    x = np.zeros((MANY, 8, 6, 3), np.uint8)
    assert layout(x, C).shape == (3, 8, 6)
    assert layout(np.zeros((MANY, 3, 8, 6), np.uint8), C).shape == (3, 8, 6)


def test_few_or_constant_samples_show_no_order() -> None:
    assert steadiness(np.zeros((40, 12))) == 0.0
    assert steadiness(walks(12)[:3].astype(float)) == 0.0
    constant = walks(12)
    constant[:, 3] = 7.0
    assert layout(constant, C).shape == (1, 12)


def test_samples_are_arranged_as_the_run_has_them() -> None:
    x = np.arange(2 * 24).reshape(2, 24)
    for there, wanted in (
        ((24,), (2, 12)),
        ((24,), (1, 4, 6)),
        ((24,), (24,)),
        ((4, 6), (1, 4, 6)),
        ((2, 12), (2, 12)),
    ):
        check_shapes((2, *there), {}, wanted, "f")
        assert (arranged(x.reshape(2, *there), wanted) == x.reshape(2, *wanted)).all()
    last = x.reshape(2, 2, 4, 3)
    check_shapes(last.shape, {}, (3, 2, 4), "f")
    assert (arranged(last, (3, 2, 4))[:, 1] == last[..., 1]).all()
    for there, wanted in (((4, 6), (24,)), ((6, 4), (2, 12)), ((24,), (25,)), ((2, 12), (4, 6))):
        with pytest.raises(DataError, match="reshape"):
            check_shapes((2, *there), {}, wanted, "f")
