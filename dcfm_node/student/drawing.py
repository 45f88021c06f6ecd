"""Draws samples of a student, on the best device of this machine."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcfm_node.config.run import least_bytes
from dcfm_node.errors import Failed, PeerError
from dcfm_node.flow import networks
from dcfm_node.flow.codec import codec_of, decoded
from dcfm_node.flow.device import choose
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.guidance import OwnWeights
from dcfm_node.flow.inpainting import BANK_SEED, Given, Inpainter, bank
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.room import available, check_room
from dcfm_node.flow.sampling import Corrector, Sampler
from dcfm_node.flow.watching import watched
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.samples import Combination, Samples
from dcfm_node.store.tensors import Schema, check_snapshot, ensemble_schema, size_of
from dcfm_node.student.asked import Correct
from dcfm_node.student.expression import Asked

DOUBLE = 8
"""Bytes of a precise number."""


def draw(
    manifest: Manifest,
    model: Path,
    combinations: Sequence[Combination],
    *,
    counts: Mapping[str, Counts],
    count: int,
    seed: int,
    codec: Path | None = None,
    scale: Scale | None,
    given: Given | None = None,
    own: Sequence[Asked] = (),
    switch: bool = False,
    correct: Correct | None = None,
    report: Callable[[float], None] | None = None,
) -> Samples:
    """Draw `count` samples in all, of the combinations in turn, in the units of the silos' data:
    x (count, *sample_shape), float32.

    Args:
        model: file whose digest a verified lineage proves; its content is not checked yet.
        counts: label counts of the student's teachers, by silo, without probes.
        codec: the codec's file, if the run names one.
        scale: of the model's training data.
        given: numbers that the samples shall have (inpainting).
        own: the combinations with weights of their own, if any have some.
        switch: each step of an ensemble follows one expert.
        correct: how the bias of composition is corrected.
        report: is given the share that is done, 0 to 1, after each step of the solver.

    Raises:
        ConfigError: the codec's file is missing or differs.
        UserError: the GPU does not work.
        Failed: the model does not hold the tensors of the run's network, a snapshot or this
            machine's memory cannot hold what is needed, or the samples are no numbers.
    """
    away = max((len(one.away) for one in own), default=0)
    check_room(manifest, count, available(), away)
    check_model(manifest, model, counts)
    decoder = codec_of(manifest, codec)
    labels = torch.tensor(list(islice(cycle(combinations), count)), dtype=torch.int64)
    sampler = None
    if switch or own or correct:
        weights = _own(list(islice(cycle(own), count)), manifest)
        corrector = None if correct is None else Corrector(correct)
        sampler = Sampler(switch=switch, own=weights, correct=corrector)
    try:
        with watched(report, count * manifest.method.solver_steps):
            z = _drawn(
                manifest, model, labels, counts=counts, seed=seed, given=given, sampler=sampler
            )
        x = decoded(decoder, z, scale).numpy()
    except (RuntimeError, MemoryError) as error:  # from torch: memory or shapes
        what = f"sampling failed: {error}"
        raise Failed(what, where=str(model), fix="draw fewer samples with -n") from error
    if not np.isfinite(x).all():
        what = "the student gives something else than finite numbers"
        fix = "give smaller --guidance or weights in --where; else do not use this student"
        raise Failed(what, where=str(model), fix=fix)
    return Samples(x, labels.numpy())


def _own(asked: Sequence[Asked], manifest: Manifest) -> OwnWeights | None:
    """The weights of every sample's combination; None if there are none."""
    if not asked:
        return None
    null = list(manifest.cardinalities)
    most = max(len(one.away) for one in asked)
    away = torch.tensor(null).repeat(len(asked), most, 1)
    against = torch.zeros(len(asked), most)
    for row, one in enumerate(asked):
        for place, (attribute, value, weight) in enumerate(one.away):
            away[row, place, attribute], against[row, place] = value, weight
    toward = [[math.nan if w is None else w for w in one.weights] for one in asked]
    return OwnWeights(torch.tensor(toward), away, against)


