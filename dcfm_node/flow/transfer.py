"""Samples of a combination that nobody has, made from those of its neighbours.

A *move* maps a sample to features in which values of attributes add up, adds what the wanted value
has more than the present one, and maps back: raw numbers are shifted; spectra, local energies and
channels are multiplied. So a shape in one colour gives the same shape in another, and variety
within a combination stays.

No move is believed: each is tried on known combinations that its effects were fitted without, and
serves only for changes of values where what it makes is distributed like their own samples, both
as they are and in their spectra and local energies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from torch import Tensor

from dcfm_node.flow.committee import determined, one_hot, rows_of
from dcfm_node.flow.features import SMALL, energy, four_axes, local_energy, paint
from dcfm_node.flow.metrics import energy_distance

NEAR = 0.4
"""A move serves if it leaves at most this share of the energy distance between combinations. A
small distance alone says little: pictures that vary much in place are near each other anyway."""
PAIRS = 32
"""Most pairs of known combinations that a move is tried on, for each attribute."""
EACH = 64
"""Most samples of a combination that it is tried on."""
STEEPEST = 3.0
"""Largest change of a logarithm of amplitudes."""
LEAST_SPREAD = 0.1
"""Numbers that vary less than this share of the mean deviation weigh no more for it."""
Change = tuple[int, int]
"""What is before, and after: values, or combinations by their place."""


@dataclass(frozen=True)
class Move:
    """A map to features, and what turns a sample with some mean features into one with others.

    Attributes:
        features: pictures (N, channels, height, width) -> (N, ...).
        moved: pictures (N, ...), and mean features before and after -> pictures.
    """

    features: Callable[[Tensor], Tensor]
    moved: Callable[[Tensor, Tensor, Tensor], Tensor]


def _shifted(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return x + after - before


def _spectrum(x: Tensor) -> Tensor:
    """Logarithms of the powers of all frequencies but 0; there the sum itself."""
    found: Tensor = torch.fft.rfft2(x, norm="ortho")
    powers = (found.abs().square() + SMALL).log()
    powers[..., 0, 0] = found[..., 0, 0].real
    return powers


def _filtered(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    found = torch.fft.rfft2(x, norm="ortho")
    moved = found * _gain(after - before)
    moved[..., 0, 0] = found[..., 0, 0] + (after - before)[..., 0, 0]
    filtered: Tensor = torch.fft.irfft2(moved, s=x.shape[2:], norm="ortho")
    return filtered


def _energy(x: Tensor) -> Tensor:
    return local_energy(x, stride=1)


def _amplified(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return x * _gain(after - before)


def _gain(change: Tensor) -> Tensor:
    return (change / 2).clamp(-STEEPEST, STEEPEST).exp()


def _colours(x: Tensor) -> Tensor:
    """Means of the channels, and their covariances over places: (N, channels, 1 + channels)."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    rest = (x - mean).flatten(2)
    covariance = rest @ rest.transpose(1, 2) / rest.shape[2]
    return torch.cat([mean.squeeze(3), covariance], dim=2)


def _recoloured(x: Tensor, before: Tensor, after: Tensor, sign: float = 1.0) -> Tensor:
    """The axes along which channels scatter, turned and stretched."""
    powers, axes = zip(*(torch.linalg.eigh(of[:, 1:]) for of in (before, after)), strict=True)
    alike = (axes[0] * axes[1]).sum(dim=0).sign()
    stretch = (powers[1].clamp(min=0) / powers[0].clamp(min=SMALL)).sqrt() * alike * sign
    turned = axes[1] @ torch.diag(stretch) @ axes[0].T
    rest = x - before[None, :, :1, None]
    return after[None, :, :1, None] + torch.einsum("ij,njhw->nihw", turned, rest)


