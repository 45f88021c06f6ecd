"""What a run.toml leaves open, settled from the shape of a sample and the attributes. Pure.

Every node settles the same file alike, and the manifest holds the settled values. What the file
sets itself comes first. "auto" there leaves a setting to the preset.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal

from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.networks.settings import (
    MixerSettings,
    MlpSettings,
    TransformerSettings,
    UnetSettings,
)
from dcfm_node.plugins import Kind
from dcfm_node.records.manifest import PATH
from dcfm_node.records.settings import MethodSettings, NetworkSettings, Section, find

AUTO = "auto"
_OURS = Dcfm | MixerSettings | MlpSettings | TransformerSettings | UnetSettings
"""Sections whose settings a preset knows."""
STAGES = {"local", "refine", "distil"}
TOKENS = ("discrete", "autoregressive")
"""Paths of tokens."""
LARGE = 24
"""Pictures with at least as many pixels a side are large."""
MANY = 16
"""From so many values of all attributes together, a small U-Net is far from trained at the end."""
Preset = Literal["auto", "paper"]
Table = dict[str, Any]


def settled(said: Mapping[str, Any]) -> Table:
    """A run.toml's contents, with everything that its preset chooses.

    Wrong and unknown settings stay as they are; validation names them.
    """
    method, kind = _table(said, "method"), str(_table(said, "network").get("kind", AUTO))
    path = str(_table(said, "path").get("kind", PATH.kind))
    chosen = preset(str(said.get("preset")), _flow_shape(said), _cardinalities(said), kind, path)
    kind, name = chosen["network"]["kind"], str(method.get("name", "dcfm"))
    chosen["network"] = _known(chosen["network"], "networks", NetworkSettings, kind)
    chosen["method"] = _known(chosen["method"], "methods", MethodSettings, name)
    if "penalty" in method:
        penalty = method.pop("penalty")
        for stage in chosen["method"].keys() & STAGES if penalty != AUTO else ():
            chosen["method"][stage]["ci_weight"] = penalty
        said = {**said, "method": method}
    return _over(chosen, said)


def preset(
    name: str,
    shape: tuple[int, ...],
    cardinalities: tuple[int, ...],
    network: str = AUTO,
    path: str = PATH.kind,
) -> Table:
    """The settings that a preset chooses, as a run.toml would hold them.

    Args:
        name: "auto", right for the kind and size of the data; or "paper", the settings of the
            paper's experiments.
        shape: of what the flow sees: (features,) for vectors, (channels, length) for series,
            (channels, height, width) for pictures.
        cardinalities: |C_i|, the number of values of each attribute.
        network: the network's kind, if the operator chose it.
        path: the path's kind.
    """
    if path in TOKENS:
        paper = _PAPER if name == "paper" else {}
        network = _TOKENS["network"] | {"causal": path == "autoregressive"}
        return deepcopy(_TOKENS | {"network": network, "method": _TOKENS["method"] | paper})
    found = deepcopy(_PRESETS.get(name, _PRESETS[AUTO])[min(len(shape), 3) - 1])
    if name != "paper" and len(shape) == 3 and _mixed(network, shape, sum(cardinalities)):
        found = deepcopy(_MIXER)
    ours = found["network"]
    kind = ours["kind"] if network == AUTO else network
    same = ours if kind == ours["kind"] else {"predict": ours["predict"]}
    return found | {"network": _network(kind, shape) | same}


def _mixed(network: str, shape: tuple[int, ...], values: int) -> bool:
    """Whether a mixer learns these pictures: it is asked for, or a U-Net would be too slow or too
    small (decision 30)."""
    return network == "mixer" or (network == AUTO and (min(shape[1:]) >= LARGE or values >= MANY))


def _network(kind: str, shape: tuple[int, ...]) -> Table:
    """A network of this kind that is wide and deep enough for the samples."""
    if kind == "mixer":
        return {"kind": kind, "width": 64, "depth": 3}
    if kind == "unet":
        least = min(shape[1:], default=1)
        width = 16 if len(shape) == 3 and least < LARGE else 32
        return {"kind": kind, "width": width, "depth": 2 if least <= 12 else 3}
    width, depth = (96, 2) if math.prod(shape) <= 32 else (128, 3)
    return {"kind": kind, "width": width, "depth": depth}


def _stage(
    steps: int, rate: float, penalty: float, share: float = 0.0, *, rows: int = 32, batch: int = 128
) -> Table:
    return {
        "steps": steps,
        "batch": batch,
        "learning_rate": rate,
        "ci_weight": penalty,
        "ci_batch": rows,
        "product_share": share,
    }


_ALTERNATING: Table = {
    "schedule": "alternating",
    "min_rounds": 1,
    "max_rounds": 1,
    "ema": 0.995,
    "solver": "adams",
    "solver_steps": 8,
    "composed": False,
    "masks": {"full": 0.94, "marginal": 0.04, "null": 0.02},
}
_REPLAY: Table = {
    "rounds": 3,
    "steps": 300,
    "per_combination": 120,
    "guidance": (1.6, 2.5),
}
_PROBES: Table = {"share": 0.15, "margin": 2}
_VECTORS: Table = {
    "probes": _PROBES,
    "network": {"kind": "mlp", "predict": "sample"},
    "method": _ALTERNATING
    | {
        "guidance": {"known": 1.0, "novel": 1.0},
        "local": _stage(1000, 2e-3, 1.0, 0.5),
        "refine": _stage(600, 1e-3, 1.0, 0.5),
        "distil": _stage(1000, 1e-3, 1.0, 0.5),
        "replay": _REPLAY,
    },
}
# The penalty says that factors add up, which is false for pictures and series at high noise.
_MIXER: Table = {
    "probes": _PROBES,
    "network": {"kind": "mixer", "predict": "sample"},
    "method": _ALTERNATING
    | {
        "guidance": {"known": 1.15, "novel": 1.3},
        "local": _stage(1000, 5e-3, 0.0, batch=64),
        "refine": _stage(500, 2e-3, 0.0, batch=64),
        "distil": _stage(1000, 4e-3, 0.0, batch=64),
        "replay": _REPLAY,
    },
}
_PICTURES: Table = _MIXER | {
    "network": {"kind": "unet", "predict": "sample"},
    "method": _MIXER["method"]
    | {
        "local": _stage(1000, 2e-3, 0.0, batch=64),
        "refine": _stage(500, 1e-3, 0.0, batch=64),
        "distil": _stage(1000, 2e-3, 0.0, batch=64),
    },
}
_TOKENS: Table = _MIXER | {
    "network": {"kind": "transformer", "width": 64, "depth": 2, "predict": "sample"},
    "method": _ALTERNATING
    | {
        "solver": "tau-leaping",
        "solver_steps": 32,
        "guidance": {"known": 1.0, "novel": 1.0},
        "local": _stage(1000, 8e-3, 1.0, 0.5, batch=64),
        "refine": _stage(500, 4e-3, 1.0, 0.5, batch=64),
        "distil": _stage(1000, 8e-3, 1.0, 0.5, batch=64),
        "replay": {"rounds": 0},
    },
}
"""configs/experiments/sentences.toml."""
# A mean and a deviation for each number would hide how strong a series is where.
_SERIES: Table = _MIXER | {"standardise": "channel"}
_PAPER: Table = {
    "schedule": "paper",
    "min_rounds": 1,
    "guidance": {"known": 1.0, "novel": 1.0},
    "replay": {"rounds": 0},
}
_PAPER_VECTORS: Table = {
    "standardise": "none",
    "probes": {"share": 0.0},
    "network": {"kind": "mlp", "width": 64, "depth": 2, "predict": "velocity"},
    "method": {
        **_PAPER,
        "max_rounds": 3,
        "ema": 0.99,
        "solver": "heun",
        "solver_steps": 25,
        "composed": False,
        "masks": {"full": 0.97, "marginal": 0.02, "null": 0.01},
        "local": _stage(1500, 2e-3, 10.0),
        "refine": _stage(1000, 1e-3, 10.0, 0.5),
        "distil": _stage(1000, 2e-3, 10.0, 0.5, rows=64),
    },
}
"""configs/runs/gaussians.toml, in the paper's schedule."""
_PAPER_PICTURES: Table = {
    "standardise": "none",
    "probes": {"share": 0.0},
    "network": {"kind": "unet", "width": 64, "depth": 3, "predict": "sample"},
    "method": {
        **_PAPER,
        "max_rounds": 2,
        "ema": 0.995,
        "solver": "euler",
        "solver_steps": 20,
        "composed": True,
        "masks": {"full": 0.94, "marginal": 0.04, "null": 0.02},
        "local": _stage(3000, 1e-3, 1.0),
        "refine": _stage(500, 5e-4, 1.0, 0.25),
        "distil": _stage(700, 1e-3, 1.0, 0.25),
    },
}
"""configs/experiments/coloured-mnist.toml, in the paper's schedule."""
_PRESETS: dict[str, tuple[Table, Table, Table]] = {
    AUTO: (_VECTORS, _SERIES, _PICTURES),
    "paper": (_PAPER_VECTORS, _PAPER_VECTORS, _PAPER_PICTURES),
}
"""Name -> the settings for samples of one, two and three axes."""


