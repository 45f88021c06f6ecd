"""FedFlow: one flow by federated averaging (Tun et al.), the baseline with a shared model.

`method.local` says what a silo computes in all; T rounds cut its steps into T equal parts, and the
parameters are averaged after each. The learning rate follows the schedule over all steps. Each
part begins with a fresh optimiser, as in FedAvg: nothing but parameters is kept between rounds.
With `ci_weight` above zero it is FedFlow+L.
"""

from collections.abc import Sequence

import torch

from dcfm_node.flow import networks, sources
from dcfm_node.flow.metrics import velocity_error
from dcfm_node.flow.sampling import Teacher, load
from dcfm_node.flow.sources import Source
from dcfm_node.flow.stages import Outcome, Samples
from dcfm_node.flow.trainer import Hooks, Trained, Weights, train
from dcfm_node.records.manifest import Manifest


def average(weights: Sequence[Weights], sizes: Sequence[int]) -> Weights:
    """Σ_k (n_k/N) θ_k, summed in float64 in the order given.

    Raises:
        ValueError: no silo holds a sample, or the two sequences differ in length.
    """
    total = sum(sizes)
    if total <= 0:
        raise ValueError("no silo holds a sample, so there is nothing to weigh an average by")
    return {
        name: sum(
            (one[name].double() * (size / total) for one, size in zip(weights, sizes, strict=True)),
            start=torch.zeros((), dtype=torch.float64),
        )
        .to(tensor.dtype)
        .contiguous()
        for name, tensor in weights[0].items()
    }


def span(manifest: Manifest, rounds: int, index: int) -> range:
    """Which of `method.local.steps` fall between averaging `index` (0 based) and the next."""
    steps = manifest.method.local.steps
    return range(steps * index // rounds, steps * (index + 1) // rounds)


def train_part(
    manifest: Manifest,
    samples: Samples,
    *,
    init: Weights | None,
    steps: range,
    seed: int,
    hooks: Hooks,
) -> Trained:
    """What one silo does between two averagings: those steps of Eq. 11, from given weights.

    Args:
        init: the average so far; the run's common initial weights if None.
    """
    # An average over a part's steps would drag its initial weights along.
    method = manifest.method.model_copy(update={"ema": 0.0})
    manifest = manifest.model_copy(update={"method": method})
    stage = method.local
    points = sources.data_points(samples.x.to(hooks.device), samples.c)
    source = Source(points, sources.all_live, manifest, stage, stage.product_share)
    net = networks.build(manifest)
    if init is not None:
        net.load_state_dict(init)
    net.to(hooks.device)
    return train(net, source, lambda _: 0.0, seed=seed, hooks=hooks, steps=steps)


def merge(teachers: Sequence[Teacher]) -> Weights:
    """The average of published experts, weighed by their silos' sample counts."""
    sizes = [sum(teacher.counts.values()) for teacher in teachers]
    return average([teacher.weights for teacher in teachers], sizes)


def local_round(
    manifest: Manifest,
    train: Samples,
    holdout: Samples,
    *,
    index: int,
    experts: Sequence[Teacher],
    seed: int,
    hooks: Hooks,
) -> Outcome:
    """A silo's round of a run of `method.max_rounds`: average the experts of the last, train on.

    Args:
        index: of the round, 0 based; round 0 has no experts yet.
    """
    steps = span(manifest, manifest.method.last_round + 1, index)
    init = merge(experts) if experts else None
    trained = train_part(manifest, train, init=init, steps=steps, seed=seed, hooks=hooks)
    points = sources.data_points(holdout.x.to(hooks.device), holdout.c)
    field = load(manifest, trained.weights, hooks.device)
    error = velocity_error(field, points, manifest.network.predict)
    return Outcome(
        trained.weights,
        {"holdout_loss": error, "train_loss": trained.loss, "steps": float(trained.steps)},
    )


def federated(
    manifest: Manifest, silos: Sequence[Samples], *, rounds: int, seed: int, hooks: Hooks
) -> Outcome:
    """All silos in one process: T = `rounds` times, E = `method.local.steps` / T steps each.

    Progress is told after every round; `hooks.save` and `hooks.resume` are not used.
    """
    total, sizes = manifest.method.local.steps, [len(silo.x) for silo in silos]
    if not 1 <= rounds <= total:
        raise ValueError(f"rounds must be between 1 and method.local.steps = {total}, not {rounds}")
    merged, loss = None, 0.0
    for index in range(rounds):
        steps = span(manifest, rounds, index)
        trained = [
            train_part(
                manifest,
                silo,
                init=merged,
                steps=steps,
                seed=seed * len(silos) + k,
                hooks=Hooks(hooks.device),
            )
            for k, silo in enumerate(silos)
        ]
        merged = average([one.weights for one in trained], sizes)
        loss = sum(one.loss * size for one, size in zip(trained, sizes, strict=True)) / sum(sizes)
        hooks.progress(steps.stop, total, {"loss": loss})
    assert merged is not None
    return Outcome(merged, {"train_loss": loss, "steps": float(total), "rounds": float(rounds)})
