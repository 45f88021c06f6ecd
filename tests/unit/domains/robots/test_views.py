"""Top views of the cube robot's plans, without a robot."""

import numpy as np
from PIL import Image

from dcfm_node.domains import panels as drawn
from dcfm_node.domains.robots import plan, segments, views
from dcfm_node.domains.robots.cube import DIAGONALS, Cube
from dcfm_node.domains.settings import CubeSettings
from dcfm_node.domains.space import Panel, Space
from dcfm_node.samples import Samples
from tests.unit.domains.robots.play import CENTRES, every_move, tour

SPACE = Space(Cube.own_attributes, DIAGONALS)


def moves(*quadrants: int) -> Samples:
    return segments.cut([tour(*quadrants)], 16).samples


def amount(picture: Image.Image, colour: str) -> int:
    """How many pixels have a colour, nearly."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    found = np.asarray(picture.convert("RGB")).astype(int)
    return int((abs(found - wanted) < 12).all(axis=2).sum())


def test_a_view_has_the_paths_of_the_cube_and_tells_which_are_feasible() -> None:
    samples = moves(0, 3, 1)
    swapped = Samples(samples.x, samples.c[:, ::-1].copy())
    found = views.views_of(samples)
    assert list(found) == [(0, 3), (3, 1)]
    path = found[0, 3].planned[0]
    assert path.shape == (16, 2)
    assert np.allclose(path[[0, -1]], CENTRES[[0, 3]], atol=0.01)
    assert found[0, 3].right.all()
    assert not views.views_of(swapped)[3, 0].right.any()


def test_one_model_has_a_view_for_each_combination_asked_for() -> None:
    robot, every = Cube(CubeSettings(horizon=16)), moves(*every_move())
    whole = robot.sheet(SPACE, every)
    known, novel = robot.sheet(SPACE, moves(0, 1)), robot.sheet(SPACE, moves(0, 3))
    assert whole.width > 3 * known.width
    assert whole.height > 2.5 * known.height
    assert amount(novel, drawn.NOVEL) > 500
    assert amount(known, drawn.NOVEL) == 0
    assert amount(known, drawn.KNOWN[0]) > 100


def test_several_models_are_rows_with_the_novel_combinations() -> None:
    robot, every = Cube(CubeSettings(horizon=16)), moves(*every_move())
    panels = [Panel(f"method $ {k}", every) for k in range(4)]
    two, four = (robot.draw(SPACE, panels[:many], {}, "plans") for many in (2, 4))
    assert two.width > 2.5 * two.height, "two tables are side by side"
    assert four.width < two.width
    assert amount(four, drawn.NOVEL) > amount(robot.draw(SPACE, panels[:3], {}), drawn.NOVEL) > 500


def test_executed_paths_show_which_missed() -> None:
    samples = moves(0, 1)
    path = views.planned(samples.x)[0]
    there, astray = path + 0.005, path[:8]
    pictures = [
        views.sheet(SPACE, {(0, 1): views.View(path[None], np.array([right]), [executed])})
        for right, executed in ((True, there), (False, astray), (False, None))
    ]
    assert [amount(one, views.MISSED) > 50 for one in pictures] == [False, True, False]
    assert [amount(one, drawn.KNOWN[0]) > 50 for one in pictures] == [True, False, False]


def test_numbers_that_are_none_are_drawn_as_not_feasible() -> None:
    samples = moves(0, 1)
    broken = Samples(np.full_like(samples.x, np.nan), samples.c)
    assert not views.views_of(broken)[0, 1].right.any()
    assert amount(Cube(CubeSettings()).sheet(SPACE, broken), drawn.KNOWN[0]) == 0
    assert not plan.feasible(np.full_like(samples.x, 1e30), samples.c).any()
