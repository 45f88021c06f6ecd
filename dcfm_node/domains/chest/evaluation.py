"""Evaluates drawn radiographs: how like real ones they are, and what a classifier learns."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.base import Evaluator
from dcfm_node.domains.chest import utility
from dcfm_node.domains.chest.chest import ChestSplit
from dcfm_node.domains.chest.classifier import BATCH, LEARNING_RATE, Classifier, classifier
from dcfm_node.domains.chest.memorisation import memorised
from dcfm_node.domains.distances import frechet_distance
from dcfm_node.domains.features import feature_network, inception_features
from dcfm_node.errors import UserError
from dcfm_node.files import replacing
from dcfm_node.samples import Labels, Samples, unit

FEWEST = 5
"""Test images that a combination needs to take part in the FID."""


class ChestEvaluator(Evaluator):
    """Measures radiographs against those of the test patients.

    Args:
        folder: keeps the feature network, and what classifiers of real images recall.
        steps: of every classifier.
        inception: TorchScript file with the features for the FID; its code is run. Default: a
            network trained on the public images.
    """

    def __init__(
        self,
        split: ChestSplit,
        folder: Path,
        *,
        steps: int,
        seed: int,
        device: str,
        inception: Path | None = None,
    ) -> None:
        self._split, self._folder = split, folder
        self._steps, self._seed = steps, seed
        self._groups = utility.groups(self._real.c)
        if not self._groups:
            raise UserError(
                "no test image shows a finding", fix="give more images, or more patients"
            )
        network = feature_network(replace(split, complete=split.public), folder, device, steps)
        look = None if inception is None else inception_features(inception, device)
        self._look = (lambda x: network.look(x)[0]) if look is None else look
        folder.mkdir(parents=True, exist_ok=True)
        counts = {group.name: int(group.rows.sum()) for group in self._groups}
        with replacing(folder / "test-images.json") as scratch:
            scratch.write_text(json.dumps(counts, indent=1) + "\n")

    @property
    def _real(self) -> Samples:
        assert self._split.reference is not None
        return self._split.reference

    def right(self, samples: Samples) -> NDArray[np.bool_]:
        """In which samples a classifier of real images finds all findings asked for, and none where
        none is asked for, (N,)."""
        found = self._reader.found(samples.x)
        nothing = samples.c.sum(axis=1) == 0
        return np.where(nothing, ~found.any(axis=1), utility.recalled(found, samples.c))

    def features(self, samples: Samples) -> NDArray[np.floating[Any]]:
        """The features of the FID, (N, d)."""
        return self._look(np.asarray(np.clip(unit(samples.x), -1, 1), np.float32))

    def measure(self, samples: Samples) -> dict[str, float]:
        """`accuracy` (see `right`) and `fid`.

        The FID is over combinations with at least FEWEST test images, each of them with the same
        weight; it is absent where there is none.
        """
        real, weights = self._real, _even(self._real.c, samples.c)
        drawn = _listed(samples.c, real.c[weights > 0])
        found = {"accuracy": float(self.right(samples).mean())}
        if drawn.sum() > 1:
            kept = weights > 0
            found["fid"] = frechet_distance(
                self.features(samples[drawn]), self._real_features[kept], weights[kept]
            )
        return found

    def measure_together(self, samples: Samples) -> dict[str, float]:
        """What a classifier that was trained on these samples alone recalls (Eq. 18 of DCFM).

        `utility` is the mean over the groups of test images (`utility.groups`), `utility_low` and
        `utility_high` its 95 % interval over patients, `utility_multiple` that of two findings or
        more. `specificity` is the share of absent findings that it does not find: whoever finds
        everything recalls everything.
        `ceiling_*` are the same of a classifier trained on the real training images, and `floor_*`
        the means over silos of classifiers trained on each one's own.

        `memorised_pixels` and `memorised_features` say how near samples are to the silos' training
        images (`memorisation.memorised`): copies are near 0, images of other patients at 1.
        """
        found = self._recall(classifier(samples, self._steps, self._seed))
        ceiling = self._of_real(self._complete)
        floors = [self._of_real(silo) for silo in self._split.silos]
        found |= {f"ceiling_{name}": value for name, value in ceiling.items()}
        found |= self._memorised(samples)
        for name in ceiling:
            mean = np.mean([floor[name] for floor in floors if name in floor])
            found[f"floor_{name}"] = float(mean)
        return found

    def _memorised(self, samples: Samples) -> dict[str, float]:
        pooled = self._split.pooled
        pixels = [
            np.clip(unit(part.x), -1, 1).reshape(len(part), -1)
            for part in (samples, self._real, pooled)
        ]
        looks = self.features(samples), self._real_features, self.features(pooled)
        return {"memorised_pixels": memorised(*pixels), "memorised_features": memorised(*looks)}

    @property
    def _complete(self) -> Samples:
        assert self._split.complete is not None
        return self._split.complete

    @cached_property
    def _reader(self) -> Classifier:
        """Trained on the real training images."""
        return classifier(self._complete, self._steps, self._seed)

    @cached_property
    def _real_features(self) -> NDArray[np.floating[Any]]:
        return self.features(self._real)

    def _recall(self, reader: Classifier) -> dict[str, float]:
        real, patients = self._real, self._split.patients
        seen = reader.found(real.x)
        right = utility.recalled(seen, real.c)
        whole = utility.mean_recall(right, self._groups, patients, self._seed)
        found = {"utility": whole.mean, "utility_low": whole.low, "utility_high": whole.high}
        if several := [group for group in self._groups if group.findings > 1]:
            multiple = utility.mean_recall(right, several, patients, self._seed)
            found["utility_multiple"] = multiple.mean
        found["specificity"] = float((~seen)[real.c == 0].mean())
        return found

    def _of_real(self, samples: Samples) -> Mapping[str, float]:
        """`_recall` of a classifier of real images, from the folder if it was measured before."""
        recipe = (Classifier.__doc__, BATCH, LEARNING_RATE, self._steps, self._seed)
        key = hashlib.sha256(repr(recipe).encode())
        for part in (samples.x, samples.c, self._real.x, self._real.c):
            key.update(np.ascontiguousarray(part).data)
        file = self._folder / f"utility-{key.hexdigest()[:16]}.json"
        if not file.exists():
            reader = (
                self._reader
                if samples is self._complete
                else classifier(samples, self._steps, self._seed)
            )
            with replacing(file) as scratch:
                scratch.write_text(json.dumps(self._recall(reader), indent=1) + "\n")
        found: dict[str, float] = json.loads(file.read_text())
        return found


def _even(c: Labels, asked: Labels) -> NDArray[np.float64]:
    """Weights of real images (M,): the same sum for each combination that is asked for and has
    FEWEST images or more, else 0."""
    _, kind, counts = np.unique(c, axis=0, return_inverse=True, return_counts=True)
    usable = (counts[kind] >= FEWEST) & _listed(c, asked)
    return np.where(usable, 1.0 / counts[kind], 0.0)


def _listed(c: Labels, among: Labels) -> NDArray[np.bool_]:
    """Which rows of labels (N, n) are among others (M, n)."""
    known = {tuple(row) for row in np.unique(among, axis=0).tolist()}
    return np.array([tuple(row) in known for row in c.tolist()], np.bool_)
