"""Draws samples of several students at once, on the best device of this machine."""

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dcfm_node.errors import ConfigError, Failed
from dcfm_node.flow.codec import broadcast, codec_of, decoded
from dcfm_node.flow.device import choose
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.product import Member, Product, sample
from dcfm_node.flow.room import available, check_held, check_room
from dcfm_node.flow.sampling import Corrector
from dcfm_node.flow.watching import watched
from dcfm_node.paths.base import path_of
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Scale
from dcfm_node.samples import Floats
from dcfm_node.student.asked import Correct
from dcfm_node.student.drawing import check_model
from dcfm_node.student.several import Alternative, Part, Term, fitting, terms_of

FARTHEST = 1e6
"""Most units between the data of two students: beyond, float32 leaves nothing of one of them."""


class Source(NamedTuple):
    """What of a verified student is composed.

    Attributes:
        run: with the guidance weights to use.
        model: file whose digest its lineage proves.
        counts: label counts of its teachers, by silo.
        scale: of its training data.
    """

    run: Manifest
    model: Path
    counts: dict[str, dict[tuple[int, ...], int]]
    scale: Scale | None


def draw(
    sources: Sequence[Source],
    alternatives: Sequence[Alternative],
    *,
    count: int,
    seed: int,
    codec: Path | None = None,
    correct: Correct | None = None,
    report: Callable[[float], None] | None = None,
) -> Floats:
    """Draw `count` samples in all, of the alternatives in turn, in the units of the data: x (count,
    *sample_shape), float32. The student that takes most steps decides the solver.

    Args:
        codec: the codec's file, if the runs name one.
        report: is given the share that is done, 0 to 1, after each step of the solver.

    Raises:
        ConfigError: a corrector or a student does not fit, their data lie too far apart, or the
            codec's file differs.
        UserError: the GPU does not work.
        Failed: a model does not hold the tensors of its run's network, memory is short, or the
            samples are no numbers.
    """
    alternatives = alternatives[:count]
    turns = list(islice(cycle(range(len(alternatives))), count))
    each = [
        _terms(source, [alternative[k] for alternative in alternatives])
        for k, source in enumerate(sources)
    ]
    for source, terms in zip(sources, each, strict=True):
        check_room(source.run, count, available(), max(map(len, terms)))
        check_model(source.run, source.model, source.counts)
        if correct is not None:
            _require_correctable(source, terms)
    check_held([source.model for source in sources], available())
    run = sources[0].run
    units = next((source.scale for source in sources if source.scale is not None), None)
    decoder = codec_of(run, codec)
    device = choose("auto", where="student compose", instead="hide it: CUDA_VISIBLE_DEVICES=''")
    slowest = max((source.run.method for source in sources), key=lambda one: one.solver_steps)
    members = [
        _member(source, terms, units, device)
        for source, terms in zip(sources, each, strict=True)
        if any(terms)
    ]
    product = Product(path_of(run), members, run.flow_shape)
    try:
        with watched(report, count * slowest.solver_steps):
            z = sample(
                product,
                torch.tensor(turns),
                steps=slowest.solver_steps,
                solver=slowest.solver,
                seed=seed,
                correct=None if correct is None else Corrector(correct),
                device=device,
            )
        found: Floats = decoded(decoder, z, units).numpy()
    except ValueError as error:
        fix = "give smaller weights to what samples move away from"
        raise ConfigError(str(error), where="--where", fix=fix) from error
    except (RuntimeError, MemoryError) as error:  # from torch: memory or shapes
        what = f"sampling failed: {error}"
        raise Failed(what, where="student compose", fix="draw fewer samples with -n") from error
    if not np.isfinite(found).all():
        what = "the students give something else than finite numbers"
        fix = "give smaller weights, or draw of each student alone to see which one does"
        raise Failed(what, where="student compose", fix=fix)
    return found


def _terms(source: Source, parts: Sequence[Part | None]) -> list[list[Term]]:
    trained = {c for counts in source.counts.values() for c, n in counts.items() if n > 0}
    known = fitting(trained, source.run)
    return [
        [] if part is None else terms_of(source.run, part, known=known(part.label))
        for part in parts
    ]


def _require_correctable(source: Source, terms: Sequence[Sequence[Term]]) -> None:
    """Check that a student gives scores, and that its exponents hold at all times t.

    Raises:
        ConfigError: a corrector does not know its law.
    """
    guidance, why = source.run.method.guidance, ""
    if source.run.path.kind != "linear":
        why = f"the path {source.run.path.kind!r} does not give scores"
    elif (guidance.from_t, guidance.to_t) != (0.0, 1.0) and any(
        term.inside != term.outside for some in terms for term in some
    ):
        why = f"the guidance of run {source.run.name} holds for a part of the times t only"
    if why:
        fix = "leave it out" if "path" in why else "leave it out, or give --guidance 1"
        raise ConfigError(f"cannot correct: {why}", where="--correct", fix=fix)


def _member(
    source: Source,
    terms: Sequence[Sequence[Term]],
    units: Scale | None,
    device: torch.device,
) -> Member:
    """The network of a student, and its terms for every alternative."""
    null, most = source.run.cardinalities, max(map(len, terms))
    blank = Term(null, 0.0, 0.0)
    padded = [[*some, *[blank] * (most - len(some))] for some in terms]
    guidance = source.run.method.guidance
    mean, deviation = _relative(source, units)
    weights = load_weights(source.model)
    return Member(
        learner_of(source.run).field(weights, counts=source.counts, device=device),
        torch.tensor([[term.label for term in some] for some in padded]),
        torch.tensor([[term.inside for term in some] for some in padded]),
        torch.tensor([[term.outside for term in some] for some in padded]),
        (guidance.from_t, guidance.to_t),
        mean,
        deviation,
    )


def _relative(source: Source, units: Scale | None) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a student's training data in units of a scale, each of a shape that
    broadcasts over (*flow_shape)."""
    shape = torch.Size(source.run.flow_shape)
    none = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    (mean, deviation), (centre, unit) = (
        none if scale is None else broadcast(scale, shape) for scale in (source.scale, units)
    )
    away, ratio = (mean - centre) / unit, deviation / unit
    if max(away.abs().max(), ratio.max(), (1 / ratio).max()) > FARTHEST:
        what = (
            f"the data of run {source.run.name} lie too far from those of another student, or"
            f" spread too differently: by a factor above {FARTHEST:g}"
        )
        fix = "compose students whose data have the same units"
        raise ConfigError(what, where="student compose", fix=fix)
    return away.float(), ratio.float()
