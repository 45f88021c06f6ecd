"""Several devices as one worker: torch.distributed ranks, NCCL on GPUs and Gloo on CPUs.

Launched through torch.distributed.run. The first rank talks to the daemon; the others hear each
line from it, so that all run the same job at the same time.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

IDLE = timedelta(days=3650)
"""A rank waits for its next job as long as the silo waits for its peers."""


def size() -> int:
    """How many ranks share the work."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's place among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def begin() -> None:
    """Join the other ranks, if there are any."""
    if size() == 1:
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=IDLE)
    else:
        dist.init_process_group("gloo", timeout=IDLE)


def share(line: str) -> str:
    """The first rank's line, on every rank."""
    if size() == 1:
        return line
    data = line.encode()
    length = torch.tensor([len(data)])
    dist.broadcast(length, 0)
    buffer = torch.zeros(int(length), dtype=torch.uint8)
    if rank() == 0:
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    dist.broadcast(buffer, 0)
    return bytes(buffer.tolist()).decode()
