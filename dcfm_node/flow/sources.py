"""Where a stage's training rows come from: private data, or frozen teachers' own paths.

Rows are made in blocks of several steps, so that frozen experts are evaluated in few large
batches, each expert in its own. A block is a function of its generator alone.

Labels, masks and routing are drawn on the host, samples and times on the device: so the host knows
what to ask of whom, and nothing in a block waits for the device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node.flow.labels import Counts, block_terms, draw, from_product, mask, null_label
from dcfm_node.flow.losses import SIGNS, Matching, Penalty, Step, Velocities, schedule
from dcfm_node.flow.path import interpolate, spread
from dcfm_node.flow.routing import Router, choose
from dcfm_node.flow.solvers import trajectory
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import MethodSettings, Training

POINTS_PER_STEP = 2
"""Points taken of a teacher's path per solver step."""
CHUNK = 512
"""Rows of one forward without gradients; more do not fit the caches of a CPU."""
LIVE = 0.5
"""Probability that a term of the anchored penalty is the silo's own, not the anchor's."""


@dataclass(frozen=True)
class Points:
    """x_t and t, c on the host, and the velocity to match at masked c: (B, n) -> (B, *shape)."""

    x: Tensor
    t: Tensor
    c: Tensor
    target: Callable[[Tensor], Tensor]


