"""Makes the training rows of a stage, from private data or from the paths of frozen teachers.

Rows are made in blocks of several steps, so that each frozen expert is evaluated in few large
batches. A block depends only on its generator.

Labels, masks and routing are drawn on the host, samples and times on the device. So the host knows
which network to evaluate where, and no part of a block waits for the device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from dcfm_node.flow.labels import Counts, block_terms, draw, from_product, mask, null_label
from dcfm_node.flow.losses import Batch, Matching, Penalty, VelocityField, objective, schedule
from dcfm_node.networks.base import unit
from dcfm_node.paths.base import Path, composition_weights, on_device, path_of
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import MethodSettings, Training

Rows = TypeVar("Rows", Matching, Penalty)
POINTS_PER_STEP = 2
"""Points taken from a teacher's path per solver step."""
CHUNK = 512
"""Most rows of one forward pass without gradients; more would not fit the caches of a CPU."""


@dataclass(frozen=True)
class PathSample:
    """Points x_t (B, *shape) and times t (B,) on the device, labels c (B, n) on the host, and the
    target to match at masked labels: (B, n) -> (B, *prediction_shape)."""

    x: Tensor
    t: Tensor
    c: Tensor
    target: Callable[[Tensor], Tensor]


PathSampler = Callable[[int, torch.Generator], PathSample]
"""Draws a number of rows with a generator on the host."""
Mix = Callable[[Path, Tensor, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor | None]]
"""From the path, x, t and terms (b, 4, n): which of the last three terms are live, (b, 3) booleans
on the host, and the composition of the frozen ones (b, *prediction_shape), None if all are live."""


@dataclass(frozen=True)
class BatchSampler:
    """The rows of one stage, and the objective on them.

    Attributes:
        points: draws points and targets.
        mix: chooses the networks that predict the penalty's terms.
        settings: of the stage.
        product_share: fraction of the penalty's labels drawn from the product space, 0 to 1.
        decay: of the weights' moving average, 0 to 1; None takes the method's value.
    """

    points: PathSampler
    mix: Mix
    manifest: Manifest
    settings: Training
    product_share: float
    decay: float | None = None

    @property
    def path(self) -> Path:
        """The run's."""
        return path_of(self.manifest)

    @property
    def ema(self) -> float:
        """Decay of the weights' moving average; 0 keeps the weights themselves."""
        return self.manifest.method.decay if self.decay is None else self.decay

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prediction, which is at least as large as a point."""
        return self.path.prediction_shape(self.manifest.flow_shape)

    def objective(self, field: VelocityField, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a step (Eqs. 11, 14 and 17 of DCFM), and its two terms by name."""
        fit, ci = objective(self.path, field, batch)
        return fit + self.settings.ci_weight * ci, {"loss": fit, "ci": ci}

    def matching(self, points: PathSample, generator: torch.Generator) -> Matching:
        """Rows of the matching term (Eqs. 9 and 15 of DCFM) with masked labels (Eq. 8 of DCFM)."""
        null = null_label(self.manifest.cardinalities)
        c = mask(points.c, null, self.manifest.method.masks, generator)
        return Matching(points.x, points.t, c, points.target(c))

    def penalty(self, points: PathSample, generator: torch.Generator) -> Penalty | None:
        """Rows of the penalty (Eqs. 10, 12 and 16 of DCFM); None with only one attribute."""
        if len(self.manifest.cardinalities) < 2:
            return None
        null = null_label(self.manifest.cardinalities)
        c = from_product(points.c, null, self.product_share, generator, self._feasible)
        terms = block_terms(c, null, generator)
        live, frozen = self.mix(self.path, points.x, points.t, terms, generator)
        return Penalty(points.x, points.t, terms, composition_weights(torch.ones(2)) * live, frozen)

    @cached_property
    def _feasible(self) -> Tensor:
        return torch.tensor(self.manifest.feasible, dtype=torch.int64)

    def block(self, steps: int, generator: torch.Generator) -> list[Batch]:
        """The rows of several steps. The penalty uses the first `ci_batch` rows of each batch."""
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
            Batch(
                _rows(match, s * batch, batch),
                None if penalty is None else _rows(penalty, s * borne, borne),
                calls[s],
            )
            for s in range(steps)
        ]


def _rows(of: Rows, first: int, many: int) -> Rows:
    parts = {name: part for name, part in vars(of).items() if part is not None}
    return replace(of, **{name: part[first : first + many] for name, part in parts.items()})


