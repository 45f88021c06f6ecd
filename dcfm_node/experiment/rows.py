"""What trials of rows share that are made one after the other: rows on disk, and progress."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict

import torch

from dcfm_node.experiment.lab import code
from dcfm_node.experiment.lines import TELL_S, Measured, Progress, TrialSpec, device_of, tell
from dcfm_node.experiment.results import Row, kept_row, write_json
from dcfm_node.wire.canonical import sha256


class RowsTrial(ABC):
    """Makes the rows of a specification that are not on disk.

    Args:
        lineup: names of the rows, in order.
        inputs: what they are made from beside the specification and the code, as text.
    """

    def __init__(self, spec: TrialSpec, lineup: Sequence[str], inputs: str) -> None:
        self._spec, self._lineup, self._inputs = spec, lineup, inputs
        self._device = device_of(spec.device)
        if spec.threads:
            torch.set_num_threads(spec.threads)
        self._variant, self._done, self._told_at = "", 0, 0.0

    @abstractmethod
    def row(self, variant: str) -> Row:
        """Make one row."""

    def run(self) -> None:
        """Make the missing rows."""
        spec, lineup = self._spec, self._lineup
        for self._variant in lineup:
            name = f"{spec.partition}-{spec.seed}-{self._variant}.json"
            path, made_from = spec.out / "rows" / name, self._made_from()
            if kept_row(path, made_from) is None:
                self._tell(self._variant, 0, 1)
                row = self.row(self._variant)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, {"made_from": made_from, "row": asdict(row)})
            self._done += 1
            tell(Measured(method=self._variant, done=self._done))

    def _made_from(self) -> str:
        spec = self._spec
        parts = (self._inputs, spec.partition, str(spec.seed), self._variant)
        rooms = code("data", "domains", "experiment", "records")
        return sha256(rooms, *(part.encode() for part in parts)).hex()

    def _tell(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told_at < TELL_S:
            return
        self._told_at = time.monotonic()
        share, all_ = done / total, len(self._lineup)
        tell(Progress(method=self._variant, what=what, share=share, done=self._done, total=all_))
