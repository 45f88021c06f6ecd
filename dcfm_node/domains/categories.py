"""The sites' own tables of categories, without a known truth."""

from collections.abc import Mapping
from functools import partial

from dcfm_node.data import source as files
from dcfm_node.data.categories import read_categories
from dcfm_node.data.raw import Raw
from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import DataSpec, FileData, TableData
from dcfm_node.domains.base import Cells
from dcfm_node.domains.plain import Unjudged
from dcfm_node.domains.settings import CategoriesSettings
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Stored

UNKNOWN = "?"
"""A token that its column has no value for: another column has more values."""


class Categories(Unjudged[CategoriesSettings]):
    """A sample is a row of a table, a token for each of its cells."""

    def load(self, manifest: Manifest, source: DataSpec) -> SiloData:
        """Reads the words of CSV tables; other formats have tokens."""
        if isinstance(source, TableData):
            return files.load(source, manifest, partial(_read, self))
        return super().load(manifest, source)

    def text(self, x: Stored) -> list[str]:
        """Rows as words with commas between them."""
        return [", ".join(row) for row in self.cells(x).rows]

    def cells(self, x: Stored) -> Cells:
        """The table, with the columns' names."""
        columns = self.settings.column
        names = tuple(column.name for column in columns)
        rows = [
            [
                column.values[token] if token < len(column.values) else UNKNOWN
                for column, token in zip(columns, row, strict=True)
            ]
            for row in x.astype(int).tolist()
        ]
        return Cells(names, rows)


def _read(
    domain: Categories,
    spec: FileData,
    columns: Mapping[str, str],
    order: tuple[str, ...],
    shape: tuple[int, ...],
) -> Raw:
    assert isinstance(spec, TableData)
    values = {column.name: column.values for column in domain.settings.column}
    return read_categories(spec, columns, shape, values)
