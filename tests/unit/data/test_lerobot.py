"""Recordings of robots in the layout of LeRobot: what is read of them, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.data.source import SiloData, load
from dcfm_node.data.spec import EpisodeSource, LerobotData, NpzData
from dcfm_node.domains.base import of
from dcfm_node.domains.settings import Channel, TrajectoriesSettings
from dcfm_node.errors import DataError
from dcfm_node.samples import Samples
from dcfm_node.student.columns import numbered
from dcfm_node.student.saving import write as write_samples
from tests.unit.data.manifests import manifest

lerobot_files = pytest.importorskip("tests.unit.data.lerobot_files", exc_type=ImportError)
some, write, TASKS = lerobot_files.some, lerobot_files.write, lerobot_files.TASKS

HORIZON = 16
WAY = ("way", ("left", "right"))
ROOM = ("room", ("a", "b"))
CHANNELS = (
    Channel(column="observation.state", index=0, low=-1.0, high=1.0),
    Channel(column="observation.state", index=1, low=-1.0, high=1.0),
    Channel(column="action", index=0, low=-2.0, high=2.0),
)
BY_TASK = EpisodeSource(column="task", values=dict(zip(TASKS, WAY[1], strict=True)))
BY_END = EpisodeSource(column="observation.state", at="last", edges=(0.0,))
BY_PLACE = EpisodeSource(column="observation.environment")
OPERATOR = EpisodeSource(column="operator", values={"ann": "a", "bo": "b"})


def read(
    folder: Path,
    way: EpisodeSource = BY_TASK,
    room: EpisodeSource = BY_PLACE,
    channels: tuple[Channel, ...] = CHANNELS,
    fps: float = 10.0,
    horizon: int = HORIZON,
    attributes: Any = (WAY, ROOM),
    **more: Any,
) -> SiloData:
    domain = TrajectoriesSettings(fps=fps, channel=channels)
    run = manifest((len(channels), horizon), attributes, domain=domain, standardise="none")
    spec = LerobotData(format="lerobot", path=folder, attributes={"way": way, "room": room}, **more)
    return of(run).load(run, spec)


def together(data: SiloData) -> tuple[Any, Any]:
    x = np.concatenate([data.train.x, data.holdout.x])
    c = np.concatenate([data.train.c, data.holdout.c])
    order = np.lexsort((x[:, 2, 1], x[:, 0, -1]))
    return x[order], c[order]


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_episodes_become_samples(tmp_path: Path, version: str) -> None:
    x, c = together(read(write(tmp_path / "arm", some(), version)))
    assert x.shape == (8, 3, HORIZON)
    assert x.dtype == np.float32
    at = np.linspace(0.0, 1.0, HORIZON)
    for sample, way in zip(x, c[:, 0], strict=True):
        sign = 1 if way else -1
        assert np.allclose(sample[0], sign * at, atol=1e-6)
        assert np.allclose(sample[1], at**2, atol=1e-3)  # linear between frames
        assert np.allclose(sample[2], (sign * at + 0.1) / 2, atol=1e-6)  # its range is wider
    assert sorted(map(tuple, c.tolist())) == [(w, r) for w in (0, 1) for r in (0, 0, 1, 1)]


def test_both_layouts_give_the_same_data(tmp_path: Path) -> None:
    old = read(write(tmp_path / "old", some()))
    new = read(write(tmp_path / "new", some(), "v3.0", groups=7))
    one = read(write(tmp_path / "one", some(), "v3.0", files=8))
    assert old.digest == new.digest == one.digest
    assert old.counts == (((0, 0), 2), ((0, 1), 2), ((1, 0), 1), ((1, 1), 2))


@pytest.mark.parametrize("way", [BY_TASK, BY_END, EpisodeSource(column="task_index")])
@pytest.mark.parametrize("room", [BY_PLACE, OPERATOR])
def test_columns_tasks_and_rules_give_the_same_labels(
    tmp_path: Path, way: EpisodeSource, room: EpisodeSource
) -> None:
    folder = write(tmp_path / "arm", some())
    assert read(folder, way, room).digest == read(folder).digest


def test_a_rule_takes_the_first_or_the_last_frame(tmp_path: Path) -> None:
    folder = write(tmp_path / "arm", some())
    last = EpisodeSource(column="success", at="last")
    assert {c[0] for c, _ in read(folder, last).counts} == {1}
    first = EpisodeSource(column="success", at="first")
    assert {c[0] for c, _ in read(folder, first).counts} == {0}
    three = ("way", ("low", "middle", "high"))
    rule = EpisodeSource(column="action", index=1, at="first", edges=(-1.0, 0.1))
    found = read(folder, rule, attributes=(three, ROOM))
    assert {c[0] for c, _ in found.counts} == {2}  # 0.1 in float32 is the edge or above


def test_numbers_named_as_values_are_not_taken_for_bins(tmp_path: Path) -> None:
    numbers = ("way", ("1", "2"))
    found = read(write(tmp_path / "arm", some()), BY_END, attributes=(numbers, ROOM))
    assert {c[0] for c, _ in found.counts} == {0, 1}


def test_episodes_are_left_out_by_name(tmp_path: Path) -> None:
    data = read(write(tmp_path / "arm", some(), "v3.0"), skip=(3, 7))
    assert len(data.train) + len(data.holdout) == 6
    assert data.notes == (f"{tmp_path / 'arm'}: 2 episodes are left out (skip)",)


def test_values_a_little_out_of_range_are_told(tmp_path: Path) -> None:
    episodes = some()
    episodes[5]["observation.state"][-1, 0] = 1.5
    data = read(write(tmp_path / "arm", episodes))
    (warning,) = data.warnings
    assert "episode 5: observation.state[0] reaches 1.5" in warning.what
    assert "outside its range -1 to 1, in 1 of 8 episodes" in warning.what
    assert "[[domain.channel]]" in warning.fix


def test_other_files_hold_the_units_of_the_channels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (10, 3, HORIZON)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, way=[0, 1] * 5, room=[0] * 5 + [1] * 5)
    domain = TrajectoriesSettings(fps=10.0, channel=CHANNELS)
    run = manifest((3, HORIZON), (WAY, ROOM), domain=domain, standardise="none")
    data = of(run).load(run, NpzData(format="npz", path=tmp_path / "x.npz"))
    scaled = np.concatenate([data.train.x, data.holdout.x])
    assert np.abs(scaled[:, 2]).max() <= 0.5
    measured = of(run).measured(scaled)
    assert np.allclose(np.sort(measured.ravel()), np.sort(x.ravel()), atol=1e-6)


def test_another_domain_cannot_read_them(tmp_path: Path) -> None:
    spec = LerobotData(format="lerobot", path=write(tmp_path / "arm", some()))
    with pytest.raises(DataError, match="which columns make a sample") as refused:
        load(spec, manifest((3, HORIZON), (WAY, ROOM)))
    assert "trajectories" in refused.value.fix


Change = Callable[[list[dict[str, Any]]], None]


def change(number: int, name: str, frame: int, value: Any, index: int | None = None) -> Change:
    def changed(episodes: list[dict[str, Any]]) -> None:
        place = frame if index is None else (frame, index)
        episodes[number][name][place] = value

    return changed


def narrowed(episodes: list[dict[str, Any]]) -> None:
    rows = [*episodes[2]["observation.state"]]
    rows[7] = rows[7][:2]
    episodes[2]["observation.state"] = rows


def emptied(episodes: list[dict[str, Any]]) -> None:
    rows = [*episodes[2]["observation.state"]]
    rows[7] = None
    episodes[2]["observation.state"] = rows


def wordy(episodes: list[dict[str, Any]]) -> None:
    for one in episodes:
        one["action"] = [["a", "b"] for _ in one["frame_index"]]


def counted(name: str, kind: type) -> Change:
    """A column of frames that has numbers of another kind, or texts."""

    def changed(episodes: list[dict[str, Any]]) -> None:
        for one in episodes:
            one[name] = np.asarray([kind(value) for value in one[name]])

    return changed


def without(name: str) -> Change:
    def changed(episodes: list[dict[str, Any]]) -> None:
        for one in episodes:
            del one[name]

    return changed


def shortened(episodes: list[dict[str, Any]]) -> None:
    episodes[4] = {
        name: value if isinstance(value, str) else value[:9] for name, value in episodes[4].items()
    }


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize(
    ("changed", "where", "what", "fix"),
    [
        (
            change(2, "observation.state", 7, np.nan, 1),
            "(episode 2, frame 7)",
            "observation.state[1] is nan",
            "skip = [2] under [data] of node.toml",
        ),
        (shortened, "episode 4", "has 9 frames, fewer than the 16 of a sample", "skip = [4]"),
        (
            change(3, "timestamp", 9, 5.0),
            "(episode 3, frame 9)",
            "comes 4.2 s after the frame before; at 10 frames a second it is 0.1 s",
            "skip = [3]",
        ),
        (
            change(3, "timestamp", 9, np.nan),
            "(episode 3, frame 9)",
            "comes nan s after",
            "one rate",
        ),
        (
            change(1, "frame_index", 5, 9),
            "(episode 1, frame 5)",
            "frame_index is 9, and 5 comes next",
            "skip = [1]",
        ),
        (
            change(6, "task_index", 20, 0),
            "(episode 6, frame 20)",
            "'task_index' changes from 1 to 0; it is the label of attribute 'way'",
            'at = "first" or "last" under [data.attributes.way]',
        ),
        (
            change(6, "task_index", slice(None), 9),
            "episode 6",
            "task_index is 9, which meta/tasks does not list",
            "LeRobot",
        ),
        (
            change(0, "observation.environment", slice(None), 7),
            "episode 0",
            "7 is not a value of attribute 'room', read from 'observation.environment'",
            "the run knows a, b",
        ),
        (
            change(2, "observation.state", slice(None), 57.3, 0),
            "episode 2",
            "observation.state[0] reaches 57.3, outside its range -1 to 1",
            "in the unit of the other sites",
        ),
        (without("action"), ".parquet", "has no column 'action'", "meta/info.json"),
        (without("timestamp"), ".parquet", "has no column 'timestamp'", "meta/info.json"),
        (counted("timestamp", str), "row 0", "'timestamp' holds string, not numbers", "anew"),
        (counted("frame_index", float), "row 0", "holds double, not whole numbers", "anew"),
        (wordy, "row 0", "holds string, which is neither numbers nor text", "another column"),
    ],
)
def test_a_broken_recording_is_refused(
    tmp_path: Path, changed: Change, where: str, what: str, fix: str, version: str
) -> None:
    episodes = some()
    changed(episodes)
    if changed is wordy and version == "v3.0":
        pytest.skip("lists of text have no fixed size")
    folder = write(tmp_path / "arm", episodes, version)
    with pytest.raises(DataError) as refused:
        read(folder)
    assert refused.value.where.startswith(str(folder / "data"))
    assert where in refused.value.where
    assert what in refused.value.what
    assert fix in refused.value.fix


def test_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    for name, changed, what in (
        ("narrow", narrowed, "'observation.state' has 2 numbers; meta/info.json says 3"),
        ("empty", emptied, "has no value of 'observation.state'"),
    ):
        episodes = some()
        changed(episodes)
        with pytest.raises(DataError) as refused:
            read(write(tmp_path / name, episodes))
        assert refused.value.where.endswith("episode_000002.parquet: row 7")
        assert refused.value.what == what


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (
            {"channels": (*CHANNELS, Channel(column="grip", low=0, high=1))},
            "no column 'grip', only",
        ),
        (
            {"channels": (Channel(column="action", index=2, low=0, high=1),)},
            "'action' has 2 numbers, so it has no number 2",
        ),
        (
            {"channels": (Channel(column="observation.images.top", low=0, high=1),)},
            "'observation.images.top' holds video of shape [48, 64, 3]",
        ),
        ({"channels": (Channel(column="operator", low=0, high=1),)}, "'operator' holds text"),
        ({"fps": 30.0}, "has 10 frames a second; the run's have 30 (domain.fps)"),
        ({"way": EpisodeSource()}, "has no column 'way', only observation.state, action,"),
        (
            {"way": EpisodeSource(column="action", index=3, at="last", edges=(0.0,))},
            "'action' has 2 numbers, so it has no number 3",
        ),
        (
            {"way": EpisodeSource(column="operator", at="last", edges=(0.0,))},
            "operator[0] is 'ann', which edges cannot divide",
        ),
        (
            {"way": EpisodeSource(column="action", at="last", edges=(0.0, 1.0))},
            "has 2 edges for the 2 values of 'way'",
        ),
        ({"way": EpisodeSource(column="task")}, "'push the cube left' is not a value of attribute"),
        ({"skip": tuple(range(7))}, "holds 1 samples"),
        ({"skip": tuple(range(8))}, "holds 0 samples"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, more: dict[str, Any], what: str
) -> None:
    with pytest.raises(DataError) as refused:
        read(write(tmp_path / "arm", some()), **more)
    assert what in refused.value.what
    assert refused.value.fix
    assert refused.value.where


@pytest.mark.parametrize(
    ("info", "what"),
    [
        ({"codebase_version": "v1.6"}, "codebase_version is 'v1.6'; this node reads v2.0"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": "30"}, "fps is '30'"),
        ({"features": {}}, "describes no features"),
        ({"features": {"action": {"dtype": "float32"}}}, "features.action has no shape"),
        *(
            ({"features": {"action": {"dtype": "float32", "shape": [side]}}}, "features.action has")
            for side in (10**10, 0, -1)
        ),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path: Path, info: dict[str, Any], what: str) -> None:
    folder = write(tmp_path / "arm", some(), info=info)
    with pytest.raises(DataError) as refused:
        read(folder)
    assert refused.value.where == str(folder / "meta" / "info.json")
    assert refused.value.what.startswith(what)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_what_meta_says_must_be_there(tmp_path: Path, version: str) -> None:
    folder = write(tmp_path / "long", some(), version, lengths={3: 99})
    with pytest.raises(DataError, match="has 43 frames; meta says 99") as refused:
        read(folder)
    assert "episode 3" in refused.value.where
    folder = write(tmp_path / "short", some(), version, lengths={3: 5})
    with pytest.raises(DataError, match="has 43 or more frames; meta says 5"):
        read(folder)
    folder = write(tmp_path / "more", some(), version, lengths={11: 40})
    with pytest.raises(DataError, match="no frames of episode 11, which meta lists"):
        read(folder)


def broken(folder: Path, name: str, content: bytes | None) -> Path:
    (file,) = folder.glob(name)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    return folder


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but no more", b"[" * 100_000, b"[1]\n"])
@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("v2.1", "meta/info.json"),
        ("v2.1", "meta/tasks.jsonl"),
        ("v2.1", "meta/episodes.jsonl"),
        ("v2.1", "data/chunk-000/episode_000002.parquet"),
        ("v3.0", "meta/tasks.parquet"),
        ("v3.0", "meta/episodes/chunk-000/file-000.parquet"),
        ("v3.0", "data/chunk-000/file-000.parquet"),
    ],
)
def test_broken_files_are_named(
    tmp_path: Path, version: str, name: str, content: bytes | None
) -> None:
    folder = broken(write(tmp_path / "arm", some(), version), name, content)
    with pytest.raises(DataError) as refused:
        read(folder)
    assert str(folder) in refused.value.where
    assert refused.value.fix


def test_an_episode_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "arm", some(), "v3.0")
    first = folder / "data" / "chunk-000" / "file-000.parquet"
    (folder / "data" / "chunk-001").mkdir()
    (folder / "data" / "chunk-001" / "file-000.parquet").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="episode 0 begins a second time"):
        read(folder)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "arm", some(), "v3.0")
    file = folder / "data" / "chunk-000" / "file-001.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(DataError, match="cannot be read") as refused:
        read(folder)
    assert refused.value.where == str(file)


def test_a_students_samples_are_written_in_the_unit_of_the_recordings(tmp_path: Path) -> None:
    domain = TrajectoriesSettings(fps=10.0, channel=CHANNELS)
    run = manifest((3, 4), (WAY, ROOM), domain=domain, standardise="none")
    drawn = Samples(np.full((2, 3, 4), 0.5, np.float32), np.array([[0, 1], [1, 1]]))
    columns = numbered(run, "")
    write_samples(tmp_path / "plans.npz", run, drawn, (), columns)
    write_samples(tmp_path / "plans.csv", run, drawn, (), columns)
    with np.load(tmp_path / "plans.npz") as plans:
        assert plans["x"][:, :, 0].tolist() == [[0.5, 0.5, 1.0]] * 2
        assert plans["way"].tolist() == ["left", "right"]
    assert (
        "0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,1.0,1.0,1.0,1.0,left,b"
        in (tmp_path / "plans.csv").read_text()
    )
