"""Exports a student as ONNX, with a sampler that needs numpy and onnxruntime alone."""

import json
import logging
import math
import shutil
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcfm_node.errors import ConfigError, Failed
from dcfm_node.flow.codec import codec_of
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.labels import absent_label, marginal_terms, null_label
from dcfm_node.flow.losses import evaluate_terms
from dcfm_node.flow.networks import load
from dcfm_node.networks.base import Codec
from dcfm_node.networks.codecs import Identity
from dcfm_node.paths.base import composition_weights, path_of
from dcfm_node.paths.linear import LinearPath
from dcfm_node.records.manifest import Manifest
from dcfm_node.student import sampler
from dcfm_node.student.drawing import check_model
from dcfm_node.student.loaded import Student

FORMAT = "dcfm-node/onnx/1"
VELOCITY, DECODER, SETTINGS, SAMPLER = "velocity.onnx", "decoder.onnx", "sampler.json", "sampler.py"
_ROWS = 3
"""Samples in the example that is traced; 1 would be taken for a constant."""


class Velocity(nn.Module):
    """One evaluation of a student's field, as a solver's step needs it: v(x, t, c, w).

    With composition this is v(∅) + Σ_i w_i [v(c^{i}) - v(∅)] (Eq. 5 of DCFM), w (B, n); with the
    joint head v(∅) + w [v(c) - v(∅)], w (B, 1).
    """

    def __init__(self, manifest: Manifest, model: Path) -> None:
        super().__init__()
        self.net, self.path = load(manifest, load_weights(model), "cpu"), path_of(manifest)
        self.composed = manifest.method.composed
        self.register_buffer("null", null_label(manifest.cardinalities))
        self.absent: Tensor | None
        self.register_buffer("absent", absent_label(manifest))

    def forward(self, x: Tensor, t: Tensor, c: Tensor, w: Tensor) -> Tensor:
        """Shapes (B, *flow_shape), (B,), (B, n) int64, (B, m) -> (B, *flow_shape)."""
        null: Tensor = self.null  # type: ignore[assignment]
        if self.composed:
            terms = marginal_terms(c, null, self.absent)
        else:
            terms = torch.stack([null.expand_as(c), c], dim=1)
        return self.path.compose(evaluate_terms(self.net, x, t, terms), composition_weights(w))


class Decoder(nn.Module):
    """A codec's decoder."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, z: Tensor) -> Tensor:
        """(B, *flow_shape) -> (B, *sample_shape)."""
        return self.codec.decode(z)


def export(student: Student, folder: Path, *, codec: Path | None = None) -> list[str]:
    """Write `velocity.onnx`, `sampler.json` and `sampler.py` into a new folder, all or none.

    Args:
        codec: the codec's file, in place of that in the student's folder.

    Returns: the names of the files.

    Raises:
        ConfigError: a package is missing, or the codec's file is.
        Failed: the student is of a kind that cannot be exported, or the folder exists.
    """
    _check(student, folder)
    manifest = student.manifest
    check_model(manifest, student.model, student.counts)
    decoder = codec_of(manifest, codec or student.codec)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        velocity = Velocity(manifest, student.model).eval()
        rows, shape, n = _ROWS, manifest.flow_shape, len(manifest.cardinalities)
        weights = torch.ones(rows, n if manifest.method.composed else 1)
        c = torch.zeros(rows, n, dtype=torch.int64)
        given = {"x": torch.zeros(rows, *shape), "t": torch.zeros(rows), "c": c, "w": weights}
        _write(velocity, given, "v", new / VELOCITY)
        if not isinstance(decoder, Identity):
            _write(Decoder(decoder), {"z": given["x"]}, "x", new / DECODER)
        settings = _settings(student, decoded=not isinstance(decoder, Identity))
        (new / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        shutil.copyfile(sampler.__file__, new / SAMPLER)
        names = sorted(path.name for path in new.iterdir())
        new.rename(folder)
    return names


def _check(student: Student, folder: Path) -> None:
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        what = f"{' and '.join(missing)} is not installed"
        fix = "pip install 'dcfm-node[onnx]'"
        raise ConfigError(what, where="student export", fix=fix)
    if folder.exists():
        raise Failed("this exists already", where=str(folder), fix="name a new folder with --onnx")
    method, path = student.manifest.method, student.manifest.path
    if method.ensemble:
        raise Failed(
            f"a student of method {method.name!r} is an ensemble of experts, which is not exported",
            fix="export a student that is one network (method 'dcfm' or 'fedflow')",
        )
    if not isinstance(path_of(student.manifest), LinearPath):
        raise Failed(f"the numpy sampler does not know path {path.kind!r}, only 'linear'")


def _settings(student: Student, *, decoded: bool) -> dict[str, Any]:
    """What the sampler must know, as sampler.json has it."""
    manifest, scale = student.manifest, student.lineage.view.scale
    method, shape = manifest.method, manifest.flow_shape
    used = method.guidance
    n = len(manifest.cardinalities)
    shares = (used.shares or (1.0,) * n) if method.composed else (1.0,)
    trained = {label for of in student.counts.values() for label, times in of.items() if times > 0}
    scale_shape = list(shape)
    if scale is not None and len(scale.mean) != math.prod(shape):
        scale_shape = [len(scale.mean), *(1 for _ in shape[1:])]
    return {
        "format": FORMAT,
        "run": student.run,
        "student": student.digest,
        "attributes": {name: list(values) for name, values in student.attributes.items()},
        "sample_shape": list(manifest.sample_shape),
        "flow_shape": list(shape),
        "solver": method.solver,
        "steps": method.solver_steps,
        "guidance": {
            "known": used.known,
            "novel": used.novel,
            "from_t": used.from_t,
            "to_t": used.to_t,
            "shares": list(shares),
        },
        "feasible": list(map(list, manifest.feasible)),
        "trained_on": sorted(map(list, trained)),
        "scale": None if scale is None else scale.model_dump(mode="json"),
        "scale_shape": scale_shape,
        "decoder": decoded,
    }


def _write(module: nn.Module, given: dict[str, Tensor], out: str, file: Path) -> None:
    """Export a module with any number of rows."""
    rows = torch.export.Dim("rows", min=1, max=65_536)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                module,
                tuple(given.values()),
                dynamo=True,
                verbose=False,
                input_names=list(given),
                output_names=[out],
                dynamic_shapes=tuple({0: rows} for _ in given),
            )
            assert made is not None
            made.save(file, external_data=False)
    finally:
        quiet.setLevel(level)
