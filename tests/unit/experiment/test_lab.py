"""The lab remembers what it trained, by all that it was made from."""

from pathlib import Path

import pytest
import torch

from dcfm_node.errors import UserError
from dcfm_node.experiment import methods, settings
from dcfm_node.experiment.lab import Lab
from dcfm_node.experiment.lines import device_of
from dcfm_node.flow.codec import unstandardised
from dcfm_node.flow.stages import Outcome
from dcfm_node.methods.dcfm import learner
from dcfm_node.records.guidance import Replay
from dcfm_node.records.manifest import Manifest
from tests.unit.experiment import tiny


class Watched:
    """A lab of the tiny experiment that counts the steps it takes."""

    def __init__(self, folder: Path, steps: int = 4, seed: int = 0) -> None:
        self.settings = settings.load(tiny.write(folder, steps=steps), "cpu")
        self.trained: list[str] = []
        problem, partition = self.settings.posed["noniid"]
        split = problem.split(partition, seed)
        manifest = self.settings.manifest(split, seed)
        self.lab = Lab(manifest, split, folder / "trained", "cpu", self._tell)

    def _tell(self, what: str, done: int, total: int) -> None:
        if (done, total) != (1, 1):
            self.trained.append(what)


def test_what_is_trained_once_is_taken_from_disk(tmp_path: Path) -> None:
    first, again = Watched(tmp_path), Watched(tmp_path)
    made, found = first.lab.local(), again.lab.local()
    assert first.trained
    assert not again.trained
    for one, other in zip(made, found, strict=True):
        assert one.key == other.key
        assert all((one.weights[name] == other.weights[name]).all() for name in one.weights)


@pytest.mark.parametrize("change", [{"steps": 5}, {"seed": 1}])
def test_other_settings_or_another_seed_train_anew(tmp_path: Path, change: dict[str, int]) -> None:
    Watched(tmp_path).lab.local()
    other = Watched(tmp_path, **change)
    other.lab.local()
    assert other.trained


def test_settings_of_later_stages_leave_the_first_alone(tmp_path: Path) -> None:
    first, again = Watched(tmp_path), Watched(tmp_path)
    made = first.lab.local()
    method = again.lab.manifest.method
    refine = method.refine.model_copy(update={"steps": 9})
    changed = method.model_copy(update={"refine": refine, "max_rounds": 7})
    again.lab.manifest = again.lab.manifest.model_copy(update={"method": changed})
    assert [one.key for one in again.lab.local()] == [one.key for one in made]
    again.lab.at_once(made, 1)
    assert again.trained


def test_methods_share_their_first_stage(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    methods.fit("dcfm-b", watched.lab, watched.settings)
    before = [what for what in watched.trained if what.startswith("local")]
    methods.fit("dcfm-a", watched.lab, watched.settings)
    assert [what for what in watched.trained if what.startswith("local")] == before


def test_costs_count_what_a_silo_sends_receives_and_waits_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    paper = methods.fit("dcfm-a", watched.lab, watched.settings)
    ours = methods.fit("dcfm-alternating", watched.lab, watched.settings)
    assert [(r.cost["sent"], r.cost["received"]) for r in paper.rounds] == [(0, 0), (1, 1)]
    assert [(r.cost["sent"], r.cost["received"]) for r in ours.rounds] == [(1, 1), (2, 2)]
    assert ours.cost["trainings"] == 2 + 1 + 2 + 1
    assert ours.cost["waiting_seconds"] < ours.cost["cpu_seconds"]


def test_silos_average_side_by_side(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    cost = methods.fit("fedflow", watched.lab, watched.settings).cost
    assert cost["waiting_seconds"] == cost["cpu_seconds"] / 2


def test_a_device_that_is_not_here_is_told() -> None:
    assert device_of("cpu").type == "cpu"
    with pytest.raises(UserError, match="device 'abacus' does not exist"):
        device_of("abacus")


def test_replay_belongs_to_the_distillation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def replay(
        _: Manifest, settings: Replay, __: object, student: Outcome, **___: object
    ) -> Outcome:
        asked.append(settings.rounds)
        return student

    monkeypatch.setattr(learner, "replay", replay)
    plain, other = Watched(tmp_path).lab, Watched(tmp_path).lab
    method = other.manifest.method.model_copy(update={"replay": Replay(rounds=2)})
    other.manifest = other.manifest.model_copy(update={"method": method})
    first = [lab.local() for lab in (plain, other)]
    assert [one.key for one in first[0]] == [one.key for one in first[1]]
    students = [lab.distil(experts, 0) for lab, experts in zip((plain, other), first, strict=True)]
    assert asked == [0, 2]
    assert students[0].key != students[1].key


def test_taking_turns_shows_each_silo_the_updates_before_it(tmp_path: Path) -> None:
    lab = Watched(tmp_path).lab
    first = lab.local()
    in_turn, at_once = lab.in_turn(first, 1), lab.at_once(first, 1)
    assert in_turn[0].key == at_once[0].key
    assert in_turn[1].key != at_once[1].key


def test_silos_train_in_the_scale_of_all_of_them(tmp_path: Path) -> None:
    lab = Watched(tmp_path).lab
    assert lab.scale is not None
    train, _ = lab.silos[0]
    raw = lab.split.silos[0].x
    back = unstandardised(train.x, lab.scale)
    assert torch.isin(back.round(decimals=4), torch.from_numpy(raw).round(decimals=4)).all()
    every = torch.cat([train.x for train, _ in lab.silos])
    torch.testing.assert_close(every.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(every.std(0, correction=0), torch.ones(2), rtol=1e-5, atol=0)
