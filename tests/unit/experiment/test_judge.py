"""The judge of images: what it says of the truth, of wrong samples, and of itself."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from dcfm_node.errors import UserError
from dcfm_node.experiment import judge as judging
from dcfm_node.experiment.features import FeatureNetwork, feature_network
from dcfm_node.experiment.judge import ImageJudge, alike, image_judge
from dcfm_node.experiment.task import queries


@pytest.fixture
def judge(task, network):
    return ImageJudge(task, network)


def of(data, combinations):
    """Samples of these combinations."""
    rows = [tuple(c) in set(combinations) for c in data.c.tolist()]
    return data.x[rows], data.c[rows]


def test_the_truth_scores_as_well_as_the_judge_can_tell(task, judge):
    found = judge.measure(task.reference.x, task.reference.c)
    assert found["accuracy"] == judge.own_accuracy > 0.95
    assert found["fid"] == pytest.approx(0, abs=1e-4)
    assert (found["precision"], found["recall"]) == (1, 1)
    assert set(found) == {
        *("accuracy", "digit_accuracy", "colour_accuracy", "fid", "precision", "recall")
    }


def test_train_images_are_closer_than_noise(task, judge):
    x, c = of(task.complete, task.held_out)
    noise = np.random.default_rng(0).uniform(-1, 1, x.shape).astype(np.float32)
    near, far = judge.measure(x, c), judge.measure(noise, c)
    assert near["fid"] < far["fid"] / 3
    assert near["accuracy"] > 0.9 > 0.3 > far["accuracy"]
    assert near["precision"] > far["precision"]


def test_each_attribute_is_judged_by_itself(task, judge):
    x, c = of(task.reference, task.held_out)
    other = c.copy()
    other[:, 1] = (other[:, 1] + 1) % 10
    told = judge.measure(x, other)
    assert (told["accuracy"], told["colour_accuracy"]) == (0, 0)
    assert told["digit_accuracy"] > 0.9


def test_only_the_asked_combinations_are_compared_with(task, judge):
    """Known and novel images differ, so either is far from the other's reference."""
    known, novel = (of(task.reference, part) for part in (task.known, task.held_out))
    assert judge.measure(*known)["fid"] == pytest.approx(0, abs=1e-4)
    assert judge.measure(novel[0], known[1])["fid"] > 1


def test_a_judge_that_is_wrong_shows(task):
    untrained = FeatureNetwork(task.sample_shape, (10, 10)).eval()
    assert ImageJudge(task, untrained).own_accuracy < 0.2


def test_values_beyond_the_range_are_cut(task, judge):
    x, c = of(task.reference, task.held_out)
    beyond = np.where(x == -1, -2, x).astype(np.float32)
    assert judge.measure(beyond, c) == judge.measure(x, c)


def test_a_sample_without_numbers_is_refused(task, judge):
    with pytest.raises(ValueError, match="not finite"):
        judge.measure(np.full_like(task.reference.x, np.nan), task.reference.c)


def test_the_order_of_samples_changes_nothing(task, judge):
    x, c = of(task.complete, task.known)
    order = np.random.default_rng(0).permutation(len(x))
    one, two = judge.measure(x, c), judge.measure(x[order], c[order])
    assert one == pytest.approx(two, rel=1e-4)  # the network computes in single precision


def test_another_extractor_gives_the_fid_alone(task, network, judge):
    """Of one feature, the mean light: the distance is known."""

    def light(x):
        return x.mean(axis=(1, 2, 3), dtype=np.float64)[:, None]

    x, c = of(task.complete, task.held_out)
    truth, _ = of(task.reference, task.held_out)
    found = ImageJudge(task, network, light).measure(x, c)
    a, b = light(x), light(truth)
    wanted = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert found["fid"] == pytest.approx(wanted)
    assert {**found, "fid": 0} == {**judge.measure(x, c), "fid": 0}


def test_it_is_made_in_a_folder_and_found_again(task, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "feature_network", partial(feature_network, steps=2))
    image_judge(task, tmp_path / "out")
    (file,) = (tmp_path / "out").iterdir()
    before = file.stat().st_mtime_ns
    image_judge(task, tmp_path / "out")
    assert file.stat().st_mtime_ns == before
    with pytest.raises(UserError, match="no such file"):
        image_judge(task, tmp_path / "out", inception=tmp_path / "inception.pt")


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


def test_a_combination_that_the_reference_lacks_is_refused(task, judge):
    x, c = task.reference.x, task.reference.c
    fewer = replace(task, reference=replace(task.reference, x=x[1:], c=c[1:]))
    with pytest.raises(UserError, match=r"combination \[0, 0\]"):
        ImageJudge(fewer, judge._network).measure(x, c)
