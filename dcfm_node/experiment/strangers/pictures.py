"""Pictures: few colours, many colours in textures, and four attributes in grey."""

import colorsys
from itertools import product

import numpy as np

from dcfm_node.experiment.strangers.problem import (
    Array,
    Problem,
    attributes,
    combinations,
    deal,
    readable,
)
from dcfm_node.samples import Combination, Labels

SIDE = 8
U, V = np.mgrid[-2.5:3, -2.5:3]
FORMS = {
    "ring": (np.maximum(abs(U), abs(V)) > 2) * 1.0,
    "plus": (np.minimum(abs(U), abs(V)) < 1) * 1.0,
    "cross": (abs(abs(U) - abs(V)) < 0.5) * 1.0,
    "bars": (abs(U) > 1) * (abs(U) < 2.6) * 1.0,
    "wedge": (U >= V) * 1.0,
    "tee": ((U < -1) | (abs(V) < 1)) * 1.0,
    "corner": ((U > 1) | (V < -1)) * 1.0,
    "disc": (U**2 + V**2 < 7) * 1.0,
}
"""Shapes on 6 x 6 pixels."""
WAVES = {"rows": (2, 0), "columns": (0, 2), "rising": (2, -2), "falling": (2, 2), "broad": (1, 0)}
"""Patterns: cycles per side, down and across."""
SMALL = {"plus": "010 111 010", "cross": "101 010 101", "ring": "111 101 111"}


