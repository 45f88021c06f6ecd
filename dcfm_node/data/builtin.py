"""The two demonstration domains, as pure functions of (name, silos, seed). numpy only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import UserError

Combination = tuple[int, ...]

MODE = 1.5
"""Gaussian modes lie at (±MODE, ±MODE)."""
SIGMA = 0.3
GAUSSIANS_PER_SILO = 1_000

Palette = Mapping[str, tuple[float, float, float]]
"""Colours by name: red, green and blue in [0, 1]."""

COLOURS: Palette = {
    "red": (1.0, 0.1, 0.1),
    "green": (0.1, 0.9, 0.1),
    "blue": (0.2, 0.3, 1.0),
    "yellow": (1.0, 0.9, 0.0),
    "magenta": (1.0, 0.1, 1.0),
    "cyan": (0.0, 0.9, 0.9),
}
DIGITS_HELD = 0.6
"""Share of all digit and colour combinations that some silo holds."""
DIGITS_PER_COMBINATION = 40


@dataclass(frozen=True)
class Share:
    """One silo's private data: x (N, *sample_shape) float32, c (N, n) int64."""

    x: NDArray[np.float32]
    c: NDArray[np.int64]

    @property
    def combinations(self) -> list[Combination]:
        """The combinations the silo holds, sorted."""
        return sorted({tuple(row) for row in self.c.tolist()})


@dataclass(frozen=True)
class Domain:
    """A demonstration: its attribute space, every silo's data, and what nobody holds.

    Attributes:
        attributes: name and value names, in order.
        silos: one share per silo.
        held_out: combinations that no silo holds.
    """

    name: str
    attributes: tuple[tuple[str, tuple[str, ...]], ...]
    sample_shape: tuple[int, ...]
    silos: tuple[Share, ...]
    held_out: tuple[Combination, ...]

    @property
    def observed(self) -> list[Combination]:
        """Combinations that at least one silo holds, sorted."""
        return sorted({c for silo in self.silos for c in silo.combinations})


def builtin(name: str, silos: int, seed: int) -> Domain:
    """A demonstration domain dealt to `silos` silos.

    Raises:
        UserError: the name is unknown, silos < 2, or the domain's package is absent.
    """
    if name not in DOMAINS:
        raise UserError(f"no built-in domain {name!r}", fix=f"choose one of {', '.join(DOMAINS)}")
    if silos < 2:
        raise UserError(f"{silos} silos cannot be decentralized", fix="ask for two or more")
    return DOMAINS[name](silos, np.random.default_rng(seed))


def mode(combination: Sequence[int]) -> NDArray[np.float32]:
    """Where the mode (horizontal, vertical) of `gaussians` lies, (2,)."""
    return np.array([MODE * (2 * value - 1) for value in combination], dtype=np.float32)


def gaussians(silos: int, rng: np.random.Generator) -> Domain:
    """2 x 2 modes, top-right never observed.

    Even silos hold bottom-left and top-left, odd ones bottom-left and bottom-right: each sees one
    attribute vary and none sees both.
    """
    deals: tuple[tuple[Combination, ...], ...] = (((0, 0), (0, 1)), ((0, 0), (1, 0)))
    shares = []
    for k in range(silos):
        held = np.array(deals[k % 2], dtype=np.int64)
        c = held[rng.integers(len(held), size=GAUSSIANS_PER_SILO)]
        noise = rng.normal(scale=SIGMA, size=c.shape)
        shares.append(Share((MODE * (2 * c - 1) + noise).astype(np.float32), c))
    attributes = (("horizontal", ("left", "right")), ("vertical", ("bottom", "top")))
    return Domain("gaussians", attributes, (2,), tuple(shares), ((1, 1),))


def digits(silos: int, rng: np.random.Generator) -> Domain:
    """scikit-learn's 8x8 digits in colours, (3, 8, 8) in [-1, 1], attributes digit x colour.

    DIGITS_HELD of all combinations are held by somebody. Each is held by one silo, which
    knows some digits and some colours well and little of the rest.

    Raises:
        UserError: more silos than digits, or scikit-learn is absent.
    """
    if silos > 10:
        raise UserError(f"ten digits cannot be dealt to {silos} silos", fix="ask for at most 10")
    images, labels = digit_images()
    held = held_combinations(10, len(COLOURS), DIGITS_HELD, rng)
    owners = _deal(held, silos, rng)
    shares = []
    for k in range(silos):
        mine = [c for c, who in zip(held, owners, strict=True) if k == who]
        c = np.repeat(np.array(mine, dtype=np.int64), DIGITS_PER_COMBINATION, axis=0)
        shares.append(Share(_pick(images, labels, c, rng), c))
    space = {(d, k) for d in range(10) for k in range(len(COLOURS))}
    attributes = (("digit", tuple("0123456789")), ("colour", tuple(COLOURS)))
    return Domain("digits", attributes, (3, 8, 8), tuple(shares), tuple(sorted(space - set(held))))


def digit_images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The grey digits, (1797, 8, 8) in [0, 1], and their labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as missing:
        raise UserError(
            "the digits domain needs scikit-learn, which is not installed",
            fix="pip install 'dcfm-node[demo]'",
        ) from missing
    bundle = load_digits()
    return (bundle.images / 16).astype(np.float32), bundle.target.astype(np.int64)


def paint(
    grey: NDArray[np.float32], colours: NDArray[np.int64], palette: Palette = COLOURS
) -> NDArray[np.float32]:
    """Images (N, height, width) in [0, 1] and colour indices (N,) to (N, 3, ...) in [-1, 1]."""
    rgb = np.array(list(palette.values()), dtype=np.float32)[colours]
    return np.asarray(2 * rgb[:, :, None, None] * grey[:, None] - 1, dtype=np.float32)


def held_combinations(
    rows: int, columns: int, share: float, rng: np.random.Generator
) -> list[Combination]:
    """A random share of the grid, sorted.

    Each row has its even part of it, and so has each column where they divide the rows.
    """
    per_row = round(share * columns)
    # Cyclic bands hold every value alike; permuting rows and columns hides the regularity.
    row_order, column_order = rng.permutation(rows), rng.permutation(columns)
    return sorted(
        (int(row), int(column_order[(place + offset) % columns]))
        for place, row in enumerate(row_order)
        for offset in range(per_row)
    )


def _deal(held: Sequence[Combination], silos: int, rng: np.random.Generator) -> list[int]:
    """The one silo that holds each combination.

    Every digit and every colour has a home silo; a digit's combinations go in turn to the home of
    the digit and to that of the colour. So a silo knows some digits and some colours (non-IID).
    """
    digit_home, colour_home = _homes(10, silos, rng), _homes(len(COLOURS), silos, rng)
    return [
        (digit_home[digit], colour_home[colour])[place % 2]
        for place, (digit, colour) in enumerate(held)
    ]


def _homes(values: int, silos: int, rng: np.random.Generator) -> dict[int, int]:
    parts = np.array_split(rng.permutation(values), silos)
    return {int(value): k for k, part in enumerate(parts) for value in part}


def _pick(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    c: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """A random image of the asked digit in the asked colour per row of c."""
    index = np.array([rng.choice(np.flatnonzero(labels == digit)) for digit in c[:, 0]])
    return paint(images[index], c[:, 1])


DOMAINS: dict[str, Callable[[int, np.random.Generator], Domain]] = {
    "gaussians": gaussians,
    "digits": digits,
}
