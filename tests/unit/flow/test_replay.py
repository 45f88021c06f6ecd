"""Replay learns novel combinations from samples that a committee passed, and only from those."""

from collections.abc import Mapping
from dataclasses import replace as changed
from typing import Any

import pytest
import torch
from torch import Tensor

from dcfm_node.flow import sampling, stages
from dcfm_node.flow.committee import Committee
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.replay import Pool, Replayer, combinations, mixed, replay
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.sources import PathSample
from dcfm_node.flow.stages import EncodedSamples, Outcome
from dcfm_node.flow.trainer import Callbacks, generator
from dcfm_node.flow.transfer import trusted
from dcfm_node.records.guidance import Replay
from dcfm_node.records.manifest import Manifest
from tests.training.settings import STAGE, manifest

SIZES = (3, 3)
NOVEL = [(2, 0), (1, 2)]
KNOWN = [(a, b) for a in range(3) for b in range(3) if (a, b) not in NOVEL]
EFFECTS = torch.tensor([[[2.0, 0], [-2, 0], [0, 2]], [[0, -2], [2, 1], [-1, 2]]])
QUICK = Replay(rounds=2, steps=100, per_combination=40)


def means(c: Tensor) -> Tensor:
    """(N, 4): two numbers per attribute, and their sums, so that attributes overlap."""
    first, second = EFFECTS[0, c[:, 0]], EFFECTS[1, c[:, 1]]
    return torch.cat([first + 0.5 * second, second - 0.5 * first], dim=1)


def labels(of: list[tuple[int, int]], each: int) -> Tensor:
    return torch.tensor(of).repeat_interleave(each, dim=0)


def near(x: Tensor, c: Tensor) -> float:
    """Share of samples whose nearest mean is that of their label."""
    every = labels([(a, b) for a in range(3) for b in range(3)], 1)
    return float(
        (torch.cdist(x, means(every)).argmin(dim=1) == c[:, 0] * 3 + c[:, 1]).float().mean()
    )


@pytest.fixture(scope="module")
def run() -> Manifest:
    stage = {**STAGE, "steps": 150, "batch": 64, "learning_rate": 3e-3, "ci_weight": 0.0}
    method = {"solver_steps": 10, "solver": "euler", "local": stage, "refine": stage}
    network = {"width": 48, "depth": 1, "predict": "sample"}
    return manifest(SIZES, shape=(4,), silos=1, network=network, method=method | {"distil": stage})


@pytest.fixture(scope="module")
def teacher(run: Manifest) -> Teacher:
    """One silo that has all known combinations."""
    c = labels(KNOWN, 60)
    x = means(c) + 0.6 * torch.randn(len(c), 4, generator=generator(0))
    data = EncodedSamples(x, c)
    trained = stages.local(run, data, data, seed=0, callbacks=Callbacks())
    return Teacher("silo-0", trained.weights, dict.fromkeys(KNOWN, 60))


def replayed(run: Manifest, teacher: Teacher, settings: Replay = QUICK, **told: Any) -> Outcome:
    student = Outcome(teacher.weights, {"steps": 7.0})
    callbacks = Callbacks(**told)
    return replay(run, settings, [teacher], student, seed=1, callbacks=callbacks)


def test_novel_samples_become_right_without_guidance(run: Manifest, teacher: Teacher) -> None:
    c = labels(NOVEL, 100)
    made = replayed(run, teacher)
    before, after = (
        near(sampling.sample(run, weights, c, composed=False, seed=5), c)
        for weights in (teacher.weights, made.weights)
    )
    assert before < 0.8
    assert after > before + 0.25
    known = labels(KNOWN, 30)
    assert near(sampling.sample(run, made.weights, known, composed=False, seed=5), known) > 0.9
    assert made.metrics["replay_rounds"] >= 1
    assert made.metrics["replay_accuracy"] > 0.9
    assert made.metrics["steps"] == 7 + 100 * made.metrics["replay_rounds"]