def _take(points: PathSample, index: Tensor) -> PathSample:
    there = _send(index, points.x.device)
    return PathSample(points.x[there], points.t[there], points.c[index], points.target)


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy from the host without waiting."""
    return tensor.to(device, non_blocking=True)


def data_points(x1: Tensor, c: Tensor, path: Path) -> PathSampler:
    """Points between noise and a silo's samples; the target does not depend on the label.

    Args:
        x1: samples (N, *shape) on the training device, in the path's dtype or uint8 (see `unit`).
        c: labels (N, n) on the host.
    """

    def sampler(rows: int, generator: torch.Generator) -> PathSample:
        index = torch.randint(len(x1), (rows,), generator=generator)
        there = on_device(generator, x1.device)
        t = torch.rand(rows, generator=there, device=x1.device)
        chosen = unit(x1[_send(index, x1.device)])
        x0 = path.source(tuple(chosen.shape), there, x1.device)
        x = path.interpolate(x0, chosen, t, there)
        return PathSample(x, t, c[index], lambda _: path.target(x0, chosen))

    return sampler


def path_points(
    teachers: Sequence[VelocityField],
    counts: Sequence[Counts],
    manifest: Manifest,
    device: torch.device | str = "cpu",
) -> PathSampler:
    """Points on the teachers' own paths (Eq. 15 of DCFM).

    Teachers are drawn in proportion to their sample counts, labels in proportion to each teacher's
    counts. Each path gives several points, between solver states. Rows are shuffled.
    """
    sizes = [sum(silo.values()) for silo in counts]
    per_path = POINTS_PER_STEP * manifest.method.solver_steps
    device, path, shape = torch.device(device), path_of(manifest), manifest.flow_shape

    def sampler(rows: int, generator: torch.Generator) -> PathSample:
        there = on_device(generator, device)
        found, labels, owners = [], [], []
        for k, teacher in enumerate(teachers):
            paths = rows * sizes[k] // (sum(sizes) * per_path) + 1
            c = draw(counts[k], paths, generator)
            x0 = path.source((paths, *shape), there, device)
            there_c, method = _send(c, device), manifest.method
            found.append(
                _along(
                    path, teacher, x0, there_c, per_path=per_path, method=method, generator=there
                )
            )
            labels.append(c.repeat(per_path, 1))
            owners.append(torch.full((paths * per_path,), k))
        x, t = (torch.cat(part) for part in zip(*found, strict=True))
        order = torch.randperm(len(x), generator=generator)[:rows]
        owner, c, order = torch.cat(owners)[order], torch.cat(labels)[order], _send(order, device)
        x, t = x[order], t[order]

        def target(masked: Tensor) -> Tensor:
            which, terms = owner[:, None], masked[:, None]
            return evaluate_each(path, teachers, which, x=x, t=t, c=terms).squeeze(1)

        return PathSample(x, t, c, target)

    return sampler


def _along(
    path: Path,
    teacher: VelocityField,
    x0: Tensor,
    c: Tensor,
    *,
    per_path: int,
    method: MethodSettings,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Points x and times t on the paths from x0 with labels c, `per_path` of each path."""
    steps = method.solver_steps

    def field(x: Tensor, t: Tensor) -> Tensor:
        return teacher(x, t, c)

    with torch.no_grad():
        states = torch.stack(list(path.trajectory(field, x0, steps, method.solver, generator)))
    t = torch.rand(per_path, len(c), generator=generator, device=c.device)
    index = (t * steps).long().clamp(max=steps - 1)
    place = torch.arange(len(c), device=c.device).expand_as(index)
    before, after = (states[i, place].flatten(0, 1) for i in (index, index + 1))
    return path.between(before, after, (t * steps - index).flatten()), t.flatten()


def evaluate_each(
    path: Path,
    experts: Sequence[VelocityField],
    which: Tensor,
    *,
    x: Tensor,
    t: Tensor,
    c: Tensor,
) -> Tensor:
    """Predictions without gradient: which[r, m] is the expert for label m of row r; -1 gives 0.

    Each expert evaluates all its rows together, in batches of at most `CHUNK`.

    Args:
        which: indices of experts or -1, (B, m), on the host.
        x, t: points (B, *shape) and times (B,).
        c: labels (B, m, n), on the host.

    Returns: (B, m, *prediction_shape).
    """
    m, shape = which.shape[1], path.prediction_shape(tuple(x.shape[1:]))
    out = torch.zeros(len(x) * m, *shape, device=x.device)
    with torch.no_grad():
        for k, expert in enumerate(experts):
            for cells in torch.split((which.flatten() == k).nonzero().squeeze(-1), CHUNK):
                there, labels = (_send(part, x.device) for part in (cells, c.flatten(0, 1)[cells]))
                out[there] = expert(x[there // m], t[there // m], labels)
    return out.reshape(-1, m, *shape)


def all_live(
    path: Path, x: Tensor, t: Tensor, terms: Tensor, generator: torch.Generator
) -> tuple[Tensor, None]:
    """All terms come from the trained network (Eqs. 10 and 16 of DCFM)."""
    return torch.ones(len(x), 3, dtype=torch.bool), None
