"""Writes the table and the pictures of an experiment's results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dcfm_node.errors import Failed
from dcfm_node.experiment import figures, tables
from dcfm_node.experiment.algebra import show as algebra
from dcfm_node.experiment.algebra.settings import Algebra
from dcfm_node.experiment.costs import show as costs
from dcfm_node.experiment.costs.settings import Costs
from dcfm_node.experiment.discovery import show as discovery
from dcfm_node.experiment.discovery.settings import Discovery
from dcfm_node.experiment.factorised import show as factorised
from dcfm_node.experiment.factorised.settings import Factorised
from dcfm_node.experiment.parity import show as parity
from dcfm_node.experiment.parity.settings import Parity
from dcfm_node.experiment.penalty import show as penalty
from dcfm_node.experiment.penalty.settings import Penalty
from dcfm_node.experiment.results import Results, Row
from dcfm_node.experiment.settings import Experiment, Given
from dcfm_node.experiment.strangers import show as strangers
from dcfm_node.experiment.strangers.settings import Strangers
from dcfm_node.experiment.switching import show as switching
from dcfm_node.experiment.switching.settings import Switching
from dcfm_node.files import replacing

TABLE = "table.md"


class Shows(Protocol):
    """The module `show` of another kind of experiment; `given` are its settings."""

    def document(self, found: Results, given: Any) -> str: ...
    def summary(self, rows: Sequence[Row], given: Any) -> str: ...
    def draw(self, folder: Path, found: Results, given: Any) -> list[Path]: ...


OTHERS: dict[type[Given], Shows] = {
    Costs: costs,
    Strangers: strangers,
    Penalty: penalty,
    Switching: switching,
    Parity: parity,
    Algebra: algebra,
    Factorised: factorised,
    Discovery: discovery,
}


def write(folder: Path, found: Results, settings: Given) -> list[Path]:
    """Write the table and the pictures into the folder. Returns all files, results.json first.

    Raises:
        Failed: a link, pipe or device is in the folder. Writing to a link would change its target,
            and writing to a pipe would wait.
    """
    odd = [p for p in folder.iterdir() if p.is_symlink() or not (p.is_file() or p.is_dir())]
    if odd:
        what = "is a link, a pipe or a device where results are written"
        raise Failed(what, where=str(odd[0]), fix="remove it, or copy the folder without it")
    table = write_table(folder, found, settings)
    if isinstance(settings, Experiment):
        pictures = figures.draw(folder, found, settings)
    else:
        pictures = OTHERS[type(settings)].draw(folder, found, settings)
    return [folder / "results.json", table, *pictures]


def write_table(folder: Path, found: Results, settings: Given) -> Path:
    """Write table.md, whole or not at all."""
    path = folder / TABLE
    with replacing(path) as scratch:
        scratch.write_text(page(found, settings))
    return path


def page(found: Results, settings: Given) -> str:
    """All tables, as in table.md."""
    if isinstance(settings, Experiment):
        return tables.document(found, settings)
    return OTHERS[type(settings)].document(found, settings)


def summary(found: Results, settings: Given) -> str:
    """The main tables, for the terminal."""
    if not isinstance(settings, Experiment):
        return OTHERS[type(settings)].summary(found.rows, settings)
    return "\n\n".join(
        f"{partition}\n"
        + tables.main_table([r for r in found.rows if r.partition == partition], settings)
        for partition in tables.measured(found.rows, settings.partitions)
    )
