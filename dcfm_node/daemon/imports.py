"""What came of silos by bundle, and when: kept across restarts, so that a silo without a link is
told as one that takes part by hand, and not as absent."""

from collections.abc import Mapping
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from dcfm_node.files import read_bounded, replacing

log = structlog.get_logger()

MAX_BYTES = 16 << 20
"""Of the file: a line for each silo."""


class LastImport(BaseModel):
    """What a bundle brought of one silo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time_ms: int
    """This node's wall clock when it was imported. It informs; nothing decides on it."""
    bundle_of: str
    """The silo that exported it."""
    records: int
    """Of the silo, that were new here."""
    snapshots: int
    """In the bundle, that this node wanted."""


class _File(BaseModel):
    run: str
    silos: dict[str, LastImport] = {}


class LastImports:
    """The last of each silo, in a file.

    Args:
        file: made when there is something to keep; of another run, it is begun anew.
    """

    def __init__(self, file: Path, run: bytes) -> None:
        self._file, self._kept = file, _File(run=run.hex())
        try:
            kept = _File.model_validate_json(read_bounded(file, MAX_BYTES))
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            log.warning("bundles_forgotten", file=str(file), why=str(error))
            return
        if kept.run == self._kept.run:
            self._kept = kept

    @property
    def by_silo(self) -> Mapping[str, LastImport]:
        """By the silo's name."""
        return self._kept.silos

    def note(self, imports: Mapping[str, LastImport]) -> None:
        """Keep these in place of what was known of their silos."""
        self._kept.silos.update(imports)
        self._save()

    def forget(self, silo: str) -> None:
        """A link of its own tells of it from now on."""
        if self._kept.silos.pop(silo, None) is not None:
            self._save()

    def _save(self) -> None:
        try:
            with replacing(self._file) as scratch:
                scratch.write_text(self._kept.model_dump_json(indent=2))
        except OSError as error:
            # It only informs: known until the node stops, and told anew by the next bundle.
            log.warning("bundles_not_kept", file=str(self._file), why=str(error))
