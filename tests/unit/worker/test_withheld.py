"""SPEC 6.12.3: a silo's samples without those of probes."""

import torch

from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.worker.withheld import without


def samples(*labels: tuple[int, int]) -> EncodedSamples:
    x = torch.arange(len(labels), dtype=torch.float32)[:, None]
    return EncodedSamples(x, torch.tensor(labels).reshape(len(labels), 2))


def test_samples_of_probes_are_used_for_nothing() -> None:
    train, holdout = without(
        [(0, 1), (1, 0)], samples((0, 0), (0, 1), (1, 1), (0, 1)), samples((1, 0), (0, 0))
    )
    assert train.x.flatten().tolist() == [0, 2] and train.c.tolist() == [[0, 0], [1, 1]]
    assert holdout.c.tolist() == [[0, 0]]


def test_training_samples_become_the_hold_out_where_it_had_probes_alone() -> None:
    train, holdout = without([(1, 0)], samples(*[(0, 0)] * 12), samples((1, 0)))
    assert holdout.x.flatten().tolist() == [0, 10] and len(train.c) == 10


def test_who_holds_probes_alone_keeps_them_to_score_with() -> None:
    given = samples((1, 0), (1, 0)), samples((1, 0))
    assert without([(1, 0)], *given) == given


def test_a_single_other_sample_is_trained_on_and_measured_on() -> None:
    train, holdout = without([(1, 0)], samples((0, 0), (1, 0)), samples((1, 0)))
    assert train.c.tolist() == holdout.c.tolist() == [[0, 0]]


def test_without_probes_nothing_is_copied() -> None:
    given = samples((0, 0), (1, 0)), samples((1, 0))
    train, holdout = without([], *given)
    assert train is given[0] and holdout is given[1]
