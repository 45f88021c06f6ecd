"""A silo's samples without those of probes (SPEC 6.12)."""

from collections.abc import Collection

import torch
from torch import Tensor

from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.records.entries import Label

HOLDOUT_EVERY = 10
"""Where the hold-out had probes alone, one training sample in so many takes their place."""


def without(
    probes: Collection[Label], train: EncodedSamples, holdout: EncodedSamples
) -> tuple[EncodedSamples, EncodedSamples]:
    """Training and hold-out samples of all other combinations.

    If no hold-out sample is left, training samples become the hold-out; a single one is both. A
    silo whose training samples are all of probes keeps them: it trains nothing (SPEC 6.12.4), but
    it scores.
    """
    left, held = _others(train, probes), _others(holdout, probes)
    if not len(left.c):
        return train, holdout
    if len(held.c) or len(left.c) == 1:
        return left, held if len(held.c) else left
    spare = torch.arange(len(left.c)) % HOLDOUT_EVERY == 0
    return _rows(left, ~spare), _rows(left, spare)


def _others(of: EncodedSamples, probes: Collection[Label]) -> EncodedSamples:
    withheld = torch.zeros(len(of.c), dtype=torch.bool)
    for label in probes:
        withheld |= (of.c == torch.tensor(label)).all(dim=1)
    return _rows(of, ~withheld)


def _rows(of: EncodedSamples, rows: Tensor) -> EncodedSamples:
    """Those that a mask names; no copy if it names all."""
    return of if bool(rows.all()) else EncodedSamples(of.x[rows], of.c[rows])