def inpainter(
    manifest: Manifest,
    model: Path,
    combinations: Sequence[Combination],
    *,
    counts: Mapping[str, Counts],
    codec: Path | None = None,
    scale: Scale | None,
) -> Inpainter:
    """What `given` of `draw` is made by, for the same model and guidance weights. It draws samples
    of the combinations; arguments and errors as of `draw`.

    Raises:
        Failed: also where the codec or the path does not allow it.
    """
    if manifest.path.alphabet:
        fix = "draw without given numbers; tokens cannot be given"
        raise Failed(f"path {manifest.path.kind!r} has tokens", where="student", fix=fix)
    size, values = math.prod(manifest.flow_shape), math.prod(manifest.sample_shape)
    needed = 2 * DOUBLE * (size + 2) * (size + values)
    if needed > available():
        what = f"given numbers need about {needed / 1e9:.3g} GB of memory, and less is free"
        fix = "draw without given numbers, or use a larger machine"
        raise Failed(what, where="student", fix=fix)
    check_model(manifest, model, counts)
    decode, labels = partial(decoded, codec_of(manifest, codec), scale=scale), bank(combinations)
    z = _drawn(manifest, model, labels, counts=counts, seed=BANK_SEED)
    try:
        return Inpainter(decode, z, labels)
    except (RuntimeError, MemoryError) as error:  # from torch: memory or shapes
        fix = "draw without given numbers"
        raise Failed(f"numbers cannot be given: {error}", where=str(model), fix=fix) from error
    except ValueError as error:
        fix = "use a student of a run with another [codec]"
        raise Failed(str(error), where="student", fix=fix) from error


def _drawn(
    manifest: Manifest,
    model: Path,
    labels: Tensor,
    *,
    counts: Mapping[str, Counts],
    seed: int,
    given: Given | None = None,
    sampler: Sampler | None = None,
) -> Tensor:
    """Samples before decoding, on the best device."""
    device = choose("auto", where="student sample", instead="hide it: CUDA_VISIBLE_DEVICES=''")
    # A package's own method may not know these arguments.
    some = {"given": given, "sampler": sampler}
    more: dict[str, Any] = {name: one for name, one in some.items() if one is not None}
    return learner_of(manifest).sample(
        load_weights(model), labels, counts=counts, seed=seed, device=device, **more
    )


def check_model(manifest: Manifest, model: Path, counts: Mapping[str, Counts]) -> None:
    """Compare a model file's tensors with the run's network, before making the network.

    Raises:
        Failed: the file does not hold exactly these tensors, or they exceed a snapshot's limit.
    """
    fix = "do not use this model; fetch the student again"
    try:
        check_snapshot(model, _schema(manifest, counts))
    except PeerError as error:
        raise Failed(
            f"does not fit the run's network: {error}", where=str(model), fix=fix
        ) from error
    except OSError as error:
        raise Failed(f"cannot be read: {error.strerror}", where=str(model), fix=fix) from error


def _schema(manifest: Manifest, counts: Mapping[str, Counts]) -> Schema:
    """The tensors of a student of the run.

    Raises:
        PeerError: they are larger than a snapshot may be (SPEC 5.1).
    """
    least = least_bytes(manifest)  # torch cannot represent the shapes of some larger ones
    expert = networks.schema(manifest) if least <= MAX_SNAPSHOT_BYTES else {}
    beside = learner_of(manifest).beside_experts() if expert else {}
    form = ensemble_schema(expert, beside, sorted(counts)) if manifest.method.ensemble else expert
    if max(least, size_of(form)) > MAX_SNAPSHOT_BYTES:
        raise PeerError(f"it needs more than the {MAX_SNAPSHOT_BYTES} bytes of a snapshot")
    return form