def few_colours(rng: np.random.Generator) -> Problem:
    """Three shapes in four colours on a dark ground, shifted by up to a pixel."""
    names = rng.choice(sorted(FORMS), 3, replace=False)
    shifts = list(product((-1, 0, 1), repeat=2))
    masks = np.array([[np.roll(np.pad(FORMS[n], 1), s, (0, 1)) for s in shifts] for n in names])
    first, ground = rng.random(), 0.2 * rng.random()
    hues = (first + (np.arange(4) + 0.3 * rng.random(4)) / 4) % 1
    palette = np.array([colorsys.hsv_to_rgb(hue, 0.9, 1 - ground) for hue in hues])

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        mask = masks[c[0], rng.integers(len(shifts), size=count)][:, None]
        bright = rng.uniform(0.75, 1, (count, 1, 1, 1))
        x = ground + mask * bright * palette[c[1]][:, None, None]
        return np.asarray(np.clip(2 * (x + 0.02 * rng.standard_normal(x.shape)) - 1, -1, 1))

    def judge(x: Array) -> Labels:
        over = (np.clip(x, -1, 1) + 1) / 2 - ground
        ink = np.linalg.norm(over, axis=1).reshape(len(x), -1)
        flat = masks.reshape(-1, SIDE * SIDE)
        shape, alike = nearest(ink, flat)
        colour = np.einsum("nchw,nhw->nc", over, flat[shape].reshape(-1, SIDE, SIDE))
        hue, near = nearest(colour, palette)
        clear = (alike > 0.8) & (near > 0.9)
        return readable(np.stack([shape // len(shifts), hue], axis=1), clear)

    said = attributes(shape=" ".join(names), colour="first second third fourth")
    return Problem((3, SIDE, SIDE), said, deal((3, 4), 9, 3, rng), draw, judge)


def textures(rng: np.random.Generator) -> Problem:
    """Four patterns woven from five pairs of yarns, with any phase and contrast: many colours."""
    names = rng.choice(sorted(WAVES), 4, replace=False)
    pairs = _apart(rng, 5)
    down, across = np.mgrid[:SIDE, :SIDE] / SIDE
    turns = np.array([WAVES[n][0] * down + WAVES[n][1] * across for n in names])

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        phase, contrast = rng.random((count, 1, 1)), rng.uniform(0.7, 1, (count, 1, 1))
        blend = 0.5 + 0.5 * contrast * np.cos(2 * np.pi * (turns[c[0]] + phase))
        warp, weft = (yarn[:, None, None] for yarn in pairs[c[1]])
        x = warp + (weft - warp) * blend[:, None]
        return np.asarray(np.clip(2 * (x + 0.02 * rng.standard_normal(x.shape)) - 1, -1, 1))

    def judge(x: Array) -> Labels:
        pixels = ((np.clip(x, -1, 1) + 1) / 2).transpose(0, 2, 3, 1)[:, None]
        warp, along = pairs[:, 0, None, None], (pairs[:, 1] - pairs[:, 0])[:, None, None]
        blend = np.clip(((pixels - warp) * along).sum(-1) / np.square(along).sum(-1), 0, 1)
        far = np.square(pixels - warp - along * blend[..., None]).sum((-3, -2, -1))
        yarns = far.argmin(axis=1)
        chosen = blend[np.arange(len(x)), yarns].reshape(len(x), -1)
        woven = chosen - chosen.mean(axis=1, keepdims=True)
        pattern, alike = nearest(woven, np.exp(2j * np.pi * turns).reshape(len(turns), -1))
        clear = (far.min(axis=1) / SIDE**2 < 0.02) & (alike**2 > 0.3)  # a real wave has .5
        return readable(np.stack([pattern, yarns], axis=1), clear)

    said = attributes(pattern=" ".join(names), yarn="mill farm coast hill town")
    return Problem((3, SIDE, SIDE), said, deal((4, 5), 12, 3, rng), draw, judge)


def four_attributes(rng: np.random.Generator) -> Problem:
    """A small shape in one quarter of a grey picture, lighter or darker than the ground."""
    ground = rng.uniform(-0.2, 0.2)
    small = np.array([[[int(p) for p in row] for row in s.split()] for s in SMALL.values()])
    sizes, slack = (3, 2, 2, 2), list(product((0, 1), repeat=2))
    masks = np.zeros((len(combinations(sizes[:3])), len(slack), SIDE, SIDE))
    for place, (shape, row, column) in enumerate(combinations(sizes[:3])):
        for shift, (down, right) in enumerate(slack):
            top, left = 4 * row + down, 4 * column + right
            masks[place, shift, top : top + 3, left : left + 3] = small[shape]

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        mask = masks[np.ravel_multi_index(c[:3], sizes[:3]), rng.integers(len(slack), size=count)]
        strength = rng.uniform(0.6, 0.8, (count, 1, 1)) * (1 - 2 * c[3])
        x = ground + mask * strength + 0.04 * rng.standard_normal(mask.shape)
        return np.asarray(np.clip(x, -1, 1)[:, None])

    def judge(x: Array) -> Labels:
        flat = masks.reshape(-1, SIDE * SIDE)
        over = (x - ground).reshape(len(x), -1)
        best, alike = nearest(over, flat)
        placed = np.stack(np.unravel_index(best // len(slack), sizes[:3]), axis=1)
        dark = (over * flat[best]).sum(axis=1) < 0
        return readable(np.column_stack([placed, dark]).astype(np.int64), alike > 0.75)

    said = attributes(
        shape=" ".join(SMALL), row="top bottom", column="left right", tone="light dark"
    )
    return Problem((1, SIDE, SIDE), said, deal(sizes, 13, 4, rng, least=40), draw, judge)


def nearest(x: Array, among: Array) -> tuple[Labels, Array]:
    """The most alike of templates (M, d) for every row (N, d), whatever its sign, and how alike: 0
    to 1, the absolute cosine."""
    unit = among / np.linalg.norm(among, axis=1, keepdims=True)
    alike = abs(x @ unit.T) / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-12)
    return alike.argmax(axis=1), alike.max(axis=1)


def _apart(rng: np.random.Generator, count: int) -> Array:
    """Pairs of colours (count, 2, 3), so that no blend of one pair is near a blend of another."""
    blends = np.linspace(0, 1, 6)[:, None]
    while True:
        pairs = rng.random((count, 2, 3))
        lines = pairs[:, :1] + blends * (pairs[:, 1:] - pairs[:, :1])
        gaps = np.linalg.norm(lines[:, None, :, None] - lines[None, :, None], axis=-1)
        others = gaps[~np.eye(count, dtype=bool)]
        if others.min() > 0.1 and np.linalg.norm(pairs[:, 0] - pairs[:, 1], axis=1).min() > 0.5:
            return np.asarray(pairs)
