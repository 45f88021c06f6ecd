"""More pictures: thin symbols, coloured grounds, sizes, and gratings."""

import colorsys
from itertools import product

import numpy as np

from dcfm_node.experiment.strangers.pictures import FORMS, SMALL, nearest
from dcfm_node.experiment.strangers.problem import Array, Problem, attributes, deal, readable
from dcfm_node.samples import Combination, Labels

SIDE = 10
SYMBOLS = {
    "corner": "10000 10000 10000 10000 11111",
    "tee": "11111 00100 00100 00100 00100",
    "slash": "00001 00010 00100 01000 10000",
    "cross": "10001 01010 00100 01010 10001",
    "box": "11111 10001 10001 10001 11111",
    "gate": "10001 10001 11111 10001 10001",
}
"""Symbols one pixel wide, on 5 x 5 pixels."""
BLOCKS = SMALL | {"tee": "111 010 010", "corner": "100 100 111"}
"""Shapes of 3 x 3 blocks."""


def thin_symbols(rng: np.random.Generator) -> Problem:
    """Four symbols one pixel wide in four paints on a noisy ground, at any place."""
    names = rng.choice(sorted(SYMBOLS), 4, replace=False)
    masks = _everywhere([_bits(SYMBOLS[n]) for n in names], step=2)
    ground = rng.uniform(-0.9, -0.6, 3)
    paints = _paints(rng, 4, ground)

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        mask = masks[c[0], rng.integers(masks.shape[1], size=count)][:, None]
        strength = rng.uniform(0.8, 1, (count, 1, 1, 1))
        x = ground[:, None, None] + mask * strength * (paints[c[1]] - ground)[:, None, None]
        return np.asarray(np.clip(x + 0.06 * rng.standard_normal(x.shape), -1, 1))

    def judge(x: Array) -> Labels:
        over = x - ground[:, None, None]
        shape, alike, paint = _painted(over, masks)
        colour, near = nearest(paint, paints - ground)
        loud = np.linalg.norm(paint, axis=1) > 0.3
        return readable(np.stack([shape, colour], axis=1), (alike > 0.75) & (near > 0.9) & loud)

    said = attributes(symbol=" ".join(names), paint="first second third fourth")
    return Problem((3, SIDE, SIDE), said, deal((4, 4), 11, 3, rng), draw, judge)


def grounds(rng: np.random.Generator) -> Problem:
    """Three bright shapes on grounds of four colours, shifted by up to two pixels."""
    names = rng.choice(sorted(FORMS), 3, replace=False)
    masks = _everywhere([FORMS[n] for n in names], step=1)
    paint = rng.uniform(0.7, 0.9, 3)
    colours = _apart(rng, 4, paint, -0.9, 0.3)

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        mask = masks[c[0], rng.integers(masks.shape[1], size=count)][:, None]
        shade = rng.uniform(-0.1, 0.1, (count, 1, 1, 1))
        x = colours[c[1]][:, None, None] + shade
        x = x + mask * (paint[:, None, None] - x)
        return np.asarray(np.clip(x + 0.03 * rng.standard_normal(x.shape), -1, 1))

    def judge(x: Array) -> Labels:
        sides = (x[:, :, 0], x[:, :, -1], x[:, :, :, 0], x[:, :, :, -1])
        found = np.median(np.concatenate(sides, axis=2), axis=2)
        ground = np.square(found[:, None] - colours).sum(axis=2).argmin(axis=1)
        shape, alike, _ = _painted(x - found[:, :, None, None], masks)
        clear = np.linalg.norm(found - colours[ground], axis=1) < 0.45
        return readable(np.stack([shape, ground], axis=1), clear & (alike > 0.8))

    said = attributes(shape=" ".join(names), ground="first second third fourth")
    return Problem((3, SIDE, SIDE), said, deal((3, 4), 9, 3, rng), draw, judge)


