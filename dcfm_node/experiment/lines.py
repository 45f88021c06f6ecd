"""What the process of a trial is given, and what it tells."""

import sys
from typing import Annotated, Literal

import torch
from pydantic import Field

from dcfm_node.data.spec import FilePath
from dcfm_node.flow.device import choose
from dcfm_node.records.base import Model

NOISE_SEED = 1_234
"""Of the noise that all methods start from."""
TELL_S = 0.3
"""Shortest time between two lines of progress."""


class TrialSpec(Model):
    """Which trial to run, and its output folder, device and threads."""

    experiment: str
    preset: str
    partition: str
    seed: int
    out: FilePath
    data: FilePath | None = None
    device: str = "auto"
    threads: Annotated[int, Field(ge=0)] = 1


class Progress(Model):
    """Current activity and its finished share, 0 to 1; `done` of `total` methods are finished."""

    event: Literal["progress"] = "progress"
    method: str
    what: str
    share: float
    done: int
    total: int


class Measured(Model):
    """A row is on disk."""

    event: Literal["measured"] = "measured"
    method: str
    done: int


class Broken(Model):
    """The trial cannot go on; the operator must act."""

    event: Literal["broken"] = "broken"
    what: str
    where: str
    fix: str
    more: tuple[str, ...] = ()


Line = Progress | Measured | Broken


def tell(line: Line) -> None:
    """Write one line to the process that started the trial."""
    sys.stdout.write(line.model_dump_json() + "\n")
    sys.stdout.flush()


def named(name: str, kind: str) -> str:
    """A metric's name in a row, for known or for novel combinations."""
    return f"{kind}_{name}" if name.endswith("accuracy") else f"{name}_{kind}"


def device_of(wish: str) -> torch.device:
    """The device that `--device` names.

    Raises:
        UserError: the machine has no such device, or one that does not work.
    """
    return choose(wish, where=f"--device {wish}", instead="give --device auto or cpu")
