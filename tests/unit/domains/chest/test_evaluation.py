"""What radiographs are worth: distances, and what a classifier that learned from them recalls."""

import json
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.domains.base import queries
from dcfm_node.domains.chest import table, utility, views
from dcfm_node.domains.chest.chest import Chest, ChestSplit
from dcfm_node.domains.chest.classifier import classifier
from dcfm_node.domains.chest.evaluation import ChestEvaluator
from dcfm_node.domains.chest.memorisation import memorised, nearest
from dcfm_node.domains.settings import SYNTHETIC, ChestSettings
from dcfm_node.domains.space import Panel, Space
from dcfm_node.errors import DataError
from dcfm_node.samples import Samples, unit
from tests.unit.domains.chest.radiographs import COMBINATIONS, SIDE, split_of, write

STEPS = 60


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> ChestSplit:
    return split_of(write(tmp_path_factory.mktemp("nih"), patients=200, each=3))


@pytest.fixture(scope="module")
def judge(split: ChestSplit, tmp_path_factory: pytest.TempPathFactory) -> ChestEvaluator:
    folder = tmp_path_factory.mktemp("judge")
    return ChestEvaluator(split, folder, steps=STEPS, seed=0, device="cpu")


def drawn(split: ChestSplit, each: int = 12) -> Samples:
    """Real training images of every combination, as a perfect model would draw them."""
    c = queries(split.feasible, each)
    known = split.complete
    rows = [np.flatnonzero((known.c == label).all(axis=1)) for label in split.feasible]
    x = unit(known.x[np.concatenate([of[:each] for of in rows])])
    return Samples(x, c)


def test_good_samples_are_closer_and_teach_more_than_bad_ones(
    split: ChestSplit, judge: ChestEvaluator
) -> None:
    good = drawn(split)
    bad = Samples(good.x, np.roll(good.c, 12, axis=0))
    near, far = judge.measure(good), judge.measure(Samples(-good.x, good.c))
    assert near["fid"] < 0.5 * far["fid"]
    assert near["accuracy"] > 0.8 > judge.measure(bad)["accuracy"]
    worth, less = judge.measure_together(good), judge.measure_together(bad)
    assert worth["utility"] > 0.7 > less["utility"] + 0.15
    assert worth["utility_low"] <= worth["utility"] <= worth["utility_high"]
    assert 0.5 < worth["specificity"] <= 1.0
    assert worth["ceiling_utility"] > 0.7
    assert 0.0 <= worth["floor_utility"] <= worth["ceiling_utility"] + 0.1
    assert worth.keys() >= {"utility_multiple", "ceiling_specificity", "floor_specificity"}


def test_real_references_are_measured_once(split: ChestSplit, judge: ChestEvaluator) -> None:
    files = list(judge._folder.glob("utility-*.json"))
    first = judge.measure_together(drawn(split))
    for file in judge._folder.glob("utility-*.json"):
        file.write_text(json.dumps({"utility": 0.25}))
    assert judge.measure_together(drawn(split))["ceiling_utility"] == 0.25 != first["utility"]
    assert len(files) in (0, 4), "one for all images, one for each silo"


def test_copies_are_told_from_images_of_others(split: ChestSplit, judge: ChestEvaluator) -> None:
    copies, rng = drawn(split), np.random.default_rng(0)
    found = judge.measure_together(copies)
    assert found["memorised_pixels"] < 0.01
    assert found["memorised_features"] < 0.01
    trained, held, others = (rng.normal(size=(many, 5)) for many in (400, 300, 2_000))
    assert memorised(others, held, trained) == pytest.approx(1.0, abs=0.15)
    assert memorised(trained[:50] + 0.01, held, trained) < 0.1
    exact = np.linalg.norm(held[:9, None] - trained, axis=2).min(axis=1)
    assert nearest(held[:9], trained).tolist() == pytest.approx(exact.tolist(), abs=1e-3)


def test_groups_pool_what_is_rare() -> None:
    one, two, three = (1, 0, 0), (1, 1, 0), (0, 1, 1)
    rows = [(0, 0, 0)] * 50 + [one] * 20 + [two] * 19 + [three] * 3
    c = np.pad(np.array(rows), ((0, 0), (0, len(table.FINDINGS) - 3)))
    found = utility.groups(c)
    assert [(group.name, int(group.rows.sum())) for group in found] == [
        ("Atelectasis", 20),
        ("rarer combinations of 2 findings", 22),
    ]


def test_recall_is_a_mean_over_groups_with_an_interval_over_patients() -> None:
    c = np.array([[1, 0]] * 6 + [[1, 1]] * 2 + [[0, 0]])
    found = np.array([[True, True]] * 3 + [[False, True]] * 3 + [[True, True], [True, False]] +
                     [[True, True]])  # fmt: skip
    right = utility.recalled(found, c)
    assert right.tolist() == [True] * 3 + [False] * 3 + [True, False, True]
    of = [utility.Group("a", c[:, 1] < c[:, 0], 1), utility.Group("b", c[:, 1] > 0, 2)]
    patients = np.arange(9)
    whole = utility.mean_recall(right, of, patients, 0)
    assert whole.mean == pytest.approx(0.5)
    assert whole.low < 0.3 < 0.7 < whole.high
    alone = utility.mean_recall(right, of, np.zeros(9, np.int64), 0)
    assert alone.low == alone.high == pytest.approx(0.5), "one patient, one draw"


def test_a_classifier_is_a_function_of_its_seed(split: ChestSplit) -> None:
    first, again = (classifier(drawn(split), 3, 5) for _ in range(2))
    assert np.array_equal(first.found(split.reference.x), again.found(split.reference.x))


def test_without_public_images_nothing_is_evaluated(tmp_path: Path) -> None:
    split = split_of(write(tmp_path, first=500))
    chest = Chest(ChestSettings(size=SIDE))
    with pytest.raises(DataError, match="no image of the public patients"):
        chest.evaluator(split, folder=tmp_path, seed=0, device="cpu")
    with pytest.raises(DataError, match="no image of the public patients"):
        chest.public(tmp_path)


def test_pictures_say_that_they_are_synthetic(
    split: ChestSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    usual = views.ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        views.ImageDraw.ImageDraw,
        "text",
        lambda self, at, text, *more: (said.append(text), usual(self, at, text, *more)),
    )
    space, samples = Space(split.attributes, split.feasible[:1]), drawn(split, 2)
    chest = Chest(ChestSettings(size=SIDE))
    panels = [Panel(views.REAL, samples), Panel("dcfm-b", samples)]
    wide = chest.draw(space, panels, {}, "a title")
    assert {SYNTHETIC, views.SOURCE, "a title", "dcfm-b", "No Finding"} <= set(said)
    said.clear()
    sheet = chest.sheet(space, samples)
    assert SYNTHETIC in said
    assert set(COMBINATIONS) - {"Effusion|Mass", "Edema|Effusion"} <= set(said)
    assert np.asarray(wide).std() > 0
    assert sheet.height > 6 * views.SIDE
    said.clear()
    views.pairs(samples[:3], samples[:3], "above and below")
    assert {views.SOURCE, "above and below"} == set(said)