def _flow_shape(said: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of what the flow sees; (1,) if the file does not say it rightly."""
    for shape in (_table(said, "codec").get("shape"), said.get("sample_shape")):
        if isinstance(shape, tuple) and shape and all(type(side) is int for side in shape):
            return shape
    return (1,)


def _cardinalities(said: Mapping[str, Any]) -> tuple[int, ...]:
    """|C_i| of the attributes that the file gives rightly."""
    listed = said.get("attribute")
    tables = listed if isinstance(listed, tuple) else ()
    values = (one.get("values") for one in tables if isinstance(one, dict))
    return tuple(len(names) for names in values if isinstance(names, tuple))


def _table(said: Mapping[str, Any], name: str) -> Table:
    found = said.get(name)
    return dict(found) if isinstance(found, dict) else {}


def _known(chosen: Table, kind: Kind, base: type[Section], name: str) -> Table:
    """The settings among `chosen` that a section has, by its name. Of methods other than DCFM and
    of other packages' sections, only what all have."""
    try:
        model = find(kind, base, name)
    except ValueError:
        return {}
    known = (model if issubclass(model, _OURS) else base).model_fields
    return {setting: value for setting, value in chosen.items() if setting in known}


def _over(chosen: Table, said: Mapping[str, Any]) -> Table:
    """What the file says, over what the preset chose."""
    result = dict(chosen)
    for key, value in said.items():
        ours = chosen.get(key)
        if isinstance(ours, dict) and isinstance(value, dict):
            result[key] = _over(ours, value)
        elif value != AUTO or key not in chosen:
            result[key] = value
    return result
