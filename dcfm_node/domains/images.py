"""Evaluates images: whether they show their labels, and how they differ from real images."""

from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.base import Evaluator, Split
from dcfm_node.domains.distances import frechet_distance, precision_recall
from dcfm_node.domains.features import (
    Device,
    Extractor,
    FeatureNetwork,
    feature_network,
    inception_features,
)
from dcfm_node.errors import UserError
from dcfm_node.samples import Labels, Samples, unit


def image_evaluator(
    split: Split, folder: Path, inception: Path | None = None, device: Device = "cpu"
) -> "ImageEvaluator":
    """An evaluator with the split's feature network, kept in `folder`.

    Args:
        inception: TorchScript file with the features for the FID; its code is run.

    Raises:
        UserError: a file cannot be read.
    """
    extractor = None if inception is None else inception_features(inception, device)
    return ImageEvaluator(split, feature_network(split, folder, device), extractor)


class ImageEvaluator(Evaluator):
    """Measures images by a network that classifies every attribute.

    Args:
        split: its reference samples are the truth to compare with.
        network: classifies, and gives the features for precision and recall.
        extractor: gives the features for the FID; default the network.
    """

    def __init__(
        self, split: Split, network: FeatureNetwork, extractor: Extractor | None = None
    ) -> None:
        if split.reference is None:
            raise ValueError("the split has no reference samples to compare with")
        self._names = [attribute.name for attribute in split.attributes]
        self._network, self._reference, self._extractor = network, split.reference, extractor
        self._features, self._found = network.look(unit(split.reference.x))

    @property
    def own_accuracy(self) -> float:
        """Share of the reference samples in which the network finds every value.

        This is the highest accuracy that can be measured. Below about 0.95 the other metrics mean
        little.
        """
        return float((self._found == self._reference.c).all(axis=1).mean())

    def right(self, samples: Samples) -> NDArray[np.bool_]:
        """Images in which the network finds every value of the label, (N,)."""
        _, found = self._network.look(np.clip(unit(samples.x), -1, 1))
        return np.asarray((found == samples.c).all(axis=1))

    def features(self, samples: Samples) -> NDArray[np.floating]:
        """The features of the FID."""
        x = np.clip(unit(samples.x), -1, 1)
        return self._network.look(x)[0] if self._extractor is None else self._extractor(x)

    def measure(self, samples: Samples) -> dict[str, float]:
        """Metrics of images x (N, channels, height, width) with the requested labels.

        They are compared with reference images of the same combinations in the same proportions:
        all of them for the FID, and N of them for precision and recall. Values are clipped to
        [-1, 1].

        Returns: `accuracy` (every value is found), `<attribute>_accuracy`, `fid`, `precision`,
            `recall`.

        Raises:
            UserError: a combination has no reference image.
            ValueError: x is not finite, or has fewer than four rows.
        """
        x, c = np.clip(unit(samples.x), -1, 1), samples.c
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
        return (
            self._features if self._extractor is None else self._extractor(unit(self._reference.x))
        )


def alike(pool: Labels, c: Labels, most: int | None = None) -> Labels:
    """Choose rows of the pool (M, n) with the label proportions of c (N, n), sorted.

    Args:
        most: largest number of rows per row of c; None takes as many as the pool has.

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
                fix="request combinations that the test set has",
            )
    each = min(Fraction(len(found), n) for found, n in zip(rows, wanted, strict=True))
    each = each if most is None else min(each, Fraction(most))
    # Rounding down could leave a rare combination out.
    parts = [found[: max(1, int(each * n))] for found, n in zip(rows, wanted, strict=True)]
    return np.sort(np.concatenate(parts))
