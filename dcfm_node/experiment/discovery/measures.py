"""Compares found values with attributes that people named, and gives k-means' values."""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray

from dcfm_node.experiment.results import Metrics
from dcfm_node.flow.discovery import Wish, seen
from dcfm_node.samples import Floats, Labels, Samples

ATTRIBUTES = ("digit", "colour")
"""In the order of the labels."""
RESTARTS = 3


def shared(a: Labels, b: Labels) -> float:
    """Normalised mutual information of values (N,) and (N,): 0 if independent, 1 if each tells the
    other; by the mean of both entropies."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(a, b))


def probed(z: Labels, y: Labels) -> float:
    """Accuracy of the linear probe from one value (N,) to labels (N,): fitted on the even samples,
    measured on the odd ones. Of one-hot values it is the most frequent label of each value."""
    table = np.zeros((int(z.max()) + 1, int(y.max()) + 1), np.int64)
    np.add.at(table, (z[::2], y[::2]), 1)
    return float((table.argmax(axis=1)[z[1::2]] == y[1::2]).mean())


def compared(z: Labels, c: Labels) -> tuple[Metrics, tuple[int, int]]:
    """How values (N, 2) match the attributes (N, 2), and which factor is matched to each.

    The best matching has the largest sum of shared information. For `digit` and `colour`:
    `<name>_nmi` and `<name>_probe` of the matched factor, and `<name>_leak`, what that factor
    shares with the other attribute.
    """
    pairs: list[tuple[int, int]] = [(a, b) for a, b in permutations(range(z.shape[1]), 2)]
    matched = max(pairs, key=lambda m: sum(shared(z[:, k], c[:, i]) for i, k in enumerate(m)))
    found: dict[str, float] = {}
    for i, name in enumerate(ATTRIBUTES):
        own = z[:, matched[i]]
        found[f"{name}_nmi"] = shared(own, c[:, i])
        found[f"{name}_leak"] = shared(own, c[:, 1 - i])
        found[f"{name}_probe"] = probed(own, c[:, i])
    return found, matched


def judged(right: Callable[[Samples], NDArray[np.bool_]], drawn: Samples) -> Metrics:
    """Share of draws that show the digit, the colour, and both.

    Args:
        right: of an evaluator: which samples show both values of their labels.
    """
    ok = right(drawn)
    shares = {"both": float(ok.mean())}
    for i, name in enumerate(ATTRIBUTES):
        # The judge answers for both attributes: one is right if it is with some value of the other.
        some = np.zeros(len(drawn), bool)
        for value in range(10):
            c = drawn.c.copy()
            c[:, 1 - i] = value
            some |= right(Samples(drawn.x, c))
        shares[name] = float(some.mean())
    return shares


def clustered(x: Floats, wishes: Sequence[Wish], seed: int) -> Labels:
    """Values (N, K) by k-means of what each factor sees of samples (N, *shape). Factors that see
    everything get in turn what is left of the pixels."""
    from sklearn.cluster import KMeans

    left, found = x.reshape(len(x), -1), []
    for wish in wishes:
        whole = wish.sees == "everything"
        points = left if whole else seen(torch.from_numpy(x), wish.sees).numpy()
        fit = KMeans(wish.values, n_init=RESTARTS, random_state=seed).fit(points)
        found.append(fit.labels_.astype(np.int64))
        if whole:
            left = left - fit.cluster_centers_[fit.labels_]
    return np.stack(found, axis=1)
