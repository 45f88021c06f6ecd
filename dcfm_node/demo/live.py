"""Shows a demo: a live panel on a terminal that can redraw, plain lines elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dcfm_node.demo.progress import Frame, Row
from dcfm_node.words import plain

UNITS = ("B", "kB", "MB", "GB")
LINE_EVERY_S = 10.0
"""Without a terminal, a long phase is reported again this often."""
STYLES = {"local": "cyan", "refine": "magenta", "distil": "yellow", "score": "green"}

BAR = 24
COLUMNS = (
    ("node", 6),
    ("does", 8),
    ("", BAR),
    ("", 5),
    ("loss", 7),
    ("CI gap", 8),
    ("links", 5),
    ("sent", 8),
    ("received", 8),
)

Show = Callable[[Frame], None]


def screen(*, stderr: bool) -> Console:
    """A console that does not interpret markup in text."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def tell(console: Console, *lines: str) -> None:
    """Print lines without control characters, because peers may have written the text."""
    for text in lines:
        console.print(plain(text), markup=False, emoji=False, soft_wrap=True)


@contextmanager
def view(console: Console, title: str) -> Iterator[Show]:
    """Give the function to call with every new frame."""
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda frame: live.update(panel(title, frame), refresh=True)
    else:
        tell(console, title)
        yield Lines(console)


@contextmanager
def counting(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Give the function to call with how much of some work is done, and how much there is.

    Args:
        what: is done, such as "the robots record episodes".
    """
    if console.is_terminal and not console.is_dumb_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task(plain(what), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    told_s = -math.inf

    def tell_now(done: int, total: int) -> None:
        nonlocal told_s
        if done == total or time.monotonic() - told_s >= LINE_EVERY_S:
            told_s = time.monotonic()
            tell(console, f"{what}: {done} of {total}")

    yield tell_now


class Lines:
    """Prints a line at every change of phase, and at intervals within a long phase."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: tuple[int, float] = (-1, 0.0)

    def __call__(self, frame: Frame) -> None:
        at, told_s = self._told
        if frame.at == at and frame.elapsed_s - told_s < LINE_EVERY_S:
            return
        self._told = (frame.at, frame.elapsed_s)
        tell(self._console, line(frame))


def line(frame: Frame) -> str:
    """A frame in one line."""
    nodes = "; ".join(_short(row) for row in frame.rows)
    return f"{clock(frame.elapsed_s)}  {frame.phase}  {nodes}  {until(frame)}"


def panel(title: str, frame: Frame) -> RenderableType:
    """A frame as a few coloured lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    # Widths are fixed, so that nothing moves when a bar appears or disappears.
    for name, width in COLUMNS:
        numbers = name in ("loss", "CI gap", "links", "sent", "received")
        table.add_column(
            name, justify="right" if numbers else "left", no_wrap=True, min_width=width
        )
    for row in frame.rows:
        table.add_row(*_cells(row))
    times = plain(f"{clock(frame.elapsed_s)} elapsed, {until(frame)}")
    return Group(
        Text(plain(title), style="bold"), _strip(frame), Text(), table, Text(), Text(times)
    )


def until(frame: Frame) -> str:
    """When the student will be ready: an upper bound, because runs may converge early."""
    if frame.lost:
        return f"going on without {', '.join(frame.lost)} once it was silent for long enough"
    if frame.left_s is None:
        return "measuring"
    return f"student in at most {clock(frame.left_s)}"


def clock(seconds: float) -> str:
    """Minutes and seconds: 1:07."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def size(count: float) -> str:
    """A number of bytes with a unit: 1.2 MB."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def _strip(frame: Frame) -> Text:
    """The schedule as a line: finished, current and possible phases."""
    text = Text()
    for place, phase in enumerate(frame.phases):
        style = "green" if place < frame.at else "bold reverse" if place == frame.at else "dim"
        text.append(f" {plain(str(phase))} ", style=style)
        if place + 1 < len(frame.phases):
            text.append("›", style="dim")
    return text


def _cells(row: Row) -> tuple[RenderableType, ...]:
    style = STYLES.get(row.activity, "dim")
    busy, counted = row.share is not None, row.activity in ("refine", "distil")
    does = plain(row.activity)
    bar = ProgressBar(100, 100 * (row.share or 0.0), width=BAR, complete_style=style)
    return (
        Text(plain(row.name)),
        Text(f"{does} {row.round}" if counted else does, style=style),
        bar if busy else Text(_cut(plain(row.note), BAR), style="dim"),
        f"{100 * (row.share or 0.0):3.0f} %" if busy else "",
        _figure(row.loss),
        _figure(row.ci_gap),
        f"{row.links}/{row.peers}",
        size(row.sent),
        size(row.received),
    )


def _short(row: Row) -> str:
    share = f" {100 * row.share:.0f} %" if row.share is not None else ""
    loss = f" loss {row.loss:.3g}" if row.loss is not None else ""
    traffic = f"{size(row.sent)} sent, {row.links}/{row.peers} links"
    return f"{row.name} {row.activity}{share}{loss} ({traffic})"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
