"""The hospitals of the demo `chest-xray`: each sees other patients of one folder of radiographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np

from dcfm_node.data.spec import RadiographsData
from dcfm_node.domains.chest.chest import Chest, ChestSplit, is_public
from dcfm_node.domains.chest.images import open_folder
from dcfm_node.domains.fitting import CodecFit, fit_codec
from dcfm_node.domains.settings import ChestSettings
from dcfm_node.errors import DataError
from dcfm_node.files import replacing
from dcfm_node.records.entries import Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Labels, Samples, joined

DOMAIN = "chest-xray"
NOVEL = {"effusion": "1", "mass": "1"}
"""Two findings that seldom occur together."""
MOST = 15_000
"""Images that a demo reads: those of the first patients. All of the NIH would take an hour."""
TESTED = 0.2
"""Share of the images, of the last patients, that no hospital has. They measure the models."""
FOLDER, FILE = "codec", "codec.safetensors"

FIT = CodecFit(kind="linear", features=192)
CHANGED: dict[str, Any] = {
    "sample_shape": [1, 64, 64],
    "standardise": "feature",
    "domain": {"kind": DOMAIN, "size": 64, "steps": 150},
    "network": {"kind": "mlp", "width": 256, "depth": 3, "predict": "sample"},
}
"""Sections of the run in place of those of `configs/runs/chest-xray.toml`."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Shares:
    """First and last patient of each hospital, and of those whom none has."""

    hospitals: tuple[tuple[int, int], ...]
    tested: tuple[int, int]


def shares(folder: Path, hospitals: int) -> Shares:
    """Share the patients of a folder by ranges of their numbers, with about as many images in each.

    Raises:
        DataError: the folder cannot be read, or has too few patients.
    """
    settings = ChestSettings()
    images = [e.patient for e in open_folder(folder).entries if not is_public(e, settings)]
    images = sorted(images)[:MOST]
    ends = [round((1 - TESTED) * len(images) * k / hospitals) for k in range(1, hospitals + 1)]
    firsts = sorted({*images[:1], *(images[end] for end in ends if end < len(images))})
    if len(firsts) <= hospitals:
        raise DataError(
            f"has {len(set(images))} patients who are not public: too few for {hospitals} hospitals"
            " and a test",
            where=str(folder),
            fix="give more images, or fewer --silos",
        )
    lasts = [max(one for one in images if one < first) for first in firsts[1:]]
    *held, tested = zip(firsts, [*lasts, images[-1]], strict=True)
    return Shares(tuple(held), tested)


def data(folder: Path, patients: tuple[int, int]) -> dict[str, Any]:
    """The section `[data]` of a node.toml."""
    return {"format": "radiographs", "path": str(folder.absolute()), "patients": list(patients)}


def settings(run: dict[str, Any]) -> dict[str, Any]:
    """The run.toml of hospitals, changed for a demo: what its nodes train on is encoded."""
    return run | CHANGED


def fit(out: Path, domain: object, folder: Path, tell: Tell) -> dict[str, Any]:
    """Fit a codec to the public images, and say the section `[codec]` of its run.toml. The codec
    stays for the next demo in the same folder.

    Args:
        domain: `[domain]` of the run.toml.
        tell: called with the steps done, and in all.

    Raises:
        UserError: the images cannot be read, or there are too few.
    """
    public = Chest(ChestSettings.model_validate(domain)).public(folder)
    fitted = fit_codec(public.x, FIT, out / FOLDER, tell)
    with replacing(codec_file(out)) as scratch:
        copyfile(fitted.file, scratch)
    section = fitted.section.model_dump(mode="json", exclude={"predict", "file"})
    return section | {"file": (fitted.section.digest or b"").hex()}


def codec_file(out: Path) -> Path:
    """Where the nodes of a demo find their codec."""
    return out.absolute() / FOLDER / FILE


def split(
    manifest: Manifest, held: Sequence[RadiographsData], probes: Sequence[Label]
) -> ChestSplit:
    """What hospitals have trained on, and the images of the patients whom none has.

    Args:
        held: the data of each node.
        probes: combinations that hospitals have, and that nobody trained on. They are novel, as
            are those that none has.
    """
    domain = Chest(ChestSettings.model_validate(manifest.domain.model_dump()))
    folder = held[0].path
    tested = held[0].model_copy(update={"patients": shares(folder, len(held)).tested})
    *silos, (reference, patients) = (_images(domain, manifest, one) for one in (*held, tested))
    whole, public = joined([samples for samples, _ in silos]), domain.public(folder)
    withheld = np.array(probes, np.int64).reshape(-1, len(manifest.attributes))
    trained = [s[~(s.c[:, None] == withheld).all(axis=2).any(axis=1)] for s, _ in silos]
    known = {combination for samples in trained for combination in samples.combinations}
    return ChestSplit(
        manifest.attributes,
        manifest.sample_shape,
        tuple(trained),
        tuple(label for label in manifest.space() if label not in known),
        complete=whole,
        reference=reference,
        shown=public,
        feasible=manifest.feasible,
        public=public,
        patients=patients,
    )


def _images(domain: Chest, manifest: Manifest, of: RadiographsData) -> tuple[Samples, Labels]:
    """All images of a range of patients, and whose each is."""
    found = domain.load(manifest, of)
    if found.together is None:
        raise AssertionError("radiographs have patients")
    return joined((found.train, found.holdout)), np.concatenate(found.together)
