"""Has the released student drawn, once, by the commands that an operator would use."""

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from dcfm_node.api.page import Drawn
from dcfm_node.api.problems import DEGRADED
from dcfm_node.api.run import RunFacts
from dcfm_node.files import private_folder
from dcfm_node.page.pictures import cells, how_many

log = structlog.get_logger()

PATIENCE_S = 1_800.0
"""How long one command may take, in seconds: large networks are slow on one core."""
MAX_SAID = 4_096
NICE = 10
DRAWS = "draws.npz"


class Drawing:
    """Pictures of the newest released student.

    Args:
        folder: a private folder of the page's own, for the student and its draws.
        config: the node.toml.
        wanted: whether to draw at all.

    Attributes:
        drawn: what there is now.
        pictures: PNGs by name of the combination.
    """

    def __init__(self, folder: Path, config: Path, *, wanted: bool) -> None:
        self._folder, self._config, self._wanted = folder, config, wanted
        self._task: asyncio.Task[None] | None = None
        self._students: dict[str, Path] = {}
        self.drawn = Drawn(state="none", student="", why="no student is released yet", cells=())
        self.pictures: Mapping[str, bytes] = {}

    def files(self, digest: str) -> Path | None:
        """The folder of a student that is here as a whole, with its lineage."""
        return self._students.get(digest)

    def want(self, student: str, run: RunFacts | None) -> None:
        """Draw a student, by its digest, unless it was tried already; empty: none is released."""
        if run is None or student == self.drawn.student:
            return
        if not student:
            self._say("none", "", "no student is released yet")
        elif not self._wanted:
            self._say("off", student, "node.toml has draw = false under [page]")
        elif self._task is None or self._task.done():
            self._say("drawing", student, "its draws are being made")
            self._task = asyncio.create_task(self._draw(student, run))

    async def close(self) -> None:
        """End what is being drawn."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _draw(self, student: str, run: RunFacts) -> None:
        try:
            self.pictures = await self._made(student, run)
        except Exception as error:  # the page goes on without pictures, and says why
            why = str(error) or type(error).__name__
            log.warning("not_drawn", student=student[:12], why=why)
            self._say("failed", student, why)
        else:
            log.info("drawn", student=student[:12], pictures=len(self.pictures))
            self._say("drawn", student, "", tuple(self.pictures))

    async def _made(self, student: str, run: RunFacts) -> Mapping[str, bytes]:
        private_folder(self._folder)
        for old in self._folder.iterdir():
            if old.name != student:
                shutil.rmtree(old, ignore_errors=True)
        place = self._folder / student
        model, draws = place / "student", place / DRAWS
        if not draws.is_file():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            await self._run("student", "fetch", student, "--out", str(model))
            scratch = place / f"new-{DRAWS}"
            many = str(how_many(run))
            await self._run("student", "sample", str(model), "--out", str(scratch), "-n", many)
            scratch.replace(draws)
        found = await asyncio.to_thread(cells, run, draws)
        self._students = {student: model}
        return found

    async def _run(self, *arguments: str) -> None:
        """Run a command of dcfm-node, last in line for the processor.

        Raises:
            RuntimeError: it failed; the message is what it said.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "dcfm_node", *arguments, "--config", str(self._config)),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )
        try:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
            _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        except TimeoutError:
            what = f"'{' '.join(arguments[:2])}' took longer than {PATIENCE_S:g} s"
            raise RuntimeError(what) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode not in (0, DEGRADED):  # all draws may be novel
            told = said[-MAX_SAID:].decode(errors="replace").strip()
            raise RuntimeError(told.removeprefix("dcfm-node: ") or "a command failed")

    def _say(self, state: str, student: str, why: str, names: tuple[str, ...] = ()) -> None:
        if state != "drawn":
            self.pictures = {}
        said = {"state": state, "student": student, "why": why, "cells": names}
        self.drawn = Drawn.model_validate(said)
