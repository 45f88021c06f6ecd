"""Drawing a student, once, by commands in processes of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.page.drawing import Drawing
from dcfm_node.samples import Samples
from dcfm_node.student.columns import write_npz
from tests.unit.page.test_pictures import MANIFEST, facts

RUN = facts((2,))


class Commands:
    """In place of the commands: writes what they would. `fails` is what they say instead."""

    def __init__(self, drawing: Drawing) -> None:
        self.asked, self.fails = list[str](), ""
        drawing._run = self  # type: ignore[assignment,method-assign]

    async def __call__(self, *arguments: str) -> None:
        self.asked.append(arguments[1])
        if self.fails:
            raise RuntimeError(self.fails)
        if arguments[1] == "sample":
            samples = Samples(np.zeros((4, 2), np.float32), np.asarray([[0, 0], [0, 1]] * 2))
            write_npz(Path(arguments[arguments.index("--out") + 1]), MANIFEST, samples)


def drawn(folder: Path, act: Callable[[Drawing, Commands], Awaitable[None]], **more: Any) -> None:
    async def both() -> None:
        drawing = Drawing(folder / "page", folder / "node.toml", **{"wanted": True} | more)
        await act(drawing, Commands(drawing))
        await drawing.close()

    asyncio.run(both())


async def settled(drawing: Drawing) -> None:
    async with asyncio.timeout(60):
        while drawing.drawn.state == "drawing":
            await asyncio.sleep(0.01)


def test_a_student_is_drawn_once(tmp_path: Path) -> None:
    async def act(drawing: Drawing, commands: Commands) -> None:
        drawing.want("", RUN)
        assert drawing.drawn.state == "none"
        for _ in range(5):
            drawing.want("ab", RUN)
        assert drawing.drawn.state == "drawing"
        await settled(drawing)
        assert drawing.drawn.cells == ("0-0", "0-1")
        assert drawing.pictures["0-0"].startswith(b"\x89PNG")
        drawing.want("ab", RUN)
        assert commands.asked == ["fetch", "sample"]

    drawn(tmp_path, act)


def test_draws_outlast_the_process_and_the_next_student_replaces_them(tmp_path: Path) -> None:
    async def first(drawing: Drawing, _: Commands) -> None:
        drawing.want("ab", RUN)
        await settled(drawing)

    async def again(drawing: Drawing, commands: Commands) -> None:
        drawing.want("ab", RUN)
        await settled(drawing)
        assert (drawing.drawn.state, commands.asked) == ("drawn", [])
        drawing.want("cd", RUN)
        await settled(drawing)
        assert [path.name for path in (tmp_path / "page").iterdir()] == ["cd"]
        assert drawing.files("ab") is None

    drawn(tmp_path, first)
    drawn(tmp_path, again)
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o700


def test_what_fails_is_told_and_not_tried_for_ever(tmp_path: Path) -> None:
    async def act(drawing: Drawing, commands: Commands) -> None:
        commands.fails = "no room"
        drawing.want("ab", RUN)
        await settled(drawing)
        assert (drawing.drawn.state, drawing.drawn.why) == ("failed", "no room")
        for _ in range(5):
            drawing.want("ab", RUN)
        assert commands.asked == ["fetch"]

    drawn(tmp_path, act)


def test_a_command_that_fails_says_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.page.drawing.NICE", 0)

    async def act() -> None:
        drawing = Drawing(tmp_path, tmp_path / "absent.toml", wanted=True)
        with pytest.raises(RuntimeError, match=r"absent\.toml"):
            await drawing._run("student", "fetch", "ab", "--out", str(tmp_path / "x"))

    asyncio.run(act())


def test_nothing_is_drawn_where_that_is_not_wanted(tmp_path: Path) -> None:
    async def act(drawing: Drawing, commands: Commands) -> None:
        drawing.want("ab", RUN)
        assert drawing.drawn.state == "off"
        assert commands.asked == []

    drawn(tmp_path, act, wanted=False)
