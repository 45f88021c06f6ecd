"""What an experiment leaves to read and to look at: results.json, table.md, pictures."""

from pathlib import Path

from dcfm_node.experiment import figures, tables
from dcfm_node.experiment.results import Results
from dcfm_node.experiment.settings import Experiment

TABLE = "table.md"


def write(folder: Path, found: Results, settings: Experiment) -> list[Path]:
    """Write the table and the pictures into the folder. Returns all files, results.json first."""
    table = folder / TABLE
    table.write_text(tables.document(found, settings))
    return [folder / "results.json", table, *figures.draw(folder, found, settings)]


def summary(found: Results, settings: Experiment) -> str:
    """The main tables, for the terminal."""
    return "\n\n".join(
        f"{partition}\n"
        + tables.main_table([r for r in found.rows if r.partition == partition], settings)
        for partition in settings.partitions
    )
