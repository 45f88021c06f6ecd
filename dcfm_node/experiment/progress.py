"""Progress of an experiment: bars on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dcfm_node.words import plain

PLAIN_S = 10.0
"""Least seconds between plain lines of a trial."""


class Watcher:
    """Shows the progress of trials on stderr."""

    def __init__(self, *, plain: bool) -> None:
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        self._plain = plain
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[what]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._totals: dict[str, int] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        if not self._plain:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._plain:
            self._bars.stop()

    def tell(self, trial: str, line: dict[str, Any]) -> None:
        """Show a line that a trial reported."""
        self._totals[trial] = line.get("total", self._totals.get(trial, 0))
        if line["event"] == "measured":
            self._show(trial, line["done"], f"{line['method']} measured", always=True)
        elif line["event"] == "progress":
            what = f"{line['method']}: {line['what']} {line['share']:.0%}".lstrip(": ")
            self._show(trial, line["done"], what, always=False)

    def _show(self, trial: str, done: int, what: str, *, always: bool) -> None:
        total, what = self._totals[trial], plain(what)
        if not self._plain:
            if trial not in self._tasks:
                self._tasks[trial] = self._bars.add_task(plain(trial), what="")
            self._bars.update(self._tasks[trial], completed=done, total=total, what=what)
            return
        now = time.monotonic()
        if always or now - self._said.get(trial, 0.0) >= PLAIN_S:
            self._said[trial] = now
            text = f"{plain(trial)}: {done}/{total} methods; {what}"
            self._console.print(text, soft_wrap=True)