PointSource = Callable[[int, torch.Generator], Points]
"""So many rows, from a generator on the host."""
Mix = Callable[[Tensor, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""From x, t and terms (b, 4, n): which of the last three terms are live, (b, 3) booleans on the
host, and the signed sum of the others (b, *shape)."""


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
        null = null_label(self.manifest.cardinalities)
        c = mask(points.c, null, self.manifest.method.masks, generator)
        return Matching(points.x, points.t, c, points.target(c))

    def penalty(self, points: Points, generator: torch.Generator) -> Penalty | None:
        """Rows of Eqs. 10, 12 and 16. None where a single attribute leaves nothing to compose."""
        if len(self.manifest.cardinalities) < 2:
            return None
        null = null_label(self.manifest.cardinalities)
        c = from_product(points.c, null, self.product_share, generator)
        terms = block_terms(c, null, generator)
        live, frozen = self.mix(points.x, points.t, terms, generator)
        return Penalty(points.x, points.t, terms, torch.tensor(SIGNS) * live, frozen)

    def block(self, steps: int, generator: torch.Generator) -> list[Step]:
        """The rows of several steps. The penalty falls on the first `ci_batch` of each batch."""
        batch = self.settings.batch
        borne = min(self.settings.ci_batch, batch)
        points = self.points(steps * batch, generator)
        match = self.matching(points, generator)
        penalty = None
        if self.settings.ci_weight > 0:
            first = torch.arange(steps * batch).reshape(steps, batch)[:, :borne].flatten()
            penalty = self.penalty(_take(points, first), generator)
        calls = schedule(match, penalty, steps)
        return [
            Step(
                Matching(*(part[s * batch : (s + 1) * batch] for part in _parts(match))),
                None
                if penalty is None
                else Penalty(*(part[s * borne : (s + 1) * borne] for part in _parts(penalty))),
                calls[s],
            )
            for s in range(steps)
        ]


def _parts(rows: Matching | Penalty) -> list[Tensor]:
    return list(vars(rows).values())


def _take(points: Points, index: Tensor) -> Points:
    there = _send(index, points.x.device)
    return Points(points.x[there], points.t[there], points.c[index], points.target)


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """From the host, without waiting."""
    return tensor.to(device, non_blocking=True)


def _there(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """The generator itself on the host, else one of the device's that it seeds."""
    if device.type == "cpu":
        return generator
    seed = torch.randint(1 << 62, (), generator=generator).item()
    return torch.Generator(device).manual_seed(int(seed))


def unit(x: Tensor) -> Tensor:
    """Samples as networks see them: pixels in bytes, 0 … 255, as float32 in [-1, 1]. Kept as bytes
    they take a quarter of the memory."""
    return x.float() * (2.0 / 255.0) - 1.0 if x.dtype == torch.uint8 else x


def data_points(x1: Tensor, c: Tensor) -> PointSource:
    """Points between noise and a silo's samples; the target is x_1 - x_0 whatever the label.

    Args:
        x1: samples (N, *shape), on the device to train on; float32, or bytes (see `unit`).
        c: their labels (N, n), on the host.
    """

    def source(rows: int, generator: torch.Generator) -> Points:
        index = torch.randint(len(x1), (rows,), generator=generator)
        there = _there(generator, x1.device)
        t = torch.rand(rows, generator=there, device=x1.device)
        chosen = unit(x1[_send(index, x1.device)])
        x0 = torch.randn(chosen.shape, generator=there, device=x1.device)
        return Points(interpolate(x0, chosen, t), t, c[index], lambda _: chosen - x0)

    return source


def path_points(
    teachers: Sequence[Velocities],
    counts: Sequence[Counts],
    manifest: Manifest,
    device: torch.device | str = "cpu",
) -> PointSource:
    """Points on the teachers' own paths (Eq. 15), teachers in proportion to their sample counts.

    Labels follow each teacher's counts. Several points are taken of each path, interpolated
    between the solver's states so that every time in [0, 1] occurs; rows come shuffled.
    """
    sizes = [sum(silo.values()) for silo in counts]
    per_path = POINTS_PER_STEP * manifest.method.solver_steps
    device = torch.device(device)

    def source(rows: int, generator: torch.Generator) -> Points:
        there = _there(generator, device)
        found, labels, owners = [], [], []
        for k, teacher in enumerate(teachers):
            paths = rows * sizes[k] // (sum(sizes) * per_path) + 1
            c = draw(counts[k], paths, generator)
            x0 = torch.randn(paths, *manifest.sample_shape, generator=there, device=device)
            found.append(
                _along(teacher, x0, _send(c, device), per_path, manifest.method, generator=there)
            )
            labels.append(c.repeat(per_path, 1))
            owners.append(torch.full((paths * per_path,), k))
        x, t = (torch.cat(part) for part in zip(*found, strict=True))
        order = torch.randperm(len(x), generator=generator)[:rows]
        owner, c, order = torch.cat(owners)[order], torch.cat(labels)[order], _send(order, device)
        x, t = x[order], t[order]

        def target(masked: Tensor) -> Tensor:
            return evaluate_each(teachers, owner[:, None], x, t, masked[:, None]).squeeze(1)

        return Points(x, t, c, target)

    return source


def _along(
    teacher: Velocities,
    x0: Tensor,
    c: Tensor,
    per_path: int,
    method: MethodSettings,
    *,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Points x and times on the paths from x0 with labels c, `per_path` of each."""
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
    return x.flatten(0, 1), t.flatten()


def evaluate_each(
    experts: Sequence[Velocities], which: Tensor, x: Tensor, t: Tensor, c: Tensor
) -> Tensor:
    """Velocities without gradient, row r's m-th by expert which[r, m] and 0 where that is none.

    Each expert is asked for all of its own at once, in batches of at most `CHUNK`.

    Args:
        which: places among the experts or -1, (B, m), on the host.
        x, t: points (B, *shape) and times (B,).
        c: labels (B, m, n), on the host.

    Returns: (B, m, *shape).
    """
    m = which.shape[1]
    out = torch.zeros(len(x) * m, *x.shape[1:], device=x.device)
    with torch.no_grad():
        for k, expert in enumerate(experts):
            for cells in torch.split((which.flatten() == k).nonzero().squeeze(-1), CHUNK):
                there, labels = (_send(part, x.device) for part in (cells, c.flatten(0, 1)[cells]))
                out[there] = expert(x[there // m], t[there // m], labels)
    return out.reshape(-1, m, *x.shape[1:])


def all_live(
    x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Eqs. 10 and 16: every term is the network's own."""
    return torch.ones(len(x), 3, dtype=torch.bool), torch.zeros_like(x)


def anchored(anchor: Velocities, share: float = LIVE) -> Mix:
    """Every term live with probability `share`, else the frozen anchor's."""

    def mix(
        x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        live = torch.rand(len(x), 3, generator=generator) < share
        return live, _frozen_sum([anchor], -live.long(), x, t, terms)

    return mix


def against_peers(experts: Sequence[Velocities], router: Router, me: int) -> Mix:
    """Eq. 12: terms routed by z; those of `me` are live, those of peers frozen (Eq. 13).

    The router is one on the host.
    """
    place = {k: i for i, k in enumerate(k for k in range(len(experts)) if k != me)}
    peers = [experts[k] for k in place]
    relabel = torch.tensor([place.get(k, -1) for k in range(len(experts))])

    def mix(
        x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        which = relabel[router.draw(terms[:, 1:], me, generator)]
        return which < 0, _frozen_sum(peers, which, x, t, terms)

    return mix


def with_own_snapshot(experts: Sequence[Velocities], router: Router, me: int) -> Mix:
    """As `against_peers`, but one term is live and the others any expert's, this one's among them.

    So a silo moves towards the mean of all, and not to where its peers just were.
    """

    def mix(
        x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        which, own = router.draw_any(terms[:, 1:], generator), router.own(terms[:, 1:], me)
        live = torch.arange(3) == choose(own, generator).unsqueeze(-1)
        return live, _frozen_sum(experts, which.masked_fill(live, -1), x, t, terms)

    return mix


def _frozen_sum(
    experts: Sequence[Velocities], which: Tensor, x: Tensor, t: Tensor, terms: Tensor
) -> Tensor:
    """Signed sum of the terms (b, 3) that an expert gives; which = -1 gives none."""
    null, first, second = evaluate_each(experts, which, x, t, terms[:, 1:]).unbind(dim=1)
    return first + second - null
