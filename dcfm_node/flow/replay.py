"""Draw, verify, replay: a student learns combinations that nobody has from its own best samples.

A committee (`flow.committee`) is trained on the experts' samples of known combinations. Samples of
novel ones come from their neighbours, by moves that can be trusted (`flow.transfer`), and from the
student's own draws. Those that the committee passes are trained on, beside the experts' paths
(Eq. 15 of DCFM). Where no reader can be trusted, moves are alone. It uses no private data.

Stronger guidance finds combinations that the joint head misses, but narrows them. So a combination
takes draws only where moves give too few samples, and those of a stronger weight only where weaker
ones do. What passed once stays, so later rounds do not narrow it. Rounds end early once novel
samples pass somewhat more often than known ones do, because more would only cost variety.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from dcfm_node.flow import sampling, sources
from dcfm_node.flow.committee import Committee, in_line
from dcfm_node.flow.design import determined
from dcfm_node.flow.features import bounded
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.sources import BatchSampler, PathSample, PathSampler, all_live, path_points
from dcfm_node.flow.stages import Outcome, run_stage
from dcfm_node.flow.trainer import Callbacks, agreed, first_rank, generator
from dcfm_node.flow.transfer import Trusted, trusted
from dcfm_node.paths.base import path_of
from dcfm_node.records.guidance import Guidance, Replay
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Training

KEY = 3
"""Distinguishes the random draws of replay from those of other stages."""
COMBINATIONS = 128
"""Most novel combinations of one round, and most known ones; more are chosen at random."""
KNOWN_EACH = 100
"""Samples of each known combination for the committee and for moves."""
MEASURED_EACH = 25
"""Samples of each combination for the student's own pass rates."""
BEYOND = 1 / 3
"""Rounds end when novel samples pass this far between the known ones' rate and always. Passing as
often is not enough, because strong guidance made some of them too typical."""
ATTEMPTS = 2
"""Draws with every weight, while a combination lacks samples."""
LEAST = 5
"""Fewest passed samples of a combination that are trained on: the odd one passes by mistake."""
SHARE = 0.25
"""Share of novel rows in a batch; more of them cost variety."""


@dataclass(frozen=True)
class Pool:
    """Samples that passed.

    Attributes:
        asked: the combinations to learn, (M, n).
        x: (N, *shape).
        which: the combination of each sample, a row of `asked`, (N,).
    """

    asked: Tensor
    x: Tensor
    which: Tensor

    def joined(self, x: Tensor, which: Tensor) -> "Pool":
        """With more samples, after those that it has."""
        return replace(self, x=torch.cat([self.x, x]), which=torch.cat([self.which, which]))

    def lacking(self, most: int) -> Tensor:
        """The combinations with fewer than `most` samples."""
        return (torch.bincount(self.which, minlength=len(self.asked)) < most).nonzero().squeeze(1)

    def balanced(self, most: int) -> tuple[Tensor, Tensor]:
        """Samples and labels, `most` of each combination: its first ones, repeated where there are
        fewer; none of a combination with fewer than LEAST."""
        rows = [(self.which == group).nonzero().squeeze(1) for group in range(len(self.asked))]
        kept = [own[torch.arange(most) % len(own)] for own in rows if len(own) >= LEAST]
        chosen = torch.cat(kept) if kept else torch.empty(0, dtype=torch.int64)
        return self.x[chosen], self.asked[self.which[chosen]]


