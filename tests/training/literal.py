"""Eqs. 3 to 17 word for word: one sample, one label, one expert at a time, and nothing drawn.

Whoever compares says what was drawn: the blocks A and B, z, the mask. Two blocks of attributes are
penalised for what i and j are in Eq. 10, and with two attributes they are that.

A label is a tuple, and a null token is |C_i| as everywhere; `null` is ∅. ‖·‖² is the mean over a
sample's elements, as in `flow.losses`, so that λ means the same whatever the sample's shape.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import permutations, product
from math import prod

import torch
from torch import Tensor

from dcfm_node.flow.losses import VelocityField
from dcfm_node.records.settings import Masks

Label = tuple[int, ...]
Blocks = tuple[tuple[int, ...], tuple[int, ...]]
"""A and B: disjoint sets of attributes."""
Counts = Mapping[Label, int]
Law = dict[Label, Fraction]
"""Every outcome of a draw and its probability."""


def velocity(v: VelocityField, x: Tensor, t: Tensor, c: Label) -> Tensor:
    """v(x, t, c) of one point (*shape) at one time ()."""
    return v(x[None], t[None], torch.tensor([c]))[0]


def only(c: Label, null: Label, *given: int) -> Label:
    """c^{i}, c^{A}: all attributes null but those given; none given is ∅."""
    return tuple(value if i in given else null[i] for i, value in enumerate(c))


def terms(c: Label, null: Label, blocks: Blocks) -> list[Label]:
    """∅, c^{A}, c^{B} and c^{AB}, in one order whichever block is called A: see `by_size`."""
    a, b = blocks
    found = [null, only(c, null, *a), only(c, null, *b), only(c, null, *a, *b)]
    return sorted(found, key=by_size(null))


def by_size(null: Label) -> Callable[[Label], tuple[int, Label]]:
    """Labels in which few attributes are given come before those in which many are."""
    return lambda label: (sum(x != y for x, y in zip(label, null, strict=True)), label)


def composed(v: VelocityField, x: Tensor, t: Tensor, c: Label, null: Label, w: float = 1) -> Tensor:
    """Eq. 5."""
    empty = velocity(v, x, t, null)
    total = empty
    for i in range(len(c)):
        total = total + w * (velocity(v, x, t, only(c, null, i)) - empty)
    return total


def mask_law(c: Label, null: Label, masks: Masks) -> Law:
    """Eq. 8."""
    full, marginal, none = Fraction(masks.full), Fraction(masks.marginal), Fraction(masks.null)
    total = full + marginal + none
    law: Law = defaultdict(Fraction)
    law[c] += full / total
    for i in range(len(c)):
        law[only(c, null, i)] += marginal / total / len(c)
    law[null] += none / total
    return law


def squared(error: Tensor, t: Tensor, predict: str) -> Tensor:
    """‖v error‖², which of a predicted sample is ‖x̂_1 error‖² / max(1 - t, 0.2)²."""
    if predict == "sample":
        sample_error = error * max(1 - t.item(), 0.05)
        return sum_of_squares(sample_error) / max(1 - t.item(), 0.2) ** 2
    return sum_of_squares(error)


def sum_of_squares(error: Tensor) -> Tensor:
    total = torch.zeros(())
    for element in error.flatten():
        total = total + element**2
    return total / error.numel()


def matching_error(v: VelocityField, x: Tensor, t: Tensor, c: Label, target: Tensor) -> Tensor:
    """Inside the norm of Eqs. 9 and 15; c is masked."""
    return velocity(v, x, t, c) - target


def independence_error(
    v: VelocityField, x: Tensor, t: Tensor, c: Label, null: Label, blocks: Blocks
) -> Tensor:
    """Inside the norm of Eqs. 10 and 16."""
    a, b = blocks
    return (
        velocity(v, x, t, only(c, null, *a, *b))
        + velocity(v, x, t, null)
        - velocity(v, x, t, only(c, null, *a))
        - velocity(v, x, t, only(c, null, *b))
    )


def cross_peer_error(
    own: VelocityField,
    experts: Mapping[int, VelocityField],
    z: tuple[int, int, int],
    me: int,
    x: Tensor,
    t: Tensor,
    c: Label,
    null: Label,
    blocks: Blocks,
) -> Tensor:
    """Inside the norm of Eq. 12, with z = (z_0, z_A, z_B)."""

    def hat(k: int, label: Label) -> Tensor:
        """Eq. 13."""
        if k == me:
            return velocity(own, x, t, label)
        return velocity(experts[k], x, t, label).detach()

    a, b = blocks
    empty = hat(z[0], null)
    mixed = empty
    for k, block in ((z[1], a), (z[2], b)):
        mixed = mixed + (hat(k, only(c, null, *block)) - empty)
    return velocity(own, x, t, only(c, null, *a, *b)) - mixed


def blocks_law(n: int) -> dict[Blocks, Fraction]:
    """A and B: first parts of an order of the attributes, together all of them with probability
    1/2 and else any number from two on."""
    law: dict[Blocks, Fraction] = defaultdict(Fraction)
    orders = list(permutations(range(n)))
    for order in orders:
        for together in range(2, n + 1):
            p = Fraction(1, 2) * ((together == n) + Fraction(1, n - 1)) / len(orders)
            for first in range(1, together):
                law[order[:first], order[first:together]] += p / (together - 1)
    return law


def known(counts: Counts, label: Label, null: Label) -> int:
    """n_k(c_i) of c^{i}, n_k of ∅; of several attributes the smallest."""
    found = [sum(counts.values())]
    for i, value in enumerate(label):
        if value != null[i]:
            found.append(sum(times for held, times in counts.items() if held[i] == value))
    return min(found)


def marginal_shares(counts: Sequence[Counts], label: Label, null: Label) -> list[Fraction]:
    """r_k(c_i) ∝ n_k(c_i), and n_k/N for ∅; equal where no silo knows the value."""
    held = [known(silo, label, null) for silo in counts]
    if sum(held) == 0:
        return [Fraction(1, len(counts))] * len(counts)
    return [Fraction(times, sum(held)) for times in held]


def joint_shares(counts: Sequence[Counts], c: Label, null: Label) -> list[Fraction]:
    """r_k(c) ∝ n_k(c); where nobody has seen c, ∝ Σ_i n_k(c_i)."""
    held = [silo.get(c, 0) for silo in counts]
    if sum(held) == 0:
        held = [sum(known(silo, only(c, null, i), null) for i in range(len(c))) for silo in counts]
    return [Fraction(times, sum(held)) for times in held]


def routing_law(counts: Sequence[Counts], terms: Sequence[Label], null: Label, me: int) -> Law:
    """z of Eq. 12: terms by label counts; without one of `me`, one that `me` knows becomes its."""
    shares = [marginal_shares(counts, term, null) for term in terms]
    own = [m for m, term in enumerate(terms) if known(counts[me], term, null) > 0]
    law: Law = defaultdict(Fraction)
    for z in product(range(len(counts)), repeat=len(terms)):
        p = prod(shares[m][k] for m, k in enumerate(z))
        if me in z:
            law[z] += p
            continue
        for m in own:
            law[(*z[:m], me, *z[m + 1 :])] += p / len(own)
    return law


def routed(
    experts: Sequence[VelocityField],
    counts: Sequence[Counts],
    x: Tensor,
    t: Tensor,
    c: Label,
    null: Label,
) -> Tensor:
    """Eq. 5, each of whose terms is Σ_k r_k v_k."""

    def mixture(label: Label) -> Tensor:
        total = torch.zeros_like(x)
        for k, share in enumerate(marginal_shares(counts, label, null)):
            total = total + float(share) * velocity(experts[k], x, t, label)
        return total

    empty = mixture(null)
    return empty + sum(mixture(only(c, null, i)) - empty for i in range(len(c)))


def heun_path(
    field: Callable[[Tensor, Tensor, Label], Tensor], x0: Tensor, c: Label, steps: int
) -> list[Tensor]:
    """Eq. 3 by Heun's rule, from one x_0: the states at t = 0, 1/steps, ..., 1."""
    states = [x0]
    with torch.no_grad():
        for n in range(steps):
            now, then = torch.tensor(n / steps), torch.tensor((n + 1) / steps)
            slope = field(states[-1], now, c)
            guess = states[-1] + slope / steps
            states.append(states[-1] + (slope + field(guess, then, c)) / (2 * steps))
    return states


def on_path(states: Sequence[Tensor], t: float) -> Tensor:
    """The point at time t, on the straight line between the solver's states."""
    steps = len(states) - 1
    n = min(int(t * steps), steps - 1)
    return states[n] + (t * steps - n) * (states[n + 1] - states[n])
