"""A robot's recorded episodes, in ranges that all sites agree on."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dcfm_node.data import source as files
from dcfm_node.data.frames import Place, read_episodes
from dcfm_node.data.oddities import DataWarning
from dcfm_node.data.raw import Raw
from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import (
    BuiltinData,
    DataSpec,
    EpisodesData,
    FileData,
    LerobotData,
    RadiographsData,
)
from dcfm_node.domains.base import Domain, Evaluator, Split, SplitSpec
from dcfm_node.domains.settings import TrajectoriesSettings
from dcfm_node.errors import DataError, UserError
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Floats, Stored

NEAR = 1.05
"""Scaled values up to this are in range: a robot's sensors pass its limits a little."""
FAR = 3.0
"""Scaled values above this are of another unit or channel, and nothing is trained."""


class Trajectories(Domain[TrajectoriesSettings]):
    """Samples (channels, horizon), from -1 at each channel's `low` to +1 at its `high`.

    Files hold the channels in their own units. Episodes cannot be shared among silos or evaluated:
    they have no known truth.
    """

    def load(self, manifest: Manifest, source: DataSpec) -> SiloData:
        """Read a silo's episodes, from the layout of LeRobot or as `x` (N, channels, horizon).

        Raises:
            DataError: the data cannot be read or do not fit the run; a value is far out of range.
        """
        if isinstance(source, BuiltinData | EpisodesData | RadiographsData):
            return super().load(manifest, source)
        return files.load(source, manifest, self._read)

    def measured(self, x: Stored) -> Stored:
        return np.asarray((x + 1) * self._half + self._low, np.float32)

    def split(self, spec: SplitSpec) -> Split:
        """Always raises UserError."""
        _refuse("has no samples of its own to share among silos")

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> Evaluator:
        """Always raises UserError."""
        _refuse("has no truth to measure samples against")

    def _read(
        self,
        spec: FileData,
        columns: Mapping[str, str],
        order: tuple[str, ...],
        shape: tuple[int, ...],
    ) -> Raw:
        if isinstance(spec, LerobotData):
            places = [Place(one.column, one.index, one.name) for one in self.settings.channel]
            raw = read_episodes(spec, columns, places, shape[1], self.settings.fps)
        else:
            raw = files.read(spec, columns, order, shape)
        x = (files.checked_numbers(raw) - self._low) / self._half - 1
        return replace(raw, x=x.astype(np.float32), warnings=tuple(self._outside(raw, x)))

    def _outside(self, raw: Raw, x: NDArray[np.floating[Any]]) -> Iterator[DataWarning]:
        """What is out of range.

        Raises:
            DataError: a value is so far out that its unit must be another one.
        """
        furthest = np.abs(x).max(axis=2)
        for number, channel in enumerate(self.settings.channel):
            outside = furthest[:, number] > NEAR
            if not outside.any():
                continue
            episode = int(furthest[:, number].argmax())
            values = raw.x[episode, number]
            worst = values[np.abs(x[episode, number]).argmax()]
            what = (
                f"{channel.column}[{channel.index}] reaches {worst:.4g}, outside its range"
                f" {channel.low:g} to {channel.high:g}"
            )
            if furthest[episode, number] > FAR:
                raise DataError(
                    what,
                    where=raw.row(episode),
                    fix="record it in the unit of the other sites; or, if the range is wrong,"
                    " correct low and high under [[domain.channel]] of run.toml at every site",
                )
            yield DataWarning(
                "data-features",
                f"{raw.row(episode)}: {what}, in {outside.sum()} of {len(x)} episodes",
                "widen low and high under [[domain.channel]] of run.toml at every site, or remove"
                " the episodes",
            )

    @property
    def _low(self) -> Floats:
        """(channels, 1)."""
        return np.array([[channel.low] for channel in self.settings.channel], np.float32)

    @property
    def _half(self) -> Floats:
        """Half of each range: (channels, 1)."""
        halves = [[(channel.high - channel.low) / 2] for channel in self.settings.channel]
        return np.array(halves, np.float32)


def _refuse(what: str) -> NoReturn:
    raise UserError(f"the domain 'trajectories' {what}", fix="choose another kind under [domain]")
