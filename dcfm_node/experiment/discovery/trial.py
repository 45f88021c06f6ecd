"""Finds factors of one problem with one seed, and recombines them into unseen scenes."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from dcfm_node.domains.base import SplitSpec, made
from dcfm_node.experiment.discovery.measures import clustered, compared, judged
from dcfm_node.experiment.discovery.settings import SHOWN, Discovery, Way, figure_file
from dcfm_node.experiment.lines import NOISE_SEED, TrialSpec, named
from dcfm_node.experiment.results import Metrics, Row, save_samples
from dcfm_node.experiment.rows import RowsTrial
from dcfm_node.flow.discovery import Discovering, Factors, Wish, discover
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.networks.settings import MlpSettings
from dcfm_node.samples import Combination, Floats, Labels, Samples, joined, unit


class DiscoveryTrial(RowsTrial):
    """Runs the trial of a specification; its partition is the problem's name."""

    def __init__(self, spec: TrialSpec, given: Discovery) -> None:
        (problem,) = (one for one in given.problem if one.name == spec.partition)
        inputs = given.model_dump_json(exclude={"problem", "way", "seeds", "title"})
        ways = "".join(way.model_dump_json() for way in given.way)
        super().__init__(spec, given.lineup, inputs + ways + problem.model_dump_json())
        self._given, self._ways = given, {way.name: way for way in given.way}
        domain = made(problem.domain)
        self._split = domain.split(SplitSpec(seed=spec.seed, source=spec.data))
        self._data = self._split.pooled
        self._judge = domain.evaluator(
            self._split, folder=spec.out / "cache", seed=spec.seed, device="cpu"
        )
        self._one, self._other, self._asked = _pairs(
            self._data, self._split.held_out, given.draws, np.random.default_rng(spec.seed)
        )

    def row(self, variant: str) -> Row:
        """How the factors match digit and colour, and how recombined draws are judged."""
        way, data = self._ways[variant], self._data
        began = time.process_time()
        z, model = self._found(way)
        metrics, matched = compared(z, data.c)
        seconds = time.process_time() - began
        return Row(
            method=variant,
            partition=self._spec.partition,
            seed=self._spec.seed,
            rule=way.by,
            metrics={**metrics, **self._recombined(way, z, matched, model)},
            cost={"cpu_seconds": seconds},
        )

    def _found(self, way: Way) -> tuple[Labels, Factors | None]:
        """Values (N, 2) of the training samples, and the field of these factors."""
        data, seed, given = self._data, self._spec.seed, self._given
        x = torch.from_numpy(unit(data.x))
        wishes = [Wish(one.values, one.sees) for one in way.factor]
        if way.by == "chance":
            rng = np.random.default_rng(seed)
            return np.stack([rng.permutation(column) for column in data.c.T], axis=1), None
        z = None
        if way.by == "k-means":
            z = clustered(unit(data.x), wishes, seed)
        elif way.by == "labels":
            z = data.c
            wishes = [Wish(len(one.values)) for one in self._split.attributes]
        stage = Discovering(
            x,
            given.training,
            z=None if z is None else torch.from_numpy(z),
            balance=given.balance,
            independence=way.independence,
        )
        callbacks = Callbacks(progress=lambda done, total, _: self._tell(way.name, done, total))
        net = MlpSettings(width=given.width, depth=given.depth)
        model = discover(stage, wishes, net, seed=seed, callbacks=callbacks)
        return (model.finder.values(x).numpy() if z is None else z), model

    def _recombined(
        self, way: Way, z: Labels, matched: tuple[int, int], model: Factors | None
    ) -> Metrics:
        """Draws with the digit's factor of one picture and the colour's of another, and draws with
        both factors of one picture."""
        asked = {"novel": self._asked, "same": self._data.c[self._one]}
        if model is None:  # by chance: some training picture
            x = unit(self._data.x)[np.random.default_rng(NOISE_SEED).permutation(self._one)]
            drawn = {kind: Samples(x, c) for kind, c in asked.items()}
        else:
            mixed = z[self._one].copy()
            mixed[:, matched[1]] = z[self._other, matched[1]]
            values = {"novel": mixed, "same": z[self._one]}
            drawn = {
                kind: Samples(self._drawn(model, values[kind]), c) for kind, c in asked.items()
            }
            self._keep(way, drawn)
        return {
            named(metric, kind): value
            for kind, samples in drawn.items()
            for metric, value in judged(self._judge.right, samples).items()
        }

    def _drawn(self, model: Factors, z: Labels) -> Floats:
        draws = torch.Generator().manual_seed(NOISE_SEED + self._spec.seed)
        x0 = torch.randn((len(z), *self._data.x.shape[1:]), generator=draws)
        x = model.draw(torch.from_numpy(z), x0, self._given.solver_steps)
        return x.clamp(-1, 1).numpy()

    def _keep(self, way: Way, drawn: dict[str, Samples]) -> None:
        """Keep some pictures for the figure: both sources, the same again, and the recombined."""
        few, data = slice(SHOWN), self._data
        sources = [data[self._one[few]], data[self._other[few]]]
        rows = [*sources, drawn["same"][few], drawn["novel"][few]]
        path = figure_file(self._spec.out, self._spec.partition, self._spec.seed, way.name)
        shown = joined([Samples(unit(row.x), row.c) for row in rows])
        save_samples(path, shown, self._split.space)


def _pairs(
    data: Samples, novel: Sequence[Combination], many: int, rng: np.random.Generator
) -> tuple[Labels, Labels, Labels]:
    """Pictures i and j (N,), of which the digit of i in the colour of j never occurs in the data;
    and these labels (N, 2), in no order."""
    asked = np.array(novel, np.int64)[rng.permutation(many) % len(novel)]
    one = [rng.choice(np.flatnonzero(data.c[:, 0] == digit)) for digit in asked[:, 0]]
    other = [rng.choice(np.flatnonzero(data.c[:, 1] == hue)) for hue in asked[:, 1]]
    return np.array(one, np.int64), np.array(other, np.int64), asked
