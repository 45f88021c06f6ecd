"""The cube robot (section 6.2 of DCFM): plans from quadrant to quadrant of a table."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data import source as files
from dcfm_node.data.raw import Raw
from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import DataSpec, EpisodesData
from dcfm_node.domains.base import Domain, Evaluator, Redraw, Split, SplitSpec
from dcfm_node.domains.dealing import dealt, dirichlet, even
from dcfm_node.domains.robots import episodes, plan, segments
from dcfm_node.domains.robots.execution import Arm
from dcfm_node.domains.robots.rollouts import by_commands, by_planner
from dcfm_node.domains.robots.segments import Cut
from dcfm_node.domains.settings import CubeSettings
from dcfm_node.domains.space import Holders, Panel, Space
from dcfm_node.errors import DataError, UserError
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.samples import Combination, Labels, Samples, Stored, unit

if TYPE_CHECKING:
    from PIL.Image import Image

DIAGONALS: tuple[Combination, ...] = ((0, 3), (1, 2), (2, 1), (3, 0))
"""The combinations that no silo holds: moves between opposite quadrants, both ways."""
WITHIN = {0.04: "", 0.02: "_2cm"}
"""Distances from the goal, in m, and how their metrics' names end."""
REFERENCE = 5
"""Every fifth episode is not trained on, and serves as the reference."""
_MAKE = "make episodes with 'dcfm-node domain make cube'"


class Cube(Domain[CubeSettings]):
    """Plans (CHANNELS, horizon) with the attributes source and destination."""

    own_attributes = (
        Attribute(name="source", values=plan.QUADRANTS),
        Attribute(name="destination", values=plan.QUADRANTS),
    )
    each = 15
    compared = (
        "share of infeasible plans",
        "feasible most often, for the labels of hold-out plans",
    )

    def partitions(self) -> tuple[str, ...]:
        """`iid` deals every combination evenly, `noniid` in Dirichlet shares."""
        return self.settings.partitions

    def check(self, source: Path | None) -> None:
        """Check that there are files of episodes, without reading them.

        Raises:
            UserError: no folder is given, it has no episodes, or a package is missing.
        """
        super().check(source)
        episodes.files(_named(source))

    def load(self, manifest: Manifest, source: DataSpec) -> SiloData:
        """Read, check and split a silo's private data; for `format = "episodes"`, cut them first.

        Raises:
            DataError: the data cannot be read or do not fit the run.
        """
        if not isinstance(source, EpisodesData):
            return super().load(manifest, source)
        self.check_attributes(manifest.attributes, str(source.path))
        cut = segments.cut(episodes.read(source.path), self.settings.horizon)
        raw = Raw(cut.samples.x, {}, cut.names.__getitem__, str(source.path), _notes(cut))
        return files.prepared(raw, cut.samples.c, source, manifest)

    def split(self, spec: SplitSpec) -> Split:
        """Deal the plans of the observed combinations to silos: all but those of DIAGONALS.

        Each training plan of an observed combination goes to one silo. `complete` and `reference`
        are all training and reference plans, the same for every seed.

        Raises:
            UserError: no folder is given, or it has too few plans of a combination.
        """
        settings, attributes = self.settings, self.attributes(spec.attributes)
        partition = spec.partition or settings.partitions[0]
        folder = _named(spec.source)
        train, reference = plans(folder, settings.horizon)
        quadrants = range(len(plan.QUADRANTS))
        space = [(a, b) for a in quadrants for b in quadrants]
        for samples, of in ((train, "train on"), (reference, "refer to")):
            if missing := sorted(set(space) - set(samples.combinations)):
                a, b = (plan.QUADRANTS[value] for value in missing[0])
                raise DataError(
                    f"holds no plan from {a} to {b} to {of}; {len(missing)} combinations lack one",
                    where=str(folder),
                    fix=f"{_MAKE}: at least 60",
                )
        observed = [combination for combination in space if combination not in DIAGONALS]
        deal = even if partition == "iid" else dirichlet(settings.concentration)
        rng = np.random.default_rng(spec.seed)
        shares = dealt(train.c, observed, spec.silos or settings.silos, deal, rng)
        return Split(
            attributes,
            train.x.shape[1:],
            tuple(train[rows] for rows in shares),
            DIAGONALS,
            train,
            reference,
        )

    def shows(self, x: Stored, c: Labels) -> NDArray[np.bool_]:
        """Which of their quadrants plans begin and end in (`plan.shows`)."""
        return plan.shows(unit(x), c)

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> "CubeEvaluator":
        """An evaluator of plans."""
        return CubeEvaluator()

    def draw(
        self, space: Space, panels: Sequence[Panel], holders: Holders, title: str = ""
    ) -> "Image":
        """The paths of the cube that plans hold, seen from above (Figure 7 of DCFM)."""
        from dcfm_node.domains.robots import views

        return views.draw(space, panels, title)

    def sheet(self, space: Space, samples: Samples) -> "Image":
        """The same of one model, a view for each combination."""
        from dcfm_node.domains.robots import views

        return views.sheet(space, views.views_of(samples))


class CubeEvaluator(Evaluator):
    """Measures how many plans are feasible, and executes those that are in the simulator."""

    def __init__(self) -> None:
        self._arm: Arm | None = None

    def right(self, samples: Samples) -> NDArray[np.bool_]:
        """Which plans begin and end with the cube on the table in the quadrants asked for, (N,)."""
        return plan.feasible(unit(samples.x), samples.c)

    def measure_redrawn(self, samples: Samples, redraw: Redraw) -> dict[str, float]:
        """Shares of all plans that lead to their goal (section 6.2 of DCFM).

        `success` are those that the planner, which plans again as the arm moves, executes so that
        the cube ends within 4 cm of the plan's goal; `success_2cm` within 2 cm. `tracked` and
        `tracked_2cm` follow the plan's own commands. A plan that is not feasible is not executed,
        and no success.
        """
        if self._arm is None:
            self._arm = Arm()
        found = {}
        for name, rollouts in (
            ("success", by_planner(self._arm, samples, redraw)),
            ("tracked", by_commands(self._arm, samples)),
        ):
            for within, suffix in WITHIN.items():
                found[name + suffix] = float(rollouts.reached(within).mean())
        return found

    def distance(self, samples: Samples, real: Samples) -> float:
        """The share of samples that are no feasible plans."""
        return 1 - float(self.right(samples).mean())


@lru_cache(1)
def plans(folder: Path, horizon: int) -> tuple[Samples, Samples]:
    """Training and reference plans of a folder's episodes.

    Raises:
        DataError: an episode cannot be read or used.
    """
    cut = segments.cut(episodes.read(folder), horizon)
    kept = cut.episodes % REFERENCE == REFERENCE - 1
    return cut.samples[~kept], cut.samples[kept]


def _named(folder: Path | None) -> Path:
    if folder is None:
        raise UserError(
            "the domain 'cube' needs episodes, but no folder is given",
            fix=f"{_MAKE}, then give --data FOLDER, or path under [data] in node.toml",
        )
    return folder


def _notes(cut: Cut) -> tuple[str, ...]:
    many = f"{len(cut.samples)} plans were cut from {cut.episodes.max() + 1} episodes"
    left = "; ".join(f"{n} x {why}" for why, n in cut.dropped.most_common())
    return (f"{many}, and {cut.dropped.total()} pieces left out ({left})" if left else many,)
