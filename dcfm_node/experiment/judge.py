"""Judges images: do they show what was asked, and are they like those that nobody trained on?"""

from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import UserError
from dcfm_node.experiment.features import (
    Device,
    Extractor,
    FeatureNetwork,
    Images,
    feature_network,
    inception_features,
)
from dcfm_node.experiment.metrics import frechet_distance, precision_recall
from dcfm_node.experiment.task import Task

Labels = NDArray[np.int64]


def image_judge(
    task: Task, folder: Path, inception: Path | None = None, device: Device = "cpu"
) -> "ImageJudge":
    """A judge with the task's feature network, kept in `folder`.

    Args:
        inception: TorchScript file whose features the FID is to use; its code is run.

    Raises:
        UserError: a file cannot be read.
    """
    extractor = None if inception is None else inception_features(inception, device)
    return ImageJudge(task, feature_network(task, folder, device), extractor)


class ImageJudge:
    """A `Judge` of images, by a network that classifies every attribute.

    Args:
        task: whose reference samples are compared with.
        network: classifies, and gives the features of precision and recall.
        extractor: gives the features of the FID; default the network.
    """

    def __init__(
        self, task: Task, network: FeatureNetwork, extractor: Extractor | None = None
    ) -> None:
        self._names = [name for name, _ in task.attributes]
        self._network, self._reference, self._extractor = network, task.reference, extractor
        self._features, self._found = network.look(task.reference.x)

    @property
    def own_accuracy(self) -> float:
        """Share of the reference samples in which the network finds every value.

        No method can be told from a perfect one beyond this, and below some .95 the other figures
        say little.
        """
        return float((self._found == self._reference.c).all(axis=1).mean())

    def measure(self, x: Images, c: Labels) -> dict[str, float]:
        """Metrics of images x (N, channels, height, width) that were asked to show c (N, n).

        The truth is the reference of the same combinations in the same proportions: all there is
        for the FID, as many as samples for precision and recall. Values beyond [-1, 1] are cut.

        Returns: `accuracy` (every value is found), `<attribute>_accuracy`, `fid`, `precision`,
            `recall`.

        Raises:
            UserError: the reference lacks a combination.
            ValueError: x is not finite, or has fewer than four rows.
        """
        x = np.clip(x, -1, 1)
        features, found = self._network.look(x)
        right = found == c
        shares = zip(self._names, right.mean(axis=0).tolist(), strict=True)
        truth = alike(self._reference.c, c)
        even = alike(self._reference.c, c, most=1)
        sample = alike(c, self._reference.c[even], most=1)
        precision, recall = precision_recall(self._features[even], features[sample])
        drawn = features if self._extractor is None else self._extractor(x)
        return {
            "accuracy": float(right.all(axis=1).mean()),
            **{f"{name}_accuracy": share for name, share in shares},
            "fid": frechet_distance(self._fid_reference[truth], drawn),
            "precision": precision,
            "recall": recall,
        }

    @cached_property
    def _fid_reference(self) -> NDArray[np.floating]:
        return self._features if self._extractor is None else self._extractor(self._reference.x)


def alike(pool: Labels, c: Labels, most: int | None = None) -> Labels:
    """Rows of the pool (M, n) whose labels occur in the proportions of c (N, n), sorted.

    Args:
        most: rows for each row of c at most; default as many as the pool allows.

    Raises:
        UserError: a combination of c is not in the pool.
    """
    combinations, counts = np.unique(c, axis=0, return_counts=True)
    wanted = counts.tolist()
    rows = [np.flatnonzero((pool == combination).all(axis=1)) for combination in combinations]
    for combination, found in zip(combinations.tolist(), rows, strict=True):
        if not len(found):
            raise UserError(
                f"no reference sample shows combination {combination}",
                fix="ask for combinations that the test set has",
            )
    each = min(Fraction(len(found), n) for found, n in zip(rows, wanted, strict=True))
    each = each if most is None else min(each, Fraction(most))
    # Rounding down could leave a rare combination out.
    parts = [found[: max(1, int(each * n))] for found, n in zip(rows, wanted, strict=True)]
    return np.sort(np.concatenate(parts))
