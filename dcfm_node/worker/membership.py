"""How well networks of its run separate a silo's own training samples from its hold-out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dcfm_node.flow import networks
from dcfm_node.flow.codec import standardised
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.membership import Membership, Scores, errors, inferred, matched
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.paths.base import path_of
from dcfm_node.records.entries import MEMBERSHIP_FEWEST, Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.samples import Labels

Who = Literal["student", "expert"]


@dataclass(frozen=True)
class Attacked:
    """Files of networks in whose training a silo took part.

    Attributes:
        networks: the student, and the silo's own expert if it is at hand.
        others: experts of other silos that are at hand; errors are also taken beside theirs.
    """

    networks: Mapping[Who, Path]
    others: Sequence[Path] = ()


@dataclass(frozen=True)
class Told:
    """How well an attack on one network does (`flow.membership`).

    Attributes:
        calibrated: whether it takes errors beside those of the other silos' experts.
    """

    network: Who
    calibrated: bool
    found: Membership


def told_apart(
    manifest: Manifest,
    together: Sequence[Labels] | None,
    encoded: Sequence[EncodedSamples],
    attacked: Attacked,
    *,
    probes: Collection[Label],
    scale: Scale | None,
    device: torch.device,
) -> list[Told]:
    """Attack networks with a silo's samples, of combinations that it trained on. A student that is
    an ensemble of several networks is left out, as is everything with too few samples and a network
    whose errors are no numbers: no order of these says anything.

    Args:
        together: as `SiloData.together`.
        encoded: its training and hold-out samples after the codec.
        probes, scale: as for `worker.judging.given`.
    """
    chosen = _chosen(encoded, probes)
    samples = [
        EncodedSamples(standardised(part.x[rows], scale).to(device), part.c[rows])
        for part, rows in zip(encoded, chosen, strict=True)
    ]
    if not len(samples[0].c):
        return []
    groups = [
        torch.from_numpy(side)[rows] for side, rows in zip(together or (), chosen, strict=False)
    ]

    def wrong(file: Path) -> list[Tensor] | None:
        weights = load_weights(file)
        if weights.keys() != networks.schema(manifest).keys():
            return None
        field = networks.load(manifest, weights, device)
        found = [errors(path_of(manifest), field, part) for part in samples]
        return found if all(part.isfinite().all() for part in found) else None

    def told(who: Who, error: Sequence[Tensor], usual: Sequence[Tensor] | None) -> Iterable[Told]:
        scores = error if usual is None else [a - b for a, b in zip(error, usual, strict=True)]
        if found := inferred([Scores(-scores[0], -scores[1], *groups)]):
            yield Told(who, usual is not None, found)

    beside = [found for file in attacked.others if (found := wrong(file)) is not None]
    usual = [torch.stack(parts).mean(0) for parts in zip(*beside, strict=True)] or None
    result: list[Told] = []
    for who, file in attacked.networks.items():
        if (error := wrong(file)) is not None:
            result += told(who, error, None)
            result += told(who, error, usual) if usual else ()
    return result


def measurable(encoded: Sequence[EncodedSamples], probes: Collection[Label]) -> bool:
    """Whether there are enough samples of the same combinations on both sides to attack with."""
    return len(_chosen(encoded, probes)[0]) >= MEMBERSHIP_FEWEST


def _chosen(encoded: Sequence[EncodedSamples], probes: Collection[Label]) -> list[Tensor]:
    """Rows of both sides that are compared (`matched`), none of probes."""
    kept = [_rows(part.c, probes) for part in encoded]
    pairs = matched(*(part.c[rows] for part, rows in zip(encoded, kept, strict=True)))
    return [rows[of] for rows, of in zip(kept, pairs, strict=True)]


def _rows(c: Tensor, probes: Collection[Label]) -> Tensor:
    """Rows of labels (N, n) that are not of probes."""
    kept = [row for row, label in enumerate(map(tuple, c.tolist())) if label not in probes]
    return torch.tensor(kept, dtype=torch.int64)
