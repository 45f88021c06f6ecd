"""Short runs end where they ended before: see tests/training/golden/short.py.

Draws are the same on every CPU, sums are not: vector width and library decide their order, and
twenty steps of AdamW pass the last bit on. PyTorch's kernels for AVX-512, AVX2 and plain C++
(`ATEN_CPU_CAPABILITY`), and MKL's compatible ones (`MKL_CBWR`), end within 2e-5 of one another. The
tolerance is fifty times that, and a changed draw or term moves the figures by percents.
"""

import json

import pytest

from tests.training.golden.short import FILE, STAGES, run

RTOL = 1e-3


@pytest.mark.parametrize("stage", STAGES)
def test_twenty_steps_are_the_same_as_ever(stage: str) -> None:
    golden = json.loads(FILE.read_text())[stage]
    made = run(stage)
    assert made.keys() == golden.keys()
    assert len(made["loss"]) == len(made["ci"]) == 20
    for name, values in golden.items():
        assert made[name] == pytest.approx(values, rel=RTOL), (
            f"{name} moved; if that was meant: python -m tests.training.golden.short"
        )
