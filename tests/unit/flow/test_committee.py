"""The committee reads combinations that it never saw, and says when it cannot."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.committee import ROWS, Committee, Reader, Sums, in_line
from dcfm_node.flow.design import one_hot
from dcfm_node.flow.features import MAPS, framed, paint, polar, stencil, trend

Draw = Callable[..., Tensor]
SIZES = (3, 3)
COMBINATIONS = list(itertools.product(range(3), range(3)))
NOVEL = (2, 0)
EACH = 60


def labels(combinations: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(combinations).repeat_interleave(EACH, dim=0)


KNOWN = labels([c for c in COMBINATIONS if c != NOVEL])
UNSEEN = labels([NOVEL])


def shifts(c: Tensor, seed: int = 0) -> Tensor:
    """Vectors whose mean is a sum of one effect per attribute."""
    draws = torch.Generator().manual_seed(seed)
    effects = torch.tensor([[0.0, 0, 1, 0], [2, 0, 0, 1], [0, 2, 0, 0]])
    more = torch.tensor([[0.0, 0, 0, 2], [0, 1, 2, 0], [2, 0, 0, 0]])
    noise = 0.3 * torch.randn(len(c), 4, generator=draws)
    return effects[c[:, 0]] + more[c[:, 1]] + noise


def products(c: Tensor, seed: int = 0) -> Tensor:
    """Pictures of a shape, anywhere, times a colour."""
    draws = torch.Generator().manual_seed(seed)
    shapes = torch.zeros(3, 8, 8)
    shapes[0, 2:6, 2:6] = shapes[1, 3:5, 1:7] = shapes[1:, 1:7, 3:5] = 1
    colours = torch.tensor([[1.0, 0.1, 0.1], [0.1, 1.0, 0.1], [0.2, 0.3, 1.0]])
    x = shapes[c[:, 0], None] * colours[c[:, 1]][:, :, None, None]
    moves = torch.randint(-1, 2, (len(c), 2), generator=draws).tolist()
    x = torch.stack([one.roll(tuple(move), (1, 2)) for one, move in zip(x, moves, strict=True)])
    return 2 * x - 1 + 0.02 * torch.randn(x.shape, generator=draws)


def fitted(x: Tensor, c: Tensor = KNOWN, seed: int = 0) -> Committee:
    return Committee.fit(x, c, SIZES, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("draw", [shifts, products])
def test_reads_a_combination_that_it_never_saw(draw: Draw) -> None:
    committee = fitted(draw(KNOWN))
    assert (committee.accuracy or 0) > 0.8
    assert committee.recognises(draw(UNSEEN, 1), UNSEEN).float().mean() > 0.95


@pytest.mark.parametrize("draw", [shifts, products])
def test_does_not_take_one_value_for_another(draw: Draw) -> None:
    committee, x = fitted(draw(KNOWN)), draw(UNSEEN, 1)
    for other in ((1, 0), (0, 0), (2, 1), (2, 2)):
        assert committee.recognises(x, torch.tensor(other).expand(len(x), 2)).float().mean() < 0.05


def test_products_need_the_spectrum_and_shifts_the_numbers() -> None:
    assert "raw" not in {m.features.name for m in fitted(products(KNOWN)).members}
    assert "raw" in {m.features.name for m in fitted(shifts(KNOWN)).members}


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Distance of the mean features of two sets of pictures."""
    return (a.mean(dim=0) - b.mean(dim=0)).norm()


def test_a_frame_shows_one_shape_alike_in_every_place_size_and_paint() -> None:
    corner, block = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 1]]), torch.ones(3, 3)

    def drawn(shape: Tensor, times: int, place: int, paint: float) -> Tensor:
        x = torch.full((1, 1, 12, 12), -0.8, dtype=torch.float64)
        big = torch.kron(shape, torch.ones(times, times))
        x[..., place : place + len(big), place : place + len(big)] += paint * big
        return framed(x)

    seen = 36  # cells of the frame; then radius, place and colours
    one, other = drawn(corner, 1, 2, 1.6), drawn(corner, 3, 1, 0.8)
    assert apart(one[:, :seen], other[:, :seen]) < 0.6
    assert apart(one[:, :seen], drawn(block, 1, 2, 1.6)[:, :seen]) > 1.5
    assert (other - one)[0, seen].item() == pytest.approx(2 * math.log(3), abs=0.2)
    rows = one[0, seen + 1] * 12
    assert rows.item() == pytest.approx(3.4, abs=0.1)  # of the mean pixel of the corner


