"""Eqs. 3 to 17 word for word: one sample, one label, one expert at a time, and nothing drawn.

Whoever compares says what was drawn: the pair (i, j), z, the mask. A label is a tuple, and a null
token is |C_i| as everywhere; `null` is ∅. ‖·‖² is the mean over a sample's elements, as in
`flow.losses`, so that λ means the same whatever the sample's shape.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from dcfm_node.flow.losses import Velocities
from dcfm_node.records.manifest import Masks

Label = tuple[int, ...]
Counts = Mapping[Label, int]
Law = dict[Label, Fraction]
"""Every outcome of a draw and its probability."""


def velocity(v: Velocities, x: Tensor, t: Tensor, c: Label) -> Tensor:
    """v(x, t, c) of one point (*shape) at one time ()."""
    return v(x[None], t[None], torch.tensor([c]))[0]


def only(c: Label, null: Label, *given: int) -> Label:
    """c^{i}, c^{ij}: all attributes null but those given; none given is ∅."""
    return tuple(value if i in given else null[i] for i, value in enumerate(c))


def composed(v: Velocities, x: Tensor, t: Tensor, c: Label, null: Label, w: float = 1) -> Tensor:
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


def matching_error(v: Velocities, x: Tensor, t: Tensor, c: Label, target: Tensor) -> Tensor:
    """Inside the norm of Eqs. 9 and 15; c is masked."""
    return velocity(v, x, t, c) - target


def independence_error(
    v: Velocities, x: Tensor, t: Tensor, c: Label, null: Label, pair: tuple[int, int]
) -> Tensor:
    """Inside the norm of Eqs. 10 and 16."""
    i, j = pair
    return (
        velocity(v, x, t, only(c, null, i, j))
        + velocity(v, x, t, null)
        - velocity(v, x, t, only(c, null, i))
        - velocity(v, x, t, only(c, null, j))
    )


def cross_peer_error(
    own: Velocities,
    experts: Mapping[int, Velocities],
    z: tuple[int, int, int],
    me: int,
    x: Tensor,
    t: Tensor,
    c: Label,
    null: Label,
    pair: tuple[int, int],
) -> Tensor:
    """Inside the norm of Eq. 12, with z = (z_0, z_i, z_j)."""
    i, j = pair

    def hat(k: int, label: Label) -> Tensor:
        """Eq. 13."""
        if k == me:
            return velocity(own, x, t, label)
        return velocity(experts[k], x, t, label).detach()

    empty = hat(z[0], null)
    mixed = empty
    for k, attribute in ((z[1], i), (z[2], j)):
        mixed = mixed + (hat(k, only(c, null, attribute)) - empty)
    return velocity(own, x, t, only(c, null, i, j)) - mixed


def holds(counts: Counts, label: Label, null: Label) -> int:
    """n_k(c_i) of c^{i}, n_k of ∅: how many samples agree with all that is given."""
    return sum(
        times
        for held, times in counts.items()
        if all(asked in (none, have) for asked, have, none in zip(label, held, null, strict=True))
    )


def marginal_shares(counts: Sequence[Counts], label: Label, null: Label) -> list[Fraction]:
    """r_k(c_i) ∝ n_k(c_i), and n_k/N for ∅; equal where no silo knows the value."""
    known = [holds(silo, label, null) for silo in counts]
    if sum(known) == 0:
        return [Fraction(1, len(counts))] * len(counts)
    return [Fraction(times, sum(known)) for times in known]


def joint_shares(counts: Sequence[Counts], c: Label, null: Label) -> list[Fraction]:
    """r_k(c) ∝ n_k(c); where nobody has seen c, ∝ Σ_i n_k(c_i)."""
    known = [silo.get(c, 0) for silo in counts]
    if sum(known) == 0:
        known = [sum(holds(silo, only(c, null, i), null) for i in range(len(c))) for silo in counts]
    return [Fraction(times, sum(known)) for times in known]


def routing_law(counts: Sequence[Counts], terms: Sequence[Label], null: Label, me: int) -> Law:
    """z of Eq. 12: terms by label counts; without one of `me`, one that `me` knows becomes its."""
    shares = [marginal_shares(counts, term, null) for term in terms]
    own = [m for m, term in enumerate(terms) if holds(counts[me], term, null) > 0]
    law: Law = defaultdict(Fraction)
    for z in product(range(len(counts)), repeat=len(terms)):
        p = Fraction(1)
        for m, k in enumerate(z):
            p *= shares[m][k]
        if me in z:
            law[z] += p
            continue
        for m in own:
            law[(*z[:m], me, *z[m + 1 :])] += p / len(own)
    return law


def routed(
    experts: Sequence[Velocities],
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
