"""The pictures, from made-up samples: what is drawn, and where."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from dcfm_node.domains import base, grid, panels, pictures, tiles
from dcfm_node.domains.base import SplitSpec
from dcfm_node.domains.gaussians import centres
from dcfm_node.domains.space import Panel, Space
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Samples, joined

RED, BLUE = (255, 0, 0), (0, 0, 255)


def plain(split, colour, channels=3):
    """Images of every combination, all of one colour."""
    pixel = np.array(colour[:channels], np.float32) / 127.5 - 1
    c = np.array([*split.known, *split.held_out])
    x = np.broadcast_to(pixel[:, None, None], (len(c), channels, 8, 8))
    return Samples(np.ascontiguousarray(x, np.float32), c)


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def amount(image, colour):
    """How many pixels of the picture have a colour, nearly."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if colour[0] == "#" else colour
    return int((abs(pixels(image) - wanted) < 4).all(axis=2).sum())


def drawn(split, *samples, holders=None, **more):
    """A panel for each."""
    found = [Panel(f"model {k}", one, **more) for k, one in enumerate(samples)]
    return pictures.draw(split.space, found, holders or {})


def made(kind, silos):
    domain = base.named(kind)
    return domain, domain.split(SplitSpec(silos=silos))


@pytest.mark.parametrize(("kind", "silos"), [("gaussians", 2), ("gaussians", 8), ("digits", 3)])
def test_every_silo_has_its_colour_in_the_picture(kind, silos):
    domain, split = made(kind, silos)
    labels = np.array([*split.known, *split.held_out])
    if kind == "gaussians":
        x = np.stack(
            [centres(domain.settings, split.attributes)[tuple(c)] for c in labels.tolist()]
        )
    else:
        x = np.zeros((len(labels), *split.sample_shape), np.float32)
    right = np.arange(len(labels)) % 2 == 0
    panel = Panel("student", Samples(x, labels), "90% right", right)
    holders = split.holders([f"silo-{k}" for k in range(silos)])
    image = domain.draw(split.space, [panel, panel], holders)
    assert min(image.size) > 800
    for colour in panels.colours_of(holders).values():
        assert amount(image, colour) > 50, colour


def test_the_table_frames_by_who_holds_a_combination(split):
    colour = panels.SILO_COLOURS[0]
    some = {c: ["a"] if c in split.known else [] for c in [*split.known, *split.held_out]}
    all_ = {c: ["a"] for c in some}
    one, both = (drawn(split, plain(split, BLUE), holders=h) for h in (some, all_))
    assert amount(both, colour) > 1.6 * amount(one, colour) > 0
    assert amount(drawn(split, plain(split, BLUE)), colour) == 0


def test_the_table_shows_the_first_sample_of_each(split):
    image = drawn(split, joined([plain(split, BLUE), plain(split, RED)]))
    assert amount(image, BLUE) > 50_000 > amount(image, RED) == 0


def test_the_table_has_digits_in_rows_and_colours_in_columns(split):
    """One red cell, three to the right and one down."""
    shown = plain(split, BLUE)
    shown.x[(shown.c == (1, 3)).all(axis=1)] = plain(split, RED).x[0]
    found = pixels(drawn(split, shown))
    (red_y, red_x), (middle_y, middle_x) = (
        np.mean(np.nonzero((abs(found - colour) < 4).all(2)), axis=1) for colour in (RED, BLUE)
    )
    cell = (middle_y - red_y) / 3.5  # the middle lies between the fifth row and the sixth
    assert (middle_x - red_x) / cell == pytest.approx(1.5, abs=0.15)


def test_what_is_wrong_is_marked(split):
    shown = plain(split, BLUE)
    wrong = drawn(split, shown, right=np.zeros(len(shown), bool))
    assert amount(wrong, panels.WRONG) > 1_000
    right = drawn(split, shown, right=np.ones(len(shown), bool))
    assert amount(right, panels.WRONG) < amount(wrong, panels.WRONG) / 20


def test_grey_images_are_drawn_too(split):
    assert amount(drawn(split, plain(split, (100,), 1)), (100, 100, 100)) > 50_000


def test_of_more_than_two_models_each_has_a_row_of_novel_images(split):
    image = drawn(split, plain(split, RED), plain(split, BLUE), plain(split, BLUE))
    assert 2 * amount(image, RED) == pytest.approx(amount(image, BLUE), rel=0.05)
    found = pixels(image)
    rows = [np.nonzero((abs(found - colour) < 4).all(2))[0].mean() for colour in (RED, BLUE)]
    assert rows[0] < rows[1]


def test_images_with_one_attribute_are_drawn_in_a_row():
    space = Space((Attribute(name="finding", values=("none", "mass")),), ())
    x = np.ones((2, 1, 4, 4), np.float32) * np.array([0.5, -0.5])[:, None, None, None]
    image = pictures.draw(space, [Panel("a", Samples(x, np.array([[0], [1]])))], {})
    assert amount(image, (191, 191, 191)) > 500 < amount(image, (63, 63, 63))


@pytest.mark.parametrize("numbers", [1, 2, 3, 20])
@pytest.mark.parametrize("models", [1, 4])
def test_vectors_of_any_length_are_drawn_in_colours_of_their_combinations(numbers, models):
    space = Space((Attribute(name="a", values=("0", "1", "2")),), ((2,),))
    c = np.arange(30)[:, None] % 3
    x = np.random.default_rng(0).normal(size=(30, numbers)).astype(np.float32)
    image = pictures.draw(space, [Panel("m", Samples(x, c))] * models, {})
    for colour in (panels.KNOWN[0], panels.KNOWN[1], panels.NOVEL):
        assert amount(image, colour) > 10, colour


