"""Where a silo's private data is: the `[data]` table of node.toml."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from dcfm_node.data.names import at_home
from dcfm_node.errors import DataError
from dcfm_node.plugins import names
from dcfm_node.records.base import Model, Name

Text = Annotated[str, Field(min_length=1, max_length=256)]

FilePath = Annotated[Path, Field(strict=False), AfterValidator(at_home)]
"""A path in a settings file; `~` is the home folder of the node's user."""


class AttributeSource(Model):
    """How this silo's files give one attribute of the run."""

    column: Text | None = None
    """Array (npz), column (CSV) or folder key with the labels. Default: the attribute's name. In a
    CSV table, `shape_*` is a column for each value, with 1 where a sample has it, else 0."""
    values: dict[Text, Text] = Field(default_factory=dict)
    """Value in the files -> value in the run. Other values are used unchanged. Default: none."""
    constant: Text | None = None
    """The value of every sample of this silo, if the files do not give the attribute."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.constant is not None and (self.column is not None or self.values):
            raise ValueError("a constant needs neither column nor values; remove either")
        return self


class EpisodeSource(AttributeSource):
    """How a robot's recordings give one attribute of an episode: by a column that does not change
    within it, by its value at one frame, or by where a number of that frame lies between edges. The
    column `task` is the text of `task_index`."""

    index: Annotated[int, Field(ge=0, le=4_095)] = 0
    """Which number of the column, if it has several; from 0; default 0."""
    at: Literal["first", "last"] | None = None
    """The frame that gives the label. Default: any, and an error where the column changes."""
    edges: Annotated[tuple[FiniteFloat, ...], Field(max_length=1_000)] = ()
    """Rising numbers that divide the number at that frame: below the first edge it is the run's
    first value, from the first edge to below the second the second, and so on. One edge less than
    the attribute has values. Default: none; the column holds the values themselves."""

    @model_validator(mode="after")
    def _rule(self) -> Self:
        if any(high <= low for low, high in pairwise(self.edges)):
            raise ValueError("edges must rise; write them from the lowest to the highest")
        if self.edges and (self.column is None or self.at is None):
            raise ValueError('edges need column, and at = "first" or "last"; set both')
        if self.edges and self.values:
            raise ValueError("edges give the values of the run in order; remove values or edges")
        if self.constant is not None and (self.at is not None or self.index or self.edges):
            raise ValueError("a constant needs neither index, at nor edges; remove either")
        return self


class _Data(Model):
    holdout: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Fraction of the samples held out from training, 0 to 1; default 0.1, at least one sample."""

    def rooted(self, folder: Path) -> Self:
        """The same settings with relative paths resolved against `folder`."""
        return self

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and folders that these settings name."""
        return ()

    def check_paths(self) -> None:
        """Check that the paths exist. The worker reads them later.

        Raises:
            DataError: a path does not exist or cannot be accessed.
        """
        for path in self.paths:
            try:
                path.stat()
            except OSError as error:
                raise DataError(
                    f"cannot be read: {error.strerror}",
                    where=str(path),
                    fix="check the paths under [data] in the node's settings; relative ones start"
                    " at that file's folder",
                ) from error


class _PathData(_Data):
    path: FilePath
    """File or folder; relative to the folder of node.toml."""

    def rooted(self, folder: Path) -> Self:
        return self.model_copy(update={"path": folder / self.path})

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)


class _FileData(_PathData):
    attributes: dict[Name, AttributeSource] = Field(default_factory=dict)
    """The run's attribute name -> its source; needed only where the defaults do not fit."""


class NpzData(_FileData):
    """A NumPy archive: `x` (N, *sample_shape), and an array (N,) per attribute, or `c` (N, n).

    Strings are the attribute's values. Integers are values too if all values of the attribute are
    integers written as text; otherwise they are indices.
    """

    format: Literal["npz"]


class IdxData(_FileData):
    """An MNIST-style pair of IDX files, plain or gzip; the labels give one attribute."""

    format: Literal["idx"]
    labels: FilePath
    """The labels file; relative to the folder of node.toml."""

    def rooted(self, folder: Path) -> Self:
        both = {"path": folder / self.path, "labels": folder / self.labels}
        return self.model_copy(update=both)

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path, self.labels)