@dataclass(frozen=True)
class Replayer:
    """What all rounds of one student share.

    Attributes:
        training: settings of the distillation with replay's number of steps.
        paths: rows on the experts' paths.
    """

    manifest: Manifest
    settings: Replay
    training: Training
    committee: Committee
    paths: PathSampler
    device: torch.device | str

    def passed(
        self, weights: Weights, c: Tensor, weight: float, draws: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A student's samples for labels c (B, n), drawn with a guidance weight, and which pass."""
        manifest, seed = _guided(self.manifest, weight), _seed(draws)
        x = sampling.sample(manifest, weights, c, composed=False, seed=seed, device=self.device)
        x = bounded(x)
        return x, self.committee.passes(x, c)

    def moved(
        self, x: Tensor, c: Tensor, moves: Sequence[Trusted], asked: Tensor, draws: torch.Generator
    ) -> Pool:
        """Samples x (N, *shape) of known labels c (N, n), moved to the combinations asked for; and
        on from those, to others that differ from known ones in more attributes. Moves were tried,
        so most judges' word is enough; where no reader can be trusted, a move is trusted once."""
        pool, unread = Pool(asked, x[:0], c[:0, 0]), not self.committee.members
        for _ in range(1 if unread else c.shape[1]):
            at, of = torch.cat([x, pool.x]), torch.cat([c, asked[pool.which]])
            known, kept, which = torch.unique(of, dim=0), [pool.x], [pool.which]
            for group in pool.lacking(LEAST).tolist():
                wanted = asked[group]
                made = [
                    move(at[(of == label).all(dim=1)], label, wanted)
                    for move in moves
                    for label in move.sources(wanted, known)
                ]
                if not made:
                    continue
                found = torch.cat(made)
                found = found[torch.randperm(len(found), generator=draws)]
                good = self.committee.recognises(found, wanted.expand(len(found), -1)) | unread
                kept.append(found[good][: self.settings.per_combination])
                which.append(torch.full((len(kept[-1]),), group))
            pool = Pool(asked, torch.cat(kept), torch.cat(which))
        return pool

    def drawn(
        self, weights: Weights, pool: Pool, draws: torch.Generator, tell: Callable[[float], None]
    ) -> tuple[Pool, float]:
        """The pool with draws of combinations that lack samples, and the share of all novel draws
        that pass without guidance.

        Args:
            tell: called with the share of the drawing that is done.
        """
        most, rate = self.settings.per_combination, 0.0
        which = torch.arange(len(pool.asked)).repeat_interleave(MEASURED_EACH)
        plan = [weight for weight in (1.0, *self.settings.guidance) for _ in range(ATTEMPTS)]
        for done, weight in enumerate([1.0, *plan]):
            x, good = self.passed(weights, pool.asked[which], weight, draws)
            rate = rate if done else _mean(good)
            pool = pool.joined(x[good], which[good])
            which = pool.lacking(most).repeat_interleave(most)
            tell((done + 1) / (1 + len(plan)))
            if not len(which):
                break
        return pool, rate

    def train(
        self, weights: Weights, x: Tensor, c: Tensor, seed: int, callbacks: Callbacks
    ) -> Outcome:
        """Train on samples (N, *shape) with labels (N, n), beside the experts' paths."""
        novel = sources.data_points(x.to(self.device), c, path_of(self.manifest))
        points, share = mixed(self.paths, novel, SHARE), self.training.product_share
        stage = BatchSampler(points, all_live, self.manifest, self.training, share)
        monitor = replace(stage, points=self.paths, product_share=1.0)
        return run_stage(stage, monitor, weights, seed, callbacks)


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
    (`design.determined`), or if neither a reader nor a move can be trusted.

    Args:
        callbacks: progress counts drawing as much as training; nothing is saved.

    Returns: the student, with these metrics beside its own: `replay_accuracy`, of the committee on
        left-out combinations; `replay_moves`, the number of attributes that a move serves for;
        `replay_known` and `replay_passed`, the shares of known and novel samples that pass without
        guidance, of known ones before replay; and `replay_rounds`.
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
    x = bounded(x)
    kept = in_line(x, c)
    x, c = x[kept], c[kept]
    committee = Committee.fit(x, c, manifest.cardinalities, draws)
    made = {} if committee.accuracy is None else {"replay_accuracy": committee.accuracy}
    tell = partial(_tell, within(callbacks, 0, settings.progress), settings.steps, made)
    moves = trusted(x, c, manifest.cardinalities, draws, tell)
    if not committee.members and not moves:
        return replace(student, metrics=student.metrics | made)
    training = manifest.method.stage("distil")
    player = Replayer(
        manifest,
        settings,
        training.model_copy(update={"steps": settings.steps, "patience": 0}),
        committee,
        path_points(
            [callbacks.fast(load(manifest, teacher.weights, device)) for teacher in teachers],
            [teacher.counts for teacher in teachers],
            manifest,
            device,
        ),
        device,
    )
    pool = player.moved(x, c, moves, _some(novel, draws), draws)
    c = asked.repeat_interleave(MEASURED_EACH, dim=0)
    _, good = player.passed(student.weights, c, 1.0, draws)
    moved = float(len({move.attribute for move in moves}))
    made |= {"replay_moves": moved, "replay_known": agreed(_mean(good), device)}
    return _rounds(player, pool, student, made, seed=seed, callbacks=callbacks)


def _rounds(
    player: Replayer,
    pool: Pool,
    student: Outcome,
    made: dict[str, float],
    *,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """Rounds until novel samples pass more often than known ones did, or none pass."""
    steps, rounds = player.settings.steps, player.settings.rounds
    enough = made["replay_known"] + BEYOND * (1 - made["replay_known"])
    made["replay_rounds"] = 0.0
    for round_ in range(1, rounds + 1):
        draws, start = generator(seed, KEY, round_), steps * (2 * round_ - 1)
        told = within(callbacks, start, player.settings.progress)
        tell = partial(_tell, told, steps, made)
        pool, rate = player.drawn(student.weights, pool, draws, tell)
        x, c = pool.balanced(player.settings.per_combination)
        made["replay_passed"] = agreed(rate, player.device)
        if made["replay_passed"] >= enough or not agreed(len(x), player.device):
            break
        told = within(callbacks, start + steps, player.settings.progress)
        after = player.train(student.weights, x, c, seed + round_, told)
        taken = student.metrics["steps"] + after.metrics["steps"]
        student = Outcome(after.weights, after.metrics | {"steps": taken})
        made["replay_rounds"] = float(round_)
    else:
        c = pool.asked.repeat_interleave(MEASURED_EACH, dim=0)
        _, good = player.passed(student.weights, c, 1.0, generator(seed, KEY, rounds + 1))
        made["replay_passed"] = agreed(_mean(good), player.device)
    whole = player.settings.progress
    _tell(within(callbacks, 0, whole), whole, made, 1.0)
    return replace(student, metrics=student.metrics | made)


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
    known = torch.tensor(sorted(held), dtype=torch.int64)
    lacking = torch.tensor([c for c in manifest.space() if c not in held], dtype=torch.int64)
    lacking = lacking.reshape(-1, len(manifest.cardinalities))
    return known, lacking[determined(lacking, known, manifest.cardinalities)]


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