def test_combinations_without_a_known_neighbour_are_reached_over_others(run: Manifest) -> None:
    held = [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (2, 0),
    ]  # (2, 2) has no neighbour but novel ones
    c = labels(held, 60)
    x = means(c) + 0.3 * torch.randn(len(c), 4, generator=generator(0))
    committee = Committee.fit(x, c, SIZES, generator(1))
    player = Replayer(run, QUICK, run.method.local, committee, lambda *_: None, "cpu")  # type: ignore[arg-type]
    made = trusted(x, c, SIZES, generator(2))
    moves = [m for m in made if m.attribute == 0]
    moves = [changed(m, changes=frozenset({(0, 1), (0, 2), (1, 2)})) for m in moves[:1]]
    moves += [changed(moves[0], attribute=1, changes=frozenset({(1, 2)}))]
    asked = torch.tensor([[2, 2], [2, 1]])
    pool = player.moved(x, c, moves[1:], asked, generator(3))
    assert sorted(set(pool.which.tolist())) == []
    pool = player.moved(x, c, moves, asked, generator(3))
    assert sorted(set(pool.which.tolist())) == [0, 1]
    assert near(pool.x, asked[pool.which]) > 0.95


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -1e30])
def test_an_expert_with_wild_draws_spoils_no_job(
    run: Manifest, teacher: Teacher, monkeypatch: pytest.MonkeyPatch, wild: float
) -> None:
    drawn = sampling.sample_routed

    def spoilt(*args: Any, **kwargs: Any) -> Tensor:
        x = drawn(*args, **kwargs)
        x[: len(x) // len(KNOWN)] = wild
        return x

    monkeypatch.setattr(sampling, "sample_routed", spoilt)
    made = replayed(run, teacher, Replay(rounds=1, steps=5, per_combination=20))
    assert "replay_accuracy" in made.metrics
    assert all(part.isfinite().all() for part in made.weights.values())


def test_what_no_move_reaches_is_left_to_draws(run: Manifest) -> None:
    c = labels(KNOWN, 10)
    x = torch.randn(len(c), 1, 1, 4, generator=generator(0))
    committee = Committee.fit(x, c, SIZES, generator(1))
    player = Replayer(run, QUICK, run.method.local, committee, lambda *_: None, "cpu")  # type: ignore[arg-type]
    assert len(player.moved(x, c, [], torch.tensor(NOVEL), generator(3)).which) == 0


def test_the_same_seed_gives_the_same_student(run: Manifest, teacher: Teacher) -> None:
    once = Replay(rounds=1, steps=20, per_combination=20)
    one, two = (replayed(run, teacher, once) for _ in range(2))
    assert one.metrics == two.metrics
    assert all(torch.equal(part, two.weights[name]) for name, part in one.weights.items())


def test_progress_only_grows_and_nothing_is_saved(run: Manifest, teacher: Teacher) -> None:
    told: list[tuple[int, int]] = []
    saved: list[object] = []

    def progress(done: int, total: int, losses: Mapping[str, float]) -> None:
        told.append((done, total))

    once = Replay(rounds=1, steps=20, per_combination=20)
    replayed(run, teacher, once, progress=progress, save=saved.append, save_every=5)
    assert told == sorted(told)
    assert {total for _, total in told} == {60}
    assert told[-1] == (60, 60)
    assert saved == []


def test_no_rounds_change_nothing(run: Manifest, teacher: Teacher) -> None:
    made = replayed(run, teacher, Replay(rounds=0))
    assert made == Outcome(teacher.weights, {"steps": 7.0})


def test_moves_are_trusted_alone_where_no_reader_can_be(
    run: Manifest, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.flow.committee.FLOOR", 1.01)
    made = replayed(run, teacher)
    asked = labels(NOVEL, 60)
    before, after = (
        near(sampling.sample(run, weights, asked, composed=False, seed=4), asked)
        for weights in (teacher.weights, made.weights)
    )
    assert made.metrics["replay_passed"] == 0
    assert after > before + 0.1


def test_what_neither_readers_nor_moves_vouch_for_changes_nothing(
    run: Manifest, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.flow.committee.FLOOR", 1.01)
    monkeypatch.setattr("dcfm_node.flow.transfer.NEAR", -1.0)
    made = replayed(run, teacher)
    assert made.weights is teacher.weights
    assert made.metrics.keys() == {"steps", "replay_accuracy"}


def test_samples_that_do_not_pass_are_not_trained_on(
    run: Manifest, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.flow.committee.MOST", 0.0)
    monkeypatch.setattr("dcfm_node.flow.committee.BEYOND", -1e9)
    made = replayed(run, teacher)
    assert made.weights is teacher.weights
    assert made.metrics["replay_passed"] == 0
    assert made.metrics["replay_rounds"] == 0


def test_a_few_lucky_samples_of_a_combination_are_not_trained_on() -> None:
    which = torch.tensor([0, 1, 0, 2, 0, 0, 1, 0, 2, 2, 2, 2, 2])
    asked = torch.tensor([[4], [5], [6], [7]])
    x, c = Pool(asked, torch.arange(13.0)[:, None], which).balanced(6)
    assert c.squeeze(1).tolist() == [4] * 6 + [6] * 6
    assert x.squeeze(1).tolist() == [0, 2, 4, 5, 7, 0, 3, 8, 9, 10, 11, 12]


def test_novel_are_the_combinations_that_known_ones_determine(run: Manifest) -> None:
    def lacking(held: list[tuple[int, int]]) -> list[list[int]]:
        return combinations(run, [Teacher("a", {}, dict.fromkeys(held, 1))])[1].tolist()

    assert lacking(KNOWN) == sorted(map(list, NOVEL))
    # Nothing relates value 2 of the first attribute to the others.
    apart = [(0, 0), (0, 1), (1, 0), (2, 2)]
    assert lacking(apart) == [[1, 1]]
    # A count of zero is no sample.
    none = Teacher("b", {}, {(1, 1): 0})
    assert combinations(run, [Teacher("a", {}, dict.fromkeys(apart, 1)), none])[1].tolist() == [
        [1, 1]
    ]


def test_mixed_rows_keep_their_own_targets() -> None:
    def sampler(value: float) -> Any:
        def rows(many: int, draws: torch.Generator) -> PathSample:
            x = torch.full((many, 2), value) + torch.arange(many)[:, None] / 100
            c = torch.full((many, 1), int(value))
            return PathSample(x, x[:, 0], c, lambda masked: x + masked)

        return rows

    found = mixed(sampler(1.0), sampler(2.0), 0.25)(40, generator(0))
    assert (found.c == 2).sum() == 10
    assert torch.equal(found.x.long()[:, :1], found.c)
    masked = torch.arange(40)[:, None]
    assert torch.equal(found.target(masked), found.x + masked)


def test_a_student_of_the_method_has_replayed(run: Manifest, teacher: Teacher) -> None:
    method = run.method.model_copy(update={"replay": Replay(rounds=1, steps=20)})
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, losses: Mapping[str, float]) -> None:
        told.append((done, total))

    settings = run.model_copy(update={"method": method})
    made = learner_of(settings).student([teacher], seed=0, callbacks=Callbacks(progress=progress))
    assert "replay_passed" in made.metrics
    assert {total for _, total in told} == {150 + 60}
    assert told == sorted(told)
    off = changed(teacher, counts={(0, 0): 1, (1, 1): 1})
    assert (
        "replay_passed"
        not in learner_of(settings).student([off], seed=0, callbacks=Callbacks()).metrics
    )


def test_a_replay_that_fails_leaves_the_student_as_distilled(
    run: Manifest, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsolvable(*_: Any, **__: Any) -> Committee:
        raise torch.linalg.LinAlgError("the covariance is singular")

    def student(rounds: int) -> Outcome:
        method = run.method.model_copy(update={"replay": Replay(rounds=rounds, steps=20)})
        learner = learner_of(run.model_copy(update={"method": method}))
        return learner.student([teacher], seed=0, callbacks=Callbacks())

    distilled = student(0)
    monkeypatch.setattr(Committee, "fit", unsolvable)
    with pytest.warns(UserWarning, match="the covariance is singular"):
        made = student(1)
    assert made.metrics["replay_failed"] == 1.0
    assert all(torch.equal(made.weights[name], distilled.weights[name]) for name in made.weights)
