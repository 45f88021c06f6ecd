"""FedFlow (Tun et al., 2023): one flow by federated averaging, the baseline with a shared model.

T rounds divide the steps of `method.local` into T equal parts. After each part the parameters are
averaged. The learning rate follows the schedule over all steps. Each part begins with a new
optimiser, as in federated averaging (McMahan et al., 2017).

With `ci_weight` above 0 it is FedFlow+L.
"""

from collections.abc import Sequence

from dcfm_node.flow import metrics, networks, sources
from dcfm_node.flow.averaging import average, merge
from dcfm_node.flow.method import Learner, SiloData, Start
from dcfm_node.flow.networks import Weights, load
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.sources import BatchSampler
from dcfm_node.flow.stages import EncodedSamples, Outcome, points_of
from dcfm_node.flow.trainer import Callbacks, Trained, train
from dcfm_node.paths.base import path_of
from dcfm_node.records.manifest import Manifest


class FedflowLearner(Learner):
    """Every round begins with the average of the previous round's experts."""

    def train(self, silo: SiloData, start: Start, *, seed: int, callbacks: Callbacks) -> Outcome:
        """Train one round's part of `method.local.steps`."""
        run = self.manifest
        steps = span(run, run.method.last_round + 1, start.round)
        init = merge(start.teachers) if start.teachers else None
        made = train_part(run, silo.train, init=init, steps=steps, seed=seed, callbacks=callbacks)
        rows = metrics.holdout_rows(points_of(run, silo.holdout, callbacks.device))
        field = load(run, made.weights, callbacks.device)
        error = metrics.velocity_error(path_of(run), field, rows)
        return Outcome(
            made.weights,
            {"holdout_loss": error, "train_loss": made.loss, "steps": float(made.steps)},
        )

    def student(self, teachers: Sequence[Teacher], *, seed: int, callbacks: Callbacks) -> Outcome:
        """The average of the last round's experts."""
        return Outcome(merge(teachers), {"experts": float(len(teachers))})


def span(manifest: Manifest, rounds: int, index: int) -> range:
    """The part of `method.local.steps` in round `index` (from 0) of `rounds`."""
    steps = manifest.method.local.steps
    return range(steps * index // rounds, steps * (index + 1) // rounds)


def train_part(
    manifest: Manifest,
    samples: EncodedSamples,
    *,
    init: Weights | None,
    steps: range,
    seed: int,
    callbacks: Callbacks,
) -> Trained:
    """Train one silo between two averagings: some steps of Stage I (Eq. 11 of DCFM).

    Args:
        init: the latest average; the run's common initial weights if None.
        steps: range within `method.local.steps`.
    """
    settings, points = manifest.method.local, points_of(manifest, samples, callbacks.device)
    # An average over the steps of a part would keep too much of its initial weights.
    stage = BatchSampler(
        points, sources.all_live, manifest, settings, settings.product_share, decay=0.0
    )
    net = networks.build(manifest)
    if init is not None:
        net.load_state_dict(init)
    net.to(callbacks.device)
    return train(net, stage, seed=seed, callbacks=callbacks, steps=steps)


def federated(
    manifest: Manifest,
    silos: Sequence[EncodedSamples],
    *,
    rounds: int,
    seed: int,
    callbacks: Callbacks,
) -> Outcome:
    """Run all silos in one process: T = `rounds` rounds of `method.local.steps` / T steps each.

    Progress is reported after every round; `callbacks.save` and `callbacks.resume` are not used.

    Raises:
        ValueError: `rounds` is below 1 or above `method.local.steps`.
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
                callbacks=Callbacks(callbacks.device),
            )
            for k, silo in enumerate(silos)
        ]
        merged = average([one.weights for one in trained], sizes)
        loss = sum(one.loss * size for one, size in zip(trained, sizes, strict=True)) / sum(sizes)
        callbacks.progress(steps.stop, total, {"loss": loss})
    assert merged is not None
    return Outcome(merged, {"train_loss": loss, "steps": float(total), "rounds": float(rounds)})
