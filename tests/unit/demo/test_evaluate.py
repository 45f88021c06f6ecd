"""What is compared with what. The models are stand-ins: nothing is trained or sampled."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dcfm_node.api.students import Expected
from dcfm_node.demo import evaluate as evaluation
from dcfm_node.demo.evaluate import Models, evaluate, panels
from dcfm_node.domains.base import SplitSpec, named
from dcfm_node.domains.gaussians import PLANE, Gaussians, centres
from dcfm_node.flow.sampling import Teacher
from dcfm_node.swarm.quality import Announcement, Estimate

DOMAIN = named("gaussians")


def drawn(labels, right):
    """The asked mode where `right`, else far away."""
    where = centres(DOMAIN.settings, PLANE)
    found = np.stack([where[tuple(label)] for label in labels.tolist()])
    modes = torch.from_numpy(found.astype(np.float32))
    return torch.where(right.unsqueeze(-1), modes, modes + 10)


def posed():
    split = DOMAIN.split(SplitSpec(PLANE, silos=2))
    return split, DOMAIN.evaluator(split, folder=Path(), seed=0, device="cpu")


@pytest.fixture
def judged(monkeypatch, manifest):
    """Silo `a` knows left, `b` knows left-bottom only; joint routing knows all but the novel."""
    asked = []

    def sample(manifest, weights, labels, *, counts, composed=None, seed, given=None):
        asked.append((weights["kind"], composed, seed))
        left = labels[:, 0] == 0
        right = {
            "student": torch.ones(len(labels), dtype=torch.bool),
            "a": left if composed else torch.zeros_like(left),
            "b": left & (labels[:, 1] == 0),
        }[weights["kind"]]
        return drawn(labels, right)

    def sample_routed(manifest, experts, labels, *, rule, seed):
        asked.append(([expert.name for expert in experts], rule, seed))
        known = ~labels.all(dim=1)
        late = experts[0].weights["kind"] == "late"
        return drawn(labels, torch.ones_like(known) if late else known & (rule == "joint"))

    monkeypatch.setattr(evaluation, "sample", sample)
    monkeypatch.setattr(evaluation, "sample_routed", sample_routed)
    monkeypatch.setattr(evaluation, "load_weights", lambda path: {"kind": path.name})
    monkeypatch.setattr(Gaussians, "each", 10)
    monkeypatch.setattr(Gaussians, "shown", 2)
    local = [Teacher(name, {"kind": name}, {}) for name in ("a", "b")]
    refined = [Teacher(name, {"kind": "late"}, {}) for name in ("a", "b")]
    split, evaluator = posed()
    given = Models(manifest, Path("student"), local, refined, None)
    return evaluate(DOMAIN, split, evaluator, given), asked


def test_each_method_has_its_accuracy_on_known_and_novel(judged):
    found, _ = judged
    assert found.accuracy["student"] == {"known": 1.0, "novel": 1.0}
    assert found.accuracy["experts"] == {"known": 1.0, "novel": 1.0}
    assert found.accuracy["independent_experts"] == {"known": 1.0, "novel": 0.0}
    assert found.accuracy["single_silo_best"] == {
        "known": pytest.approx(2 / 3, abs=1e-4),
        "novel": 0.0,
    }


def test_baselines_get_their_better_rule_and_all_candidates_are_told(judged):
    found, _ = judged
    assert found.best_silo == "a"
    single = found.detail["single_silo_best"]
    assert (single["silo"], single["sampling"]) == ("a", "composed")
    assert len(single["candidates"]) == 4
    independent = found.detail["independent_experts"]
    assert independent["sampling"] == "joint"
    assert independent["candidates"]["composed"] == {"known": 0.0, "novel": 0.0}


def test_standard_errors_are_those_of_a_share(judged):
    found, _ = judged
    errors = found.detail["standard_error"]
    assert errors["student"] == {"known": 0.0, "novel": 0.0}
    assert errors["single_silo_best"]["known"] == pytest.approx((2 / 9 / 30) ** 0.5, abs=1e-4)


def test_all_methods_start_from_the_same_noise(judged):
    _, asked = judged
    assert len(asked) == 1 + 4 + 2 + 1
    assert {seed for *_, seed in asked} == {evaluation.NOISE_SEED}


def test_the_picture_shows_the_first_samples_of_every_combination(judged):
    found, _ = judged
    assert (
        found.student.samples.c.tolist()
        == [[0, 0]] * 2 + [[0, 1]] * 2 + [[1, 0]] * 2 + [[1, 1]] * 2
    )
    assert found.single.right.tolist() == [True] * 4 + [False] * 4


def test_threads_are_given_back(judged):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(AttributeError):
            evaluate(DOMAIN, *posed(), None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_report_shows_the_student_beside_the_best_silo(judged):
    found, _ = judged
    expected = Expected.of(Announcement(None, Estimate(0.9, 0.8, 1.0), ""), 0.5)
    student, single = panels(posed()[0], found, expected)
    assert (student.title, single.title) == ("One student of 2 silos", "The best silo alone: a")
    assert student.subtitle == (
        "100% right where some silo saw it, 100% where none\n(the silos expected 90% there)"
    )
    assert "announced" not in single.subtitle


def test_metrics_that_need_the_model_get_it_for_known_and_for_novel(monkeypatch, manifest):
    """A given number comes back, of the asked rows, and the rest from the same noise."""
    torch.manual_seed(0)
    monkeypatch.setattr(Gaussians, "each", 3)
    split, evaluator = posed()

    def measure_redrawn(samples, redraw):
        mask = np.array([True, False])
        wanted = samples.x + np.float32([1, 5])
        again = redraw(mask, wanted)
        moved = np.abs(again - wanted).max(axis=0)
        return {"rows": float(len(samples)), "given": float(moved[0]), "rest": float(moved[1])}

    monkeypatch.setattr(evaluator, "measure_redrawn", measure_redrawn)

    def sample(manifest, weights, labels, *, counts, seed, composed=None, given=None):
        x = labels.float()
        if given is None:
            return x
        assert len(given.wanted) == len(labels)
        return torch.cat([given.wanted, x[:, 1:]], dim=1)

    monkeypatch.setattr(evaluation, "sample", sample)
    monkeypatch.setattr(
        evaluation, "sample_routed", lambda manifest, experts, labels, **_: labels.float()
    )
    monkeypatch.setattr(evaluation, "load_weights", lambda path: {})
    local = [Teacher(name, {}, {}) for name in ("a", "b")]
    found = evaluate(DOMAIN, split, evaluator, Models(manifest, Path("s"), local, local, None))
    assert found.detail["redrawn"] == {
        "rows": {"known": 9.0, "novel": 3.0},
        "given": {"known": 0.0, "novel": 0.0},
        "rest": {"known": 5.0, "novel": 5.0},
    }
