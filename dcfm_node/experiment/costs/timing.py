"""Times a training step of every stage.

Slices of all stages alternate, so that other load affects all equally. Times are medians, in thread
time on a CPU. They include making the rows.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from dcfm_node.flow import networks
from dcfm_node.flow.losses import Batch
from dcfm_node.flow.sources import BatchSampler
from dcfm_node.flow.trainer import Callbacks, State, block_steps, generator, update

SLICE = 8
"""Steps per slice; the timer waits for the device after each slice."""


class Lane:
    """One stage in training: makes rows, takes steps and records both times."""

    def __init__(self, source: BatchSampler, callbacks: Callbacks) -> None:
        self.source = source
        self._cuda = torch.device(callbacks.device).type == "cuda"
        net = networks.build(source.manifest).to(callbacks.device)
        self._velocities, self._state = callbacks.fast(net), State.fresh(net, source.settings)
        self._rows: list[Batch] = []
        self._blocks: list[float] = []
        self._slices: list[float] = []

    def make(self, steps: int, index: int) -> None:
        """Make the rows of a block and record the time per step."""
        begun = self._now()
        self._rows = self.source.block(steps, generator(index))
        self._blocks.append((self._now() - begun) / steps)

    def advance(self, first: int) -> None:
        """Take a slice of the block's steps and record the time per step."""
        rows = self._rows[first : first + SLICE]
        begun = self._now()
        for step in rows:
            update(self._state, self._velocities, step, self.source)
        self._slices.append((self._now() - begun) / len(rows))

    def forget(self) -> None:
        """Discard the times of the first block, in which libraries prepare their kernels."""
        self._blocks.clear()
        self._slices.clear()

    @property
    def ms(self) -> float:
        """Median time of a step in milliseconds, including its rows."""
        return 1000 * (statistics.median(self._blocks) + statistics.median(self._slices))

    def _now(self) -> float:
        if not self._cuda:
            return time.thread_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def time_steps(
    given: Sequence[BatchSampler],
    callbacks: Callbacks,
    steps: int,
    tell: Callable[[float], None] = lambda share: None,
) -> list[float]:
    """Train every stage for `steps` steps, in turns. The caller sets torch's threads.

    Args:
        tell: called with the finished share, 0 to 1.

    Returns: milliseconds per step of each source.
    """
    lanes = [Lane(source, callbacks) for source in given]
    first = given[0]
    length = min(block_steps(first.settings, first.manifest.sample_shape), steps)
    blocks = 1 + max(1, steps // length)
    for index in range(blocks):
        for lane in lanes:
            lane.make(length, index)
        for start in range(0, length, SLICE):
            for lane in lanes:
                lane.advance(start)
            tell((index + (start + SLICE) / length) / blocks)
        if index == 0:
            for lane in lanes:
                lane.forget()
    return [lane.ms for lane in lanes]
