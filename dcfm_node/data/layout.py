"""How the numbers of a sample lie: apart, as a series or as a picture, by names and by data. Pure.

It matters: the network for vectors never composes a tone at any phase with an envelope.
"""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcfm_node.samples import Labels, Stored, unit

Shape = tuple[int, ...]
Numbers = NDArray[np.float64]

CLEAR, MAYBE = 0.9, 0.8
"""Steadiness from which numbers are, or may be, a series. Groups of features that stand together
have less than .8, unless they are few and large; factors have less than .4."""
CHANCE = 4.0
"""How far above chance two halves of the samples must agree."""
LEAST, MOST = 8, 256
"""Fewest numbers that show an order, and most that are looked at."""
LOOKED_AT = 4_000
CHANNELS = (1, 3, 4)
"""Of pictures: grey, colour, and colour with alpha."""
_NUMBERED = re.compile(r"(.*?)[ _.\-\[]*(\d+)\]?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
_TIMES = re.compile(r"(?i)t|time|step|sample|tick|lag|hour|h|minute|min|second|sec|s|ms|day|week")
_PIXELS = re.compile(r"(?i)p|px|pix|pixel")


class Layout(NamedTuple):
    """The shape that suits samples, and what it assumes; empty if nothing is in doubt."""

    shape: Shape
    assumed: str = ""


def layout(x: Stored, c: Labels, names: Sequence[str] = ()) -> Layout:
    """The layout of samples as a file holds them.

    Args:
        x: (N, features), (N, channels, length), (N, length, channels), (N, height, width), or
            pictures with their channels first or last.
        c: (N, n), label indices.
        names: of the features, if the file has names.
    """
    shape: Shape = x.shape[1:]
    if len(shape) == 3:
        last = shape[2] in CHANNELS and shape[0] not in CHANNELS
        return Layout((shape[2], *shape[:2]) if last else shape)
    every = max(1, len(x) // LOOKED_AT)
    rest = _without_means(unit(x[::every]).astype(np.float64), c[::every])
    if len(shape) == 2:
        return _of_matrix(rest, x.dtype == np.uint8)
    top = float(unit(x).max()) if x.dtype == np.uint8 else float(x.max())
    bytes_ = x.dtype == np.uint8 or (top <= 255 and float(x.min()) >= 0 and not (x % 1).any())
    return _of_row(rest, names, bytes_)


def steadiness(x: Numbers) -> float:
    """How steadily numbers of rows (N, L) vary together from place to place: 1 - E d²/(2 E r²), of
    correlations r and their change d where both numbers move one place on; both without noise, as
    one half of the rows tells them of the other.

    It is about 1 for series, of any frequency and in any envelope, and 0 for numbers in any order.
    0 too if they hardly vary together, or are too few to tell.
    """
    x = x[:, :MOST] - x[:, :MOST].mean(axis=1, keepdims=True)
    x = x[:, x.std(axis=0) > 0.0]
    many = x.shape[1]
    if many < LEAST or len(x) < 4:
        return 0.0
    order = np.random.default_rng(0).permutation(len(x))
    apart = ~np.eye(many, dtype=np.bool_)
    with np.errstate(invalid="ignore", divide="ignore"):
        halves = [np.atleast_2d(np.corrcoef(x[half].T)) for half in (order[::2], order[1::2])]
    one, two = (np.nan_to_num(half) - np.nan_to_num(half)[apart].mean() for half in halves)
    together = float((one * two)[apart].mean())
    size = math.sqrt(float(np.square(one[apart]).mean() * np.square(two[apart]).mean()))
    if together <= size * CHANCE / math.sqrt(many * (many - 1) / 2):
        return 0.0
    steps = [half[1:, 1:] - half[:-1, :-1] for half in (one, two)]
    change = float((steps[0] * steps[1])[apart[1:, 1:]].mean())
    return float(np.clip(1.0 - change / (2.0 * together), 0.0, 1.0))


def _of_matrix(rest: Numbers, pixels: bool) -> Layout:
    """Series with their channels first or last, or grey pictures."""
    first, second = sides = rest.shape[1:]
    as_given = f"series of {second} numbers in {first} channels"
    if second < LEAST <= first:
        read = f"series of {first} numbers in {second} channels, which come last"
        return Layout((second, first), _read(read, as_given, sides))
    if first < LEAST:
        return Layout(sides)
    down = steadiness(np.swapaxes(rest, 1, 2).reshape(-1, first))
    along = steadiness(rest.reshape(-1, second))
    series = along >= CLEAR and down < MAYBE
    if pixels or min(down, along) >= MAYBE or (not series and max(sides) <= 2 * min(sides)):
        return Layout((1, *sides), _read(f"grey pictures of {first} x {second}", as_given, sides))
    return Layout(sides, _read(as_given, "grey pictures", (1, *sides)))


def _of_row(rest: Numbers, names: Sequence[str], pixels: bool) -> Layout:
    """Vectors, series of one or several channels, or pictures row by row."""
    flat = rest.shape[1:]
    (many,) = flat
    channels, timed, pictured = _told(names)
    side = math.isqrt(many)
    if pixels and side * side == many >= LEAST**2 and (pictured or not names):
        read = f"grey pictures of {side} x {side}, row by row"
        return Layout((1, side, side), _read(read, "separate quantities", flat))
    series = (channels or 1, many // (channels or 1))
    steady = steadiness(rest.reshape(-1, series[1]))
    why = f"neighbours vary together in the same way from place to place: {steady:.0%}"
    if channels and steady >= (MAYBE if timed else CLEAR):
        read = f"series of {series[1]} numbers in {channels} channel{'s' * (channels > 1)} ({why})"
        return Layout(series, _read(read, "separate quantities", flat))
    if steady >= MAYBE:
        return Layout(flat, _read(f"separate quantities, although {why}", "series", series))
    if timed:
        read = "separate quantities: their names are times, but neighbours do not vary together"
        return Layout(flat, _read(read, "series all the same", series))
    return Layout(flat)


def _read(as_: str, other: str, instead: Shape) -> str:
    return (
        f"samples are read as {as_}; if they are {other}, set sample_shape = {list(instead)} in"
        " run.toml at every site"
    )


def _told(names: Sequence[str]) -> tuple[int, bool, bool]:
    """How many channels names allow, 0 if they are not numbered; whether they are times; whether
    they are pixels. Names are in their order, so that those of a channel stand together."""
    if not names:
        return 1, False, False
    if tuple(names) != in_order(names):
        return 0, False, False
    if all(_CLOCK.fullmatch(name) for name in names):
        return 1, True, False
    found = [_NUMBERED.fullmatch(name) for name in names]
    groups: dict[str, list[int]] = {}
    for one in found:
        if one is None:
            return 0, False, False
        groups.setdefault(one[1], []).append(int(one[2]))
    rows = list(groups.values())
    steps = {b - a for row in rows for a, b in pairwise(row)}
    if len({len(row) for row in rows}) > 1 or len(steps) != 1:
        return 0, False, False
    timed = all(_TIMES.fullmatch(name.split("_")[-1]) for name in groups)
    return len(rows), timed, len(rows) == 1 and all(map(_PIXELS.fullmatch, groups))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of columns in the order in which all sites read them, wherever they stand in a file:
    by text, and by the numbers in it."""

    def key(name: str) -> tuple[list[tuple[str, int]], str]:
        parts = re.split(r"(\d+)", name)
        pairs = zip(parts[::2], [*parts[1::2], 0], strict=True)
        return [(text, int(number)) for text, number in pairs], name

    return tuple(sorted(names, key=key))


def _without_means(x: Numbers, c: Labels) -> Numbers:
    """Samples minus the mean of their combination: a mean's shape adds up, in any network."""
    _, of = np.unique(c, axis=0, return_inverse=True)
    for index in range(int(of.max()) + 1):
        x[of.reshape(-1) == index] -= x[of.reshape(-1) == index].mean(axis=0)
    return x