def test_the_sheet_holds_every_image_in_bytes_or_floats():
    x = np.full((5, 3, 8, 8), -1, np.float32)
    x[4, 0] = 1
    space = Space((Attribute(name="a", values=("0", "1")),), ((1,),))
    c = np.array([[0], [1], [0], [1], [0]])
    sheet = tiles.sheet(space, Samples(x, c))
    assert amount(sheet, RED) == amount(sheet, (0, 0, 0)) / 4 == 64 * 64
    as_bytes = ((x + 1) * 127.5).astype(np.uint8)
    assert (pixels(tiles.sheet(space, Samples(as_bytes, c))) == pixels(sheet)).all()


def test_rows_of_the_sheet_are_captioned_and_novel_ones_are_named():
    long = "a value with a name that two of them fill more than three lines"
    a, b = (Attribute(name=name, values=("x", long, "\u65e5")) for name in "ab")
    space = Space((a, b), ((2, 0),))
    assert panels.caption(space, (0, 0)) == ["x, x"]
    assert panels.caption(space, (2, 0), ascii) == ["'\\u65e5, x'", "novel"]
    lines = panels.caption(space, (1, 1))
    assert len(lines) == panels.MOST
    assert max(map(len, lines)) <= panels.LETTERS
    assert lines[-1].endswith("...")
    samples = Samples(np.ones((6, 1, 8, 8), np.float32), np.array([[0, 0], [2, 0]] * 3))
    assert amount(tiles.sheet(space, samples), panels.NOVEL) > 4 * 64
    known = Space(space.attributes, ())
    assert amount(tiles.sheet(known, samples), panels.NOVEL) == 0


def test_images_of_two_attributes_are_a_table_with_named_rows_and_columns():
    names = (("a", ("x", "y", "z")), ("b", ("p", "a name that is long")), ("f", ("1", "2")))
    space = Space(tuple(Attribute(name=n, values=v) for n, v in names), ((2, 0, 1),))
    c = np.array([[i, j, 1] for i in range(3) for j in range(2)] * 5)
    x = np.full((30, 3, 8, 8), -1, np.float32)
    x[0, 0] = 1
    samples = Samples(x, c)
    assert grid.fits(samples)
    sheet = grid.sheet(space, samples)
    assert amount(sheet, RED) == amount(sheet, (0, 0, 0)) / 29
    assert amount(sheet, panels.NOVEL) > 5 * 4 * 32
    assert amount(grid.sheet(Space(space.attributes, ()), samples), panels.NOVEL) == 0
    assert not grid.fits(samples[:5]), "a pair of values is missing"
    assert not grid.fits(samples[c[:, 0] == 0]), "one attribute varies"


def test_combinations_shown_share_no_value():
    held_out = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 0), (3, 3)]
    assert panels.diverse(held_out) == [(0, 1), (1, 2), (2, 0), (3, 3)]


def test_no_silo_gives_one_dashed_line_in_ink():
    (style,) = panels.outlines([])
    assert style["edgecolor"] == panels.INK
    assert style["linestyle"] != "solid"


def test_one_silo_gives_one_solid_line():
    (style,) = panels.outlines(["#ff0000"])
    assert (style["edgecolor"], style["linestyle"]) == ("#ff0000", "solid")


@pytest.mark.parametrize("many", [2, 3, 8])
def test_several_silos_share_the_line_without_covering_each_other(many):
    styles = panels.outlines([f"#0000{k}0" for k in range(many)])
    (_, (dash, gap)) = styles[0]["linestyle"]
    offsets = [style["linestyle"][0] for style in styles]
    assert dash + gap == many * dash
    assert sorted(offsets) == [k * dash for k in range(many)]


def test_every_silo_of_the_largest_demo_has_its_own_colour():
    assert len(set(panels.SILO_COLOURS)) == 8


def test_columns_in_other_units_are_each_drawn_by_their_own_spread():
    """A column in pascals must not flatten the others."""
    space = Space((Attribute(name="a", values=("0", "1")),), (), ("hPa", "rain", "wind", "sun"))
    rng, c = np.random.default_rng(0), np.arange(8)[:, None] % 2
    x = rng.standard_normal((8, 4)).astype(np.float32)
    units = np.array([1e5, 1e-3, 1.0, 30.0], np.float32)
    one, other = (
        pixels(base.named("plain").sheet(space, Samples(samples, c)))
        for samples in (x, x * units + np.float32(500.0) * units)
    )
    assert np.abs(one - other).mean() < 1.0
    bare = pixels(base.named("plain").sheet(Space(space.attributes, ()), Samples(x, c)))
    assert bare.shape != one.shape or (bare != one).any()


@pytest.mark.parametrize("many", [1, 2, 3])
def test_few_columns_in_other_units_are_not_drawn_on_equal_axes(many):
    space = Space((Attribute(name="a", values=("0", "1")),), (), ("hPa", "rain", "wind")[:many])
    c = np.arange(8)[:, None] % 2
    x = np.random.default_rng(0).standard_normal((8, many)).astype(np.float32)
    x[:, 0] *= 1e5
    image = base.named("plain").sheet(space, Samples(x, c))
    assert min(image.size) > 100


def test_no_two_channels_of_a_series_look_alike() -> None:
    axes = Figure().add_subplot()
    panels.numbers(axes, np.zeros((2, 32, 5)), novel=True)
    kinds = {(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}
    assert len(axes.get_lines()) == 2 * 32
    assert len(kinds) == 32
