"""Draw, verify, replay: a student learns combinations that nobody has from its own best samples.

A committee (`flow.committee`) is trained on the experts' samples of known combinations. In each
round, the student draws samples of novel combinations; those that the committee passes are trained
on, beside the experts' paths (Eq. 15 of DCFM). It uses no private data.

Stronger guidance finds combinations that the joint head misses, but narrows them. So a combination
takes samples of a stronger weight only where weaker ones give too few. Rounds end early once novel
samples pass somewhat more often than known ones do, because more would only cost variety.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor

from dcfm_node.flow import sampling, sources
from dcfm_node.flow.committee import Committee, determined
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.sources import BatchSampler, PathSample, PathSampler, all_live, path_points
from dcfm_node.flow.stages import Outcome, run_stage
from dcfm_node.flow.trainer import Callbacks, agreed, first_rank, generator
from dcfm_node.flow.transfer import Trusted, trusted
from dcfm_node.paths.base import path_of
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Guidance, Replay, Training

KEY = 3
"""Distinguishes the random draws of replay from those of other stages."""
COMBINATIONS = 128
"""Most novel combinations of one round, and most known ones; more are chosen at random."""
KNOWN_EACH = 100
"""Samples of each known combination for the committee."""
MEASURED_EACH = 25
"""Samples of each known combination for the student's own pass rate."""
BEYOND = 1 / 3
"""Rounds end when novel samples pass this far between the known ones' rate and always. Passing as
often is not enough, because strong guidance made some of them too typical."""
ATTEMPTS = 4
"""Draws with every weight, while a combination lacks samples."""
LEAST = 5
"""Fewest passed samples of a combination that are trained on: the odd one passes by mistake."""
SHARE = 0.25
"""Share of novel rows in a batch; more of them cost variety."""


@dataclass(frozen=True)
class Replayer:
    """What all rounds of one student share.

    Attributes:
        training: settings of the distillation with replay's number of steps.
        novel: combinations to learn, (M, n).
        paths: rows on the experts' paths.
    """

    manifest: Manifest
    settings: Replay
    training: Training
    committee: Committee
    taught: tuple[Tensor, Tensor]
    moves: Sequence[Trusted]
    novel: Tensor
    paths: PathSampler
    device: torch.device | str

    def passed(self, weights: Weights, c: Tensor, draws: torch.Generator) -> float:
        """Share of a student's samples for labels c (B, n) that pass, without guidance."""
        return _mean(self.committee.passes(self._draw(weights, c, 1.0, draws), c))

    def collect(
        self,
        weights: Weights,
        pool: "Pool",
        draws: torch.Generator,
        tell: Callable[[float], None],
    ) -> tuple["Pool", float]:
        """Draw samples of the combinations that lack some, and keep those that pass.

        Args:
            tell: called with the share of the drawing that is done.

        Returns: the pool with what passed, and the share that passed without guidance.
        """
        most, every = self.settings.per_combination, (1.0, *self.settings.guidance)
        which = torch.arange(len(pool.asked)).repeat_interleave(MEASURED_EACH)
        drawn = self._draw(weights, pool.asked[which], 1.0, draws)
        good = self.committee.passes(drawn, pool.asked[which])
        rate = _mean(good)
        pool = pool.more(drawn[good], which[good])
        pool = self.transferred(pool, draws)
        for done, weight in enumerate(w for w in every for _ in range(ATTEMPTS)):
            which = pool.lacking(most).repeat_interleave(most)
            if not len(which):
                break
            drawn = self._draw(weights, pool.asked[which], weight, draws)
            good = self.committee.passes(drawn, pool.asked[which])
            pool = pool.more(drawn[good], which[good])
            tell((done + 1) / (ATTEMPTS * len(every)))
        return pool, rate

    def transferred(self, pool: "Pool", draws: torch.Generator) -> "Pool":
        """Fill up with samples of neighbours that are moved, of those that pass."""
        x, c = self.taught
        known = torch.unique(c, dim=0)
        for group in pool.lacking(self.settings.per_combination).tolist():
            wanted = pool.asked[group]
            made = [
                move(x[(c == label).all(dim=1)], label, wanted)
                for move in self.moves
                for label in move.sources(wanted, known)
            ]
            if made:
                found = torch.cat(made)
                found = found[torch.randperm(len(found), generator=draws)]
                good = self.committee.passes(found, wanted.expand(len(found), -1))
                pool = pool.more(found[good], torch.full((int(good.sum()),), group))
        return pool

    def train(
        self, weights: Weights, x: Tensor, c: Tensor, seed: int, callbacks: Callbacks
    ) -> Outcome:
        """Train on samples (N, *shape) with labels (N, n), beside the experts' paths."""
        novel = sources.data_points(x.to(self.device), c, path_of(self.manifest))
        points, share = mixed(self.paths, novel, SHARE), self.training.product_share
        stage = BatchSampler(points, all_live, self.manifest, self.training, share)
        monitor = replace(stage, points=self.paths, product_share=1.0)
        return run_stage(stage, monitor, weights, seed, callbacks)

    def _draw(self, weights: Weights, c: Tensor, weight: float, draws: torch.Generator) -> Tensor:
        manifest, seed = _guided(self.manifest, weight), _seed(draws)
        return sampling.sample(manifest, weights, c, composed=False, seed=seed, device=self.device)


