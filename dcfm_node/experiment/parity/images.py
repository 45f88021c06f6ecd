"""Small digits as tokens, each followed by the word that says what it shows."""

import numpy as np

from dcfm_node.domains.digits import digit_images
from dcfm_node.experiment.parity.corpus import Corpus, balanced

SIDE, LEVELS = 4, 4
"""Tokens along a side of a picture, and their grey levels."""
WORDS = 10
"""One for each digit; their tokens come after those of levels."""
LENGTH, TOKENS = SIDE * SIDE + 1, LEVELS + WORDS
TEST_SHARE = 5
"""One of so many pictures is held out."""


def pictured(silos: int, windows: int, tests: int, seed: int) -> Corpus:
    """scikit-learn's digits of 4 x 4 grey levels with their words, clustered by their pixels: no
    cluster sees the words.

    Raises:
        UserError: scikit-learn is not installed.
    """
    images, digits = digit_images()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    small = images[order].reshape(len(images), SIDE, 8 // SIDE, SIDE, 8 // SIDE).mean(axis=(2, 4))
    pixels = small.reshape(len(small), -1).astype(np.float64)
    levels = np.minimum(pixels * LEVELS, LEVELS - 1).astype(np.int64)
    x = np.concatenate([levels, LEVELS + digits[order, None]], axis=1).astype(np.float32)
    ones = np.ones(len(x), np.int64)
    owner = np.array(balanced(pixels - pixels.mean(axis=0), ones, silos, rng))
    held = np.arange(len(x)) % TEST_SHARE == 0
    each = [x[(owner == k) & ~held] for k in range(silos)]
    many = min(windows, *map(len, each))
    return Corpus(tuple(some[:many] for some in each), x[held][:tests], owner[held][:tests], TOKENS)
