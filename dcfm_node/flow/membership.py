"""Membership inference: can a network's training samples be separated from samples it never saw?

The attack calls a sample a member if the network's flow-matching error on it is low (Matsumoto et
al., 2023), or low beside that of a reference network, which takes out how hard the sample is for
any network (Watson et al., 2022). It is judged by the true-positive rate at low false-positive
rates, because the mean over all samples hides the few that are remembered (Carlini et al., 2022).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.sources import CHUNK
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import generator
from dcfm_node.networks.base import unit
from dcfm_node.paths.base import Path
from dcfm_node.records.entries import MEMBERSHIP_FEWEST
from dcfm_node.swarm.quality import Estimate

RATES = (0.01, 0.1)
"""False-positive rates at which the attack is judged."""
TIMES = 16
"""Points of the path at which each sample's error is measured."""
MOST = 1_000
"""Samples of each kind that are compared."""
DRAWS = 1_000
"""Bootstrap draws."""
NOISE_KEY, CHOICE_KEY, BOOTSTRAP_KEY = 11, 12, 13


@dataclass(frozen=True)
class Scores:
    """What the attack sees of one network: the higher, the more like a member.

    Attributes:
        members, others: scores (M,) and (N,) of training samples and of samples it never saw.
        member_groups, other_groups: integers of the same shapes. Samples with the same one, such as
            of one patient, are drawn together; None if all are independent.
    """

    members: Tensor
    others: Tensor
    member_groups: Tensor | None = None
    other_groups: Tensor | None = None


@dataclass(frozen=True)
class Membership:
    """How well an attack does; without any memory, `auc` is 0.5 and each rate is its key.

    Attributes:
        auc: the chance that a member has a higher score than another sample.
        rates: false-positive rate -> true-positive rate; a rate that needs more other samples than
            there are (one in 100 needs 99) is absent.
    """

    auc: Estimate
    rates: Mapping[float, Estimate]


def errors(path: Path, field: VelocityField, samples: EncodedSamples) -> Tensor:
    """The path's error of each sample (N,) on its full label (Eq. 9 of DCFM), float64 on the CPU:
    the mean over TIMES points of the path, with the same times and noises for all samples.

    Args:
        samples: on the network's device, scaled as the network was trained.
    """
    shape, device = tuple(samples.x.shape[1:]), samples.x.device
    x0 = path.source((TIMES, *shape), generator(NOISE_KEY), "cpu")
    t = (torch.arange(TIMES) + 0.5) / TIMES
    found = []
    for x, c in zip(
        torch.split(samples.x, CHUNK // TIMES),
        torch.split(samples.c, CHUNK // TIMES),
        strict=True,
    ):
        x1 = [one.expand(TIMES, *shape) for one in unit(x).cpu()]
        points = [path.interpolate(x0, one, t, generator(NOISE_KEY, 1)) for one in x1]
        at = torch.cat(points).to(device), t.repeat(len(x)).to(device)
        with torch.no_grad():
            there = field(*at, c.repeat_interleave(TIMES, dim=0).to(device)).cpu()
        for one, prediction in zip(x1, torch.split(there, TIMES), strict=True):
            found.append(path.loss(prediction, path.target(x0, one), t).double())
    return torch.stack(found)


def matched(members: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of training samples and of others, as many of one as of the other in each combination,
    at most MOST: else the attack would tell combinations apart, not samples.

    Args:
        members, others: labels (M, n) and (N, n).
    """
    _, kind = torch.unique(torch.cat([members, others]), dim=0, return_inverse=True)
    draws, chosen = generator(CHOICE_KEY), []
    order = [torch.randperm(len(part), generator=draws) for part in (members, others)]
    kinds = [kind[: len(members)][order[0]], kind[len(members) :][order[1]]]
    for one in kinds[1].unique():
        rows = [part[of == one] for part, of in zip(order, kinds, strict=True)]
        fewer = min(map(len, rows))
        chosen.append(torch.stack([part[:fewer] for part in rows]))
    both = torch.cat(chosen, dim=1) if chosen else torch.empty(2, 0, dtype=torch.int64)
    both = both[:, torch.randperm(both.shape[1], generator=draws)[:MOST]]
    return both[0], both[1]


def inferred(networks: Sequence[Scores]) -> Membership | None:
    """How well members of one or more networks are told, as a mean over the networks. Intervals
    are the 2.5 and 97.5 percentiles over bootstrap draws of groups.

    Returns: None if no network has MEMBERSHIP_FEWEST samples of each kind.
    """
    draws = generator(BOOTSTRAP_KEY)
    enough = [of for of in networks if min(len(of.members), len(of.others)) >= MEMBERSHIP_FEWEST]
    if not enough:
        return None
    each = [_resampled(of, draws) for of in enough]
    rates = {}
    for place, rate in enumerate(RATES, start=1):
        told = [
            found[place]
            for of, found in zip(enough, each, strict=True)
            if (len(of.others) + 1) * rate >= 1
        ]
        if told:
            rates[rate] = _estimate(torch.stack(told))
    return Membership(_estimate(torch.stack([found[0] for found in each])), rates)


def _estimate(draws: Tensor) -> Estimate:
    """Of the mean over networks (K, 1 + DRAWS), whose first column is without resampling."""
    value, *others = draws.mean(dim=0).tolist()
    low, high = torch.tensor(others).quantile(torch.tensor([0.025, 0.975])).tolist()
    return Estimate(value, low, high)


def _resampled(of: Scores, draws: torch.Generator) -> Tensor:
    """The area under the curve and the rates at RATES, (1 + len(RATES), 1 + DRAWS); the first
    column is of the samples themselves, each other one of resampled groups."""
    others, order = of.others.double().sort(descending=True)
    members = of.members.double().unsqueeze(1)
    w = _weights(len(members), of.member_groups, draws)
    v = _weights(len(others), of.other_groups, draws)[:, order]
    above = w @ (members > others).double()
    alike = w @ (members == others).double()
    at_least = v @ (others.unsqueeze(1) >= others).double()
    real, unreal = w.sum(dim=1), v.sum(dim=1)
    found = [((above + alike / 2) * v).sum(dim=1) / (real * unreal)]
    for rate in RATES:
        # Above the k-th highest of N other scores lies one more of them with chance k / (N + 1).
        fits = at_least <= rate * (unreal.unsqueeze(1) + 1) + 1e-9
        lowest = (fits.sum(dim=1, keepdim=True) - 1).clamp(min=0)
        found.append(above.gather(1, lowest).squeeze(1) / real)
    return torch.stack(found)


def _weights(many: int, groups: Tensor | None, draws: torch.Generator) -> Tensor:
    """How often each sample occurs, (1 + DRAWS, many): once, then in draws of groups."""
    own = torch.arange(many) if groups is None else torch.unique(groups, return_inverse=True)[1]
    size = int(own.max()) + 1
    drawn = torch.randint(size, (DRAWS, size), generator=draws)
    times = torch.zeros(DRAWS, size, dtype=torch.float64)
    times.scatter_add_(1, drawn, torch.ones_like(times))
    return torch.cat([torch.ones(1, many, dtype=torch.float64), times[:, own]])
