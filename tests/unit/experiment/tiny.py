"""An experiment small enough to run in a second."""

from pathlib import Path

TEXT = """
name = "tiny"
title = "Two modes held, one not"
each = 8
methods = ["ddm+l", "dfd", "dcfm-a", "dcfm-b", "dcfm-alternating", "fedflow"]
columns = ["known_accuracy", "novel_accuracy", "w2_novel"]
curves = true
paper_rounds = 1
rounds = 1
{top}

[[attribute]]
name = "horizontal"
values = ["left", "right"]

[[attribute]]
name = "vertical"
values = ["bottom", "top"]

[domain]
kind = "gaussians"
sigma = 0.3
samples = 40
held_out = [{held_out}]
modes = [
    {{ values = ["left", "bottom"], centre = [-1.5, -1] }},
    {{ values = ["left", "top"], centre = [-1.5, 1.5] }},
    {{ values = ["right", "bottom"], centre = [1.5, -1.5] }},
    {{ values = ["right", "top"], centre = [1.5, 1.5] }},
]
[[domain.partitions]]
name = "noniid"
silos = [
    [["left", "bottom"], ["left", "top"]],
    [["left", "bottom"], ["right", "{silo}"]],
]

[network]
width = 8
depth = 1
predict = "velocity"

[method]
solver_steps = 2
[method.local]
steps = {steps}
batch = 8
ci_batch = 4
[method.refine]
steps = 4
batch = 8
ci_batch = 4
[method.distil]
steps = 4
batch = 8
ci_batch = 4

[fedflow]
averagings = 2
steps = 2

[[paper]]
method = "dcfm-b"
partition = "noniid"
metric = "novel_accuracy"
value = 0.5

[preset.cpu]

[preset.long]
method = {{ local = {{ steps = 6 }} }}

[preset.wrong]
method = {{ local = {{ steps = -1 }} }}
"""


def write(
    folder: Path,
    *,
    top: str = "",
    held_out: str = '["right", "top"]',
    silo: str = "bottom",
    steps: int = 4,
) -> str:
    """The experiment's file; returns its path as `experiment run` takes it."""
    path = folder / "tiny.toml"
    path.write_text(TEXT.format(top=top, held_out=held_out, silo=silo, steps=steps))
    return str(path)
