"""Finds factors in samples without labels: a velocity field as the mean of K component fields.

After COMET (Du et al., 2021), Unsupervised Compositional Concepts Discovery (Liu et al., 2023) and
Decomp Diffusion (Su et al., 2024): an encoder gives every sample K latents, a component field is
conditioned on one of them, and flow matching alone trains all. Here a latent is one of few values,
so that a found factor is an attribute that a silo can declare.

A pixel mixes all factors, so the loss alone does not say which split is meant (Locatello et al.,
2019). What a factor `sees` is the assumption that decides it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.flow.labels import null_label
from dcfm_node.flow.trainer import Callbacks, train
from dcfm_node.networks.base import unit
from dcfm_node.networks.mlp import Mlp
from dcfm_node.networks.settings import MlpSettings
from dcfm_node.paths.linear import LinearPath, error_weight
from dcfm_node.paths.settings import LinearPathSettings
from dcfm_node.records.settings import Training

SEES = ("everything", "brightness", "mean-colour")
"""What a factor may see of samples: all numbers; brightness alone, of pictures (blind to colour);
mean colour alone (blind to place and shape)."""
LEAST = 1e-3
"""Least deviation that a number is divided by."""
CHUNK, MOST_NUMBERS = 4_096, 1 << 24
"""Most samples, and numbers of them, that are labelled at once."""
EMA = 0.99


@dataclass(frozen=True)
class Wish:
    """A factor to find: how many values it has, and what it sees (one of `SEES`)."""

    values: int
    sees: str = "everything"


def seen(x: Tensor, sees: str) -> Tensor:
    """What a factor sees of samples (N, *shape), float32 or bytes: (N, features).

    Raises:
        ValueError: the samples are not pictures with three channels, but must be.
    """
    x = unit(x)
    if sees == "everything":
        return x.flatten(1)
    if x.ndim != 4 or x.shape[1] != 3:
        raise ValueError(f"only pictures with three channels have {sees}")
    if sees == "brightness":
        grey = x.mean(dim=1).flatten(1)
        centred = grey - grey.mean(dim=1, keepdim=True)
        # Each picture by its own deviation: a dark colour is not another shape.
        return centred / centred.square().mean(dim=1, keepdim=True).sqrt().clamp(min=LEAST)
    mean = (x.mean(dim=(2, 3)) + 1) / 2
    return mean / mean.sum(dim=1, keepdim=True).clamp(min=LEAST)


def features_of(shape: tuple[int, ...], sees: str) -> int:
    """How many numbers `seen` gives of a sample of this shape."""
    if sees == "everything":
        return math.prod(shape)
    return shape[0] if sees == "mean-colour" else math.prod(shape[1:])


class Encoder(nn.Module):
    """Logits (N, values) of one factor of samples (N, *shape)."""

    def __init__(self, shape: tuple[int, ...], wish: Wish, width: int) -> None:
        super().__init__()
        features = features_of(shape, wish.sees)
        self.sees = wish.sees
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.layers = nn.Sequential(
            nn.Linear(features, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, wish.values),
        )

    def settle(self, x: Tensor) -> None:
        """Standardise by the moments of these samples."""
        views = seen(x, self.sees)
        self.mean.copy_(views.mean(dim=0))
        # One scale for all: numbers that hardly vary must not count as much as the others.
        scale = views.std(dim=0).square().mean().sqrt()
        self.deviation.fill_(float(scale.clamp(min=LEAST)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers((seen(x, self.sees) - self.mean) / self.deviation)
        return out


class Finder(nn.Module):
    """The encoders of all factors: what a silo needs to label its samples."""

    def __init__(self, shape: tuple[int, ...], wishes: Sequence[Wish], width: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Encoder(shape, wish, width) for wish in wishes)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Probabilities (N, values) of each factor of samples (N, *shape)."""
        return [functional.softmax(encoder(x), dim=1) for encoder in self.encoders]

    @torch.no_grad()
    def values(self, x: Tensor) -> Tensor:
        """The likeliest value of each factor, (N, K) int64.

        Raises:
            ValueError: some probabilities are no numbers, so that no value is the likeliest.
        """
        rows = max(1, min(CHUNK, MOST_NUMBERS // x[0].numel())) if len(x) else CHUNK
        parts = [self(part) for part in torch.split(x, rows)]
        if not all(q.isfinite().all() for part in parts for q in part):
            raise ValueError("gives something else than probabilities of these samples")
        return torch.cat([torch.stack([q.argmax(dim=1) for q in part], dim=1) for part in parts])


class Factors(nn.Module):
    """A finder, and the field of K components v = (1/K) Σ_k v_k(x, t, z_k).

    All components are one network: v_k is its prediction at the label that has a value for
    attribute k alone, as in Eq. 5 of DCFM.
    """

    def __init__(self, shape: tuple[int, ...], wishes: Sequence[Wish], net: MlpSettings) -> None:
        super().__init__()
        sizes = tuple(wish.values for wish in wishes)
        self.finder = Finder(shape, wishes, net.width)
        self.net = Mlp(net, shape, shape, sizes)
        self.path = LinearPath(LinearPathSettings(), "sample")
        self._null = null_label(sizes)

    def components(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Velocities at labels (J, n) or (B, J, n), (B, J, *shape)."""
        labels = labels.expand(len(x), *labels.shape[-2:])
        many = labels.shape[1]
        x, t = x.repeat_interleave(many, dim=0), t.repeat_interleave(many, dim=0)
        out = self.path.predicted(self.net(x, t, labels.flatten(0, 1)), x, t)
        return out.reshape(-1, many, *x.shape[1:])

    def field(self, x: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """The velocity at values z (B, K) of all factors."""
        own = torch.eye(z.shape[1], dtype=torch.bool)
        return self.components(x, t, torch.where(own, z[:, None], self._null)).mean(dim=1)

    def expected(self, x1: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The field under the finder's probabilities of x1: its mean (B, *shape), its variance
        summed over numbers (B,), and the probabilities. Every value of every factor is evaluated,
        so that no draw of values adds noise to the gradient."""
        found = self.finder(x1)
        sizes, count = [q.shape[1] for q in found], len(found)
        every = torch.cat([_alone(k, size, self._null) for k, size in enumerate(sizes)])
        parts = torch.split(self.components(x, t, every).flatten(2), sizes, dim=1)
        mean, variance = torch.zeros_like(x).flatten(1), torch.zeros(len(x))
        for q, v in zip(found, parts, strict=True):
            middle = (q[:, :, None] * v).sum(dim=1)
            mean = mean + middle / count
            far = (v - middle[:, None]).square().sum(dim=2)
            variance = variance + (q * far).sum(dim=1) / count**2
        return mean.reshape(x.shape), variance, found

    @torch.no_grad()
    def draw(self, z: Tensor, x0: Tensor, steps: int) -> Tensor:
        """Samples of values z (N, K) from noise x0 (N, *shape)."""

        def field(x: Tensor, t: Tensor) -> Tensor:
            return self.field(x, t, z)

        return self.path.integrate(field, x0, steps, "heun", torch.Generator())


def _alone(k: int, size: int, null: Tensor) -> Tensor:
    """Labels (size, n) with each value of attribute k, and no other."""
    labels = null.repeat(size, 1)
    labels[:, k] = torch.arange(size)
    return labels


def _shared(a: Tensor, b: Tensor) -> Tensor:
    """What two factors tell of each other: their mutual information over a batch of probabilities
    (B, V) and (B, W), divided by the logarithm of the smaller number of values."""
    both = a.T @ b / len(a)
    apart = both.sum(dim=1, keepdim=True) * both.sum(dim=0, keepdim=True)
    told: Tensor = (both * ((both + 1e-6) / (apart + 1e-6)).log()).sum()
    return told / math.log(min(both.shape))


@dataclass(frozen=True)
class Rows:
    """Samples, points between noise and them, times; values that are known, if any."""

    x1: Tensor
    x0: Tensor
    t: Tensor
    z: Tensor | None


@dataclass(frozen=True)
class Discovering:
    """The objective: flow matching, and a weight that keeps all values of a factor in use.

    Attributes:
        x: samples (N, *shape), float32 in about [-1, 1].
        z: values (N, K) that are given, not found: the field alone is trained. None finds them.
        balance: weight of the entropy of how often each value is used.
        independence: weight of the mutual information between factors, as shares of the entropies.
    """

    x: Tensor
    settings: Training
    z: Tensor | None = None
    balance: float = 0.1
    independence: float = 0.0
    ema: float = EMA

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample."""
        return tuple(self.x.shape[1:])

    def block(self, steps: int, generator: torch.Generator) -> list[Rows]:
        """The rows of several steps."""
        batch, found = self.settings.batch, []
        for _ in range(steps):
            index = torch.randint(len(self.x), (batch,), generator=generator)
            x1 = unit(self.x[index])
            x0 = torch.randn(x1.shape, generator=generator)
            t = torch.rand(batch, generator=generator)
            found.append(Rows(x1, x0, t, None if self.z is None else self.z[index]))
        return found

    def objective(self, module: Factors, rows: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a step: the expected error of velocities (Eq. 9 of DCFM), less the entropy of
        the values in use."""
        path, x1, t = module.path, rows.x1, rows.t
        x, target = torch.lerp(rows.x0, x1, t.reshape(-1, *[1] * (x1.ndim - 1))), x1 - rows.x0
        if rows.z is not None:
            fit = path.loss(module.field(x, t, rows.z), target, t)
            return fit, {"loss": fit}
        mean, variance, found = module.expected(x1, x, t)
        spread = (variance / math.prod(self.shape) * error_weight(t, path.predict)).mean()
        fit = path.loss(mean, target, t) + spread
        used = [q.mean(dim=0) for q in found]
        entropy = -sum((u * (u + 1e-6).log()).sum() / math.log(len(u)) for u in used)
        told = sum(_shared(a, b) for a, b in combinations(found, 2))
        return fit - self.balance * entropy + self.independence * told, {"loss": fit}


def discover(
    stage: Discovering,
    wishes: Sequence[Wish],
    net: MlpSettings,
    *,
    seed: int,
    callbacks: Callbacks,
) -> Factors:
    """Train a finder and its field; only the field where `stage.z` gives the values.

    Raises:
        ValueError: the samples do not have what a factor sees.
        Failed: training diverged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = Factors(stage.shape, wishes, net)
    for encoder in model.finder.encoders:
        assert isinstance(encoder, Encoder)
        encoder.settle(stage.x)
    trained = train(model, stage, seed=seed, callbacks=callbacks)
    model.load_state_dict(trained.weights)
    return model.eval().requires_grad_(False)
