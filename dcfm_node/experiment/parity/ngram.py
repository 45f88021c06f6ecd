"""A judge of drawn text: an interpolated n-gram of held-out text (Witten and Bell, 1991)."""

import numpy as np
from numpy.typing import NDArray

from dcfm_node.samples import Floats

MOST_GRAMS = 1 << 22
"""Most n-grams that are counted: they are all in one table."""
LONGEST = 4


class Judge:
    """p(token | the n - 1 before), from counts that fall back to shorter contexts.

    Args:
        text: tokens (N,), whole numbers below `tokens`.

    Attributes:
        order: n, as large as MOST_GRAMS allows, at most LONGEST.
    """

    def __init__(self, text: Floats, tokens: int) -> None:
        self.tokens = tokens
        self.order = max(n for n in range(1, LONGEST + 1) if tokens**n <= MOST_GRAMS or n == 1)
        found, data = np.full((1, tokens), 1.0 / tokens), text.astype(np.int64)
        for n in range(1, self.order + 1):
            counts = np.bincount(self._coded(data, n), minlength=tokens**n).reshape(-1, tokens)
            shorter = found[np.arange(len(counts)) % len(found)]
            kinds = (counts > 0).sum(axis=1, keepdims=True)
            total = counts.sum(axis=1, keepdims=True) + kinds
            found = np.where(total > 0, (counts + kinds * shorter) / np.maximum(total, 1), shorter)
        self._bits = -np.log2(found).ravel()

    def bits(self, windows: Floats) -> NDArray[np.float64]:
        """Bits a token of each window (B, length >= n), of the tokens that have a whole context."""
        return np.asarray(
            [self._bits[self._coded(row, self.order)].mean() for row in windows.astype(np.int64)]
        )

    def _coded(self, data: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Each run of n tokens as one number."""
        code = np.zeros(max(0, len(data) - n + 1), np.int64)
        for place in range(n):
            code = code * self.tokens + data[place : place + len(code)]
        return code
