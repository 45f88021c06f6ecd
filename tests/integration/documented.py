"""Runs the `sh` and `python` blocks of a Markdown page, in order, as its reader would.

A block's title says at which machines it runs: "north", "east and south", or "every site"; without
a title, on the reader's own. A machine is a folder; `scp` copies between them. A comment directly
above a block changes what the test runs, and is there for all to see:

<!-- test: COMMANDS -->           run these in place of the block
<!-- test, first: COMMANDS -->    run these before the block, at the same machine

CODE stands for the next code that `dcfm-node invite` printed. The test does not wait for the end of
`dcfm-node start`. A block with `file=NAME` is a file.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.cluster import ENVIRONMENT, PATIENCE_S

BLOCK = re.compile(
    r"(?ms)^(?:<!-- test(?P<first>, first)?: (?P<commands>.*?) -->\n)?"
    r"```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<text>.*?)^```$"
)
TITLE = re.compile(r'title="([^"]*)"')
FILE = re.compile(r"file=(\S+)")
CODE = re.compile(r"dcfm-node join (dcfm-\S+)")
CD = re.compile(r"(?m)^cd (\S+)$")
STARTS = re.compile(r"(?m)^(dcfm-node start\b.*)$")
SCP = """#!/bin/sh
# scp HOST:PATH... HOST:PATH, where HOST is a machine, with or without a domain.
set -eu
for last; do :; done
place() {
    case "$1" in
        *:*) host=${1%%:*}; echo "$MACHINES/${host%%.*}/${1#*:}" ;;
        *) echo "$1" ;;
    esac
}
for from; do
    [ "$from" = "$last" ] || cp "$(place "$from")" "$(place "$last")"
done
"""


@dataclass(frozen=True)
class Step:
    """One block: where it runs, and what.

    Attributes:
        machine: names joined by " and "; "every site"; "" for the reader's own.
        commands: what the test runs.
        block: what the page shows.
    """

    machine: str
    commands: str
    block: str


@dataclass
class Page:
    """The blocks of a page, and the files that it names."""

    steps: list[Step] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def page_of(path: Path) -> Page:
    """Read a page."""
    page = Page()
    for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
        title, file = TITLE.search(found["info"]), FILE.search(found["info"])
        if file is not None:
            page.files[file[1]] = found["text"]
        if file is not None or found["language"] not in ("sh", "python"):
            continue
        text, said = found["text"], found["commands"] or ""
        if found["language"] == "python":
            text = f"python - <<'END'\n{text}END\n"
        commands = f"{said}\n{text}" if found["first"] or not said else said
        page.steps.append(Step(title[1] if title else "", commands, found["text"]))
    return page


@contextmanager
def machines(
    folder: Path, names: Sequence[str], replaced: Mapping[str, str] = {}
) -> Iterator["Machines"]:
    """Machines as folders; nothing that was started there outlives the block."""
    made = Machines(folder, tuple(names), dict(replaced))
    try:
        yield made
    finally:
        made.stop()


class Machines:
    """Folders in which blocks run.

    Args:
        replaced: texts of the page -> what the test says in their place, such as addresses.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], replaced: dict[str, str]) -> None:
        self.folder, self.names, self.replaced = folder, names, replaced
        self.places = {name: folder / name for name in names}
        self.codes: list[str] = []
        self.started: list[subprocess.Popen[bytes]] = []
        tools = folder / "bin"
        tools.mkdir()
        for name, text in (
            ("scp", SCP),
            ("dcfm-node", f'#!/bin/sh\nexec {sys.executable} -m dcfm_node "$@"\n'),
            ("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n'),
        ):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        for name in names:
            (folder / name).mkdir()
        self.environment = ENVIRONMENT | {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "MACHINES": str(folder),
            "NO_COLOR": "1",
        }

    def run(self, step: Step) -> list[str]:
        """Run a block at its machine or machines; returns what each printed.

        Raises:
            AssertionError: a command of it failed.
        """
        if step.machine == "every site":
            return [self._at(name, step) for name in self.names]
        return [self._at(name, step) for name in (step.machine or self.names[0]).split(" and ")]

    def _at(self, name: str, step: Step) -> str:
        commands = step.commands.replace("SITE", name)
        if "join CODE" in commands:
            commands = commands.replace("join CODE", f"join {self.codes.pop(0)}")
        for text, instead in self.replaced.items():
            commands = commands.replace(text, instead)
        said = ""
        for part in STARTS.split(commands):  # what is before, a start, what is after, ...
            if STARTS.match(part):
                self._start(name, part)
            else:
                said += self._done(name, part)
        for place in CD.findall(commands):  # as the reader's terminal keeps it
            self.places[name] /= place
        self.codes += CODE.findall(said)
        return said

    def _done(self, name: str, commands: str) -> str:
        """Run commands to their end."""
        done = subprocess.run(
            ["sh", "-eu", "-c", commands],
            cwd=self.places[name],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"at {name}:\n{commands}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    def _start(self, name: str, command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.started.append(
                subprocess.Popen(
                    ["sh", "-eu", "-c", f"exec {command}"],
                    cwd=self.places[name],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
        deadline = time.monotonic() + PATIENCE_S
        while not list((self.folder / name).rglob("control.sock")):
            assert self.started[-1].poll() is None, f"at {name}: {command}\n{self.logs()}"
            assert time.monotonic() < deadline, f"at {name}: {command}\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        """The ends of the logs of what was started."""
        return "\n".join(log.read_text()[-2_000:] for log in self.folder.glob("*.log"))

    def stop(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
