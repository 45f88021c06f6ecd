"""Shares radiographs among silos by patient, never by image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.dealing import dealt, dirichlet, even
from dcfm_node.errors import UserError
from dcfm_node.samples import Combination, Labels, Samples


@dataclass(frozen=True)
class Cohort:
    """Radiographs with the id of the patient (N,), and the view (N,) of each."""

    samples: Samples
    patients: Labels
    views: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: NDArray[np.bool_] | Labels) -> "Cohort":
        return Cohort(self.samples[rows], self.patients[rows], self.views[rows])


def novel_combinations(
    feasible: Sequence[Combination], many: int, rng: np.random.Generator
) -> tuple[Combination, ...]:
    """Random combinations of two findings or more, sorted; the others still hold every finding.

    Raises:
        UserError: there are not as many.
    """
    candidates = [c for c in feasible if sum(c) > 1]
    left = np.array(feasible).sum(axis=0)
    found: list[Combination] = []
    for place in rng.permutation(len(candidates)).tolist():
        less = left - np.array(candidates[place])
        if len(found) < many and (less[left > 0] > 0).all():
            left = less
            found.append(candidates[place])
    if len(found) < many:
        raise UserError(
            f"only {len(found)} combinations can be novel, not {many}: the others must hold every"
            " finding",
            where="domain.novel",
            fix=f"set novel to {len(found)} or less",
        )
    return tuple(sorted(found))


def shares(
    cohort: Cohort, partition: str, silos: int, concentration: float, rng: np.random.Generator
) -> list[Labels]:
    """The rows that each silo holds, sorted. All images of a patient go to one silo.

    `iid` deals patients evenly, and `noniid` in Dirichlet shares, by the rarest combination of
    each; `views` sorts them by how many of their images are AP (of patients in bed), `patients` by
    id, and gives each silo an equal number in that order.

    Raises:
        UserError: there are too few patients.
    """
    ids, of = np.unique(cohort.patients, return_inverse=True)
    if partition in ("iid", "noniid"):
        rarest = _rarest(cohort.samples.c, of, len(ids))
        deal = even if partition == "iid" else dirichlet(concentration)
        observed = [tuple(row) for row in np.unique(rarest, axis=0).tolist()]
        held = dealt(rarest, observed, silos, deal, rng)
    else:
        in_bed = np.bincount(of, cohort.views == "AP") / np.bincount(of)
        order = np.lexsort((ids, in_bed)) if partition == "views" else np.arange(len(ids))
        held = np.array_split(order, silos)
        if len(ids) < silos:
            raise UserError(
                f"{len(ids)} patients are too few for {silos} silos: one gets none",
                fix="take more patients, or fewer silos",
            )
    return [np.flatnonzero(np.isin(of, mine)) for mine in held]


def firsts(patients: Labels) -> Labels:
    """For each image (N,), the index of the first image of the same patient."""
    _, first, of = np.unique(patients, return_index=True, return_inverse=True)
    return np.asarray(first[of], np.int64)


def _rarest(c: Labels, of: Labels, patients: int) -> Labels:
    """Of each patient, the combination that fewest of all images have, (patients, n)."""
    _, kind, counts = np.unique(c, axis=0, return_inverse=True, return_counts=True)
    order = np.lexsort((kind, counts[kind], of))
    _, first = np.unique(of[order], return_index=True)
    return c[order[first]]
