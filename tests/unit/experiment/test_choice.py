"""One rule chooses the guidance weights of every method, from known hold-out data alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dcfm_node.domains import images
from dcfm_node.domains.base import Evaluator
from dcfm_node.domains.features import feature_network
from dcfm_node.experiment import choice, results, tables
from dcfm_node.experiment.choice import Way, closest, distances, ways
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.methods import Draw
from dcfm_node.experiment.results import Results, read_row
from dcfm_node.experiment.settings import Choice, load
from dcfm_node.experiment.trial import Trial
from dcfm_node.files import shipped
from dcfm_node.flow import metrics
from dcfm_node.flow.codec import standardised
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Samples
from tests.unit.domains.idx_files import write as write_bars
from tests.unit.experiment import tiny
from tests.unit.experiment.test_lab import Watched

GIVEN = Choice(weights=(1.0, 1.3), novel_factor=2.0)


class Judge(Evaluator):
    def right(self, samples: Samples) -> np.ndarray:
        raise AssertionError("the choice may not look at accuracy")


def test_novel_weights_follow_from_those_of_known_combinations() -> None:
    found = [(way.name, way.known, way.novel) for way in ways(GIVEN)]
    assert found[:2] == [("joint", 1.0, 1.0), ("joint 1.3/1.6", 1.3, 1.6)]
    assert [name for name, *_ in found[2:]] == ["composed", "composed 1.3/1.6"]


def test_the_way_closest_to_known_hold_out_data_is_chosen(tmp_path: Path) -> None:
    lab, asked = Watched(tmp_path).lab, []
    real = lab.holdout

    def draw(error: float) -> Draw:
        def drawn(run: Manifest, labels: Tensor, seed: int) -> Tensor:
            asked.extend(map(tuple, labels.tolist()))
            off = error + abs(run.method.guidance.known - 1.3)
            means = [real.x[(real.c == label.numpy()).all(axis=1)].mean(0) for label in labels]
            noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(seed))
            x = torch.from_numpy(np.stack(means)) + 0.3 * noise + off
            return standardised(x.float(), lab.scale)

        return drawn

    found = distances(
        {"joint": draw(1.0), "composed": draw(0.0)}, GIVEN, lab, Judge(), lambda *_: None
    )
    assert closest(found) == Way("composed", 1.3, 1.6)
    assert set(found) == set(ways(GIVEN))
    assert set(asked) == {(0, 0), (0, 1), (1, 0)}, "(1, 1) is novel"
    assert len(asked) == len(found) * choice.DRAWS * len(real.x)


def test_hold_out_data_is_what_no_silo_trains_on(tmp_path: Path) -> None:
    lab = Watched(tmp_path).lab
    trained = torch.cat([train.x for train, _ in lab.silos])
    assert len(lab.holdout.x) + len(trained) == len(lab.split.pooled.x)
    assert not (torch.from_numpy(lab.holdout.x)[:, None] == trained[None]).all(-1).any()


def ran(path: str, preset: str, partition: str, out: Path, data: Path | None = None) -> Results:
    """The trial's rows, with its settings."""
    Trial(
        TrialSpec(
            experiment=path,
            preset=preset,
            partition=partition,
            seed=0,
            out=out,
            data=data,
            device="cpu",
            threads=0,
        )
    ).run()
    given = load(path, preset)
    rows = tuple(read_row(out / f"rows/{partition}-0-{name}.json") for name in given.lineup)
    return Results(given.name, preset, "", "", "", rows, given.model_dump(mode="json"))


def test_a_trial_reports_the_chosen_way_beside_weights_of_1(tmp_path: Path) -> None:
    top = "guidance = { weights = [1.0, 1.5], novel_factor = 2.0 }"
    path = tiny.write(tmp_path, top=top)
    found = ran(path, "cpu", "noniid", tmp_path)
    for row in found.rows:
        assert len(row.compared) == 4
        assert row.rule == min(row.compared, key=row.compared.__getitem__)
        assert row.metrics == row.variants[row.rule]
        assert {"joint", "composed"} <= set(row.variants)
    page = tables.document(found, load(path, "cpu"))
    assert "1 + 2 (w - 1)" in page
    assert "### noniid, all weights 1" in page
    line = next(line for line in page.splitlines() if line.startswith("| method | joint | joint 1"))
    assert line == "| method | joint | joint 1.5/2 | composed | composed 1.5/2 |"
    found.write(tmp_path)
    assert results.read(tmp_path).rows == found.rows


SMALL = """
each = 2
curves = false
rounds = 1
paper_rounds = 1
domain = { size = 14, silos = 2, partitions = ["noniid"] }
network = { width = 8 }
guidance = { weights = [1.0, 1.5] }
fedflow = { averagings = 2, steps = 1, steps_with_ci = 1 }
scheme = [{ name = "seldom", method = "fedflow", change = { fedflow = { averagings = 1 } } }]
[preset.gpu.method]
solver_steps = 1
local = { steps = 2, batch = 8, ci_batch = 4 }
refine = { steps = 2, batch = 8, ci_batch = 4 }
distil = { steps = 2, batch = 8, ci_batch = 4 }
"""


@pytest.mark.full
def test_the_preset_for_a_gpu_runs_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, with two steps a stage, on a quarter of its pixels and a narrower network."""

    def quickly(*given: object) -> object:
        return feature_network(*given, steps=2)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "feature_network", quickly)
    monkeypatch.setattr(metrics, "ROWS", 16)
    text = (shipped("experiments") / "coloured-mnist.toml").read_text()
    assert text.endswith("[preset.gpu]\n")
    path = tmp_path / "gpu.toml"
    path.write_text(text + SMALL)
    found = ran(str(path), "gpu", "noniid", tmp_path, write_bars(tmp_path))
    assert len(found.rows) == 12
    for row in found.rows:
        assert {"fid_novel", "recall_novel", "novel_accuracy"} <= set(row.metrics)
