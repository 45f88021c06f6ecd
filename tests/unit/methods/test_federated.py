import pytest
import torch

from dcfm_node.flow.averaging import average, merge
from dcfm_node.flow.labels import count
from dcfm_node.flow.method import SiloData, Start, learner_of
from dcfm_node.flow.networks import build
from dcfm_node.flow.optimiser import learning_rate
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.fedflow import learner as federated
from tests.training.settings import STAGE, draws, manifest

RUN = manifest()


def silo(seed: int, rows: int) -> EncodedSamples:
    return EncodedSamples(
        torch.randn(rows, 2, generator=draws(seed)),
        torch.randint(2, (rows, 2), generator=draws(seed)),
    )


def test_average_is_weighed_by_sizes() -> None:
    a = {"w": torch.tensor([1.0, -2.0]), "b": torch.tensor(4.0)}
    b = {"w": torch.tensor([5.0, 2.0]), "b": torch.tensor(0.0)}
    made = average([a, b], [3, 1])
    assert made["w"].tolist() == [2.0, -1.0]
    assert made["b"].item() == 3.0
    assert made["w"].dtype == torch.float32


def test_average_refuses_what_it_cannot_weigh() -> None:
    one = {"w": torch.ones(1)}
    with pytest.raises(ValueError, match="all silos hold 0 samples"):
        average([one, one], [0, 0])
    with pytest.raises(ValueError):
        average([one, one], [1])


def test_parts_cover_all_steps_once() -> None:
    parts = [federated.span(RUN, 7, index) for index in range(7)]
    assert [step for part in parts for step in part] == list(range(STAGE["steps"]))


def test_a_silo_follows_the_schedule_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def rate(settings: object, step: int) -> float:
        asked.append(step)
        return learning_rate(RUN.method.local, step)

    monkeypatch.setattr("dcfm_node.flow.optimiser.learning_rate", rate)
    federated.federated(RUN, [silo(0, 30), silo(1, 10)], rounds=5, seed=0, callbacks=Callbacks())
    both = [step for index in range(5) for step in 2 * list(federated.span(RUN, 5, index))]
    assert asked == both


def test_rounds_are_parts_then_averages() -> None:
    silos, seen = [silo(0, 30), silo(1, 10)], []
    callbacks = Callbacks(progress=lambda done, total, losses: seen.append((done, total)))
    made = federated.federated(RUN, silos, rounds=2, seed=3, callbacks=callbacks)
    merged = None
    for index in range(2):
        parts = [
            federated.train_part(
                RUN,
                silos[k],
                init=merged,
                steps=federated.span(RUN, 2, index),
                seed=6 + k,
                callbacks=Callbacks(),
            )
            for k in (0, 1)
        ]
        merged = average([part.weights for part in parts], [30, 10])
    assert merged is not None
    for name, tensor in made.weights.items():
        assert torch.equal(tensor, merged[name]), name
    assert seen == [(10, 20), (20, 20)]
    assert made.metrics["steps"] == 20
    initial = build(RUN).state_dict()
    assert any(not torch.equal(made.weights[name], initial[name]) for name in initial)


def test_a_networks_rounds_are_those_of_one_process() -> None:
    run = manifest(method={"name": "fedflow", "max_rounds": 3})
    learner, silos = learner_of(run), [silo(0, 30), silo(1, 10)]
    whole = federated.federated(run, silos, rounds=3, seed=3, callbacks=Callbacks())
    experts: list[Teacher] = []
    for index in range(3):
        made = [
            learner.train(
                SiloData(f"silo-{k}", data, data),
                Start(round=index, teachers=experts),
                seed=6 + k,
                callbacks=Callbacks(),
            )
            for k, data in enumerate(silos)
        ]
        experts = [
            Teacher(f"silo-{k}", one.weights, count(data.c))
            for k, (one, data) in enumerate(zip(made, silos, strict=True))
        ]
    merged = merge(experts)
    assert all(torch.equal(merged[name], part) for name, part in whole.weights.items())


def test_one_silo_alone_keeps_the_weights_of_its_last_step() -> None:
    """No running average within a part: what is averaged is what training left."""
    whole = federated.train_part(
        RUN, silo(0, 30), init=None, steps=range(20), seed=0, callbacks=Callbacks()
    )
    shares = federated.train_part(
        RUN.model_copy(update={"method": RUN.method.model_copy(update={"ema": 0.5})}),
        silo(0, 30),
        init=None,
        steps=range(20),
        seed=0,
        callbacks=Callbacks(),
    )
    assert all(torch.equal(whole.weights[name], shares.weights[name]) for name in whole.weights)


@pytest.mark.parametrize("rounds", [0, 21])
def test_rounds_that_leave_no_step_are_refused(rounds: int) -> None:
    with pytest.raises(ValueError, match="rounds must be between 1 and"):
        federated.federated(RUN, [silo(0, 5)], rounds=rounds, seed=0, callbacks=Callbacks())
