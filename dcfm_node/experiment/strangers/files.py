"""Writes a problem as its user would have it: labelled folders of pictures, or an npz per silo."""

from pathlib import Path

import numpy as np
from PIL import Image

from dcfm_node.data.spec import FileData, FolderData, NpzData
from dcfm_node.experiment.strangers.problem import Problem
from dcfm_node.samples import Floats, Samples


def silo_name(k: int) -> str:
    """Name of silo k, in the order of the alphabet."""
    return f"silo-{k + 1}"


def write(problem: Problem, folder: Path) -> list[FileData]:
    """Write the private data of every silo below the folder.

    Returns: the `[data]` of every silo's node.toml.
    """
    names = [silo_name(k) for k in range(len(problem.silos))]
    return [write_samples(problem, problem.silo(k), folder / name) for k, name in enumerate(names)]


def write_samples(problem: Problem, samples: Samples, path: Path) -> FileData:
    """Write samples as PNG files into the folder `path`, or into `path`.npz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(problem.sample_shape) == 3:
        for index, (x, c) in enumerate(zip(samples.x, samples.c.tolist(), strict=True)):
            pairs = zip(problem.attributes, c, strict=True)
            labels = ",".join(f"{attribute.name}={attribute.values[v]}" for attribute, v in pairs)
            (path / labels).mkdir(parents=True, exist_ok=True)
            _picture(x).save(path / labels / f"{index:04}.png")
        return FolderData(format="folder", path=path)
    file = path.with_suffix(".npz")
    columns = {
        attribute.name: np.array(attribute.values)[samples.c[:, i]]
        for i, attribute in enumerate(problem.attributes)
    }
    np.savez_compressed(file, x=samples.x, **columns)  # type: ignore[arg-type]
    return NpzData(format="npz", path=file)


def _picture(x: Floats) -> Image.Image:
    pixels = np.clip((x + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(pixels.squeeze())
