"""Next-token generation as a discrete path: places are revealed in order, in discrete time.

At time i / L the first i of L places are known, the velocity of place i is p(x_1 = y | x_<i) at all
tokens y, and all others stand still. It is the discrete path whose places jump one after the
other, so mixtures and compositions are the same (arXiv 2601.03184). A causal network predicts the
velocity of every time in one evaluation: at place i it reads the places before i alone. So training
sees whole samples, and the mean over places is the mean over times.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from dcfm_node.paths.base import Field
from dcfm_node.paths.discrete import DiscretePath, drawn
from dcfm_node.paths.settings import AutoregressivePathSettings


class AutoregressivePath(DiscretePath):
    """Places in the order of the flattened sample."""

    settings: AutoregressivePathSettings  # type: ignore[assignment]

    def source(
        self, shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str
    ) -> Tensor:
        """x_0: all places masked."""
        return torch.full(shape, float(self.settings.tokens), device=device)

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        """x_1 itself, which holds every x_t for a causal network."""
        return x1

    def predicted(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """log p(x_1 | x_<i) at every place i."""
        return output.log_softmax(dim=-1)

    def error_weight(self, t: Tensor) -> Tensor:
        """1: the loss is -log p(x_1) in nats a place."""
        return torch.ones_like(t)

    def trajectory(
        self, field: Field, x0: Tensor, steps: int, solver: str, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """One evaluation for each place, however many steps there are."""
        flat, places = x0.flatten(1).clone(), x0[0].numel()
        yield x0
        for i in range(steps):
            for place in range(i * places // steps, (i + 1) * places // steps):
                t = torch.full(x0.shape[:1], place / places, device=x0.device)
                logs = field(flat.reshape(x0.shape), t).flatten(1, -2)[:, place]
                flat = flat.clone()
                flat[:, place] = drawn(logs, generator).to(flat.dtype)
            yield flat.reshape(x0.shape)

    def between(self, before: Tensor, after: Tensor, share: Tensor) -> Tensor:
        """The first places of those that differ, as many as the share says."""
        old, new = before.flatten(1), after.flatten(1)
        differ = old != new
        many = (share * differ.sum(dim=1)).floor().unsqueeze(1)
        taken = differ & (differ.cumsum(dim=1) <= many)
        return torch.where(taken, new, old).reshape(before.shape)

    def nats(self, field: Field, x1: Tensor, times: int, generator: torch.Generator) -> Tensor:
        """-log p(x_1) by the field that samples see, one evaluation for each place: (B, places).
        `times` and the generator are not used."""
        x, places = torch.full_like(x1, float(self.settings.tokens)), x1[0].numel()
        wanted, found = x1.flatten(1).long(), []
        for place in range(places):
            t = torch.full(x1.shape[:1], place / places, device=x1.device)
            logs = field(x, t).flatten(1, -2)[:, place]
            found.append(-logs.gather(1, wanted[:, place : place + 1]))
            x.flatten(1)[:, place] = x1.flatten(1)[:, place]
        return torch.cat(found, dim=1)
