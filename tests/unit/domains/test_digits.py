"""The digits in colours: who holds what, and what the classifier finds."""

import sys
from collections import Counter

import numpy as np
import pytest

from dcfm_node.domains import colours
from dcfm_node.domains.base import Split, SplitSpec
from dcfm_node.domains.digits import Digits, DigitsEvaluator
from dcfm_node.domains.settings import DigitsSettings
from dcfm_node.errors import UserError
from dcfm_node.samples import Samples
from dcfm_node.swarm.coverage import coverage


def split(silos: int = 3, seed: int = 0) -> Split:
    return Digits(DigitsSettings()).split(SplitSpec(silos=silos, seed=seed))


@pytest.mark.parametrize("silos", [2, 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_silos_cover_together_what_none_covers_alone(silos: int, seed: int) -> None:
    made = split(silos, seed)
    assert len(made.silos) == silos
    for share in made.silos:
        assert (share.x.dtype, share.c.dtype) == (np.float32, np.int64)
        assert share.x.shape == (len(share.c), *made.sample_shape)
        assert -1 <= share.x.min() <= share.x.max() <= 1
        assert len(share.combinations) < len(made.known)
    counts = Counter(tuple(row) for share in made.silos for row in share.c.tolist())
    assert coverage(counts, [10, 6]).sufficient
    assert set(counts).isdisjoint(made.held_out)
    assert len(made.known) + len(made.held_out) == 60
    assert len(made.held_out) >= 60 / 3


def test_a_split_is_a_function_of_its_seed() -> None:
    first, again, other = (split(seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.x, b.x) for a, b in zip(first.silos, again.silos, strict=True))
    assert first.held_out == again.held_out != other.held_out


def test_the_classifier_knows_true_images_and_finds_wrong_labels() -> None:
    complete = split().complete
    assert complete is not None
    evaluator = DigitsEvaluator()
    assert evaluator.measure(complete)["accuracy"] > 0.97
    other = complete.c.copy()
    other[:, 1] = (other[:, 1] + 1) % 6
    assert not evaluator.right(Samples(complete.x, other))[:100].any()


def test_paint_colours_the_strokes() -> None:
    grey = np.zeros((1, 8, 8), dtype=np.float32)
    grey[0, 2, 2] = 1
    image = colours.paint(grey, np.array([list(colours.SIX).index("yellow")]), colours.SIX)
    assert image[0, :, 2, 2] == pytest.approx([1.0, 0.8, -1.0])
    assert (image[0, :, 0, 0] == -1).all()


def test_more_silos_than_digits_are_refused() -> None:
    with pytest.raises(UserError, match="at most 10"):
        split(11)


def test_absent_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"dcfm-node\[demo\]"):
        split()
