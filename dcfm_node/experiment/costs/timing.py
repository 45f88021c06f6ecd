"""Time of a training step, stage beside stage.

The slices of all stages take turns, so that what else the machine does hits all alike; times are
medians, of the one thread's own time on a CPU. Making the rows of a block counts in its steps.
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
"""Steps timed at once; the device is waited for after each slice."""


class Lane:
    """One stage in training: makes its rows, takes its steps, remembers how long both took."""

    def __init__(self, source: BatchSampler, callbacks: Callbacks) -> None:
        self.source = source
        self._cuda = torch.device(callbacks.device).type == "cuda"
        net = networks.build(source.manifest).to(callbacks.device)
        self._velocities, self._state = callbacks.fast(net), State.fresh(net, source.settings)
        self._rows: list[Batch] = []
        self._blocks: list[float] = []
        self._slices: list[float] = []

    def make(self, steps: int, index: int) -> None:
        """The rows of a block; its time per step is kept."""
        begun = self._now()
        self._rows = self.source.block(steps, generator(index))
        self._blocks.append((self._now() - begun) / steps)

    def advance(self, first: int) -> None:
        """A slice of the block's steps; its time per step is kept."""
        rows = self._rows[first : first + SLICE]
        begun = self._now()
        for step in rows:
            update(self._state, self._velocities, step, self.source)
        self._slices.append((self._now() - begun) / len(rows))

    def forget(self) -> None:
        """The first block warms up: libraries prepare kernels for every size of batch they meet."""
        self._blocks.clear()
        self._slices.clear()

    @property
    def ms(self) -> float:
        """Median time of a step, its share of its block's rows included."""
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
    """Train every source's stage for so many steps, in turns. The caller sets torch's threads.

    Args:
        tell: called with the share that is done.

    Returns: milliseconds of a step, by source.
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
