"""The pictures, from made-up samples: what is drawn, and where."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dcfm_node.experiment import images
from dcfm_node.experiment.images import (
    combination_grid,
    diverse,
    novel_panel,
    precision_recall_panel,
)
from dcfm_node.experiment.results import Row
from dcfm_node.experiment.task import Labelled

RED, BLUE = (255, 0, 0), (0, 0, 255)


def plain(task, colour, channels=3):
    """Samples of every combination, all of one colour."""
    pixel = np.array(colour[:channels], np.float32) / 127.5 - 1
    c = np.array([*task.known, *task.held_out])
    x = np.broadcast_to(pixel[:, None, None], (len(c), channels, 8, 8))
    return Labelled(np.ascontiguousarray(x, np.float32), c)


def after(one, two):
    return Labelled(np.concatenate([one.x, two.x]), np.concatenate([one.c, two.c]))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def amount(path, colour):
    """How many pixels of the picture have a colour, nearly."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if colour[0] == "#" else colour
    return int((abs(pixels(path) - wanted) < 4).all(axis=2).sum())


def test_the_grid_frames_what_nobody_holds(task, tmp_path):
    some = combination_grid(tmp_path / "some.png", task, plain(task, BLUE), "some")
    none = combination_grid(
        tmp_path / "none.png", replace(task, held_out=()), plain(task, BLUE), "none"
    )
    assert amount(some, images.NOVEL) > 1000 > amount(none, images.NOVEL) == 0
    assert amount(some, BLUE) > 50_000


def test_the_grid_shows_the_first_sample_of_each(task, tmp_path):
    both = after(plain(task, BLUE), plain(task, RED))
    path = combination_grid(tmp_path / "grid.png", task, both, "both")
    assert amount(path, BLUE) > 50_000 > amount(path, RED) == 0


def test_the_grid_has_digits_in_rows_and_colours_in_columns(task, tmp_path):
    """One red cell, three to the right and one down."""
    shown = plain(task, BLUE)
    shown.x[(shown.c == (1, 3)).all(axis=1)] = plain(task, RED).x[0]
    path = combination_grid(tmp_path / "grid.png", task, shown, "one")
    across = [np.mean(np.nonzero((abs(pixels(path) - c) < 4).all(2)), axis=1) for c in (RED, BLUE)]
    (red_y, red_x), (middle_y, middle_x) = across
    cell = (middle_y - red_y) / 3.5  # the middle lies between the fifth row and the sixth
    assert (middle_x - red_x) / cell == pytest.approx(1.5, abs=0.15)


def test_grey_images_are_drawn_too(task, tmp_path):
    path = combination_grid(tmp_path / "grid.png", task, plain(task, (100,), 1), "grey")
    assert amount(path, (100, 100, 100)) > 50_000


def test_the_panel_has_a_row_per_method(task, tmp_path):
    drawn = {"ddm": plain(task, RED), "dcfm-b": after(plain(task, BLUE), plain(task, RED))}
    path = novel_panel(tmp_path / "panel.png", task, drawn, "novel")
    red, blue = amount(path, RED), amount(path, BLUE)
    assert red == pytest.approx(blue, rel=0.05)
    found = pixels(path)
    rows = [np.nonzero((abs(found - colour) < 4).all(2))[0].mean() for colour in (RED, BLUE)]
    assert rows[0] < rows[1]
    half = novel_panel(tmp_path / "half.png", task, {"ddm": drawn["ddm"]}, "novel")
    assert amount(half, RED) == pytest.approx(red, rel=0.05)


def test_combinations_shown_share_no_value():
    held_out = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 0), (3, 3)]
    assert diverse(held_out) == [(0, 1), (1, 2), (2, 0), (3, 3)]


@pytest.mark.parametrize("partitions", [["iid"], ["iid", "noniid"]])
def test_every_method_has_its_point_in_every_panel(tmp_path, partitions):
    methods = ["ddm", "dfd", "dcfm-a", "dcfm-b"]
    rows = [
        Row(method, partition, seed, "joint", {"precision_novel": p, "recall_novel": 1 - p})
        for partition in partitions
        for method, p in zip(methods, (0.2, 0.4, 0.6, 0.8), strict=True)
        for seed in (0, 1)
    ]
    path = precision_recall_panel(tmp_path / "pr.png", rows, "Coloured MNIST")
    counts = [amount(path, images.COLOURS[place]) for place in range(len(methods))]
    single = precision_recall_panel(tmp_path / "one.png", rows[:2], "Coloured MNIST")
    assert min(counts) > 25 * (len(partitions) + 1)
    assert amount(single, images.COLOURS[1]) == 0
    found = pixels(path)
    first, last = (
        np.mean(np.nonzero((abs(found - colour) < 4).all(2))[0])
        for colour in [[int(images.COLOURS[k][i : i + 2], 16) for i in (1, 3, 5)] for k in (0, 3)]
    )
    # Precision goes up the picture; the legend, a column of all, cannot turn that around.
    assert last < first


def test_methods_are_told_apart():
    looks = [
        (images.MARKERS[k % len(images.MARKERS)], images.COLOURS[k % len(images.COLOURS)])
        for k in range(105)
    ]
    assert len(set(looks)) == 105
