"""Files of episodes: read, written, refused."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dcfm_node.domains.robots import episodes, plan
from dcfm_node.errors import DataError
from tests.unit.domains.robots.play import saved, tour


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        list(episodes.read(path))
    assert caught.value.where.startswith(str(path))
    assert caught.value.fix
    return caught.value


def test_what_is_written_is_read(tmp_path: Path) -> None:
    two = [tour(0, 1), tour(2, 3, 0)]
    episodes.write(tmp_path / "b.npz", two)
    episodes.write(tmp_path / "a.npz", two[:1])
    (tmp_path / "made.json").write_text("{}")
    found = list(episodes.read(tmp_path))
    assert [one.name for one in found] == [
        f"{tmp_path / 'a.npz'}, episode 0",
        f"{tmp_path / 'b.npz'}, episode 0",
        f"{tmp_path / 'b.npz'}, episode 1",
    ]
    for one, wanted in zip(found, [two[0], *two], strict=True):
        assert one.observations.dtype == one.actions.dtype == np.float32
        assert np.array_equal(one.observations, wanted.observations)
        assert np.array_equal(one.actions, wanted.actions)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npz", "b.npz", "made.json"]


def test_the_same_episodes_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        episodes.write(tmp_path / name, [tour(0, 1)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_doubles_and_other_arrays_are_accepted(tmp_path: Path) -> None:
    given = tour(0, 1, 3)
    file = saved(
        tmp_path / "d.npz",
        observations=given.observations.astype(float),
        terminals=np.eye(len(given.actions))[-1],
        notes=np.array([{}], object),
    )
    (found,) = episodes.read(file)
    assert np.array_equal(found.observations, given.observations)


def rows(**changes: object) -> dict[str, np.ndarray]:
    """The observations and actions of a tour, one number of each as given."""
    given = tour(0, 1, 3)
    arrays = {"observations": given.observations, "actions": given.actions}
    for name, (at, value) in changes.items():
        arrays[name][at] = value
    return arrays


MANY = len(tour(0, 1, 3).actions)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"actions": None}, "has no array 'actions', only observations, terminals"),
        ({"actions": np.zeros((MANY, 4), "f4")}, "actions has shape [MANY, 4], not (N, 5)"),
        ({"observations": np.zeros((MANY, 37), "f4")}, "observations has shape [MANY, 37]"),
        ({"actions": np.zeros((9, 5), "f4")}, "actions has 9 rows, and observations has MANY"),
        ({"actions": np.zeros((MANY, 5), int)}, "actions holds int64, not numbers"),
        ({"actions": np.array([None])}, "Python objects"),
        ({"observations": np.float32(3)}, "observations has shape []"),
        ({"terminals": np.zeros(MANY, bool)}, "terminals is 0 in the last row"),
        ({"terminals": np.full(MANY, 2)}, "terminals[0] is 2, neither 0 nor 1"),
        ({"terminals": np.full(MANY, np.nan)}, "terminals[0] is nan, neither 0 nor 1"),
        ({"terminals": np.ones((MANY, 1))}, "terminals has shape [MANY, 1], not (N,)"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path: Path, changes, said: str) -> None:
    error = refusal(saved(tmp_path / "d.npz", **changes))
    assert said.replace("MANY", str(MANY)) in error.what


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (rows(observations=((7, 3), np.nan)), "observations[7, 3] is NaN or infinite"),
        (rows(actions=((8, 4), np.inf)), "actions[8, 4] is NaN or infinite; 1 such"),
        (rows(actions=((8, 0), -1.5)), "actions[8, 0] is -1.5, outside [-1, 1]"),
        (rows(observations=((9, 20), 42)), "observations[9, 20] puts the cube at y = 4.2 m"),
        ({"terminals": np.ones(MANY)}, "is too short: 1 frames, 20 at least"),
    ],
)
def test_an_episode_that_cannot_be_is_refused(tmp_path: Path, changes, said: str) -> None:
    error = refusal(saved(tmp_path / "d.npz", **changes))
    assert error.what.startswith(said)
    assert error.where.endswith("d.npz, episode 0")


@pytest.mark.parametrize("name", ["first", "second"])
def test_the_episode_at_fault_is_named(tmp_path: Path, name: str) -> None:
    bad = tour(0, 2)
    bad.observations[5, 5] = np.nan
    both = [bad, tour(0, 1)] if name == "first" else [tour(0, 1), bad]
    episodes.write(tmp_path / "d.npz", both)
    assert refusal(tmp_path / "d.npz").where.endswith(f"episode {int(name == 'second')}")


def moving(rate: float) -> np.ndarray:
    """Observations of joints that swing, recorded at a rate; speeds as the simulator tells them."""
    observations = tour(0, 1, 3).observations.copy()
    time = np.arange(len(observations)) / rate
    observations[:, 0] = np.sin(time)
    observations[:, 6] = 0.76 * np.cos(time)
    return observations


def test_the_rate_is_told_by_joints_that_move() -> None:
    assert episodes.rate(moving(20)) == pytest.approx(20, rel=0.01)
    assert episodes.rate(moving(5)) == pytest.approx(5, rel=0.01)
    assert episodes.rate(tour(0, 1).observations) is None


@pytest.mark.parametrize("rate", [10, 40])
def test_mixed_rates_are_refused(tmp_path: Path, rate: int) -> None:
    saved(tmp_path / "a.npz", observations=moving(20))
    saved(tmp_path / "b.npz", observations=moving(rate))
    with pytest.raises(DataError, match=f"about {rate} frames a second.*{plan.RATE:g} are") as told:
        list(episodes.read(tmp_path))
    assert told.value.where == f"{tmp_path / 'b.npz'}, episode 0"


def test_no_files(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none").what
    assert "holds no .npz file" in refusal(tmp_path).what


def test_what_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(b"x")
    assert "cannot be read" in refusal(tmp_path / "d.npz").what
    whole = saved(tmp_path / "w.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refusal(tmp_path / "d.npz").what
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in refusal(tmp_path / "pipe").what


def test_an_array_larger_than_the_memory_is_not_read(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000000, 28)}".ljust(117)
    file = saved(tmp_path / "d.npz", observations=None)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("observations.npy", b"\x93NUMPY\x01\x00\x76\x00" + header + b"\n")
    assert "cannot be read" in refusal(file).what