def _inverted(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    return _recoloured(x, before, after, sign=-1.0)


def _repainted(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The same shape in another paint. What is not along the paint, as noise, stays."""
    (old_ground, old), (new_ground, new) = (of.chunk(2) for of in (before, after))
    old, new = old - old_ground, new - new_ground
    along = torch.einsum("i,nihw->nhw", old, x - old_ground[:, None, None])
    shape = along[:, None] / (old.square().sum() + SMALL)
    changed = new_ground - old_ground
    return x + changed[:, None, None] + shape * (new - old)[:, None, None]


def _scatter(x: Tensor) -> Tensor:
    """How far each place is from the mean, (N, height, width)."""
    return (x - x.mean(dim=(2, 3), keepdim=True)).square().sum(dim=1)


def _rolled(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Moved from where scatter is lost to where it is won, around the borders."""
    lost, won = (torch.fft.rfft2(of.clamp(min=0)) for of in (before - after, after - before))
    fit = torch.fft.irfft2(lost.conj() * won, s=before.shape)
    down, right = divmod(int(fit.argmax()), before.shape[1])
    return x.roll((down, right), dims=(2, 3))


def _power(x: Tensor) -> Tensor:
    """Which share of the power is at which frequency, (N, height, width / 2 + 1)."""
    powers: Tensor = torch.fft.rfft2(x).abs().square().sum(dim=1)
    return powers / (powers.sum(dim=(1, 2), keepdim=True) + SMALL)


def _transposed(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """All frequencies moved by as much: from where power is lost to where it is won. So a tone
    becomes another one, as loud at each moment (single-sideband modulation)."""
    high, wide = before.shape
    size = (high, 2 * wide)
    lost, won = (
        torch.fft.rfft2(of.clamp(min=0), s=size) for of in (before - after, after - before)
    )
    down, right = divmod(int(torch.fft.irfft2(lost.conj() * won, s=size).argmax()), 2 * wide)
    right -= 2 * wide * (right >= wide)
    found = torch.fft.fft2(x)
    found[..., wide:] = 0
    kept = torch.zeros_like(found)
    first, last = max(0, right), min(wide, wide + right)
    kept[..., first:last] = found[..., first - right : last - right].roll(down, dims=2)
    kept[..., 1:] *= 2
    moved: Tensor = torch.fft.ifft2(kept).real
    return moved


MOVES: tuple[Move, ...] = (
    Move(lambda x: x, _shifted),
    Move(_spectrum, _filtered),
    Move(_energy, _amplified),
    Move(_colours, _recoloured),
    Move(_colours, _inverted),
    Move(paint, _repainted),
    Move(_scatter, _rolled),
    Move(_power, _transposed),
)


@dataclass(frozen=True)
class Trusted:
    """A move that serves for some changes of one attribute.

    Attributes:
        changes: values before and after.
        effects: of all values of all attributes, (Σ|C_i|, ...).
        scale: samples are divided by it first.
    """

    move: Move
    attribute: int
    changes: frozenset[Change]
    effects: Tensor
    cardinalities: tuple[int, ...]
    scale: float

    def __call__(self, x: Tensor, label: Tensor, wanted: Tensor) -> Tensor:
        """Samples (N, *shape) of a label (n,) as those of another."""
        before, after = (
            self.effects[rows_of(one[None], self.cardinalities)[0]].sum(0)
            for one in (label, wanted)
        )
        made = self.move.moved(four_axes(x).double() / self.scale, before, after) * self.scale
        return made.to(x.dtype).reshape(x.shape)

    def sources(self, wanted: Tensor, known: Tensor) -> Tensor:
        """Those of labels (M, n) that it turns into the wanted one (n,): they differ in this
        attribute alone, by a change that it serves for."""
        alone = known[(known != wanted).sum(dim=1) == 1]
        values = alone[:, self.attribute].tolist()
        serves = [(value, int(wanted[self.attribute])) in self.changes for value in values]
        return alone[torch.tensor(serves, dtype=torch.bool)]


def trusted(
    x: Tensor, c: Tensor, cardinalities: Sequence[int], generator: torch.Generator
) -> list[Trusted]:
    """The moves that serve. A change of a value is left to the move that leaves least of the
    distance, where it was tried, and else as for all changes of its attribute.

    Args:
        x: samples (N, *shape) of known combinations, on the CPU.
        c: (N, n).
        generator: decides which pairs of combinations moves are tried on.
    """
    sizes, scale, known = tuple(cardinalities), max(float(x.std()), 1e-6), torch.unique(c, dim=0)
    of = [x[(c == label).all(dim=1)] for label in known]
    means = [
        torch.stack([move.features(four_axes(some).double() / scale).mean(0) for some in of])
        for move in MOVES
    ]
    seen, found = _Seen.of(torch.cat([some[:EACH] for some in of]), scale), []
    for attribute, pairs in _pairs(known, sizes, generator).items():
        unmoved = torch.stack([seen.apart(of[a], of[b]) for a, b in pairs])
        tried, moved = [], []
        for move, mean in zip(MOVES, means, strict=True):
            effects = _effects(mean, known, sizes)
            tried.append(Trusted(move, attribute, frozenset(), effects, sizes, scale))
            made = [
                _without(tried[-1], mean, known, b)(of[a][:EACH], known[a], known[b])
                for a, b in pairs
            ]
            moved.append(
                torch.stack(
                    [seen.apart(some, of[b]) for some, (_, b) in zip(made, pairs, strict=True)]
                )
            )
        changes = [(int(known[a][attribute]), int(known[b][attribute])) for a, b in pairs]
        best = _best(moved, unmoved, changes, sizes[attribute])
        found += [
            replace(serves, changes=frozenset(those))
            for serves, those in zip(tried, best, strict=True)
            if those
        ]
    return found


def _best(
    moved: Sequence[Tensor], unmoved: Tensor, changes: Sequence[Change], values: int
) -> list[list[Change]]:
    """For each move, the changes that it serves for.

    Args:
        moved, unmoved: distances of each pair in both views, (P, 2).
        changes: of each pair.
        values: |C_i| of the attribute.
    """
    found: list[list[Change]] = [[] for _ in moved]
    for change in permutations(range(values), 2):
        rows = torch.tensor([change == other for other in changes])
        rows = rows if rows.any() else ~rows
        whole = unmoved[rows].sum(dim=0).clamp(min=1e-6)
        left = [float((each[rows].sum(dim=0) / whole).max()) for each in moved]
        if min(left) <= NEAR:
            found[left.index(min(left))].append(change)
    return found


@dataclass(frozen=True)
class _Seen:
    """How samples are compared: as they are, and in their spectra and local energies.

    Attributes:
        scales: deviations of the numbers and of the energies.
    """

    scale: float
    scales: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, x: Tensor, scale: float) -> "_Seen":
        both = x.flatten(1), energy(four_axes(x).double() / scale)
        spreads = [of.std(dim=0) for of in both]
        numbers, energies = (of.clamp(min=LEAST_SPREAD * float(of.mean()) + 1e-6) for of in spreads)
        return cls(scale, (numbers, energies))

    def apart(self, made: Tensor, own: Tensor) -> Tensor:
        """Energy distances of some samples to those of a combination, (2,)."""
        found = [
            (
                x.flatten(1) / self.scales[0],
                energy(four_axes(x).double() / self.scale) / self.scales[1],
            )
            for x in (made[:EACH], own[:EACH])
        ]
        return torch.tensor([energy_distance(*pair) for pair in zip(*found, strict=True)])


def _pairs(
    known: Tensor, sizes: tuple[int, ...], generator: torch.Generator
) -> dict[int, list[Change]]:
    """For each attribute, pairs of known combinations, rows of (M, n), that differ in it alone, the
    second one determined by all others; attributes with at least two."""
    found: dict[int, list[Change]] = {i: [] for i in range(len(sizes))}
    for b, label in enumerate(known):
        if not determined(label[None], torch.cat([known[:b], known[b + 1 :]]), sizes).item():
            continue
        differ = known != label
        for a in (differ.sum(dim=1) == 1).nonzero().squeeze(1).tolist():
            found[int(differ[a].nonzero())].append((a, b))
    chosen = {
        i: [pairs[k] for k in torch.randperm(len(pairs), generator=generator)[:PAIRS]]
        for i, pairs in found.items()
    }
    return {i: pairs for i, pairs in chosen.items() if len(pairs) > 1}


def _without(move: Trusted, means: Tensor, known: Tensor, b: int) -> Trusted:
    """The move, had it not seen samples of a combination."""
    others = torch.arange(len(known)) != b
    return replace(move, effects=_effects(means[others], known[others], move.cardinalities))


def _effects(means: Tensor, known: Tensor, sizes: Sequence[int]) -> Tensor:
    """Least squares for what each value of each attribute adds, (Σ|C_i|, ...), from the mean
    features of known combinations (M, ...)."""
    codes = one_hot(known, sizes)
    ridge = 1e-6 * len(codes) * torch.eye(codes.shape[1], dtype=torch.float64)
    found: Tensor = torch.linalg.solve(codes.T @ codes + ridge, codes.T @ means.flatten(1))
    return found.reshape(-1, *means.shape[1:])
