"""The fake clock of a simulated run, and what is to happen when."""

import heapq
import itertools
from collections.abc import Callable


class Clock:
    """Time in seconds, which jumps from one event to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time; ties keep their order."""
        heapq.heappush(self._queue, (when, next(self._order), what))

    def step(self, limit_s: float) -> bool:
        """Do what comes next; False if nothing comes before the limit."""
        if not self._queue or self._queue[0][0] > limit_s:
            return False
        self.now, _, what = heapq.heappop(self._queue)
        what()
        return True
