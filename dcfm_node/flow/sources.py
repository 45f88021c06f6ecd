"""Where a stage's training rows come from: private data, or frozen teachers' own paths.

Rows are made in blocks of several steps, so that frozen experts are evaluated in few large
batches. A block is a function of its generator alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node.flow.labels import Counts, draw, from_product, mask, null_label, pair_terms
from dcfm_node.flow.losses import SIGNS, Matching, Penalty, Velocities
from dcfm_node.flow.path import interpolate, spread
from dcfm_node.flow.routing import Router
from dcfm_node.flow.solvers import trajectory
from dcfm_node.records.manifest import Manifest, Method, Training

POINTS_PER_STEP = 2
"""Points taken of a teacher's path per solver step."""
CHUNK = 1024
"""Rows of one forward without gradients."""
LIVE = 0.5
"""Probability that a term of the anchored penalty is the silo's own, not the anchor's."""


@dataclass(frozen=True)
class Points:
    """x_t, t and c, and the velocity to match at a masked label: (B, n) -> (B, *shape)."""

    x: Tensor
    t: Tensor
    c: Tensor
    target: Callable[[Tensor], Tensor]


PointSource = Callable[[int, torch.Generator], Points]
Mix = Callable[[Tensor, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""From x, t and terms (b, 4, n): which of the last three terms are live (b, 3), and the signed sum
of the others (b, *shape)."""


@dataclass(frozen=True)
class Source:
    """All that tells one stage's rows from another's."""

    points: PointSource
    mix: Mix
    manifest: Manifest
    settings: Training
    product_share: float

    def matching(self, points: Points, generator: torch.Generator) -> Matching:
        """Rows of Eqs. 9 and 15: labels masked by Eq. 8."""
        null = null_label(self.manifest.cardinalities, points.c.device)
        c = mask(points.c, null, self.manifest.method.masks, generator)
        return Matching(points.x, points.t, c, points.target(c))

    def penalty(self, points: Points, generator: torch.Generator) -> Penalty | None:
        """Rows of Eqs. 10, 12 and 16. None where a single attribute leaves nothing to compose."""
        if len(self.manifest.cardinalities) < 2:
            return None
        null = null_label(self.manifest.cardinalities, points.c.device)
        c = from_product(points.c, null, self.product_share, generator)
        terms = pair_terms(c, null, generator)
        live, frozen = self.mix(points.x, points.t, terms, generator)
        return Penalty(points.x, points.t, terms, live, frozen)

    def block(
        self, steps: int, generator: torch.Generator
    ) -> list[tuple[Matching, Penalty | None]]:
        """The rows of several steps. The penalty falls on the first `ci_batch` of each batch."""
        batch = self.settings.batch
        borne = min(self.settings.ci_batch, batch)
        points = self.points(steps * batch, generator)
        match = self.matching(points, generator)
        first = torch.arange(steps * batch, device=points.x.device).reshape(steps, batch)[:, :borne]
        penalty = None
        if self.settings.ci_weight > 0:
            penalty = self.penalty(_take(points, first.flatten()), generator)
        return [
            (
                Matching(*(part[s * batch : (s + 1) * batch] for part in _parts(match))),
                None
                if penalty is None
                else Penalty(*(part[s * borne : (s + 1) * borne] for part in _parts(penalty))),
            )
            for s in range(steps)
        ]


def _parts(rows: Matching | Penalty) -> list[Tensor]:
    return list(vars(rows).values())


def _take(points: Points, index: Tensor) -> Points:
    return Points(points.x[index], points.t[index], points.c[index], points.target)


def data_points(x1: Tensor, c: Tensor) -> PointSource:
    """Points between noise and a silo's samples; the target is x_1 - x_0 whatever the label."""

    def source(rows: int, generator: torch.Generator) -> Points:
        device = x1.device
        index = torch.randint(len(x1), (rows,), generator=generator, device=device)
        t = torch.rand(rows, generator=generator, device=device)
        chosen = x1[index]
        x0 = torch.randn(chosen.shape, generator=generator, device=device)
        return Points(interpolate(x0, chosen, t), t, c[index], lambda _: chosen - x0)

    return source


def path_points(
    teachers: Sequence[Velocities], counts: Sequence[Counts], manifest: Manifest
) -> PointSource:
    """Points on the teachers' own paths (Eq. 15), teachers in proportion to their sample counts.

    Labels follow each teacher's counts. Several points are taken of each path, interpolated
    between the solver's states so that every time in [0, 1] occurs; rows come shuffled.
    """
    sizes = [sum(silo.values()) for silo in counts]
    per_path = POINTS_PER_STEP * manifest.method.solver_steps

    def source(rows: int, generator: torch.Generator) -> Points:
        device = generator.device
        found, owners = [], []
        for k, teacher in enumerate(teachers):
            paths = rows * sizes[k] // (sum(sizes) * per_path) + 1
            c = draw(counts[k], paths, generator)
            shape = (paths, *manifest.sample_shape)
            x0 = torch.randn(shape, generator=generator, device=device)
            found.append(_along(teacher, x0, c, per_path, manifest.method, generator=generator))
            owners.append(torch.full((paths * per_path,), k, device=device))
        x, t, c = (torch.cat(part) for part in zip(*found, strict=True))
        order = torch.randperm(len(x), generator=generator, device=device)[:rows]
        owner, x, t, c = torch.cat(owners)[order], x[order], t[order], c[order]
        return Points(x, t, c, lambda masked: evaluate_each(teachers, owner, x, t, masked))

    return source


def _along(
    teacher: Velocities,
    x0: Tensor,
    c: Tensor,
    per_path: int,
    method: Method,
    *,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Points x, times and labels on the paths from x0, `per_path` of each."""
    steps = method.solver_steps

    def field(x: Tensor, t: Tensor) -> Tensor:
        return teacher(x, t, c)

    with torch.no_grad():
        states = torch.stack(list(trajectory(field, x0, steps, method.solver)))
    t = torch.rand(per_path, len(c), generator=generator, device=c.device)
    index = (t * steps).long().clamp(max=steps - 1)
    path = torch.arange(len(c), device=c.device).expand_as(index)
    within = spread(t * steps - index, states[index, path])
    x = torch.lerp(states[index, path], states[index + 1, path], within)
    return x.flatten(0, 1), t.flatten(), c.repeat(per_path, 1)


def evaluate_each(
    experts: Sequence[Velocities], which: Tensor, x: Tensor, t: Tensor, c: Tensor
) -> Tensor:
    """Row r's velocity by expert which[r], without gradient. Shapes (B,), (B, *shape), ..."""
    out = torch.zeros_like(x)
    with torch.no_grad():
        for k, expert in enumerate(experts):
            for rows in torch.split((which == k).nonzero().squeeze(-1), CHUNK):
                out[rows] = expert(x[rows], t[rows], c[rows])
    return out


def all_live(
    x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Eqs. 10 and 16: every term is the network's own."""
    return torch.ones(len(x), 3, device=x.device), torch.zeros_like(x)


def anchored(anchor: Velocities, share: float = LIVE) -> Mix:
    """Every term live with probability `share`, else the frozen anchor's."""

    def mix(
        x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        live = torch.rand(len(x), 3, generator=generator, device=x.device) < share
        return live.float(), _frozen_sum([anchor], -live.long(), x, t, terms)

    return mix


def against_peers(experts: Sequence[Velocities], router: Router, me: int) -> Mix:
    """Eq. 12: terms routed by z; those of `me` are live, those of peers frozen (Eq. 13)."""
    place = {k: i for i, k in enumerate(k for k in range(len(experts)) if k != me)}
    peers = [experts[k] for k in place]
    relabel = torch.tensor([place.get(k, -1) for k in range(len(experts))])

    def mix(
        x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        z = router.draw(terms[:, 1:], me, generator)
        which = relabel.to(z.device)[z]
        return (which < 0).float(), _frozen_sum(peers, which, x, t, terms)

    return mix


def _frozen_sum(
    experts: Sequence[Velocities], which: Tensor, x: Tensor, t: Tensor, terms: Tensor
) -> Tensor:
    """Signed sum of the terms (b, 3) that an expert gives; which = -1 gives none."""
    many = x.repeat_interleave(3, dim=0)
    values = evaluate_each(
        experts, which.flatten(), many, t.repeat_interleave(3), terms[:, 1:].flatten(0, 1)
    ).reshape(len(x), 3, *x.shape[1:])
    signs = torch.tensor(SIGNS, device=x.device).expand(len(x), 3)
    return (spread(signs, values) * values).sum(dim=1)
