"""Problems for the penalty, each with an exact judge: a family with a dial, and existing ones.

The dial is the *dependence* of factors in sample space: the share of the variance of the
combinations' means that no sum of effects of values explains. The penalty calls just this share an
error where t is near 0, since the best prediction there is a mean.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from dcfm_node.domains.base import Evaluator, Split, SplitSpec
from dcfm_node.domains.base import named as domain_named
from dcfm_node.errors import ConfigError
from dcfm_node.experiment import settings
from dcfm_node.experiment.penalty.settings import Blend, Penalty
from dcfm_node.experiment.strangers import suite
from dcfm_node.experiment.strangers.pictures import FORMS
from dcfm_node.experiment.strangers.problem import (
    UNREADABLE,
    Array,
    Problem,
    attributes,
    combinations,
    deal,
)
from dcfm_node.experiment.strangers.vectors import GAP, modes
from dcfm_node.samples import Combination, Labels, Samples

FEATURES, KNOWN = 24, 12
SPREAD = {"vectors": 1.0, "pictures": 0.4}
"""Deviation of the means."""
DIALS, NOISE = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0), 0.3
"""The judge tells all means apart at these dependences and this noise, the highest."""
LEAST = 0.02
"""Variance of means over that within combinations, below which means count as the same."""


def make(name: str, seed: int, given: Penalty) -> Problem:
    """A problem of the settings, all its data in one silo.

    Raises:
        ConfigError: no problem has that name.
    """
    if name in given.blends:
        blend, dependence = given.blends[name]
        found = replace(blended(blend, dependence, seed), name=name, seed=seed)
    elif name in suite.KINDS:
        found = suite.make(name, seed)
    else:
        found = replace(_of_domain(name, seed), name=name, seed=seed)
    counts = {c: sum(silo.get(c, 0) for silo in found.silos) for c in found.known}
    return replace(found, silos=(counts,))


def blended(given: Blend, dependence: float, seed: int) -> Problem:
    """Normal noise around a mean for each pair of four values. Effects, noise apart, and what silos
    hold are the same at every dependence and noise."""
    rng = np.random.default_rng([seed, *given.form.encode()])
    while True:
        mean, main, rest = _parts(given.form, rng)
        if min(_gap(_blend(main, rest, dial)) for dial in DIALS) > GAP * NOISE:
            break
    spread, shape = SPREAD[given.form], mean.shape[2:]
    found = modes(
        attributes(first="a b c d", second="e f g h"),
        deal((4, 4), KNOWN, 3, rng),
        (mean + spread * _blend(main, rest, dependence)).reshape(16, -1),
        noise=spread * given.noise,
        into=lambda z: z.reshape(-1, *shape),
        back=lambda x: x.reshape(len(x), -1),
    )
    return replace(found, sample_shape=shape)


def _parts(form: str, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Mean, main effects and interaction of a product of two factors, (4, 4, *sample_shape). The
    last two have unit variance: over pictures, or for each feature, since nodes scale features."""
    if form == "vectors":
        first, second = 1 + rng.normal(size=(2, 4, FEATURES))
        over: tuple[int, ...] | None = (0, 1)
    else:  # shapes in colours
        forms = rng.choice(sorted(FORMS), 4, replace=False)
        first = np.array([FORMS[form][None] for form in forms])
        second, over = rng.uniform(-1, 1, (4, 3, 1, 1)), None
    whole = first[:, None] * second
    rows, columns = (whole.mean(axis=axis, keepdims=True) for axis in (1, 0))
    mean = rows.mean(axis=0, keepdims=True)
    main, rest = rows + columns - 2 * mean, whole - rows - columns + mean
    return mean, main / main.std(axis=over), rest / rest.std(axis=over)


def _blend(main: Array, rest: Array, dependence: float) -> Array:
    return np.asarray((1 - dependence) ** 0.5 * main + dependence**0.5 * rest)


def _gap(means: Array) -> float:
    """Least distance of two means."""
    flat = means.reshape(16, -1)
    return float((np.linalg.norm(flat[:, None] - flat, axis=-1) + 1e9 * np.eye(16)).min())


def _of_domain(name: str, seed: int) -> Problem:
    """A domain's own data, or those of an experiment's partition. Samples are drawn from its
    `complete` data, and its evaluator judges.

    Raises:
        ConfigError: no problem has that name.
    """
    head, _, partition = name.partition("-")
    try:
        if partition:
            posed, partition = settings.load(head, "cpu").posed[partition]
            domain, spec = posed.made, SplitSpec(posed.attribute, partition, seed=seed)
        else:
            domain, spec = domain_named(name), SplitSpec(seed=seed)
    except (KeyError, ValueError) as error:
        fix = "name a stranger's problem, a domain or EXPERIMENT-PARTITION"
        raise ConfigError(f"there is no problem {name!r}", where="problems", fix=fix) from error
    split = domain.split(spec)
    held = tuple(
        {c: int((d.c == c).all(axis=1).sum()) for c in d.combinations} for d in split.silos
    )
    evaluator = domain.evaluator(split, folder=Path(), seed=seed, device="cpu")
    judge = partial(_read, evaluator, split)
    return Problem(split.sample_shape, split.attributes, held, partial(_pick, split), judge)


def _pick(split: Split, c: Combination, count: int, rng: np.random.Generator) -> Array:
    """Samples of a combination, none twice before all were taken."""
    assert split.complete is not None
    mine = split.complete.x[(split.complete.c == c).all(axis=1)]
    return np.asarray(mine[rng.permutation(len(mine))[np.arange(count) % len(mine)]])


def _read(evaluator: Evaluator, split: Split, x: Array) -> Labels:
    """The combination for which the evaluator calls a sample right."""
    found = np.full((len(x), len(split.attributes)), UNREADABLE)
    for c in (*split.known, *split.held_out):
        found[evaluator.right(Samples(x, np.tile(np.array(c), (len(x), 1))))] = c
    return found


def dependence(problem: Problem, each: int = 400) -> float:
    """The dependence of a problem's factors in real samples, 0 (sums) to 1; NaN where combinations
    do not differ in their means. Unbiased by the noise of means of `each` samples."""
    space = combinations(problem.sizes)
    parts = [problem.real([c], each).x.reshape(each, -1).astype(np.float64) for c in space]
    vectors = len(problem.sample_shape) == 1  # these are standardised by feature
    scale = np.concatenate(parts).std(axis=0) + 1e-12 if vectors else 1.0
    means = np.array([part.mean(axis=0) for part in parts]) / scale
    noise = float(sum((part / scale).var(axis=0).sum() for part in parts)) / len(parts) / each
    values = np.array(space)
    effects = np.concatenate([np.eye(n)[values[:, i]] for i, n in enumerate(problem.sizes)], axis=1)
    rank = np.linalg.matrix_rank(effects)
    fitted = effects @ np.linalg.lstsq(effects, means, rcond=None)[0]
    rest = np.square(means - fitted).sum() - noise * (len(space) - rank)
    whole = np.square(means - means.mean(axis=0)).sum() - noise * (len(space) - 1)
    if whole < LEAST * noise * each * len(space):
        return float("nan")
    return float(max(rest, 0.0) / whole)
