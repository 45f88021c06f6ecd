"""What is shown, on a terminal and elsewhere."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from dcfm_node.demo import live
from dcfm_node.demo.progress import Frame, Phase, Row

ROW = Row("north", "refine", 1, 0.5, "", 0.125, 0.03, 2, 2, 1_200, 3_400_000)
WAITS = replace(ROW, name="east", activity="idle", share=None, note="waiting for the snapshot")
PHASES = (Phase("local", 0), Phase("distil", 0), Phase("refine", 1), Phase("release", 1))
FRAME = Frame(PHASES, 2, (ROW, WAITS), 65.0, 130.0)


def shown(what):
    console = Console(file=io.StringIO(), width=120)
    console.print(what)
    return console.file.getvalue()


def test_a_panel_shows_stage_rounds_peers_bytes_losses_and_time():
    text = shown(live.panel("dcfm-node demo", FRAME))
    for part in ("refine 1", "north", "50 %", "0.125", "0.03", "2/2", "1.2 kB", "3.4 MB", "1:05"):
        assert part in text
    assert "student in at most 2:10" in text
    assert "waiting for the snapsho" in text
    assert text.index("local") < text.index("distil 0") < text.index("release")


def test_a_panel_fits_a_narrow_terminal():
    lines = shown(live.panel("dcfm-node demo", FRAME)).splitlines()
    assert max(map(len, lines)) <= 100


def test_a_line_says_the_same():
    text = live.line(FRAME)
    assert text.startswith("1:05  refine 1  north refine 50 % loss 0.125")
    assert text.endswith("student in at most 2:10")


def test_nothing_measured_is_not_a_promise():
    assert live.until(replace(FRAME, left_s=None)) == "measuring"
    assert "without east" in live.until(replace(FRAME, left_s=None, lost=("east",)))


def test_without_a_terminal_a_line_tells_every_change_and_not_every_frame():
    console = Console(file=io.StringIO(), width=300)
    with live.view(console, "title") as show:
        show(FRAME)
        show(replace(FRAME, elapsed_s=66.0))
        show(replace(FRAME, elapsed_s=67.0, at=3))
        show(replace(FRAME, elapsed_s=67.0 + live.LINE_EVERY_S, at=3))
    title, *lines = console.file.getvalue().splitlines()
    assert title == "title"
    assert [line.split()[0] for line in lines] == ["1:05", "1:07", "1:17"]


def test_on_a_terminal_the_panel_is_redrawn(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with live.view(console, "title") as show:
        show(FRAME)
        show(replace(FRAME, elapsed_s=66.0))
    assert "1:06 elapsed" in console.file.getvalue()


def test_on_a_terminal_that_cannot_redraw_lines_are_told(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), width=300, force_terminal=True)
    with live.view(console, "title") as show:
        show(FRAME)
    assert "1:05" in console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00"), (59.6, "1:00"), (61.0, "1:01"), (3_600.0, "60:00")]
)
def test_clock(seconds, text):
    assert live.clock(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2_500_000, "2.5 MB"), (7e12, "7000.0 GB")],
)
def test_size(count, text):
    assert live.size(count) == text


HOSTILE = "\x1b]0;P\x07\x1b[31m\nall is well\u202e[bold]x[/bold]:smile:"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_nodes_words_neither_steer_a_terminal_nor_are_markup(monkeypatch, terminal):
    monkeypatch.setenv("TERM", "xterm")
    console = live.screen(stderr=False)
    console.file, console.width = io.StringIO(), 400
    console._force_terminal = terminal
    row = replace(ROW, name=HOSTILE, activity=HOSTILE, note=HOSTILE, share=None)
    frame = replace(FRAME, rows=(row,), lost=(HOSTILE,), left_s=None)
    with live.view(console, HOSTILE) as show:
        show(frame)
    live.tell(console, HOSTILE)
    told = console.file.getvalue()
    assert "[bold]x[/bold]:smile:" in told
    for raw in ("\x1b]0", "\x07", "\nall", "\u202e"):
        assert raw not in told
