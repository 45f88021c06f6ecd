"""All problems by name. Report seeds below 100; tune on 100 and above."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from dcfm_node.errors import ConfigError
from dcfm_node.experiment.strangers import pictures, scenes, series, vectors
from dcfm_node.experiment.strangers.problem import Problem

TUNING = 100
"""First seed of the problems to tune on."""
KINDS: Mapping[str, Callable[[np.random.Generator], Problem]] = {
    "few-colours": pictures.few_colours,
    "textures": pictures.textures,
    "four-attributes": pictures.four_attributes,
    "thin-symbols": scenes.thin_symbols,
    "grounds": scenes.grounds,
    "sizes": scenes.sizes,
    "gratings": scenes.gratings,
    "units": vectors.units,
    "three-attributes": vectors.three_attributes,
    "products": vectors.products,
    "series": series.series,
    "seasons": series.seasons,
    "profiles": series.profiles,
    "unequal-counts": vectors.unequal_counts,
    "tiny-feature": vectors.tiny_feature,
    "confounded": vectors.confounded,
    "no-room": vectors.no_room,
}


def make(name: str, seed: int) -> Problem:
    """A problem: its palette, means, shapes and held combinations are drawn with the seed.

    Raises:
        ConfigError: no problem has that name.
    """
    if name not in KINDS:
        fix = f"choose one of {', '.join(KINDS)}"
        raise ConfigError(f"no stranger's problem is named {name!r}", where="problems", fix=fix)
    rng = np.random.default_rng([seed, *name.encode()])
    return replace(KINDS[name](rng), name=name, seed=seed)


def about(name: str) -> str:
    """What the problem is, in a sentence."""
    return (KINDS[name].__doc__ or "").split("\n")[0]
