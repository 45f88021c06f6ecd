"""The discrete path from masked or uniform noise to tokens (Gat et al., 2024; Campbell et al.,
2024). Predictions are logarithms of p(x_1 | x_t), one distribution for each place.

Tokens are whole numbers from 0 to V - 1, stored as float32 like all samples; V stands for a masked
one. Each place of x_t is the token of x_1 with probability κ_t = t^power, else noise, independently
of the others. The velocity of a place from token x to token y is
κ'_t / (1 - κ_t) [p(x_1 = y | x_t) - 1(x = y)].
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dcfm_node.paths.base import Field, Path, spread
from dcfm_node.paths.settings import DiscretePathSettings

IMPOSSIBLE = -30.0
"""Least logarithm of a probability that comes from the path itself."""
MIN_REMAINING = 0.05
"""Minimum of 1 - κ_t in the weight of an error, which is at most power / 0.05."""
MOST_FEATURES = 8_192
"""Most indicators of tokens that a judge sees of a sample."""
GOLDEN = (5**0.5 - 1) / 2


class DiscretePath(Path):
    """Every place moves by itself, at a rate that depends on all places."""

    settings: DiscretePathSettings

    def prediction_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One number for each token at each place: (*shape, V)."""
        return (*shape, self.settings.tokens)

    def source(
        self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
    ) -> Tensor:
        """x_0: all places masked, or tokens drawn uniformly."""
        many = self.settings.tokens
        if self.settings.source == "mask":
            return torch.full(shape, float(many), device=device)
        return torch.randint(many, shape, generator=generator, device=device).float()

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """x_t: each place is that of x_1 with probability κ_t, else that of x_0."""
        u = torch.rand(x1.shape, generator=generator, device=x1.device)
        return torch.where(u < spread(self.kappa(t), u), x1, x0)

    def target(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Logarithms of the distribution that is sure of x_1."""
        return IMPOSSIBLE * (1.0 - functional.one_hot(x1.long(), self.settings.tokens).float())

    def predicted(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The posterior by Bayes' rule: p(x_1 = y | x_t) ∝ p(x_t | x_1 = y) at this place, which
        the path knows, times what the network reads from all places, exp(output)."""
        many = self.settings.tokens
        here = functional.one_hot(x.long().clamp(max=many - 1), many).bool()
        if self.settings.source == "mask":
            known = IMPOSSIBLE * (~here).float()
            logits = torch.where((x < many).unsqueeze(-1), known, output)
        else:
            kappa = spread(self.kappa(t), output)
            other = (1.0 - kappa) / many
            likelihood = torch.where(here, kappa + other, other)
            logits = output + likelihood.clamp(min=math.exp(IMPOSSIBLE)).log()
        return logits.log_softmax(dim=-1)

    def loss(self, prediction: Tensor, target: Tensor, t: Tensor) -> Tensor:
        """Cross-entropy of the posterior in nats a place, with the weight of `error_weight`. With a
        masked source its mean over times is about the bound on -log p(x_1) a place (Shi et al.,
        2024)."""
        error = -(target.exp() * prediction).sum(dim=-1).flatten(1).mean(dim=1)
        return (error * self.error_weight(t)).mean()

    def discrepancy(self, prediction: Tensor, composed: Tensor, t: Tensor) -> Tensor:
        """Σ_y (p - q) (log p - log q), the gap of velocities times that of what composes (the
        symmetric divergence of Jeffreys): the mean over places, with the weights of `loss` (Eqs.
        10, 12 and 16 of DCFM)."""
        gap = (prediction.exp() - composed.exp()) * (prediction - composed)
        gap = gap.sum(dim=-1).flatten(1).mean(dim=1)
        return (gap * self.error_weight(t)).mean()

    def compose(self, terms: Tensor, weights: Tensor, rest: Tensor | None = None) -> Tensor:
        """The product Π_j p_j^w_j, made a distribution at each place: Eq. 5 of DCFM on
        logarithms."""
        total = (spread(weights.expand(terms.shape[:2]), terms) * terms).sum(dim=1)
        return (total if rest is None else rest + total).log_softmax(dim=-1)

    def mix(self, shares: Tensor, predictions: Tensor) -> Tensor:
        """log Σ_k ρ_k p_k: velocities add up with the weights ρ_k (arXiv 2601.03184)."""
        return (spread(shares, predictions).log() + predictions).logsumexp(dim=2)

    def trajectory(
        self, field: Field, x0: Tensor, steps: int, solver: str, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """States of the Markov chain: in each step every place jumps with the probability `jump`,
        to a token of p(x_1 | x_t), all at once."""
        x = x0
        yield x
        for i in range(steps):
            t = torch.full(x.shape[:1], i / steps, device=x.device)
            tokens = drawn(field(x, t), generator)
            u = torch.rand(x.shape, generator=generator, device=x.device)
            x = torch.where(u < self.jump(i, steps, solver), tokens.to(x.dtype), x)
            yield x

    def between(self, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
        """Each place is that of the later state from a share on that is its own: evenly spread over
        places and rows."""
        places = torch.arange(before.numel(), device=before.device, dtype=torch.float64)
        own = (places * GOLDEN % 1.0).reshape(before.shape)
        return torch.where(own < spread(share, own), after, before)

    def nats(self, field: Field, x1: Tensor, times: int, generator: torch.Generator) -> Tensor:
        """The bound on -log p(x_1) of a masked source, ∫ Σ_masked -log p(x_1 | x_t) dκ / (1 - κ),
        by one time in each of `times` equal parts of κ: (B, places), whose sum over places is the
        bound (Shi et al., 2024).

        Raises:
            ValueError: the source is not masked.
        """
        if self.settings.source != "mask":
            raise ValueError('the bound needs path.source = "mask"')
        total = torch.zeros_like(x1.flatten(1))
        masked = torch.full_like(x1, float(self.settings.tokens))
        for i in range(times):
            u = torch.rand(len(x1), generator=generator, device=x1.device)
            kappa = (i + u) / times
            t = kappa.pow(1.0 / self.settings.power)
            x = self.interpolate(masked, x1, t, generator)
            logs = field(x, t).flatten(1, -2)
            error = -logs.gather(2, x1.flatten(1).long().unsqueeze(2)).squeeze(2)
            total += error * (x != x1).flatten(1) / (times * (1.0 - kappa)).unsqueeze(1)
        return total

    def features(self, x: Tensor) -> Tensor:
        """Which token is where, and how often each occurs: (N, *shape) -> (N, d). If tokens times
        places are more than MOST_FEATURES, "where" is a stretch of several places."""
        tokens = x.flatten(1).long().clamp(0, self.settings.tokens - 1)
        many, places = self.settings.tokens, tokens.shape[1]
        stretches = min(places, max(1, MOST_FEATURES // many))
        of = torch.arange(places, device=x.device) * stretches // places
        share = 1.0 / torch.bincount(of)[of]
        found = torch.zeros(len(x), stretches * many, device=x.device)
        found.scatter_add_(1, of * many + tokens, share.expand(tokens.shape))
        often = torch.zeros(len(x), many, device=x.device)
        often.scatter_add_(1, tokens, torch.full(tokens.shape, 1.0 / places, device=x.device))
        return torch.cat([found, often], dim=1)

    def kappa(self, t: Tensor) -> Tensor:
        """κ_t, the probability that a place is already that of x_1, (B,) -> (B,)."""
        return t.pow(self.settings.power)

    def error_weight(self, t: Tensor) -> Tensor:
        """κ'_t / max(1 - κ_t, 0.05), the rate at which places jump, (B,) -> (B,)."""
        power = self.settings.power
        rise = power * t.pow(power - 1.0)
        return rise / (1.0 - self.kappa(t)).clamp(min=MIN_REMAINING)

    def jump(self, i: int, steps: int, solver: str) -> float:
        """Probability that a place jumps in step i of `steps`, from 0.

        "euler" takes the rate at the start of the step times its length. "tau-leaping" integrates
        the rate over the step, so only the posterior is held still. In the last step all jump.
        """
        power = self.settings.power
        if i == steps - 1:
            return 1.0
        now, then = math.pow(i / steps, power), math.pow((i + 1) / steps, power)
        if solver == "euler":
            rise = power * math.pow(i / steps, power - 1.0)
            return min(1.0, rise / (1.0 - now) / steps)
        return (then - now) / (1.0 - now)


def drawn(logs: Tensor, generator: torch.Generator) -> Tensor:
    """Tokens (...) by the logarithms of their probabilities (..., V).

    A peer's network may give no probabilities: finite weights can overflow. All tokens are then
    equally likely there, so that silos can still judge it.
    """
    odds = logs.exp().flatten(0, -2)
    total = odds.sum(dim=-1, keepdim=True)
    odds = torch.where(total.isfinite() & (total > 0), odds, 1.0)
    return torch.multinomial(odds, 1, generator=generator).reshape(logs.shape[:-1])
