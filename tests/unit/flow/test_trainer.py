import pytest
import torch

from dcfm_node.flow.optimiser import learning_rate
from dcfm_node.flow.trainer import MAX_BLOCK, block_steps, generator, stalled
from dcfm_node.records.settings import Training

SETTINGS = Training(steps=1000, batch=100, learning_rate=1e-2)


@pytest.mark.parametrize(
    ("gaps", "patience", "expected"),
    [
        ([], 2, False),
        ([3.0, 2.0], 2, False),
        ([3.0, 2.0, 2.5, 2.0], 2, True),
        ([3.0, 2.0, 2.5, 1.9], 2, False),
        ([1.0, 5.0, 4.0, 3.0], 2, True),
        ([1.0, 5.0, 4.0, 3.0], 0, False),
    ],
)
def test_a_stage_stalls_once_its_gap_stops_falling(
    gaps: list[float], patience: int, expected: bool
) -> None:
    assert stalled(gaps, patience) is expected


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    rates = [learning_rate(SETTINGS, step) for step in range(1001)]
    assert rates[0] < 1e-3
    assert max(rates) == pytest.approx(1e-2, rel=0.01)
    assert rates[500] == pytest.approx(5e-3)
    assert rates[1000] == pytest.approx(0.0)


def test_blocks_are_bounded_by_memory_and_number() -> None:
    assert block_steps(SETTINGS, (2,)) == MAX_BLOCK
    assert block_steps(SETTINGS, (3, 64, 64)) == 1


def test_generator_is_a_function_of_its_key() -> None:
    def first(*key: int) -> float:
        return torch.rand((), generator=generator(*key)).item()

    assert first(1, 2, 3) == first(1, 2, 3)
    assert len({first(1, 2, 3), first(1, 2, 4), first(1, 3, 2), first(2, 1, 3)}) == 4
