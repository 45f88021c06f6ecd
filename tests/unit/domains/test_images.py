"""The evaluator of images: what it says of the truth, of wrong samples, and of itself."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from dcfm_node.domains import images
from dcfm_node.domains.base import queries
from dcfm_node.domains.features import FeatureNetwork, feature_network
from dcfm_node.domains.images import ImageEvaluator, alike, image_evaluator
from dcfm_node.errors import UserError
from dcfm_node.samples import Samples


@pytest.fixture
def evaluator(split, network):
    return ImageEvaluator(split, network)


def of(data, combinations):
    """Samples of these combinations."""
    rows = [tuple(c) in set(combinations) for c in data.c.tolist()]
    return data[rows]


def test_the_truth_scores_as_well_as_the_judge_can_tell(split, evaluator):
    found = evaluator.measure(split.reference)
    assert found["accuracy"] == evaluator.own_accuracy > 0.95
    assert found["fid"] == pytest.approx(0, abs=1e-4)
    assert (found["precision"], found["recall"]) == (1, 1)
    assert set(found) == {
        *("accuracy", "digit_accuracy", "colour_accuracy", "fid", "precision", "recall")
    }


def test_train_images_are_closer_than_noise(split, evaluator):
    true = of(split.complete, split.held_out)
    noise = np.random.default_rng(0).uniform(-1, 1, true.x.shape).astype(np.float32)
    near, far = evaluator.measure(true), evaluator.measure(Samples(noise, true.c))
    assert near["fid"] < far["fid"] / 3
    assert near["accuracy"] > 0.9 > 0.3 > far["accuracy"]
    assert near["precision"] > far["precision"]


def test_each_attribute_is_judged_by_itself(split, evaluator):
    true = of(split.reference, split.held_out)
    other = true.c.copy()
    other[:, 1] = (other[:, 1] + 1) % 10
    told = evaluator.measure(Samples(true.x, other))
    assert (told["accuracy"], told["colour_accuracy"]) == (0, 0)
    assert told["digit_accuracy"] > 0.9


def test_only_the_asked_combinations_are_compared_with(split, evaluator):
    """Known and novel images differ, so either is far from the other's reference."""
    known, novel = (of(split.reference, part) for part in (split.known, split.held_out))
    assert evaluator.measure(known)["fid"] == pytest.approx(0, abs=1e-4)
    assert evaluator.measure(Samples(novel.x, known.c))["fid"] > 1


def test_a_judge_that_is_wrong_shows(split):
    untrained = FeatureNetwork(split.sample_shape, (10, 10)).eval()
    assert ImageEvaluator(split, untrained).own_accuracy < 0.2


def test_values_beyond_the_range_are_cut(split, evaluator):
    true = of(split.reference, split.held_out)
    beyond = Samples(np.where(true.x == -1, -2, true.x).astype(np.float32), true.c)
    assert evaluator.measure(beyond) == evaluator.measure(true)
    assert evaluator.right(beyond).mean() == evaluator.measure(true)["accuracy"]


def test_a_sample_without_numbers_is_refused(split, evaluator):
    with pytest.raises(ValueError, match="not finite"):
        evaluator.measure(replace(split.reference, x=np.full_like(split.reference.x, np.nan)))


def test_the_order_of_samples_changes_nothing(split, evaluator):
    known = of(split.complete, split.known)
    order = np.random.default_rng(0).permutation(len(known))
    one, two = evaluator.measure(known), evaluator.measure(known[order])
    assert one == pytest.approx(two, rel=1e-4)  # the network computes in single precision


def test_another_extractor_gives_the_fid_alone(split, network, evaluator):
    """Of one feature, the mean light: the distance is known."""

    def light(x):
        return x.mean(axis=(1, 2, 3), dtype=np.float64)[:, None]

    drawn = of(split.complete, split.held_out)
    found = ImageEvaluator(split, network, light).measure(drawn)
    a, b = light(drawn.x), light(of(split.reference, split.held_out).x)
    wanted = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert found["fid"] == pytest.approx(wanted)
    assert {**found, "fid": 0} == {**evaluator.measure(drawn), "fid": 0}


def test_it_is_made_in_a_folder_and_found_again(split, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "feature_network", partial(feature_network, steps=2))
    image_evaluator(split, tmp_path / "out")
    (file,) = (tmp_path / "out").iterdir()
    before = file.stat().st_mtime_ns
    image_evaluator(split, tmp_path / "out")
    assert file.stat().st_mtime_ns == before
    with pytest.raises(UserError, match="the file does not exist"):
        image_evaluator(split, tmp_path / "out", inception=tmp_path / "inception.pt")


# Rows alike


def test_alike_keeps_proportions_and_takes_all_it_can():
    pool = queries([(0, 0), (0, 1), (1, 0)], 6)
    asked = np.array([(0, 1), (0, 0), (0, 1), (0, 1)])
    rows = alike(pool, asked)
    assert [tuple(c) for c in pool[rows].tolist()] == [(0, 0)] * 2 + [(0, 1)] * 6
    assert alike(pool, asked, most=1).tolist() == [0, 6, 7, 8]


def test_alike_is_exact_where_division_is_not():
    pool = queries([(0,)], 89)
    assert len(alike(pool, queries([(0,)], 40))) == 89


def test_alike_leaves_no_combination_out():
    pool = queries([(0,), (1,)], 3)
    asked = np.array([(0,)] * 10 + [(1,)])
    assert pool[alike(pool, asked)].ravel().tolist() == [0, 0, 0, 1]


def test_a_combination_that_the_reference_lacks_is_refused(split, evaluator):
    fewer = replace(split, reference=split.reference[1:])
    with pytest.raises(UserError, match=r"combination \[0, 0\]"):
        ImageEvaluator(fewer, evaluator._network).measure(split.reference)
