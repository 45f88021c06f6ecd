"""Grey images painted in colours."""

from collections.abc import Mapping

import numpy as np

from dcfm_node.samples import Floats, Labels

Palette = Mapping[str, tuple[float, float, float]]
"""Colours by name: red, green and blue in [0, 1]."""

SIX: Palette = {
    "red": (1.0, 0.1, 0.1),
    "green": (0.1, 0.9, 0.1),
    "blue": (0.2, 0.3, 1.0),
    "yellow": (1.0, 0.9, 0.0),
    "magenta": (1.0, 0.1, 1.0),
    "cyan": (0.0, 0.9, 0.9),
}
TEN: Palette = {
    "red": (1.0, 0.1, 0.1),
    "orange": (1.0, 0.5, 0.0),
    "yellow": (1.0, 1.0, 0.1),
    "green": (0.1, 0.8, 0.1),
    "cyan": (0.0, 0.9, 0.9),
    "blue": (0.1, 0.3, 1.0),
    "violet": (0.5, 0.1, 1.0),
    "magenta": (1.0, 0.1, 0.8),
    "pink": (1.0, 0.45, 0.6),
    "white": (1.0, 1.0, 1.0),
}
"""No two colours differ only in brightness, because strokes fade at their edges."""


def paint(grey: Floats, colours: Labels, palette: Palette) -> Floats:
    """Images (N, height, width) in [0, 1] and colour indices (N,) to (N, 3, ...) in [-1, 1]."""
    rgb = np.array(list(palette.values()), dtype=np.float32)[colours]
    return np.asarray(2 * rgb[:, :, None, None] * grey[:, None] - 1, dtype=np.float32)
