"""Labels a site's samples by factors that are found without labels."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from dcfm_node.data.folder import read_folder
from dcfm_node.data.look import look
from dcfm_node.data.npz import read_npz
from dcfm_node.data.spec import FolderData, NpzData
from dcfm_node.domains import tiles
from dcfm_node.domains.finder import FinderFile, Said, packed, read_finder
from dcfm_node.domains.panels import INK
from dcfm_node.errors import DataError, UserError
from dcfm_node.flow.discovery import SEES, Discovering, discover
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.networks.settings import MlpSettings
from dcfm_node.records.settings import Training
from dcfm_node.samples import Labels, Samples, Stored
from dcfm_node.words import plain

WIDTH, BATCH, LEARNING_RATE = 64, 64, 3e-3
LEAST_SAMPLES = 50
EXAMPLES = 12
"""Pictures of a value on the contact sheet."""
MOST_SIDE, MOST_PIXELS = 256, 2**26
"""Larger pictures are shown with every second, third, … pixel; values that a contact sheet has no
room for are left out. A finder of another site may name many values of large pictures."""
DATA, FINDER, SHEET = "data.npz", "finder.safetensors", "factors.png"


class Sought(NamedTuple):
    """How to train a finder: what --factor says, steps, seed."""

    factors: Sequence[str]
    steps: int
    seed: int


class Labelled(NamedTuple):
    """Samples labelled by a finder: values (N, K). `note` says how they were changed, if at all."""

    x: Stored
    z: Labels
    made: FinderFile
    note: str


def labelled(
    data: Path,
    out: Path,
    how: Sought | tuple[Path, str],
    names: Sequence[str],
    tell: Callable[[int, int], None],
) -> Labelled:
    """Write the samples with their found values, the finder and a contact sheet into a new folder.

    Args:
        data: a folder of pictures or a NumPy archive; labels that it has are not looked at.
        how: how to train a finder; or the file of one, and the SHA-256 that it must have or "".
        names: FACTOR=NAME and FACTOR.VALUE=NAME, which the finder then has.

    Raises:
        UserError: the data, the finder's file or a name cannot be used.
    """
    if out.exists():
        raise UserError("this exists already", where=str(out), fix="name a new folder with --out")
    if isinstance(how, Sought):
        x, note = samples_of(data, None)
        said = named(_said(how.factors, x), names)
        finder = _trained(x, said, how, tell)
    else:
        made = read_finder(*how)
        x, note = samples_of(data, made.said.shape)
        said, finder = named(made.said, names), made.finder
    try:
        z = finder.values(torch.from_numpy(x)).numpy()
    except ValueError as error:
        fix = "check that the samples have the units of that site; or use another finder"
        raise DataError(f"the finder {error}", where=str(data), fix=fix) from error
    with TemporaryDirectory(dir=_parent(out), prefix=f".{out.name}.") as work:
        scratch = Path(work) / out.name
        scratch.mkdir()
        (scratch / FINDER).write_bytes(packed(finder, said))
        words = {f.name: np.array(f.values)[z[:, k]] for k, f in enumerate(said.factors)}
        arrays: dict[str, Any] = {"x": x, **words}
        np.savez_compressed(scratch / DATA, **arrays)
        if x.ndim == 4:
            contact_sheet(x, z, said).save(scratch / SHEET)
        made = read_finder(scratch / FINDER)
        scratch.rename(out)
    return Labelled(x, z, made, note)


def samples_of(data: Path, shape: tuple[int, ...] | None) -> tuple[Stored, str]:
    """All samples (N, *shape) of a folder of pictures or an archive, without labels; and how they
    were changed.

    Args:
        shape: that they must have; pictures in files are resampled to it. None takes their own.

    Raises:
        DataError: the data cannot be read, or are too few.
    """
    found = look(data, (), None)
    spec, wanted, note = found.spec, shape or found.shape, ""
    if isinstance(spec, FolderData):
        spec = spec.model_copy(update={"resize": spec.resize or wanted != found.shape})
        if wanted != found.shape:
            here, there = (" x ".join(map(str, one)) for one in (found.shape, wanted))
            note = f"the pictures have {here} numbers, and were resampled to the finder's {there}"
        raw = read_folder(spec, {}, wanted)
    elif isinstance(spec, NpzData):
        raw = read_npz(spec, {}, (), wanted)
    else:
        what = "is neither a folder of pictures nor a NumPy archive"
        raise DataError(what, where=str(data), fix="give a folder of pictures, or an .npz file")
    with np.errstate(over="ignore"):  # told below
        x: Stored = raw.x if raw.x.dtype == np.uint8 else raw.x.astype(np.float32)
    if shape is None and len(x) < LEAST_SAMPLES:
        raise DataError(
            f"holds {len(x)} samples, too few to find factors in",
            where=str(data),
            fix=f"give at least {LEAST_SAMPLES}, or the --finder of another site",
        )
    if not np.isfinite(x).all():
        raise DataError("holds numbers that are not finite", where=str(data), fix="remove them")
    return x, note


def named(said: Said, names: Sequence[str]) -> Said:
    """The same factors under other names: FACTOR=NAME, FACTOR.VALUE=NAME, by the old names.

    Raises:
        UserError: there is no such factor or value, or a name is not valid or given twice.
    """
    factors: list[dict[str, Any]] = [factor.model_dump(mode="json") for factor in said.factors]
    places = {factor.name: k for k, factor in enumerate(said.factors)}
    for text in names:
        old, equals, new = text.partition("=")
        factor, dot, value = old.strip().partition(".")
        k = places.get(factor)
        if not equals or k is None or (dot and value not in said.factors[k].values):
            there = "; ".join(f"{f.name}: {', '.join(f.values)}" for f in said.factors)
            fix = f"write FACTOR=NAME or FACTOR.VALUE=NAME; there are {plain(there)}"
            raise UserError(f"--name {plain(text)} names nothing here", fix=fix)
        if dot:
            place = said.factors[k].values.index(value)
            values = list(factors[k]["values"])
            values[place] = new.strip()
            factors[k]["values"] = values
        else:
            factors[k]["name"] = new.strip()
    return _valid(said.shape, said.width, factors)


def contact_sheet(x: Stored, z: Labels, said: Said) -> Image.Image:
    """Examples of every value: a row for each, the factors one below the other; as many as fit."""
    step = math.ceil(max(x.shape[2:]) / MOST_SIDE)
    x = x[:, :, ::step, ::step]
    rows: list[tuple[str, Labels]] = []
    for k, factor in enumerate(said.factors):
        for value, name in enumerate(factor.values):
            its = np.flatnonzero(z[:, k] == value)
            # Evenly over the data, so that no one picks the best.
            few = its[np.linspace(0, len(its) - 1, min(EXAMPLES, len(its))).astype(int)]
            rows.append((f"{factor.name} = {name} ({len(its)})", few))
    scale = max(1, tiles.SIDE // max(x.shape[2:]))
    height, width = (side * scale + tiles.GAP for side in x.shape[2:])
    font = ImageFont.load_default(tiles.FONT)
    words = [tiles.readable(plain(said)) for said, _ in rows]
    text = math.ceil(max(font.getlength(line) for line in words)) + 3 * tiles.GAP
    high = max(height, tiles.LINE)
    most = max(1, MOST_PIXELS // (high * (text + EXAMPLES * width)))
    words, rows = words[:most], rows[:most]
    canvas = Image.new("RGB", (text + EXAMPLES * width, len(rows) * high), "white")
    pen = ImageDraw.Draw(canvas)
    for place, (line, (_, few)) in enumerate(zip(words, rows, strict=True)):
        pen.text((tiles.GAP, place * high), line, INK, font)
        pixels = (
            tiles.pixels_of(Samples(x[few], z[few])).repeat(scale, axis=1).repeat(scale, axis=2)
        )
        for column, picture in enumerate(pixels):
            canvas.paste(Image.fromarray(picture), (text + column * width, place * high))
    return canvas


def counts_of(found: Labelled) -> Mapping[str, Mapping[str, int]]:
    """Factor -> value -> number of samples."""
    counted = {}
    for k, factor in enumerate(found.made.said.factors):
        times = Counter(found.z[:, k].tolist())
        counted[factor.name] = {value: times[i] for i, value in enumerate(factor.values)}
    return counted


def _said(factors: Sequence[str], x: Stored) -> Said:
    """What --factor asks for: VALUES or VALUES:SEES."""
    parsed: list[dict[str, Any]] = []
    for k, text in enumerate(factors, start=1):
        many, _, sees = text.partition(":")
        if not many.isdecimal() or not 2 <= int(many) <= 32 or (sees and sees not in SEES):
            raise UserError(
                f"--factor {plain(text)} is not valid",
                fix=f"write VALUES or VALUES:SEES: 2 to 32 values, one of {', '.join(SEES)}",
            )
        values = [f"v{i}" for i in range(1, int(many) + 1)]
        parsed.append({"name": f"factor-{k}", "values": values, "sees": sees or SEES[0]})
    return _valid(x.shape[1:], WIDTH, parsed)


def _valid(shape: tuple[int, ...], width: int, factors: Sequence[dict[str, Any]]) -> Said:
    try:
        said = {"shape": shape, "width": width, "factors": factors}
        return Said.model_validate_json(json.dumps(said))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise UserError(what, where=place, fix="change --factor or --name") from error


def _trained(x: Stored, said: Said, how: Sought, tell: Callable[[int, int], None]) -> Any:
    stage = Discovering(
        torch.from_numpy(x),
        Training(steps=how.steps, batch=BATCH, learning_rate=LEARNING_RATE),
    )
    callbacks = Callbacks(progress=lambda done, total, _: tell(done, total))
    net = MlpSettings(width=said.width, depth=2)
    return discover(stage, said.wishes, net, seed=how.seed, callbacks=callbacks).finder


def _parent(out: Path) -> Path:
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    return out.absolute().parent
