"""Plans executed in the simulator, and filmed."""

from ctypes.util import find_library
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcfm_node.domains.robots import execution, film, plan, rollouts, segments
from dcfm_node.domains.robots.rollouts import Rollouts
from dcfm_node.errors import Failed
from dcfm_node.samples import Floats, Samples
from tests.packaging.tree import python
from tests.unit.domains.robots.play import tour

needs_simulator = pytest.mark.skipif(find_spec("ogbench") is None, reason="ogbench is missing")


@pytest.fixture(scope="module")
def samples() -> Samples:
    """A plan between opposite quadrants, one between neighbours, and one that is not feasible."""
    found = segments.cut([tour(0, 3, 1)], 32).samples
    x = np.concatenate([found.x, found.x[:1]])
    return Samples(x, np.concatenate([found.c, [[2, 2]]]))


@pytest.fixture(scope="module")
def arm() -> execution.Arm:
    return execution.Arm()


@pytest.fixture(scope="module")
def ran(arm: execution.Arm, samples: Samples) -> Rollouts:
    return rollouts.by_commands(arm, samples)


@needs_simulator
def test_a_plans_own_commands_lead_the_cube_to_its_goal(ran: Rollouts, samples: Samples) -> None:
    assert ran.feasible.tolist() == [True, True, False]
    assert ran.reached(0.02).tolist() == [True, True, False]
    assert np.isinf(ran.off[2])
    path, none = ran.paths[0], ran.paths[2]
    assert none is None
    assert not ran.states[2]
    assert path is not None
    assert path.shape == (execution.STEPS + execution.SETTLE, 2)
    assert plan.quadrant(path[[0, -1]]).tolist() == samples.c[0].tolist()


@needs_simulator
def test_the_planner_is_asked_again_and_told_what_was_seen(
    arm: execution.Arm, samples: Samples
) -> None:
    masks = []

    def redraw(mask: np.ndarray, values: Floats) -> Floats:
        assert values.shape == samples.x.shape
        assert np.array_equal(values[2], samples.x[2]), "it is not executed, and stays"
        masks.append(mask.copy())
        return samples.x

    steps: list[int] = []
    found = rollouts.by_planner(arm, samples, redraw, steps.append)
    assert found.reached(0.02).tolist() == [True, True, False]
    assert steps[-1] == len(steps) == 2 * (execution.STEPS + execution.SETTLE)
    assert len(masks) == 32 // execution.EVERY
    given = [int(mask[plan.SEEN].all(axis=0).sum()) for mask in masks]
    assert given == list(range(1, 32, execution.EVERY))


@needs_simulator
def test_nothing_is_asked_of_a_planner_without_feasible_plans(
    arm: execution.Arm, samples: Samples
) -> None:
    found = rollouts.by_planner(arm, samples[np.array([2])], lambda mask, values: 1 / 0)
    assert found.off.tolist() == [np.inf]


def test_a_film_holds_its_last_picture() -> None:
    pictures = [
        np.full((24, 32, 3), 255 * (np.arange(32) == k)[:, None], np.uint8) for k in range(16)
    ]
    with Image.open(BytesIO(film.encoded(pictures, 0.2))) as found:
        assert (found.n_frames, found.size) == (16, (32, 24))
        lasts = []
        for frame in range(16):
            found.seek(frame)
            lasts.append(found.info["duration"])
    assert lasts == [200] * 15 + [film.HOLD_MS]


@needs_simulator
def test_a_machine_without_opengl_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: Rollouts
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    out = tmp_path / "cube.gif"
    with pytest.raises(Failed, match=r"OpenGL does not work here \(MUJOCO_GL=disable\)") as told:
        film.film(ran.states[0][:1], 3, out, frame_s=0.2)
    assert "Mesa" in told.value.fix
    assert not out.exists()


@needs_simulator
@pytest.mark.skipif(find_library("EGL") is None, reason="OpenGL is missing")
def test_an_executed_plan_is_filmed(tmp_path: Path, ran: Rollouts) -> None:
    out = tmp_path / "films" / "cube.gif"
    assert len(ran.states[0]) >= 16
    film.film(ran.states[0][::10], 3, out, frame_s=0.2)
    with Image.open(out) as found:
        assert found.size == (320, 240)
        frames = []
        for frame in range(found.n_frames):
            found.seek(frame)
            frames.append(np.asarray(found.convert("RGB")).astype(int))
    assert len(frames) == 3
    red, green, blue = np.moveaxis(frames[0], 2, 0)
    rows, columns = np.nonzero((green > red + 40) & (green > blue + 40))
    assert len(rows) > 500, "the quadrant that the cube shall reach is green"
    assert columns.mean() > 160, "and on the right"
    # The cube is red; it begins on the left, and ends on the right.
    ends = [np.nonzero(one[..., 0] > one[..., 1:].max(axis=2) + 60)[1].mean() for one in frames]
    assert ends[0] < 150 < 170 < ends[-1]


@needs_simulator
def test_plans_are_executed_whatever_opengl_the_environment_names() -> None:
    made = (
        "import os; os.environ['MUJOCO_GL'] = 'none-such'\n"
        "from dcfm_node.domains.robots.execution import Arm\n"
        "Arm(); print(os.environ['MUJOCO_GL'])"
    )
    assert python(made).stdout.strip() == "none-such"
