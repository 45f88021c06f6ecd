"""The picture of both domains, from made-up samples."""

import numpy as np
import pytest
from PIL import Image

from dcfm_node.data.builtin import builtin, mode
from dcfm_node.demo import picture
from dcfm_node.demo.evaluate import Drawn, Evaluation, seen_by


def evaluated(domain):
    labels = np.array([*domain.observed, *domain.held_out])
    if domain.name == "gaussians":
        x = np.stack([mode(label) for label in labels])
    else:
        x = np.zeros((len(labels), *domain.sample_shape), np.float32)
    samples = Drawn(x, labels, np.arange(len(labels)) % 2 == 0)
    share = {"known": 0.9, "novel": 0.5}
    accuracy = {"student": share, "single_silo_best": share}
    return Evaluation(accuracy, {}, "north", samples, samples)


@pytest.mark.parametrize(("name", "silos"), [("gaussians", 2), ("gaussians", 8), ("digits", 3)])
def test_it_is_drawn(tmp_path, name, silos):
    domain = builtin(name, silos, 0)
    owners = seen_by(domain, [f"silo-{k}" for k in range(silos)])
    picture.draw(tmp_path / "report.png", domain, owners, evaluated(domain))
    with Image.open(tmp_path / "report.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert min(pixels.shape[:2]) > 900
    for colour in picture.colours_of(owners).values():
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (abs(pixels.astype(int) - wanted) < 3).all(axis=2).sum() > 50, colour


def test_no_silo_gives_one_dashed_line_in_ink():
    (style,) = picture.outlines([])
    assert style["edgecolor"] == picture.INK
    assert style["linestyle"] != "solid"


def test_one_silo_gives_one_solid_line():
    (style,) = picture.outlines(["#ff0000"])
    assert (style["edgecolor"], style["linestyle"]) == ("#ff0000", "solid")


@pytest.mark.parametrize("many", [2, 3, 8])
def test_several_silos_share_the_line_without_covering_each_other(many):
    styles = picture.outlines([f"#0000{k}0" for k in range(many)])
    (_, (dash, gap)) = styles[0]["linestyle"]
    offsets = [style["linestyle"][0] for style in styles]
    assert dash + gap == many * dash
    assert sorted(offsets) == [k * dash for k in range(many)]


def test_every_silo_of_the_largest_demo_has_its_own_colour():
    assert len(set(picture.SILO_COLOURS)) == 8
