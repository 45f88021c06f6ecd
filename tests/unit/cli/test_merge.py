"""`run merge`: what sites' files must have in common, and what is worth a note."""

from pathlib import Path

import numpy as np
import pytest

from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import own_peer
from dcfm_node.config.run import load_features, load_run
from dcfm_node.daemon.limits import Settings
from dcfm_node.data.source import load
from dcfm_node.data.spec import BuiltinData
from dcfm_node.errors import DataError
from tests.unit.cli.running import run

Capsys = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def table(file: Path, columns: str, *, fluids: tuple[str, str] = ("water", "oil")) -> Path:
    """Sixty rows of text columns `fluid` and `pump`, and these columns of numbers."""
    rng, names = np.random.default_rng(0), columns.split(",")
    lines = [f"fluid,pump,{columns}"]
    for row in range(60):
        numbers = ",".join(f"{n:.4f}" for n in rng.standard_normal(len(names)))
        lines.append(f"{fluids[row % 2]},{('old', 'new')[row // 2 % 2]},{numbers}")
    file.write_text("\n".join(lines))
    return file


def site(patch: Patch, folder: Path, columns: str, **more: tuple[str, str]) -> Path:
    data = table(folder.with_suffix(".csv"), columns, **more)
    assert run(patch, "init", folder, "--data", data) == 0
    return folder / "run.toml"


def merged(patch: Patch, capsys: Capsys, out: Path, *files: Path) -> tuple[int, str]:
    capsys.readouterr()
    code = run(patch, "run", "merge", out, *files)
    return code, "".join(capsys.readouterr())


def test_columns_of_other_names_are_refused_with_both_lists(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    """Columns are read in the order of their names: a site that renames two permutes them."""
    north = site(monkeypatch, tmp_path / "north", "flow,temp,wear")
    east = site(monkeypatch, tmp_path / "east", "wear,flow,temp")
    south = site(monkeypatch, tmp_path / "south", "wear,flow,celsius")
    assert 'features = ["flow", "temp", "wear"]' in north.read_text()
    out = tmp_path / "run.toml"
    code, told = merged(monkeypatch, capsys, out, north, south)
    assert code == 2 and not out.exists()
    line = south.read_text().splitlines().index('features = ["celsius", "flow", "wear"]') + 1
    assert f"{south}:{line}: features" in told
    assert f"celsius, flow, wear, and in {north} flow, temp, wear" in told
    assert "fix: rename the columns" in told
    assert merged(monkeypatch, capsys, out, north, east)[0] == 0


def test_a_node_refuses_a_table_without_the_columns_of_the_run(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    file = site(monkeypatch, tmp_path / "north", "flow,temp,wear")
    node = load_node(file.with_name("node.toml"))
    keys = load_keys(node.keys, {})
    me = own_peer(node, keys)
    manifest = load_run(file, (me,), me, listed=tmp_path)
    bare = tmp_path / "bare.toml"
    bare.write_text(file.read_text().replace("features = [", "# features = ["))
    assert load_run(bare, (me,), me, listed=tmp_path) == manifest  # the run id is as without
    settings = Settings(node, keys, (), manifest, file, load_features(file))
    assert not isinstance(settings.data, BuiltinData)
    assert len(load(settings.data, manifest).train) == 54
    table(tmp_path / "north.csv", "flow,celsius,wear")
    with pytest.raises(DataError) as refused:
        load(settings.data, manifest)
    told = "\n".join(refused.value.lines)
    assert str(tmp_path / "north.csv") in told
    assert "celsius, flow, wear; the run has the features flow, temp, wear" in told
    assert "rename the columns" in told
    assert load_features(bare) == ()


def test_features_come_from_any_site_that_has_a_table(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    named, bare = site(monkeypatch, tmp_path / "north", "flow,temp"), tmp_path / "bare.toml"
    bare.write_text(named.read_text().replace("features = [", "# features = ["))
    for number, files in enumerate(((named, bare), (bare, named))):
        out = tmp_path / f"{number}.toml"
        assert merged(monkeypatch, capsys, out, *files)[0] == 0
        assert load_features(out) == ("flow", "temp")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(named.read_text().replace('"flow", ', ""))
    code, told = merged(monkeypatch, capsys, tmp_path / "none.toml", named, wrong)
    assert code == 2 and "features" in told


def test_values_that_differ_only_in_case_are_noted(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    north = site(monkeypatch, tmp_path / "north", "flow,temp")
    east = site(monkeypatch, tmp_path / "east", "flow,temp", fluids=("Water", "light oil"))
    code, told = merged(monkeypatch, capsys, tmp_path / "run.toml", north, east)
    assert code == 0
    assert "note: fluid has 'Water', 'water', which differ only in case" in told
    site(monkeypatch, tmp_path / "south", "flow,temp", fluids=("oil", "Oil"))
    assert "warning: fluid has 'Oil', 'oil', which differ only" in capsys.readouterr().out


def test_other_attributes_are_told_before_the_name_that_follows_from_them(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    north = site(monkeypatch, tmp_path / "north", "flow,temp")
    data = table(tmp_path / "east.csv", "flow,temp")
    data.write_text(data.read_text().replace("pump", "valve"))
    assert run(monkeypatch, "init", tmp_path / "east", "--data", data) == 0
    files = north, tmp_path / "east" / "run.toml"
    code, told = merged(monkeypatch, capsys, tmp_path / "run.toml", *files)
    assert code == 2
    assert "has no attribute 'pump'" in told and "name is" not in told
