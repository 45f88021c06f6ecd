"""The pictures of an experiment, from made-up rows."""

import numpy as np
import pytest
from PIL import Image

from dcfm_node.experiment import figures
from dcfm_node.experiment.figures import precision_recall
from dcfm_node.experiment.results import Row


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def amount(path, colour):
    """How many pixels of the picture have a colour, nearly."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((abs(pixels(path) - wanted) < 4).all(axis=2).sum())


@pytest.mark.parametrize("partitions", [["iid"], ["iid", "noniid"]])
def test_every_method_has_its_point_in_every_panel(tmp_path, partitions):
    methods = ["ddm", "dfd", "dcfm-a", "dcfm-b"]
    rows = [
        Row(method, partition, seed, "joint", {"precision_novel": p, "recall_novel": 1 - p})
        for partition in partitions
        for method, p in zip(methods, (0.2, 0.4, 0.6, 0.8), strict=True)
        for seed in (0, 1)
    ]
    path = precision_recall(tmp_path / "pr.png", rows, "Coloured MNIST")
    counts = [amount(path, figures.COLOURS[place]) for place in range(len(methods))]
    single = precision_recall(tmp_path / "one.png", rows[:2], "Coloured MNIST")
    assert min(counts) > 25 * (len(partitions) + 1)
    assert amount(single, figures.COLOURS[1]) == 0
    found = pixels(path)
    first, last = (
        np.mean(np.nonzero((abs(found - colour) < 4).all(2))[0])
        for colour in [[int(figures.COLOURS[k][i : i + 2], 16) for i in (1, 3, 5)] for k in (0, 3)]
    )
    # Precision goes up the picture; the legend, a column of all, cannot turn that around.
    assert last < first


def test_methods_are_told_apart():
    looks = [
        (figures.MARKERS[k % len(figures.MARKERS)], figures.COLOURS[k % len(figures.COLOURS)])
        for k in range(105)
    ]
    assert len(set(looks)) == 105
