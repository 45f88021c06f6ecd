"""Time series: a tone in an envelope, a season with a trend, and a daily profile with one."""

import numpy as np

from dcfm_node.experiment.strangers.pictures import nearest
from dcfm_node.experiment.strangers.problem import Array, Problem, attributes, deal, readable
from dcfm_node.experiment.strangers.vectors import Means, modes, separated
from dcfm_node.samples import Combination, Labels

TICKS = 32
HOURS = 24


def series(rng: np.random.Generator) -> Problem:
    """Three frequencies in four envelopes, with any phase: one channel of 32 points."""
    t = np.arange(TICKS) / TICKS
    cycles = np.sort(rng.choice([3, 5, 7, 9, 11], 3, replace=False))
    width = rng.uniform(0.14, 0.2)
    bumps = [np.exp(-(((t - place) / width) ** 2) / 2) for place in (0.15, 0.5, 0.85)]
    envelopes = np.array([*bumps, np.full(TICKS, 0.7)])

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        phase, loud = rng.random((count, 1)), rng.uniform(0.8, 1.2, (count, 1))
        x = loud * envelopes[c[1]] * np.cos(2 * np.pi * (cycles[c[0]] * t + phase))
        return np.asarray((x + 0.05 * rng.standard_normal(x.shape))[:, None])

    def judge(x: Array) -> Labels:
        flat = x.reshape(len(x), -1)
        turns = np.exp(2j * np.pi * cycles[:, None] * t)
        tones = (turns[:, None] * envelopes).reshape(-1, TICKS)
        best, alike = nearest(flat, tones)
        loud = np.linalg.norm(flat, axis=1) / np.linalg.norm(tones.real, axis=1)[best]
        clear = (alike**2 > 0.3) & (loud > 0.4) & (loud < 2)  # a real tone has .5 and about 1
        return readable(np.stack(np.unravel_index(best, (3, len(envelopes))), axis=1), clear)

    said = attributes(tone="low middle high", onset="early centre late steady")
    return Problem((1, TICKS), said, deal((3, 4), 9, 3, rng), draw, judge)


def seasons(rng: np.random.Generator) -> Problem:
    """Three trends and four seasons, with any phase: one channel of 32 points."""
    t = np.arange(TICKS) / TICKS - 0.5
    cycles = rng.choice([2, 3, 4, 5, 6, 7, 8], 4, replace=False)
    slopes = rng.uniform(2, 3) * rng.permutation([-1.0, 0.0, 1.0])

    def draw(c: Combination, count: int, rng: np.random.Generator) -> Array:
        phase, loud = rng.random((count, 1)), rng.uniform(0.8, 1.2, (count, 1))
        x = slopes[c[0]] * t + loud * np.cos(2 * np.pi * (cycles[c[1]] * t + phase))
        return np.asarray((x + 0.1 * rng.standard_normal(x.shape))[:, None])

    def judge(x: Array) -> Labels:
        flat = x.reshape(len(x), -1)
        fits = []
        for often in cycles:
            turn = 2 * np.pi * often * t
            basis = np.stack([np.ones(TICKS), t, np.cos(turn), np.sin(turn)], axis=1)
            found = flat @ np.linalg.pinv(basis).T
            left = np.square(flat - found @ basis.T).mean(axis=1)
            fits.append(np.column_stack([left, found[:, 1], np.hypot(found[:, 2], found[:, 3])]))
        left, slope, loud = np.moveaxis(np.array(fits), 2, 0)
        season, row = left.argmin(axis=0), np.arange(len(x))
        off = abs(slope[season, row][:, None] - slopes)
        clear = (off.min(axis=1) < 0.8) & (left.min(axis=0) < 0.1) & (loud[season, row] > 0.5)
        return readable(np.stack([off.argmin(axis=1), season], axis=1), clear)

    said = attributes(trend="first second third", season="a b c d")
    return Problem((1, TICKS), said, deal((3, 4), 9, 3, rng), draw, judge)


def profiles(rng: np.random.Generator) -> Problem:
    """Four daily profiles with three trends, in kW: 24 numbers that are not said to be a series."""
    t = np.arange(HOURS) / HOURS

    def wave() -> Array:
        angles = 2 * np.pi * np.arange(1, 4)[:, None] * t
        return np.asarray(rng.normal(size=3) @ np.cos(angles) + rng.normal(size=3) @ np.sin(angles))

    def effects() -> Means:
        days = np.array([wave() for _ in range(4)])
        trends = np.outer(rng.uniform(2, 4) * np.array([-1, 0, 1]), t - 0.5)
        return (days[:, None] + trends).reshape(-1, HOURS)

    return modes(
        attributes(building="office school bakery clinic", trend="falling flat rising"),
        deal((4, 3), 9, 3, rng),
        separated(effects, 0.25),
        noise=0.25,
        into=lambda z: 40 + 12 * z,
        back=lambda x: (x - 40) / 12,
    )
