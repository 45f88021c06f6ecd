"""What a silo's judge of a student is given, and its verdict on each combination."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dcfm_node.data.source import Counts as SampleCounts
from dcfm_node.data.source import counts as counted
from dcfm_node.data.spec import DataSpec
from dcfm_node.domains import base as domains
from dcfm_node.errors import Failed
from dcfm_node.flow.codec import codec_of, decoded, encoded_samples, standardised
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.judges import MAX_DRAWS, Draw, Measured, Shows
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.networks import Weights
from dcfm_node.flow.quality import Verdict, by_combination
from dcfm_node.flow.room import check_room, free_on
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.networks.base import Codec
from dcfm_node.paths.base import path_of
from dcfm_node.records.entries import Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.worker.membership import Attacked, Told, told_apart


class Judgement(NamedTuple):
    """What a silo's data tell of a student's draws, and what this rests on.

    Attributes:
        counts: (combination, number of the silo's samples, hold-out included), sorted.
        told: how well its training samples are told from its hold-out.
    """

    verdicts: list[Verdict]
    counts: SampleCounts
    told: Sequence[Told] = ()


def given(
    manifest: Manifest,
    weights: Weights,
    encoded: Sequence[EncodedSamples],
    *,
    counts: Mapping[str, Counts],
    probes: Sequence[Label],
    scale: Scale | None,
    codec: Codec,
    device: torch.device,
    own: Sequence[Label] = (),
) -> tuple[Draw, Measured]:
    """How to draw from a student, and what a silo holds and knows.

    Args:
        encoded: the silo's training and hold-out samples after the codec.
        counts: label counts of the student's teachers, by silo.
        probes: combinations that nobody trains on.
        scale: that the student's training data were standardised by.
        codec: of the run.
        own: combinations that this silo trains on. They are known to it, also where its `join`
            left their counts out (SPEC 6.9.2).
    """
    learner, path = learner_of(manifest), path_of(manifest)

    def draw(labels: Tensor, seed: int) -> Tensor:
        x = learner.sample(weights, labels, counts=counts, seed=seed, device=device)
        return path.features(x)

    known = sorted({*own, *(label for of in counts.values() for label in of)} - {*probes})
    train, holdout = (
        replace(part, x=path.features(standardised(part.x, scale))) for part in encoded
    )
    sizes = manifest.cardinalities
    shows = _told_by_domain(manifest, codec, scale)
    return draw, Measured.of(
        train, holdout, known, probes, sizes, feasible=manifest.feasible, shows=shows
    )


def _told_by_domain(manifest: Manifest, codec: Codec, scale: Scale | None) -> Shows | None:
    """What the run's domain says that samples in the scale of the networks show; None if it cannot
    tell."""
    domain, shape = domains.of(manifest), manifest.sample_shape
    nothing = np.zeros((0, *shape), np.float32), np.zeros((0, len(manifest.attributes)), np.int64)
    if domain.shows(*nothing) is None:
        return None

    def shows(data: EncodedSamples) -> Tensor:
        x = decoded(codec, data.x.float(), scale)
        return torch.from_numpy(domain.shows(x.numpy(), data.c.numpy()))

    return shows


def judged(
    manifest: Manifest,
    model: Path,
    data: DataSpec,
    *,
    codec: Path | None,
    counts: Mapping[str, Counts],
    probes: Sequence[Label],
    scale: Scale | None,
    seed: int,
    device: torch.device,
    attacked: Attacked | None = None,
) -> Judgement:
    """What a silo's private data tell of a student's draws of each combination, and what networks
    tell of these data. Sends nothing.

    Args:
        model: file of the student's tensors, which were compared with the run's network.
        counts, probes, scale: as for `given`.
        attacked: networks that were made from these data; None if there are none.

    Raises:
        DataError: the data cannot be read or do not fit the run.
        UserError: the codec's file is missing or differs.
        Failed: sampling failed, as where the memory is too small.
    """
    check_room(manifest, MAX_DRAWS, free_on(device))
    encoder = codec_of(manifest, codec)
    found = domains.of(manifest).load(manifest, data)
    encoded = [encoded_samples(part, encoder) for part in (found.train, found.holdout)]
    draw, measured = given(
        manifest,
        load_weights(model),
        encoded,
        counts=counts,
        probes=probes,
        scale=scale,
        codec=encoder,
        device=device,
    )
    try:
        verdicts = by_combination(draw, measured, seed=seed)
        told = attacked and told_apart(
            manifest, found.together, encoded, attacked, probes=probes, scale=scale, device=device
        )
    except (RuntimeError, MemoryError) as error:  # from torch: memory or shapes
        what = f"sampling failed: {error}"
        raise Failed(what, where=str(model), fix="use a machine with more memory") from error
    whole = counted(np.concatenate([found.train.c, found.holdout.c]))
    return Judgement(verdicts, whole, told or ())
