"""The experiment on radiographs, as small as it can be."""

import json
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.experiment import figures, results
from dcfm_node.experiment.lab import Lab
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.settings import load, of_results
from dcfm_node.experiment.trial import Trial
from tests.unit.domains.chest.radiographs import SIDE, write

TEXT = f"""
name = "chest"
title = "Radiographs"
each = 5
methods = ["dcfm-b"]
columns = ["fid_known", "utility"]
membership = true
standardise = "feature"

[domain]
kind = "chest-xray"
size = {SIDE}
silos = 2
frequency = 0.05
steps = 3
partitions = ["iid"]

[fit]
kind = "linear"
features = 4

[network]
width = 8
depth = 1

[method]
solver_steps = 2
composed = false
[method.local]
steps = 4
batch = 8
ci_batch = 4
[method.refine]
steps = 4
[method.distil]
steps = 4
batch = 8
ci_batch = 4
product_share = 0.5

[preset.cpu]
"""


@pytest.fixture
def spec(tmp_path: Path) -> TrialSpec:
    (tmp_path / "nih").mkdir()
    data = write(tmp_path / "nih", patients=100)
    (tmp_path / "chest.toml").write_text(TEXT)
    return TrialSpec(
        experiment=str(tmp_path / "chest.toml"),
        preset="cpu",
        partition="iid",
        seed=0,
        out=tmp_path / "out",
        data=data,
        device="cpu",
    )


def test_without_novel_combinations_the_known_ones_are_measured(
    spec: TrialSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.flow.membership.MEMBERSHIP_FEWEST", 3)
    Trial(spec).run()
    row = json.loads((spec.out / "rows" / "iid-0-dcfm-b.json").read_text())["row"]
    metrics = row["metrics"]
    assert metrics.keys() >= {
        "known_accuracy",
        "fid_known",
        "utility",
        "utility_low",
        "specificity",
    }
    assert not [name for name in metrics if "novel" in name]
    assert 0.0 <= metrics["floor_utility"] <= 1.0
    for of in ("expert", "expert_calibrated", "student", "student_calibrated"):
        low, told, high = (metrics[f"membership_{of}_auc{end}"] for end in ("_low", "", "_high"))
        assert 0.0 <= low <= told <= high <= 1.0
    given = load(spec.experiment, spec.preset)
    assert of_results(given.model_dump(mode="json")) == given
    found = results.Results("chest", "cpu", "", "", "", (results.Row(**row),), {})
    (picture,) = figures.draw(spec.out, found, given)
    assert picture.name == "samples-iid.png"
    shown, _ = results.load_samples(spec.out / "samples" / "iid-0.npz")
    assert np.abs(shown.x).max() <= 1.0
    counts = json.loads((spec.out / "judge" / "test-images.json").read_text())
    assert sum(counts.values()) > 20


def test_no_patient_is_in_training_and_hold_out(spec: TrialSpec, tmp_path: Path) -> None:
    given = load(spec.experiment, spec.preset)
    problem, partition = given.posed["iid"]
    split = problem.split(partition, 0, spec.data)
    bare = given.model_copy(update={"standardise": "none"}).manifest(split, 0)
    assert bare.feasible == split.feasible
    lab = Lab(bare, split, tmp_path / "trained", "cpu", lambda *_: None)
    archive = np.load(spec.data / "small.npz")
    named = zip(archive["image"], archive["name"], strict=True)
    whose = {image.tobytes(): name[:8] for image, name in named}
    for train, held in lab.silos:
        sides = [{whose[image.numpy().tobytes()] for image in part.x} for part in (train, held)]
        assert all(sides)
        assert sides[0].isdisjoint(sides[1])
