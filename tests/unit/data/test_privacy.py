"""Label counts that are told: exact, rounded, or with noise that is drawn once."""

import math
from collections import Counter

import pytest

from dcfm_node.data.privacy import Counts, Privacy, published
from dcfm_node.errors import DataError

COUNTS: Counts = (((0, 0), 100), ((0, 1), 14), ((1, 0), 9), ((1, 1), 1))
SECRET = b"s" * 32


def told(privacy: Privacy, counts: Counts = COUNTS, secret: bytes = SECRET) -> Counts:
    return published(counts, counts, privacy, secret)


def test_exact_counts_are_what_they_are() -> None:
    assert told(Privacy()) == COUNTS


def test_rounded_counts_are_multiples_and_small_ones_are_not_told() -> None:
    assert told(Privacy(counts="rounded")) == (((0, 0), 100), ((0, 1), 10))
    assert told(Privacy(counts="rounded", threshold=4)) == (
        ((0, 0), 100),
        ((0, 1), 16),
        ((1, 0), 8),
    )


def test_noise_is_the_same_after_a_restart_and_another_for_other_data_or_keys() -> None:
    laplace = Privacy(counts="laplace", threshold=2, epsilon=0.05)
    many: Counts = tuple(((i, j), 500 + i) for i in range(10) for j in range(10))
    first = told(laplace, many)
    assert first == told(laplace, many) != many
    assert first != told(laplace, many, b"t" * 32)
    more = (((0, 0), many[0][1] + 1), *many[1:])
    assert sum(a != b for a, b in zip(told(laplace, more), first, strict=True)) > 50
    assert first != told(laplace.model_copy(update={"epsilon": 0.06}), many)


def test_another_threshold_tells_of_the_same_draw() -> None:
    counts: Counts = tuple(((i,), 60) for i in range(200))
    low = dict(told(Privacy(counts="laplace", threshold=2, epsilon=0.1), counts))
    high = dict(told(Privacy(counts="laplace", threshold=60, epsilon=0.1), counts))
    assert high == {label: n for label, n in low.items() if n >= 60}


def test_noise_has_the_distribution_that_epsilon_asks_for() -> None:
    """P(z) = (1 - a) / (1 + a) a^|z|, a = exp(-epsilon): each within four deviations."""
    epsilon, many = 0.7, 4_000
    counts: Counts = tuple(((i // 100, i % 100), 1_000) for i in range(many))
    laplace = Privacy(counts="laplace", epsilon=epsilon)
    seen = Counter(n - 1_000 for _, n in told(laplace, counts))
    alpha = math.exp(-epsilon)
    for z in range(-4, 5):
        chance = (1 - alpha) / (1 + alpha) * alpha ** abs(z)
        assert abs(seen[z] - many * chance) < 4 * math.sqrt(many * chance), z


def test_delta_is_the_chance_that_a_single_sample_is_told_of() -> None:
    laplace = Privacy(counts="laplace", threshold=4, epsilon=1.0)
    counts: Counts = tuple(((i // 100, i % 100), 1) for i in range(10_000))
    chance = len(told(laplace, (*counts, ((999, 0), 1_000)))) - 1
    expected = 10_000 * laplace.delta
    assert abs(chance - expected) < 4 * math.sqrt(expected)
    assert f"{laplace.delta:.1e}" in laplace.told


def test_noisy_counts_are_of_all_samples_and_never_below_the_threshold() -> None:
    laplace = Privacy(counts="laplace", threshold=5, epsilon=0.3)
    whole: Counts = tuple(((i,), 6) for i in range(300))
    found = published((((0,), 1),), whole, laplace, SECRET)
    assert 100 < len(found) < 300
    assert min(n for _, n in found) == 5


def test_a_silo_of_small_counts_alone_is_told_what_to_do() -> None:
    with pytest.raises(DataError, match="no combination has 500 samples or more") as caught:
        told(Privacy(counts="rounded", threshold=500))
    assert "threshold" in str(caught.value)
