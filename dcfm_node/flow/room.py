"""Rough estimates of the memory that work takes, asked before anything is allocated."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from dcfm_node.errors import Failed
from dcfm_node.files import read_bounded
from dcfm_node.flow.metrics import ROWS
from dcfm_node.flow.sampling import at_once
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Training

BYTES, COPIES = 4, 3
"""Bytes of a number; copies of the samples in memory, including noise and picture."""


def check_room(manifest: Manifest, count: int, memory: float, away: int = 0) -> None:
    """Check by a rough estimate that the samples fit into memory. It counts the samples, and the
    activations of one chunk for each term of the composition (Eq. 5 of DCFM).

    Args:
        memory: free bytes.
        away: most values that a sample moves away from; each is another term.

    Raises:
        Failed: they do not fit.
    """
    numbers = max(map(math.prod, (manifest.flow_shape, manifest.sample_shape)))
    terms, rows = 1 + len(manifest.attributes) + away, min(count, at_once(manifest))
    needed = BYTES * (COPIES * count * numbers + rows * terms * _of_a_row(manifest))
    if needed > memory:
        shape = " x ".join(map(str, manifest.sample_shape))
        raise Failed(
            f"{count} samples of {shape} numbers need {_compared(needed, memory)}",
            fix="draw fewer samples with -n, or use a larger machine",
        )


def check_held(models: Sequence[Path], memory: float) -> None:
    """Check that the weights of several models fit into memory at once.

    Args:
        memory: free bytes.

    Raises:
        Failed: they do not fit.
    """
    if (needed := sum(file.stat().st_size for file in models)) > memory:
        raise Failed(
            f"the weights of {len(models)} students need {_compared(needed, memory)}",
            fix="compose fewer students, or use a larger machine",
        )


def check_training_room(
    manifest: Manifest, stage: Training, memory: float, *, experts: int = 1
) -> None:
    """Check in the same way that a stage fits: what the network and the experts that it learns
    from predict of one batch, and of the rows that measure it at the end.

    Args:
        memory: free bytes.
        experts: networks whose predictions are held at once.

    Raises:
        Failed: it does not fit.
    """
    terms = (2 + len(manifest.attributes)) * min(stage.batch, stage.ci_batch)
    rows = max((stage.batch + terms) * max(1, experts), ROWS)
    if (needed := BYTES * rows * _of_a_row(manifest)) > memory:
        raise Failed(
            f"a batch of {stage.batch} samples needs {_compared(needed, memory)}",
            fix="train on a larger machine, or agree on a smaller batch, sample_shape or network"
            " in run.toml",
        )


def _of_a_row(manifest: Manifest) -> int:
    """Numbers of one prediction and of the network's widest layer."""
    values = math.prod(manifest.flow_shape) * max(1, manifest.path.alphabet)
    return values + manifest.network.widest(manifest.flow_shape)


def _compared(needed: float, memory: float) -> str:
    return f"about {needed / 1e9:.3g} GB of memory, and {memory / 1e9:.3g} GB are free"


def free_on(device: torch.device) -> float:
    """Free bytes of a device's memory."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return available()


def available() -> float:
    """Free bytes of memory, or all bytes if the kernel does not report the free ones."""
    try:
        lines = read_bounded(Path("/proc/meminfo"), 1 << 20).decode().splitlines()
    except OSError:
        lines = []
    told = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    if told:
        return 1_024.0 * int(told[0])
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
