"""A folder of made-up radiographs in the layout of NIH ChestX-ray14."""

from pathlib import Path

import numpy as np
from PIL import Image

from dcfm_node.domains.base import SplitSpec
from dcfm_node.domains.chest.chest import Chest, ChestSplit
from dcfm_node.domains.settings import ChestSettings

HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
COMBINATIONS = ("No Finding", "Effusion", "Mass", "Edema", "Effusion|Mass", "Edema|Effusion")
SIDE = 12


def shade(findings: str) -> int:
    """How bright the images of a combination are."""
    return 30 + 35 * COMBINATIONS.index(findings)


def image(findings: str, number: int) -> np.ndarray:
    """(SIDE, SIDE), no two alike."""
    found = np.full((SIDE, SIDE), shade(findings), np.uint8)
    found[number % SIDE, number // SIDE % SIDE] += 1 + number // SIDE**2
    return found


def row(name: str, findings: str, patient: object, view: str) -> str:
    return f"{name},{findings},0,{patient},57,M,{view},2682,2749,0.143,0.143"


def write(
    folder: Path, patients: int = 60, archive: bool = True, first: int = 271, each: int = 2
) -> Path:
    """Patients have `each` images, an even one AP; of the default ones, 271 to 278 are public."""
    rows, names, images = [], [], []
    for number in range(patients * each):
        patient = first + number // each
        findings = COMBINATIONS[number % len(COMBINATIONS)]
        name = f"{patient:08}_{number % each:03}.png"
        rows.append(row(name, findings, patient, ("AP", "PA")[patient % 2]))
        names.append(name)
        images.append(image(findings, number))
    rows.append(row("99999999_000.png", "Hernia|Mass", 99_999_999, "PA"))  # rare, without an image
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEAD, *rows, ""]), "utf-8")
    if archive:
        np.savez(folder / "small.npz", image=np.stack(images), name=np.array(names))
    else:
        (folder / "images_001" / "images").mkdir(parents=True)
        for name, x in zip(names, images, strict=True):
            Image.fromarray(x).save(folder / "images_001" / "images" / name)
    return folder


def split_of(folder: Path, partition: str = "iid", seed: int = 0, **settings: object) -> ChestSplit:
    given = ChestSettings.model_validate(
        {"size": SIDE, "silos": 3, "frequency": 0.05, **settings}, strict=False
    )
    return Chest(given).split(SplitSpec(partition=partition, seed=seed, source=folder))
