"""Moves turn samples of known combinations into those of novel ones, and serve only if tried."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dcfm_node.flow.features import paint
from dcfm_node.flow.metrics import energy_distance
from dcfm_node.flow.moves import MOVES, Move
from dcfm_node.flow.trainer import generator
from dcfm_node.flow.transfer import trusted

SIZES = (3, 3)
NOVEL = [(2, 0), (1, 2)]
KNOWN = [(a, b) for a in range(3) for b in range(3) if (a, b) not in NOVEL]
EACH = 80
SHAPES = torch.tensor(
    [
        [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]],
        [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]],
        [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]],
    ]
).float()
COLOURS = torch.tensor([[1.0, 0.1, 0.2], [0.1, 0.9, 0.3], [0.2, 0.3, 1.0]])
TONES = torch.tensor([1.0, -1.0])
Draw = Callable[[Tensor, torch.Generator], Tensor]


def vectors(c: Tensor, draws: torch.Generator) -> Tensor:
    """Sums of effects, in five numbers."""
    effects = torch.randn(2, 3, 5, generator=generator(7)) * 3
    x = effects[0, c[:, 0]] + effects[1, c[:, 1]]
    return x + 0.3 * torch.randn(x.shape, generator=draws)


def coloured(c: Tensor, draws: torch.Generator) -> Tensor:
    """A shape in a colour, somewhere."""
    x = torch.full((len(c), 3, 8, 8), -1.0)
    for i, (shape, colour) in enumerate(c.tolist()):
        down, right = torch.randint(0, 5, (2,), generator=draws).tolist()
        x[i, :, down : down + 4, right : right + 4] += (
            SHAPES[shape] * COLOURS[colour, :, None, None]
        )
    return x + 0.02 * torch.randn(x.shape, generator=draws)


def placed(c: Tensor, draws: torch.Generator) -> Tensor:
    """A shape in one of three places of a row."""
    x = torch.zeros(len(c), 1, 4, 12)
    for i, (shape, place) in enumerate(c.tolist()):
        x[i, 0, :, 4 * place : 4 * place + 4] = SHAPES[shape]
    return x * (1 + 0.1 * torch.randn(len(c), 1, 1, 1, generator=draws))


def toned(c: Tensor, draws: torch.Generator) -> Tensor:
    """A shape that is lighter or darker than the ground, somewhere."""
    x = torch.zeros(len(c), 1, 8, 8)
    for i, (shape, tone) in enumerate(c.tolist()):
        down, right = torch.randint(0, 5, (2,), generator=draws).tolist()
        x[i, 0, down : down + 4, right : right + 4] = SHAPES[shape] * TONES[tone]
    return x + 0.02 * torch.randn(x.shape, generator=draws)


def loud(c: Tensor, draws: torch.Generator) -> Tensor:
    """Noise whose strength has a course in time, and another each half."""
    time = torch.linspace(0, 3, 16)
    course = torch.stack([time, 3 - time, torch.ones(16)])[c[:, 0]]
    half = torch.stack([time < 1.5, time > 1.5, time > 9]).float()[c[:, 1]]
    x = torch.randn(len(c), 1, 16, generator=draws)
    return x * (course / 2 + half)[:, None].exp()


def multiplied(c: Tensor, draws: torch.Generator) -> Tensor:
    """Products of effects, in five numbers, with a zero that is not at 0."""
    effects = torch.rand(2, 3, 5, generator=generator(7)) * 3
    x = (effects[0, c[:, 0]] + effects[1, c[:, 1]]).exp()
    return x * (0.1 * torch.randn(x.shape, generator=draws)).exp() - 20


def named(name: str) -> Move:
    """The move of a function."""
    (move,) = (move for move in MOVES if getattr(move.moved, "__name__", "") == name)
    return move


def labels(of: list[tuple[int, int]], each: int = EACH) -> Tensor:
    return torch.tensor(of).repeat_interleave(each, dim=0)


@pytest.mark.parametrize(
    ("draw", "attributes"),
    [(vectors, {0, 1}), (multiplied, {0, 1}), (coloured, {1}), (placed, {1}), (loud, {0, 1})],
)
def test_what_moves_make_is_like_samples_that_nobody_has(draw: Draw, attributes: set[int]) -> None:
    c = labels(KNOWN)
    x = draw(c, generator(1))
    moves = trusted(x, c, SIZES, generator(2))
    assert {move.attribute for move in moves} == attributes
    known, scale = torch.unique(c, dim=0), x.std(dim=0) + 1e-6
    for wanted in torch.tensor(NOVEL):
        real = draw(wanted.expand(EACH, -1), generator(3))
        found = [
            energy_distance(
                (move(x[(c == source).all(dim=1)], source, wanted) / scale).flatten(1),
                (real / scale).flatten(1),
            )
            for move in moves
            for source in move.sources(wanted, known)
        ]
        assert found
        assert max(found) < 0.1


def test_a_value_that_turns_samples_over_is_reached() -> None:
    c = labels([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)])
    x = toned(c, generator(1))
    (move,) = (m for m in trusted(x, c, (3, 2), generator(2)) if m.attribute == 1)
    source = torch.tensor([2, 0])
    made = move(x[(c == source).all(dim=1)], source, torch.tensor([2, 1]))
    assert made.flatten(1).sum(dim=1).mean() < -5


def test_another_paint_gives_the_same_shape_and_the_same_noise() -> None:
    """A channel that the first paint leaves dark must not become all noise."""
    noise = 0.02 * torch.randn(1, 3, 8, 8, generator=generator(1)).double()
    shape = torch.zeros(1, 1, 8, 8).double()
    shape[..., 2:6, 3:7] = 1
    one, other = (
        shape * torch.tensor(c)[:, None, None] - 0.8 for c in ([1.0, 0.02, 0.4], [-0.1, 0.9, 0.3])
    )
    (move,) = (move for move in MOVES if move.features is paint)
    made = move.moved(one + noise, paint(one)[0], paint(other)[0])
    torch.testing.assert_close(made, other, rtol=0, atol=0.1)


def test_a_tone_becomes_another_in_the_same_envelope() -> None:
    time = torch.arange(32) / 32
    envelope = torch.exp(-(((time - 0.4) / 0.15) ** 2) / 2)
    low, high = (
        (envelope * torch.cos(2 * torch.pi * turns * time + 1))[None, None, None].double()
        for turns in (5, 11)
    )
    move = named("_transposed")
    for one, other in ((low, high), (high, low)):
        made = move.moved(one, move.features(one)[0], move.features(other)[0])
        torch.testing.assert_close(made, other, rtol=0, atol=0.02)


def test_what_is_painted_gets_another_size_on_the_same_ground() -> None:
    def drawn(times: int) -> Tensor:
        x = torch.full((1, 1, 12, 12), -0.8).double()
        big = torch.kron(SHAPES[2].double(), torch.ones(times, times))
        x[..., 3 : 3 + 4 * times, 3 : 3 + 4 * times] += 1.5 * big
        return x

    move, small, large = named("_resized"), drawn(1), drawn(2)
    for one, other in ((small, large), (large, small)):
        made = move.moved(one, move.features(one)[0], move.features(other)[0])
        assert (made - other).abs().mean() < 0.7 * (one - other).abs().mean()


def test_stripes_turn_and_grow_until_they_lie_as_the_others() -> None:
    down, across = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    turns = {"across": 2.0 * across, "down": 2.0 * down, "broad": 1.0 * across}
    phases = torch.linspace(0, 6, 9)[:, None, None]
    x = {name: torch.cos(of + phases)[:, None].double() for name, of in turns.items()}
    move = named("_turned")
    means = {name: move.features(of).mean(dim=0) for name, of in x.items()}
    for other in ("down", "broad"):
        made = move.moved(x["across"], means["across"], means[other])
        now = move.features(made).mean(dim=0)
        assert (now - means[other]).abs().sum() < 0.35 * (
            means["across"] - means[other]
        ).abs().sum()


def test_no_move_serves_where_values_do_not_add_up() -> None:
    c = labels(KNOWN)
    apart = torch.randn(9, 6, generator=generator(4))[c[:, 0] * 3 + c[:, 1]] * 4
    x = apart + 0.2 * torch.randn(apart.shape, generator=generator(5))
    assert trusted(x, c, SIZES, generator(2)) == []


def test_a_change_is_left_to_the_move_that_makes_it_best() -> None:
    """Any of three places is a roll from another; noise everywhere is louder than nothing."""

    def tones(c: Tensor, draws: torch.Generator) -> Tensor:
        time, width = torch.arange(32) / 32, 0.08
        places = torch.tensor([0.2, 0.5, 0.8])
        bumps = torch.exp(-(((time - places[:, None]) / width) ** 2) / 2)
        loud = torch.cat([bumps, torch.ones(1, 32)])[c[:, 1]]
        turns = torch.tensor([3.0, 7.0, 11.0])[c[:, 0], None] * time
        phase = torch.rand(len(c), 1, generator=draws)
        x = loud * torch.cos(2 * torch.pi * (turns + phase))
        return (x + 0.03 * torch.randn(x.shape, generator=draws))[:, None]

    c = labels([(a, b) for a in range(3) for b in range(4) if (a, b) not in {(0, 0), (1, 3)}])
    moves = [m for m in trusted(tones(c, generator(1)), c, (3, 4), generator(2)) if m.attribute]
    served = {change: m.move.moved.__name__ for m in moves for change in m.changes}
    assert {served[0, 1], served[1, 2], served[2, 0]} == {"_rolled"}
    assert {served[3, value] for value in range(3)} == {"_amplified"}
    assert not {(value, 3) for value in range(3)} & served.keys()


def test_no_move_serves_that_cannot_be_tried() -> None:
    c = labels([(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)])  # none is determined by the others
    assert trusted(vectors(c, generator(1)), c, SIZES, generator(2)) == []


def test_sources_differ_in_the_attribute_alone() -> None:
    c = labels(KNOWN)
    moves = {m.attribute: m for m in trusted(vectors(c, generator(1)), c, SIZES, generator(2))}
    known = torch.tensor(KNOWN)
    assert moves[0].changes == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert moves[0].sources(torch.tensor([2, 0]), known).tolist() == [[0, 0], [1, 0]]
    assert moves[1].sources(torch.tensor([2, 0]), known).tolist() == [[2, 1], [2, 2]]


def test_what_is_not_finite_is_like_nothing() -> None:
    x = torch.randn(20, 3, generator=generator(6))
    assert energy_distance(x, x.clone()) == 0.0
    assert energy_distance(torch.ones(5, 3), torch.ones(5, 3)) == 0.0
    for wild in (torch.nan, torch.inf):
        assert energy_distance(torch.full((20, 3), wild), x) == 1.0
