"""Where a silo's private data lies: the `[data]` table of node.toml."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dcfm_node.data.names import at_home
from dcfm_node.errors import DataError
from dcfm_node.plugins import names
from dcfm_node.records.base import Model, Name

Text = Annotated[str, Field(min_length=1, max_length=256)]

FilePath = Annotated[Path, Field(strict=False), AfterValidator(at_home)]
"""A path that a settings file names; `~` is the folder of the node's user."""


class AttributeSource(Model):
    """How this silo's files give one attribute of the run."""

    column: Text | None = None
    """Array (npz), column (CSV) or folder key that holds it. Default: the attribute's own name."""
    values: dict[Text, Text] = Field(default_factory=dict)
    """What the files say -> the run's name for it. What is not listed is taken as it stands."""
    constant: Text | None = None
    """Every sample of this silo has this value; the files say nothing of the attribute."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.constant is not None and (self.column is not None or self.values):
            raise ValueError("a constant needs neither column nor values; remove either")
        return self


class _Data(Model):
    holdout: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Fraction of the samples that training never sees; at least one sample."""

    def rooted(self, folder: Path) -> Self:
        """The same with relative paths taken from `folder`."""
        return self

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files and folders that it names."""
        return ()

    def check_paths(self) -> None:
        """Look whether they are there, which takes no time; reading them is the worker's.

        Raises:
            DataError: one is not.
        """
        for path in self.paths:
            try:
                path.stat()
            except OSError as error:
                raise DataError(
                    f"cannot be read: {error.strerror}",
                    where=str(path),
                    fix="check the paths under [data] in the node's settings; relative ones begin"
                    " at that file's folder",
                ) from error


class _FileData(_Data):
    path: FilePath
    """File or folder; relative to the folder of node.toml."""
    attributes: dict[Name, AttributeSource] = Field(default_factory=dict)
    """By the run's name of the attribute; only where the defaults do not do."""

    def rooted(self, folder: Path) -> Self:
        return self.model_copy(update={"path": folder / self.path})

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)


class NpzData(_FileData):
    """A NumPy archive: `x` (N, *sample_shape), and an array (N,) per attribute or `c` (N, n).

    Strings are the attribute's values; so are integers where all its values are integers in text,
    else they are indices into them.
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
    """CSV, relative to `path`: a column `file` (relative to `path`) and one per attribute."""
    resize: bool = False
    """Resample images of another size to the run's height and width; else they are refused."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path, *([self.path / self.index] if self.index is not None else []))


class BuiltinData(_Data):
    """A share of the samples that a domain makes itself, for demonstrations and tests."""

    format: Literal["builtin"]
    name: Name
    """A domain that can share its samples among silos, such as gaussians or digits."""
    silo: Annotated[int, Field(ge=0, le=999)]
    """Which silo's share this node holds: 0 to silos - 1."""
    silos: Annotated[int, Field(ge=2, le=1_000)]
    """Number of silos that share the samples; at most 10 for digits."""
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    """Seed of the samples and of how they are shared; the same on every node."""
    path: FilePath | None = None
    """Folder of the files that the domain reads, for one that reads some (coloured-mnist)."""

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
            raise ValueError("silos share digits by digit; ask for at most 10 silos")
        return self


FileData = NpzData | IdxData | FolderData
DataSpec = Annotated[FileData | BuiltinData, Field(discriminator="format")]
"""A silo's private data. Build one of the member classes."""
