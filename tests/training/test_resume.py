"""A killed stage goes on as if nothing had happened."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dcfm_node.errors import DataError, Failed
from dcfm_node.flow import trainer
from dcfm_node.flow.networks import Weights
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import EncodedSamples, Outcome, local
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm.learner import (
    DcfmLearner,
    distil,
    refine_against_peers,
    refine_anchored,
)
from dcfm_node.methods.fedflow.learner import train_part
from dcfm_node.store.tensors import check_snapshot
from tests.training.settings import STAGE, draws, manifest

STAGES = ("local", "refine_anchored", "refine_against_peers", "distil")
# 100 steps cross a block of rows; patience puts the CI gaps into the checkpoint.
SETTINGS = STAGE | {"steps": 100, "batch": 8, "patience": 90}
RUN = manifest(method=dict.fromkeys(("local", "refine", "distil"), SETTINGS))


def samples(rows: int = 60) -> EncodedSamples:
    generator = draws()
    c = torch.randint(2, (rows, 2), generator=generator)
    return EncodedSamples(2.0 * c - 1 + 0.1 * torch.randn(rows, 2, generator=generator), c)


def run(stage: str, callbacks: Callbacks, seed: int = 7) -> Outcome:
    data, holdout = samples(), samples(20)
    counts = {(0, 0): 3, (1, 1): 2}
    init = local(manifest(), data, holdout, seed=0, callbacks=Callbacks()).weights
    teachers = [Teacher("silo-0", init, counts), Teacher("silo-1", init, counts)]
    if stage == "local":
        return local(RUN, data, holdout, seed=seed, callbacks=callbacks)
    if stage == "distil":
        return distil(RUN, teachers, init=init, seed=seed, callbacks=callbacks)
    if stage == "refine_anchored":
        return refine_anchored(
            RUN, data, holdout, init=init, anchor=init, seed=seed, callbacks=callbacks
        )
    return refine_against_peers(
        RUN, data, holdout, me="silo-1", init=init, peers=teachers, seed=seed, callbacks=callbacks
    )


@pytest.mark.parametrize("stage", STAGES)
def test_resumed_run_is_bit_identical(stage: str, tmp_path: Path) -> None:
    saved: list[Path] = []

    def save(checkpoint: Weights) -> None:
        saved.append(tmp_path / f"{len(saved)}.safetensors")
        save_file(checkpoint, saved[-1])

    whole = run(stage, Callbacks(save=save, save_every=30))
    assert len(saved) == 3
    resumed = run(stage, Callbacks(resume=load_file(saved[1])))
    assert resumed.metrics == whole.metrics
    assert all(torch.equal(resumed.weights[name], whole.weights[name]) for name in whole.weights)


def test_another_node_takes_a_students_checkpoint_for_what_it_is(tmp_path: Path) -> None:
    """SPEC 5.1.3, 6.4.4: a published checkpoint passes the check of names, shapes and values."""
    form = DcfmLearner(RUN).checkpoint()
    made: list[Weights] = []
    run("distil", Callbacks(save=made.append, save_every=30))
    for step, state in zip((30, 60, 90), made, strict=True):
        path = tmp_path / f"{step}.safetensors"
        save_file(state, path)
        check_snapshot(path, form)
        assert int(state["step"]) == step


@pytest.mark.parametrize("step", [-1, 101])
def test_a_checkpoint_of_no_step_of_the_stage_is_refused(step: int) -> None:
    made: list[Weights] = []
    run("local", Callbacks(save=made.append, save_every=30))
    with pytest.raises(Failed, match="step"):
        run("local", Callbacks(resume=made[0] | {"step": torch.tensor([step])}))


def test_no_checkpoint_is_made_before_it_is_due() -> None:
    made: list[int] = []
    due = iter([False, True, False])
    save = Callbacks(save=lambda state: made.append(int(state["step"])), save_every=30)
    run("local", replace(save, due=lambda: next(due)))
    assert made == [60]


def test_the_seed_decides() -> None:
    first, again, other = (run("local", Callbacks(), seed) for seed in (7, 7, 8))
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert not all(torch.equal(first.weights[n], other.weights[n]) for n in first.weights)


def test_outcome_is_publishable_and_reported() -> None:
    seen: list[tuple[int, int]] = []
    callbacks = Callbacks(progress=lambda done, total, losses: seen.append((done, total)))
    outcome = run("distil", callbacks)
    assert seen[-1] == (100, 100)
    assert {"ci_gap", "holdout_loss", "steps"} <= outcome.metrics.keys()
    assert all(w.dtype == torch.float32 and w.is_contiguous() for w in outcome.weights.values())


@pytest.mark.parametrize(
    ("report_s", "told"), [(0.0, [1, 2, 3, 4, 5, 6, 7]), (float("inf"), [5, 7])]
)
def test_slow_steps_are_reported_one_by_one(
    monkeypatch: pytest.MonkeyPatch, report_s: float, told: list[int]
) -> None:
    monkeypatch.setattr(trainer, "REPORT_S", report_s)
    seen: list[int] = []
    callbacks = Callbacks(progress=lambda done, total, losses: seen.append(done))
    long = manifest(method={"local": STAGE | {"steps": 500}, "refine": STAGE, "distil": STAGE})
    part = train_part(long, samples(), init=None, steps=range(7), seed=0, callbacks=callbacks)
    assert seen == told
    assert part.steps == 7


@pytest.mark.parametrize("patience", [0, 1])
def test_a_stage_killed_after_its_last_step_ends_as_if_it_had_not_been(patience: int) -> None:
    """Each figure included: one that is no number could not be told."""
    saved: list[Weights] = []
    settings = SETTINGS | {"steps": 40, "patience": patience, "learning_rate": 1e-8}
    short = manifest(method={"local": settings, "refine": STAGE, "distil": STAGE})
    callbacks = Callbacks(save=saved.append, save_every=1)
    whole = local(short, samples(), samples(20), seed=0, callbacks=callbacks)
    resumed = local(short, samples(), samples(20), seed=0, callbacks=Callbacks(resume=saved[-1]))
    assert resumed.metrics == whole.metrics
    assert math.isfinite(whole.metrics["train_loss"])


def test_patience_stops_a_stage_early() -> None:
    settings = SETTINGS | {"patience": 1, "learning_rate": 1e-8}
    short = manifest(method={"local": settings, "refine": STAGE, "distil": STAGE})
    outcome = local(short, samples(), samples(20), seed=0, callbacks=Callbacks())
    assert outcome.metrics["steps"] < 100


def test_diverging_training_names_the_fix() -> None:
    data = samples()
    broken = EncodedSamples(data.x * float("inf"), data.c)
    with pytest.raises(Failed, match="learning_rate"):
        local(RUN, broken, data, seed=0, callbacks=Callbacks())


def test_an_empty_silo_is_refused() -> None:
    empty = EncodedSamples(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.int64))
    with pytest.raises(DataError, match="no sample"):
        local(RUN, empty, samples(), seed=0, callbacks=Callbacks())


def test_peers_must_include_the_silo_itself() -> None:
    with pytest.raises(ValueError, match="silo-9"):
        refine_against_peers(
            RUN, samples(), samples(), me="silo-9", init={}, peers=[], seed=0, callbacks=Callbacks()
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("stage", STAGES)
def test_stages_run_on_a_gpu(stage: str) -> None:
    outcome = run(stage, Callbacks(device="cuda"))
    assert all(tensor.device.type == "cpu" for tensor in outcome.weights.values())
