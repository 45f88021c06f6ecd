"""Which of many runs the tests do without `--full`."""

from collections.abc import Sequence

import pytest

REACHING = (
    ("hostile:offences", 0),
    ("forgers", 0),
    ("leavers", 0),
    ("disks-damaged:paper", 1),
    ("disks-full", 0),
    ("disks-full", 4),
    ("split:tolerant", 0),
    ("spoilers:few", 0),
)
"""Runs that reach all that the whole sweep does, by scenario and seed."""


def sweep(names: Sequence[str], seeds: int) -> pytest.MarkDecorator:
    """Every scenario with every seed; of those, the short run keeps each scenario with one seed,
    and as many different seeds as there are."""
    return pytest.mark.parametrize(
        ("scenario", "seed"),
        [
            pytest.param(name, seed, marks=[] if seed == index % seeds else [pytest.mark.full])
            for index, name in enumerate(names)
            for seed in range(seeds)
        ],
    )