class FolderData(_FileData):
    """Image files: in folders named like `digit=3,colour=red`, or listed by a CSV file."""

    format: Literal["folder"]
    index: FilePath | None = None
    """CSV file with a column `file` and one per attribute; all paths are relative to `path`."""
    names: Text | None = None
    """How the images' paths below `path` give labels: `{shape}/{colour}/*` for square/red/17.png,
    `{shape}_{colour}_*` for square_red_17.png; `*` stands for anything. Default: by folders named
    like `shape=square`."""
    resize: bool = False
    """Resample images of another size to the run's height and width. Default false: refuse them."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path, *([self.path / self.index] if self.index is not None else []))


class TableData(_FileData):
    """A CSV table, a row a sample: a column for each attribute, and one for each number of `x`.

    Numbers are read in the order of their columns' names (t2 before t10), not of the columns.
    """

    format: Literal["csv"]
    ignore: tuple[Text, ...] = ()
    """Columns that are neither attributes nor numbers of a sample. Default: none."""
    features: tuple[Text, ...] = ()
    """Names that the columns of numbers must have, in order. Default: those of run.toml, if any."""


class TextData(_FileData):
    """Texts, for a run whose domain is `text`: a CSV table with a column of texts and one for each
    attribute, or a plain text file in UTF-8 with a text in every line.

    A plain file gives no labels, so each attribute needs a constant.
    """

    format: Literal["text"]
    column: Text = "text"
    """Column of a CSV table with the texts; default text."""
    cut: bool = False
    """Cut longer texts into samples of the run's length. Default false: refuse them."""


class LerobotData(_PathData):
    """A folder of a robot's recordings in the layout of LeRobot, v2.0, v2.1 or v3.0; an episode
    is a sample. The run's domain `trajectories` says which columns to read. Needs pyarrow."""

    format: Literal["lerobot"]
    skip: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=100_000)] = ()
    """Indices of episodes that are left out, such as aborted ones. Default: none."""
    attributes: dict[Name, EpisodeSource] = Field(default_factory=dict)
    """The run's attribute name -> its source; needed only where the defaults do not fit."""


class BuiltinData(_Data):
    """A share of the samples that a domain makes itself, for demonstrations and tests."""

    format: Literal["builtin"]
    name: Name
    """A domain with samples of its own, such as gaussians or digits."""
    silo: Annotated[int, Field(ge=0, le=999)]
    """Which silo's share this node holds: 0 to silos - 1."""
    silos: Annotated[int, Field(ge=2, le=1_000)]
    """Number of silos that share the samples; at most 10 for digits."""
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    """Seed of the samples and their split; the same on every node. Default 0."""
    path: FilePath | None = None
    """Folder of the domain's files, if it reads files (coloured-mnist)."""

    def rooted(self, folder: Path) -> Self:
        return self if self.path is None else self.model_copy(update={"path": folder / self.path})

    @property
    def paths(self) -> tuple[Path, ...]:
        return () if self.path is None else (self.path,)

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if self.silo >= self.silos:
            raise ValueError(f"silo {self.silo} of {self.silos}; silos are counted from 0")
        if self.name not in (known := names("domains")):
            raise ValueError(f"there is no domain {self.name!r}; choose one of {', '.join(known)}")
        if self.name == "digits" and self.silos > 10:
            raise ValueError("digits can be shared among at most 10 silos; set silos to 10 or less")
        return self


class EpisodesData(_PathData):
    """Episodes of the domain `cube`: a .npz file of OGBench's layout, or a folder of them.

    The node cuts pick-and-places from them; they give the attributes source and destination.
    """

    format: Literal["episodes"]


class RadiographsData(_PathData):
    """Chest radiographs of the domain `chest-xray`: a folder with a table `Data_Entry_2017*.csv`
    (or .csv.gz), and `images*/` of PNG or DICOM files, or a .npz file with `image` and `name`."""

    format: Literal["radiographs"]
    patients: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=2)] = ()
    """First and last id of the patients whose images this site holds. Default: all of the table."""
    view: Text | None = None
    """The only view that this site holds, such as PA. Default: all."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.patients and (len(self.patients) != 2 or self.patients[0] > self.patients[1]):
            raise ValueError("patients are a first and a last id; write [first, last], or leave it")
        return self


FileData = NpzData | TableData | TextData | IdxData | FolderData | LerobotData
DataSpec = Annotated[
    FileData | EpisodesData | RadiographsData | BuiltinData, Field(discriminator="format")
]
"""A silo's private data. Build one of the member classes."""


def expecting(spec: DataSpec, features: Sequence[str]) -> DataSpec:
    """The same data, of which a table must have columns of numbers with the run's names.

    Names that node.toml itself gives stay: they are the site's own names for the same numbers.

    Args:
        features: in the order of a sample; () if the run has none.
    """
    if not isinstance(spec, TableData) or spec.features:
        return spec
    return spec.model_copy(update={"features": tuple(features)})