@dataclass(frozen=True)
class Pool:
    """Samples that passed: x (N, *shape) of the combinations asked[which], (M, n) and (N,)."""

    asked: Tensor
    x: Tensor
    which: Tensor

    def more(self, x: Tensor, which: Tensor) -> "Pool":
        return replace(self, x=torch.cat([self.x, x]), which=torch.cat([self.which, which]))

    def lacking(self, most: int) -> Tensor:
        return (torch.bincount(self.which, minlength=len(self.asked)) < most).nonzero().squeeze(1)

    def balanced(self, most: int) -> tuple[Tensor, Tensor]:
        rows = balanced(self.which, len(self.asked), most)
        return self.x[rows], self.asked[self.which[rows]]


def replay(
    manifest: Manifest,
    settings: Replay,
    teachers: Sequence[Teacher],
    student: Outcome,
    *,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """Improve a student on the combinations that no teacher has.

    Nothing changes without rounds, if the known combinations determine no novel one
    (`committee.determined`), or if no reader can be trusted.

    Args:
        callbacks: progress counts drawing as much as training; nothing is saved.

    Returns: the student, with these metrics beside its own: `replay_accuracy`, of the committee on
        left-out combinations; `replay_known` and `replay_passed`, the shares of known and novel
        samples that pass without guidance, of known ones before replay; and `replay_rounds`.
    """
    known, novel = combinations(manifest, teachers)
    if settings.rounds == 0 or len(novel) == 0:
        return student
    callbacks = replace(callbacks, resume=None, save_every=0)
    draws, device = generator(seed, KEY), callbacks.device
    asked = _some(known, draws)
    c = asked.repeat_interleave(KNOWN_EACH, dim=0)
    x = sampling.sample_routed(
        _guided(manifest, 1.0), teachers, c, rule="joint", seed=_seed(draws), device=device
    )
    committee = Committee.fit(x, c, manifest.cardinalities, draws)
    made = {} if committee.accuracy is None else {"replay_accuracy": committee.accuracy}
    if not committee.members:
        return replace(student, metrics=student.metrics | made)
    training = manifest.method.stage("distil")
    player = Replayer(
        manifest,
        settings,
        training.model_copy(update={"steps": settings.steps, "patience": 0}),
        committee,
        (x, c),
        trusted(x, c, manifest.cardinalities, draws),
        novel,
        path_points(
            [callbacks.fast(load(manifest, teacher.weights, device)) for teacher in teachers],
            [teacher.counts for teacher in teachers],
            manifest,
            device,
        ),
        device,
    )
    c = asked.repeat_interleave(MEASURED_EACH, dim=0)
    made["replay_known"] = agreed(player.passed(student.weights, c, draws), device)
    return _rounds(player, student, made, seed, callbacks)


def _rounds(
    player: Replayer, student: Outcome, made: dict[str, float], seed: int, callbacks: Callbacks
) -> Outcome:
    """Rounds until novel samples pass more often than known ones did, or none pass."""
    steps, rounds = player.settings.steps, player.settings.rounds
    enough = made["replay_known"] + BEYOND * (1 - made["replay_known"])
    made["replay_rounds"] = 0.0
    pool = Pool(
        _some(player.novel, generator(seed, KEY)),
        torch.empty(0, *player.manifest.flow_shape),
        torch.empty(0, dtype=torch.int64),
    )
    for round_ in range(1, rounds + 1):
        draws, start = generator(seed, KEY, round_), 2 * steps * (round_ - 1)
        told = within(callbacks, start, progress_of(player.settings))
        tell = partial(_tell, told, steps, made)
        pool, rate = player.collect(student.weights, pool, draws, tell)
        x, c = pool.balanced(player.settings.per_combination)
        made["replay_passed"] = agreed(rate, player.device)
        if made["replay_passed"] >= enough or not agreed(len(x), player.device):
            break
        told = within(callbacks, start + steps, progress_of(player.settings))
        after = player.train(student.weights, x, c, seed + round_, told)
        taken = student.metrics["steps"] + after.metrics["steps"]
        student = Outcome(after.weights, after.metrics | {"steps": taken})
        made["replay_rounds"] = float(round_)
    else:
        draws = generator(seed, KEY, rounds + 1)
        c = _some(player.novel, draws).repeat_interleave(player.settings.per_combination, dim=0)
        made["replay_passed"] = agreed(player.passed(student.weights, c, draws), player.device)
    whole = progress_of(player.settings)
    _tell(within(callbacks, 0, whole), whole, made, 1.0)
    return replace(student, metrics=student.metrics | made)


def progress_of(settings: Replay) -> int:
    """Units of progress of all rounds: drawing counts as much as training."""
    return 2 * settings.steps * settings.rounds


def within(callbacks: Callbacks, start: int, total: int) -> Callbacks:
    """Callbacks of a part of a job that begins after `start` of its `total` steps."""

    def progress(done: int, _: int, losses: Mapping[str, float]) -> None:
        callbacks.progress(start + done, total, losses)

    return replace(callbacks, progress=progress)


def mixed(first: PathSampler, second: PathSampler, share: float) -> PathSampler:
    """Rows of two samplers, shuffled; a share (0 to 1) of them from the second."""

    def sampler(rows: int, generator: torch.Generator) -> PathSample:
        many = round(rows * share)
        a, b = first(rows - many, generator), second(many, generator)
        order = torch.randperm(rows, generator=generator)
        back, there = order.argsort(), order.to(a.x.device)

        def target(masked: Tensor) -> Tensor:
            sorted_ = masked[back]
            parts = a.target(sorted_[: rows - many]), b.target(sorted_[rows - many :])
            return torch.cat(parts)[there]

        x, t = torch.cat([a.x, b.x])[there], torch.cat([a.t, b.t])[there]
        return PathSample(x, t, torch.cat([a.c, b.c])[order], target)

    return sampler


def combinations(manifest: Manifest, teachers: Sequence[Teacher]) -> tuple[Tensor, Tensor]:
    """The combinations that teachers have, and those that they lack but determine: (M, n) each."""
    held = {c for teacher in teachers for c, times in teacher.counts.items() if times > 0}
    every = product(*(range(size) for size in manifest.cardinalities))
    known = torch.tensor(sorted(held), dtype=torch.int64)
    lacking = torch.tensor([c for c in every if c not in held], dtype=torch.int64)
    lacking = lacking.reshape(-1, len(manifest.cardinalities))
    return known, lacking[determined(lacking, known, manifest.cardinalities)]


def balanced(which: Tensor, groups: int, most: int) -> Tensor:
    """Rows so that each group has `most`, its first ones, repeated where there are fewer; none of
    a group with fewer than LEAST.

    Args:
        which: the group of each row, (N,).
    """
    rows = [(which == group).nonzero().squeeze(1) for group in range(groups)]
    kept = [own[torch.arange(most) % len(own)] for own in rows if len(own) >= LEAST]
    return torch.cat(kept) if kept else torch.empty(0, dtype=torch.int64)


def _tell(told: Callbacks, steps: int, made: Mapping[str, float], share: float) -> None:
    if first_rank():
        told.progress(int(share * steps), steps, made)


def _some(combinations: Tensor, draws: torch.Generator) -> Tensor:
    """At most COMBINATIONS of them, in their order."""
    chosen = torch.randperm(len(combinations), generator=draws)[:COMBINATIONS]
    return combinations[chosen.sort().values]


def _guided(manifest: Manifest, weight: float) -> Manifest:
    """The manifest with one guidance weight for all combinations and times."""
    method = manifest.method
    method = method.model_copy(update={"guidance": Guidance(known=weight, novel=weight)})
    return manifest.model_copy(update={"method": method})


def _seed(draws: torch.Generator) -> int:
    return int(torch.randint(1 << 31, (), generator=draws))


def _mean(flags: Tensor) -> float:
    return float(flags.double().mean())