def test_stripes_show_their_width_and_their_direction_apart() -> None:
    down, across = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")

    def stripes(speed: float, angle: float) -> Tensor:
        turns = speed * (math.cos(angle) * across + math.sin(angle) * down)
        phases = torch.linspace(0, 6, 8)[:, None, None]
        return polar(torch.cos(turns + phases)[:, None].double())

    broad, fine = stripes(0.8, 0.3), stripes(2.0, 0.3)
    turned = stripes(0.8, 0.3 + math.pi / 2)
    widths, directions = slice(0, 8), slice(8, 20)
    assert apart(broad[:, widths], fine[:, widths]) > 4 * apart(broad[:, widths], turned[:, widths])
    other = apart(broad[:, directions], turned[:, directions])
    assert other > 2 * apart(broad[:, directions], fine[:, directions])


def test_a_trend_does_not_hide_a_season() -> None:
    time = torch.linspace(-0.5, 0.5, 32, dtype=torch.float64)

    def months(slope: float, cycles: int) -> Tensor:
        phases = torch.linspace(0, 6, 8, dtype=torch.float64)[:, None]
        return trend(
            (slope * time + torch.cos(2 * math.pi * cycles * time + phases))[:, None, None]
        )

    flat, steep, quick = months(0, 4), months(6, 4), months(0, 7)
    assert apart(flat[:, 2:], steep[:, 2:]) < 0.3 * apart(flat[:, 2:], quick[:, 2:])
    assert apart(flat[:, :2], steep[:, :2]) > 5 * apart(flat[:, :2], quick[:, :2])


def test_paint_is_the_same_whatever_share_of_a_picture_has_it() -> None:
    x = torch.full((2, 3, 8, 8), 0.2, dtype=torch.float64)
    x[0, :, 2:4, 2:4] = torch.tensor([-0.5, 0.9, 0.2])[:, None, None]
    x[1, :, 1:7, 1:7] = torch.tensor([-0.5, 0.9, 0.2])[:, None, None]
    told = torch.tensor([0.2, 0.2, 0.2, -0.5, 0.9, 0.2]).double()
    torch.testing.assert_close(paint(x), told.expand(2, -1), rtol=0, atol=0.02)


def test_a_stencil_reads_a_shape_at_any_place_and_in_any_paint() -> None:
    def bars(place: int, strength: float, across: bool) -> Tensor:
        x = torch.full((60, 3, 8, 8), -1.0, dtype=torch.float64)
        x[:, :, place, place : place + 3] = strength
        shapes = x if across else x.transpose(2, 3)
        return stencil(shapes)[:, :40].mean(dim=0)  # powers at 8 x 5 frequencies

    bar = bars(1, 0.9, across=True)
    assert (bars(4, 0.2, across=True) - bar).abs().mean() < 0.25
    assert (bars(1, 0.9, across=False) - bar).abs().mean() > 0.5


def test_a_sample_far_from_its_combination_is_not_typical() -> None:
    committee, x = fitted(shifts(KNOWN)), shifts(UNSEEN, 1)
    assert committee.passes(x, UNSEEN).float().mean() > 0.6
    away = x + 4 * (x.mean(dim=0) - shifts(KNOWN).mean(dim=0))
    assert all((one.read(away, UNSEEN)[0] > 0).all() for one in committee.members)
    assert not committee.passes(away, UNSEEN).any()


def test_labels_that_do_not_add_up_make_it_serve_with_nobody() -> None:
    c = torch.cat([KNOWN, UNSEEN])
    exclusive = torch.nn.functional.one_hot((c[:, 0] * 2 + c[:, 1] * c[:, 0]) % 5, 5).float()
    draws = torch.Generator().manual_seed(0)
    committee = fitted(exclusive + 0.05 * torch.randn(exclusive.shape, generator=draws), c)
    assert (committee.accuracy or 1) < 0.6
    assert committee.members == ()
    assert not committee.passes(exclusive, c).any()
    assert (committee.recognised or 1) < 0.6


def test_without_a_combination_to_spare_nobody_knows() -> None:
    c = labels([(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)])
    committee = fitted(shifts(c), c)
    assert committee.accuracy is None
    assert committee.members == ()
    assert not committee.passes(shifts(c), c).any()


def test_without_a_combination_to_spare_it_still_recognises_what_it_saw() -> None:
    c = labels([(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)])
    committee = fitted(shifts(c), c)
    assert committee.recognised is None
    assert committee.recognises(shifts(c, 1), c).float().mean() > 0.9
    assert committee.recognises(1e4 * shifts(c, 1), c).float().mean() == 0.0


def test_other_combinations_test_readers_where_none_can_be_left_out() -> None:
    c = labels([(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)])
    generator = torch.Generator().manual_seed(0)
    unseen = (shifts(labels([(1, 1)]), 2), labels([(1, 1)]))
    committee = Committee.fit(shifts(c), c, SIZES, generator, unseen=unseen)
    assert committee.accuracy is None
    assert (committee.recognised or 0.0) > 0.9
    assert "spectrum" not in {one.features.name for one in committee.readers}