def sizes(rng: np.random.Generator) -> Problem:
    """Three shapes in three sizes, at any place of a grey picture."""
    names = rng.choice(sorted(BLOCKS), 3, replace=False)
    forms = [[np.kron(_bits(BLOCKS[n]), np.ones((k, k))) for k in (1, 2, 3)] for n in names]
    side = SIDE + 2
    slots = [_everywhere([f], step=1, side=side)[0] for row in forms for f in row]

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        masks = slots[3 * c[0] + c[1]]
        mask = masks[rng.integers(len(masks), size=count)]
        x = -0.8 + 1.6 * rng.uniform(0.8, 1, (count, 1, 1)) * mask
        return np.asarray(np.clip(x + 0.04 * rng.standard_normal(x.shape), -1, 1)[:, None])

    def judge(x: Array) -> Labels:
        flat = np.concatenate(slots).reshape(-1, side * side)
        which = np.repeat(np.arange(len(slots)), [len(s) for s in slots])
        best, alike = nearest((x + 0.8).reshape(len(x), -1), flat)
        place = which[best]
        return readable(np.stack([place // 3, place % 3], axis=1), alike > 0.85)

    said = attributes(shape=" ".join(names), size="small middle large")
    return Problem((1, side, side), said, deal((3, 3), 7, 3, rng), draw, judge)


def gratings(rng: np.random.Generator) -> Problem:
    """Stripes in four directions and three widths, with any phase and contrast."""
    turn = rng.uniform(0, np.pi / 4)
    down, across = np.mgrid[:SIDE, :SIDE]
    angles = turn + np.arange(4) * np.pi / 4
    speeds = np.array([0.75, 1.3, 2.1]) * rng.uniform(0.9, 1.1)
    runs = [np.sin(a) * down + np.cos(a) * across for a in angles]
    waves = np.array([speed * run for run, speed in product(runs, speeds)])

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        phase, contrast = rng.uniform(0, 2 * np.pi, (2, count, 1, 1))
        x = (0.5 + 0.3 * contrast / (2 * np.pi)) * np.cos(waves[3 * c[0] + c[1]] + phase)
        return np.asarray((x + 0.05 * rng.standard_normal(x.shape))[:, None])

    def judge(x: Array) -> Labels:
        flat = x.reshape(len(x), -1)
        left = []
        for wave in waves.reshape(len(waves), -1):
            basis, _ = np.linalg.qr(np.stack([np.cos(wave), np.sin(wave)], axis=1))
            left.append(1 - np.square(flat @ basis).sum(1) / (np.square(flat).sum(1) + 1e-12))
        best, rest = np.argmin(left, axis=0), np.min(left, axis=0)
        loud = np.sqrt(np.square(flat).mean(axis=1)) > 0.2
        return readable(np.stack([best // 3, best % 3], axis=1), (rest < 0.3) & loud)

    said = attributes(direction="east north-east north north-west", width="broad middle fine")
    return Problem((1, SIDE, SIDE), said, deal((4, 3), 9, 3, rng), draw, judge)


def _bits(said: str) -> Array:
    return np.array([[float(p) for p in row] for row in said.split()])


def _everywhere(forms: list[Array], step: int, side: int = SIDE) -> Array:
    """Shapes at all places of a picture, `step` pixels apart: (shapes, places, side, side)."""
    free = side - len(forms[0])
    places = list(product(range(0, free + 1, step), repeat=2))
    found = np.zeros((len(forms), len(places), side, side))
    for k, form in enumerate(forms):
        for p, (top, left) in enumerate(places):
            found[k, p, top : top + len(form), left : left + len(form)] = form
    return found


def _painted(over: Array, masks: Array) -> tuple[Labels, Array, Array]:
    """The shape of pictures (N, channels, side, side) over their ground, how alike it is (0 to 1),
    and its paint (N, channels)."""
    flat = masks.reshape(-1, masks.shape[-1] ** 2)
    best, alike = nearest(np.linalg.norm(over, axis=1).reshape(len(over), -1), flat)
    paint = np.einsum("ncp,np->nc", over.reshape(*over.shape[:2], -1), flat[best])
    return best // masks.shape[1], alike, paint / flat[best].sum(axis=1)[:, None]


def _apart(rng: np.random.Generator, count: int, from_: Array, low: float, high: float) -> Array:
    """Colours (count, 3) that differ much from each other, and from one more."""
    while True:
        found = rng.uniform(low, high, (count, 3))
        gaps = np.linalg.norm(found[:, None] - found, axis=2) + 9 * np.eye(count)
        if gaps.min() > 0.6 and np.linalg.norm(found - from_, axis=1).min() > 0.9:
            return np.asarray(found)


def _paints(rng: np.random.Generator, count: int, ground: Array) -> Array:
    """Bright colours (count, 3) that leave the ground in different directions."""
    first = rng.random()
    hues = (first + (np.arange(count) + 0.3 * rng.random(count)) / count) % 1
    found = np.array([colorsys.hsv_to_rgb(hue, rng.uniform(0.7, 1), 1) for hue in hues])
    return np.asarray(ground + (0.9 - ground) * found)
