"""Costs small enough to measure in seconds."""

from pathlib import Path

TEXT = """
kind = "costs"
name = "tiny-costs"
title = "Tiny costs"

[communication]
methods = [{methods}]
silos = 2
averagings = 2
rounds = 1

[communication.network]
width = 128
depth = 2
predict = "velocity"

[communication.training]
steps = {steps}
batch = 8
ci_batch = 4

[compute]
silos = 2
sample_shape = [2]
attributes = [2, 3]
solver_steps = 3
batch = 8
shipped = {shipped}
count_steps = 4
time_steps = 8

[compute.network]
width = 8
depth = 1

[preset.cpu]
"""


def write(folder: Path, *, methods: str = '"dcfm-b"', shipped: int = 2, steps: int = 2) -> str:
    """The experiment's file; returns its path as `experiment run` takes it."""
    path = folder / "tiny-costs.toml"
    path.write_text(TEXT.format(methods=methods, shipped=shipped, steps=steps))
    return str(path)