def test_samples_beyond_reach_are_not_recognised_and_clear_readers_alone_judge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = {name: MAPS[name] for name in ("raw", "spectrum", "energy")}  # others read it clearly
    monkeypatch.setattr("dcfm_node.flow.features.MAPS", few)
    committee, x = fitted(products(KNOWN)), products(UNSEEN, 1)
    assert 0 < len(committee.judges) < len(committee.readers)
    assert not committee.recognises(1e4 * x, UNSEEN).any()


def test_only_tested_samples_decide_how_many_are_recognised() -> None:
    x, nothing = shifts(KNOWN), torch.zeros(len(KNOWN), dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    assert Committee.fit(x, KNOWN, SIZES, generator, tested=nothing).recognised is None
    wrong = (torch.tensor([0, 0]) == KNOWN).all(dim=1)
    x[wrong] += 9.0  # this combination does not add up
    assert Committee.fit(x, KNOWN, SIZES, generator, tested=wrong).recognised == 0.0
    rest = (torch.tensor([2, 2]) == KNOWN).all(dim=1)
    assert (Committee.fit(x, KNOWN, SIZES, generator, tested=rest).recognised or 0.0) > 0.5


def test_leaving_samples_out_is_a_subtraction() -> None:
    codes, b = one_hot(KNOWN, SIZES), shifts(KNOWN).double()
    weights, half = torch.rand(len(b), dtype=torch.float64), torch.arange(len(b)) % 2 == 0
    whole, part = Sums.of(codes, b, weights), Sums.of(codes[half], b[half], weights[half])
    rest = Sums.of(codes[~half], b[~half], weights[~half])
    assert all(torch.allclose(*pair) for pair in zip(whole.without(part), rest, strict=True))


def test_depends_on_its_generator_alone() -> None:
    x, unseen = shifts(KNOWN), shifts(UNSEEN, 1)
    first, again, other = (fitted(x, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.passes(unseen, UNSEEN), again.passes(unseen, UNSEEN))
    assert [member.far for member in first.members] == [member.far for member in again.members]
    assert first.members[0].far != other.members[0].far


def test_probabilities_are_those_of_the_gaussians() -> None:
    c, x = KNOWN, shifts(KNOWN).double()
    weights = torch.ones(len(c), dtype=torch.float64)
    reader = Reader.fit(Sums.of(one_hot(c, SIZES), x, weights), SIZES)
    means = one_hot(torch.tensor(COMBINATIONS), SIZES) @ reader.effects
    logits = -torch.cdist(x @ reader.whiten, means).square() / 2
    asked = torch.tensor([COMBINATIONS.index(tuple(row)) for row in c.tolist()])
    found, distance = reader.read(x, c)
    assert torch.allclose(distance, -2 * logits.gather(1, asked[:, None]).squeeze(1))
    per_attribute = []
    for i in range(2):
        others = [[j for j, d in enumerate(COMBINATIONS) if d[1 - i] == row[1 - i]] for row in c]
        share = logits.gather(1, asked[:, None]).squeeze(1)
        share = (share - logits.gather(1, torch.tensor(others)).logsumexp(dim=1)).exp()
        per_attribute.append(share)
    assert torch.allclose(found.sigmoid(), torch.minimum(*per_attribute))


@pytest.mark.parametrize("shape", [(700,), (2, 50), (3, 40, 24), (1, 1, 32), (1,)])
def test_takes_samples_of_every_shape(shape: tuple[int, ...]) -> None:
    draws = torch.Generator().manual_seed(0)
    effect = torch.randn(3, *shape, generator=draws)
    x = effect[KNOWN[:, 0]] - effect[KNOWN[:, 1]]
    x = x + 0.1 * torch.randn(x.shape, generator=draws)
    assert fitted(x).recognises(x, KNOWN).float().mean() > 0.6 or shape == (1,)


def test_uses_a_bounded_number_of_samples() -> None:
    c = KNOWN.repeat(10, 1)
    assert len(c) > ROWS
    assert (fitted(shifts(c), c).accuracy or 0) > 0.95


@pytest.mark.parametrize("shape", [(4,), (1, 16), (3, 8, 8), (3, 1, 1)])
def test_samples_that_are_all_the_same_are_read_by_nobody(shape: tuple[int, ...]) -> None:
    committee = fitted(torch.full((len(KNOWN), *shape), 0.5))
    assert committee.members == ()


@pytest.mark.parametrize("wild", [10.0, 1e6])
def test_a_combination_far_from_all_others_is_not_in_line(wild: float) -> None:
    x, last = shifts(KNOWN), (KNOWN[-1] == KNOWN).all(dim=1)
    assert in_line(x, KNOWN).all()
    x[last] += wild
    assert in_line(x, KNOWN).tolist() == (~last).tolist()
    assert in_line(torch.zeros_like(x), KNOWN).all()
