"""Several devices in one worker: torch.distributed ranks, NCCL on GPUs and Gloo on CPUs.

The daemon starts the first rank. The first rank starts the others, passes each line on to them, and
ends as soon as one of them ends. Every rank ends when its stdin ends. Ranks find each other through
a file and communicate only over the loopback interface, so they need no fixed port or host name.
"""

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from dcfm_node.errors import UserError
from dcfm_node.flow import device
from dcfm_node.worker.ending import how_it_ended
from dcfm_node.worker.messages import WORKER

LONG = timedelta(days=3650)
"""Timeout of collective operations: long, because the end of a rank is detected separately."""
LAST_WORDS_S = 5.0
"""Time for the first rank to report an error after another rank ended."""

_others: dict[int, subprocess.Popen[bytes]] = {}


def size() -> int:
    """Number of ranks."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Index of this rank, from 0."""
    return int(os.environ.get("RANK", "0"))


def choose(wish: str) -> torch.device:
    """The device of this rank.

    Raises:
        UserError: the device does not exist or does not work, or there are too few.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wish != "cpu" and 0 < gpus < size():
        raise UserError(
            f"{size()} GPUs are requested, but this machine has {gpus}",
            where="worker.devices",
            fix=f"set devices = {gpus} in node.toml",
        )
    where, instead = f'worker.device = "{wish}"', 'set device = "cpu" or "auto" in node.toml'
    return device.choose(wish, where=where, instead=instead, index=rank())


def start_others(setup: str, folder: Path | None) -> None:
    """Start the other ranks, if any, with the setup line of this one.

    Args:
        folder: private folder of this node, for the file through which ranks find each other.
    """
    if folder is None:
        raise AssertionError("a worker with several ranks needs a scratch folder")
    for stale in folder.glob("ranks-*"):
        stale.unlink()
    os.environ["RANKS_MEET"] = str(folder / f"ranks-{os.getpid()}")
    for number in range(1, size()):
        environment = {**os.environ, "RANK": str(number)}
        # Only the first rank may write to stdout, which goes to the daemon.
        _others[number] = subprocess.Popen(
            WORKER, stdin=subprocess.PIPE, stdout=sys.stderr, env=environment
        )
        threading.Thread(target=_watch, args=(number,), daemon=True).start()
    share(setup)


def meet(device: torch.device) -> None:
    """Connect to the other ranks, if any."""
    if size() == 1:
        return
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store = dist.FileStore(os.environ["RANKS_MEET"], size())  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank(), world_size=size(), timeout=LONG)


def share(line: str) -> None:
    """Pass a line on to the other ranks."""
    for other in _others.values():
        if other.stdin is None:
            raise AssertionError("a rank was started with a pipe")
        other.stdin.write(line.rstrip("\n").encode() + b"\n")
        other.stdin.flush()


def ended(patience_s: float = 1.0) -> str:
    """How another rank ended, which explains this rank's failure; empty if none ended."""
    deadline = time.monotonic() + patience_s
    while _others and time.monotonic() < deadline:
        for number, other in _others.items():
            if (code := other.poll()) is not None:
                return f"rank {number} of {size()} {how_it_ended(code)}"
        time.sleep(0.05)
    return ""


def _watch(number: int) -> None:
    """End this process when rank `number` ends, because it would wait for that rank forever."""
    code = _others[number].wait()
    print(f"rank {number} of {size()} {how_it_ended(code)}", file=sys.stderr, flush=True)
    time.sleep(LAST_WORDS_S)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)
