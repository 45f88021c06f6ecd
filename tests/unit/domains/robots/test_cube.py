"""The domain `cube`: a node's own episodes, and folders shared among silos."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from dcfm_node.data.spec import EpisodesData, NpzData
from dcfm_node.domains import base
from dcfm_node.domains.base import Split, SplitSpec
from dcfm_node.domains.plain import Plain
from dcfm_node.domains.robots import plan
from dcfm_node.domains.robots.cube import DIAGONALS, Cube
from dcfm_node.domains.settings import CubeSettings, PlainSettings
from dcfm_node.errors import DataError, UserError
from dcfm_node.flow.codec import codec_of, encoded_samples, standardised
from dcfm_node.flow.judges import Measured, in_unit_scale
from dcfm_node.flow.quality import by_combination, measure
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.networks.settings import CosineSettings
from dcfm_node.records.moments import Scale
from dcfm_node.samples import Samples
from dcfm_node.worker.judging import given
from tests.unit.data.manifests import DIGIT, manifest
from tests.unit.domains.robots.play import CENTRES, Robot, recorded, saved, tour

RUN = {
    "shape": (plan.CHANNELS, 16),
    "attributes": (("source", plan.QUADRANTS), ("destination", plan.QUADRANTS)),
    "domain": CubeSettings(horizon=16),
}
PARTITIONS = pytest.mark.parametrize("partition", ["iid", "noniid"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("play"), 10)


def split_of(folder: Path | None, partition: str = "iid", seed: int = 0) -> Split:
    return Cube(CubeSettings(horizon=16)).split(SplitSpec((), partition, None, seed, folder))


def test_a_node_reads_its_robots_folder(folder: Path) -> None:
    run = manifest(**RUN)
    data = base.of(run).load(run, EpisodesData(format="episodes", path=folder))
    assert len(data.train) + len(data.holdout) == 160
    assert data.train.x.shape[1:] == (plan.CHANNELS, 16)
    assert len(data.counts) == 16
    assert data.notes[0] == "160 plans were cut from 10 episodes"
    assert not data.warnings


def test_pieces_left_out_are_told(tmp_path: Path) -> None:
    robot = Robot(CENTRES[0])
    robot.look()
    for quadrant in (1, 2, 3):
        robot.carry(*CENTRES[quadrant], drops=quadrant == 2)
    one = robot.episode()
    ends = np.arange(len(one.actions)) == len(one.actions) - 1
    file = saved(
        tmp_path / "d.npz", observations=one.observations, actions=one.actions, terminals=ends
    )
    run = manifest(**RUN)
    data = base.of(run).load(run, EpisodesData(format="episodes", path=file))
    assert data.notes[0] == (
        "2 plans were cut from 1 episodes, and 1 pieces left out (1 x the cube fell)"
    )


def test_an_episode_without_a_plan_is_refused(tmp_path: Path) -> None:
    still = tour(0)
    many = 40
    file = saved(
        tmp_path / "d.npz",
        observations=np.repeat(still.observations, many, 0),
        actions=np.repeat(still.actions, many, 0),
        terminals=np.arange(many) == many - 1,
    )
    run = manifest(**RUN)
    with pytest.raises(DataError, match="holds no whole pick-and-place") as told:
        base.of(run).load(run, EpisodesData(format="episodes", path=file))
    assert told.value.where == f"{file}, episode 0"


def test_a_run_with_other_attributes_or_shape_is_refused(folder: Path) -> None:
    spec = EpisodesData(format="episodes", path=folder)
    run = manifest(**{**RUN, "attributes": (DIGIT,)})
    with pytest.raises(DataError, match="attributes are not those of the domain"):
        base.of(run).load(run, spec)
    with pytest.raises(ValidationError, match=r"sample_shape \[17, 16\], not \[17, 32\]"):
        manifest(**{**RUN, "shape": (plan.CHANNELS, 32)})


def test_a_codec_changes_what_the_flow_sees_and_not_what_a_plan_is() -> None:
    codec = CosineSettings(keep=8)
    assert manifest(**RUN, codec=codec).flow_shape == (plan.CHANNELS * 8,)
    with pytest.raises(ValidationError, match=r"sample_shape \[17, 16\], not \[17, 32\]"):
        manifest(**{**RUN, "shape": (plan.CHANNELS, 32)}, codec=codec)


def test_other_domains_read_no_episodes(folder: Path) -> None:
    spec = EpisodesData(format="episodes", path=folder)
    with pytest.raises(DataError, match="'plain' does not read episodes") as told:
        Plain(PlainSettings()).load(manifest(), spec)
    assert told.value.where == "data.format"


def test_plans_may_be_read_as_any_samples(folder: Path, tmp_path: Path) -> None:
    whole = split_of(folder).complete
    assert whole is not None
    np.savez(tmp_path / "x.npz", x=whole.x, c=whole.c)
    run = manifest(**RUN)
    data = base.of(run).load(run, NpzData(format="npz", path=tmp_path / "x.npz"))
    assert len(data.train) + len(data.holdout) == len(whole)


@PARTITIONS
def test_no_silo_holds_a_diagonal_and_every_other_plan_has_one_owner(
    folder: Path, partition: str
) -> None:
    split = split_of(folder, partition)
    assert split.held_out == DIAGONALS
    assert split.sample_shape == (plan.CHANNELS, 16)
    assert [a.name for a in split.attributes] == ["source", "destination"]
    assert len(split.silos) == 4
    assert len(split.known) == 12
    assert not set(split.known) & set(DIAGONALS)
    assert split.complete is not None
    wanted = [row for row in split.complete.c.tolist() if tuple(row) not in DIAGONALS]
    assert sorted(split.pooled.c.tolist()) == sorted(wanted)


def test_complete_and_reference_are_the_same_for_every_seed(folder: Path) -> None:
    one, other = split_of(folder, seed=0), split_of(folder, seed=1)
    assert one.complete is not None
    assert one.reference is not None
    assert (len(one.complete), len(one.reference)) == (128, 32)
    for name in ("complete", "reference"):
        assert np.array_equal(getattr(one, name).x, getattr(other, name).x)
    silos = [[silo.x.tobytes() for silo in split.silos] for split in (one, other)]
    assert silos[0] != silos[1]
    assert silos[0] == [silo.x.tobytes() for silo in split_of(folder, seed=0).silos]


def test_a_domain_with_too_few_episodes_says_which_plan_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no plan from top-left to top-left to train on"):
        split_of(saved(tmp_path / "d.npz"))


def test_without_a_folder_the_domain_says_how_to_make_one() -> None:
    with pytest.raises(UserError, match="no folder is given") as told:
        split_of(None)
    assert "domain make cube" in told.value.fix


def test_a_plan_is_right_if_it_is_feasible(folder: Path, tmp_path: Path) -> None:
    split = split_of(folder)
    assert split.reference is not None
    evaluator = Cube(CubeSettings(horizon=16)).evaluator(
        split, folder=tmp_path, seed=0, device="cpu"
    )
    assert evaluator.measure(split.reference) == {"accuracy": 1.0}
    swapped = Samples(split.reference.x, split.reference.c[:, ::-1].copy())
    same = split.reference.c[:, 0] == split.reference.c[:, 1]
    assert np.array_equal(evaluator.right(swapped), same)


def test_a_silo_judges_draws_by_the_quadrants_and_trains_no_committee(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC 6.14.8, through a codec and a scale: the student draws every plan as one that begins
    where it should and ends in the top left."""
    monkeypatch.setattr("dcfm_node.flow.judges.Committee", None)
    split = split_of(folder)
    assert split.complete is not None
    run = manifest(**RUN | {"codec": CosineSettings(keep=8)})
    codec, scale = codec_of(run, None), Scale(mean=(0.1,), deviation=(0.5,))
    encoded = [encoded_samples(part, codec) for part in (split.silos[0], split.silos[1])]
    plans = {tuple(c): split.complete.x[i] for i, c in enumerate(split.complete.c.tolist())}

    def sample(weights: object, c: Tensor, **how: object) -> Tensor:
        drawn = np.stack([plans[int(source), 0] for source in c[:, 0]])
        return standardised(encoded_samples(Samples(drawn, c.numpy()), codec).x, scale)

    learner = SimpleNamespace(sample=sample)
    monkeypatch.setattr("dcfm_node.worker.judging.learner_of", lambda manifest: learner)
    known = {tuple(c): 9 for c in split.pooled.c.tolist()}
    args = {"counts": {"silo": known}, "probes": (), "scale": scale, "codec": codec}
    draw, data = given(run, {}, encoded, **args, device=torch.device("cpu"))
    verdicts = {verdict.label: verdict for verdict in by_combination(draw, data, seed=1)}
    assert len(verdicts) == 16
    for (source, destination), verdict in verdicts.items():
        assert verdict.values == (1.0, float(destination == 0)), (source, destination)
    assert measure(draw, data, seed=1)["judge_rate"] == 1.0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e30])
def test_a_draw_that_no_robot_may_execute_shows_nothing(wrong: float) -> None:
    """Its quadrants are right; a number elsewhere is none, before draws are cut to finite ones."""
    real = EncodedSamples(torch.ones(4, 3, 5), torch.zeros(4, 2, dtype=torch.int64))

    def draw(c: Tensor, seed: int) -> Tensor:
        x = torch.ones(len(c), 3, 5)
        x[0, 2, 3] = wrong
        return x

    def shows(of: EncodedSamples) -> Tensor:
        return torch.ones(of.c.shape, dtype=torch.bool)

    data = Measured.of(real, real, [(0, 0)], [], (2, 2), shows=shows)
    scaled, data = in_unit_scale(draw, data)
    assert data.shows is not None
    drawn = EncodedSamples(scaled(real.c, 0), real.c)
    assert data.shows(drawn).tolist() == [[False, False], *[[True, True]] * 3]
