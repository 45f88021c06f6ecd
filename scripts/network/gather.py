"""All-gather between processes that are nodes without training, and what messages cost them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from network.streams import Cost

SCRIPTS = Path(__file__).parents[1]


class Process:
    """One `network.silo`."""

    def __init__(self, start: dict[str, Any]) -> None:
        paths = f"{SCRIPTS.parent}{os.pathsep}{SCRIPTS}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "network.silo"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        self.tell(start)
        self.addresses: dict[str, Any] = self.hear()

    def tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a silo ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        self.tell({"do": do, **arguments})
        return self.hear()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def silos(count: int) -> Iterator[list[Process]]:
    """So many, all linked; each dials those before it."""
    with tempfile.TemporaryDirectory(prefix="bench-network-") as folder:
        keys = [tuple(key.decode() for key in zmq.curve_keypair()) for _ in range(count)]
        running: list[Process] = []
        try:
            for me in range(count):
                peers = [
                    {
                        "id": f"{other:064x}",
                        "name": f"silo-{other}",
                        "key": keys[other][0],
                        "control": running[other].addresses["control"] if other < me else None,
                        "bulk": running[other].addresses["bulk"] if other < me else None,
                    }
                    for other in range(count)
                    if other != me
                ]
                start = {"keys": keys[me], "peers": peers, "folder": f"{folder}/{me}"}
                running.append(Process(start))
            _all(running, "linked")
            time.sleep(1.0)  # the bulk plane's handshakes
            yield running
        finally:
            for process in running:
                process.close()


@dataclass(frozen=True)
class Round:
    """One all-gather.

    Attributes:
        seconds: from the files' being written to the last check's end.
        cpu: CPU seconds of all nodes, for each gigabyte received.
        bytes_over_bound: received at all TCP sockets, over (K - 1) times all files.
        peak_mb: the sum of what each process held at most.
    """

    silos: int
    megabytes: int
    seconds: float
    cpu: float
    bytes_over_bound: float
    peak_mb: float


def all_gather(count: int, megabytes: int, repeats: int, told: Callable[[str], None]) -> Round:
    """The least of some rounds, each figure by itself."""
    with silos(count) as running:
        rounds = []
        for repeat in range(repeats):
            told(f"all-gather of {count} x {megabytes} MB, round {repeat + 1} of {repeats}")
            rounds.append(_round(running, megabytes, repeat))
    least = {
        name: min(getattr(one, name) for one in rounds)
        for name in ("seconds", "cpu", "bytes_over_bound")
    }
    return Round(count, megabytes, **least, peak_mb=max(one.peak_mb for one in rounds))


def _round(running: list[Process], megabytes: int, repeat: int) -> Round:
    count = len(running)
    for process in running:
        process.tell({"do": "write", "size": megabytes * 10**6, "seed": 0})
    for process in running:
        process.hear()
    sizes = [
        process.ask("write", size=megabytes * 10**6, seed=1_000 * repeat + index)["size"]
        for index, process in enumerate(running)
    ]
    # Only now, so that a virtual machine has no time to give the room back to its host: to get it
    # again can cost as much as all that is measured here.
    _all(running, "drop")
    _all(running, "reset_peak")
    before = _all(running, "usage")
    started = time.perf_counter()
    _all(running, "round")
    seconds = time.perf_counter() - started
    after = _all(running, "usage")

    def spent(name: str) -> float:
        return sum(b[name] - a[name] for a, b in zip(before, after, strict=True))

    moved = (count - 1) * sum(sizes)
    return Round(
        silos=count,
        megabytes=megabytes,
        seconds=seconds,
        cpu=spent("cpu_s") * 1e9 / moved,
        bytes_over_bound=spent("wire_bytes") / moved,
        peak_mb=sum(usage["peak_mb"] for usage in after),
    )


def pipeline(size: int, repeats: int) -> dict[str, list[Cost]]:
    """One stream through all of ours: `publish` at the author, and `fetch` by one peer."""
    found: dict[str, list[Cost]] = {"publish": [], "fetch": []}
    with silos(2) as running:
        author, reader = running
        reader.ask("write", size=size, seed=0)  # so it knows what shape to expect
        for repeat in range(repeats):
            author.ask("drop")
            author.ask("write", size=size, seed=repeat)
            snapshot, cost = _timed(running, lambda: author.ask("publish"), size)
            found["publish"].append(cost)
            reader.ask("drop")  # as late as in `_round`
            _, cost = _timed(running, lambda: reader.ask("fetch", **snapshot), size)  # noqa: B023
            found["fetch"].append(cost)
    return found


def _timed(
    running: list[Process], what: Callable[[], dict[str, Any]], size: int
) -> tuple[dict[str, Any], Cost]:
    before = _spent(running)
    started = time.perf_counter()
    answer = what()
    seconds = time.perf_counter() - started
    return answer, Cost(seconds * 1e9 / size, (_spent(running) - before) * 1e9 / size)


def _spent(running: list[Process]) -> float:
    return sum(float(usage["cpu_s"]) for usage in _all(running, "usage"))


def messages() -> dict[str, float]:
    """Control messages between two silos: rate with 32 under way, and one at a time."""
    with silos(2) as (first, _):
        first.ask("ping", count=200, size=300, window=1)
        one = first.ask("ping", count=2_000, size=300, window=1)["seconds"]
        many = first.ask("ping", count=10_000, size=300, window=32)["seconds"]
    return {"round_trips_per_s": 10_000 / many, "round_trip_ms": one / 2}


def _all(running: list[Process], do: str) -> list[dict[str, Any]]:
    for process in running:
        process.tell({"do": do})
    return [process.hear() for process in running]
