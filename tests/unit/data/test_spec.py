"""The [data] table as a model: it travels to the training process as JSON."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from dcfm_node.data.spec import (
    AttributeSource,
    BuiltinData,
    DataSpec,
    FolderData,
    IdxData,
    NpzData,
)
from dcfm_node.errors import DataError

SPEC: TypeAdapter[DataSpec] = TypeAdapter(DataSpec)


@pytest.mark.parametrize(
    "spec",
    [
        NpzData(
            format="npz",
            path=Path("/d/x.npz"),
            holdout=0.2,
            attributes={"digit": AttributeSource(column="y", values={"1": "one"})},
        ),
        IdxData(format="idx", path=Path("/d/x"), labels=Path("/d/y")),
        FolderData(format="folder", path=Path("/d"), index=Path("i.csv"), resize=True),
        BuiltinData(format="builtin", name="digits", silo=1, silos=3, seed=7),
    ],
)
def test_it_survives_json(spec: DataSpec) -> None:
    assert SPEC.validate_json(SPEC.dump_json(spec)) == spec


@pytest.mark.parametrize(
    ("spec", "gone"),
    [
        (NpzData(format="npz", path=Path("x")), "x"),
        (IdxData(format="idx", path=Path("here"), labels=Path("y")), "y"),
        (FolderData(format="folder", path=Path(), index=Path("i.csv")), "i.csv"),
    ],
)
def test_what_is_not_there_is_told_without_reading(
    tmp_path: Path, spec: DataSpec, gone: str
) -> None:
    (tmp_path / "here").write_text("no data at all")
    with pytest.raises(DataError, match="No such file or directory") as caught:
        spec.rooted(tmp_path).check_paths()
    assert caught.value.where == str(tmp_path / gone)
    (tmp_path / gone).write_text("no data either")
    spec.rooted(tmp_path).check_paths()


def test_relative_paths_are_rooted_and_absolute_ones_stay() -> None:
    spec = IdxData(format="idx", path=Path("x"), labels=Path("/d/y")).rooted(Path("/n"))
    assert (spec.path, spec.labels) == (Path("/n/x"), Path("/d/y"))


def test_a_folder_s_index_stays_relative_to_the_folder() -> None:
    spec = FolderData(format="folder", path=Path("p"), index=Path("i.csv")).rooted(Path("/n"))
    assert (spec.path, spec.index) == (Path("/n/p"), Path("i.csv"))
