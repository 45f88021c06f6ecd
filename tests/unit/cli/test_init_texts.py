"""`init --data` on texts, and `run merge` of what it wrote."""

import tomllib
from pathlib import Path

import pytest

from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import own_peer
from dcfm_node.config.run import load_run
from dcfm_node.data.source import SiloData
from dcfm_node.data.text_survey import text_file
from dcfm_node.domains.base import of
from tests.unit.cli.running import run

Capsys = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def table(file: Path, word: str = "gull") -> Path:
    lines = ["id,text,Topic,style"]
    for row in range(40):
        topic, style = ("sea", "hill")[row % 2], ("short", "long")[row // 2 % 2]
        lines.append(f'{row},"{word}, {row}",{topic},{style}')
    file.write_text("\n".join(lines))
    return file


def loaded(folder: Path, settings: Path | None = None) -> SiloData:
    """The data as the node of this folder reads them."""
    node = load_node(folder / "node.toml")
    me = own_peer(node, load_keys(node.keys))
    manifest = load_run(settings or folder / "run.toml", (me,), me, listed=folder)
    return of(manifest).load(manifest, node.data)


def test_tables_of_texts_make_nodes_that_read_them(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    north, south = table(tmp_path / "north.csv"), table(tmp_path / "south.csv", "a long wave")
    assert run(monkeypatch, "init", tmp_path / "n", "--data", north) == 0
    told = capsys.readouterr().out
    assert "found 40 samples of shape 8" in told and "(text)" in told
    assert "topic: hill, sea" in told and "'id' is not used" in told
    assert run(monkeypatch, "init", tmp_path / "s", "--data", south) == 0
    made = tomllib.loads((tmp_path / "s" / "run.toml").read_text())
    assert made["sample_shape"] == [16] and made["path"] == {"kind": "discrete", "tokens": 256}
    assert '#kind = "transformer"' in (tmp_path / "s" / "run.toml").read_text()
    files = [tmp_path / site / "run.toml" for site in "ns"]
    assert run(monkeypatch, "run", "merge", tmp_path / "run.toml", *files) == 0
    assert f"[16] of {files[1]} counts" in capsys.readouterr().out
    data = loaded(tmp_path / "n", tmp_path / "run.toml")
    assert data.train.x.shape == (36, 16)
    assert len(data.counts) == 4


def test_a_plain_file_is_given_its_labels(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "all.txt").write_text("\n".join(f"line {i} {'ö' * 150}" for i in range(20)))
    assert run(monkeypatch, "init", tmp_path / "n", "--data", folder) == 2
    assert "--attributes language=en,style=letter" in capsys.readouterr().err
    options = ("--attributes", "language=de,style=note")
    assert run(monkeypatch, "init", tmp_path / "n", "--data", folder, *options) == 0
    told = capsys.readouterr().out
    assert "longer ones are cut; the longest has 308" in told
    data = tomllib.loads((tmp_path / "n" / "node.toml").read_text())["data"]
    assert data["cut"] and data["attributes"] == {
        "language": {"constant": "de"},
        "style": {"constant": "note"},
    }
    other = tmp_path / "other.toml"
    own = (tmp_path / "n" / "run.toml").read_text()
    other.write_text(own.replace('"de"', '"en"').replace('"note"', '"letter"'))
    files = (tmp_path / "n" / "run.toml", other)
    assert run(monkeypatch, "run", "merge", tmp_path / "run.toml", *files) == 0
    assert len(loaded(tmp_path / "n", tmp_path / "run.toml").train) > 20


def test_only_what_holds_texts_is_taken_for_texts(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(b"text,topic\rone,sea\rtwo,sea\r")  # lines of an old Mac
    assert text_file(tmp_path / "old.csv") == (tmp_path / "old.csv").resolve()
    (tmp_path / "listed.csv").write_text("file,text\na.png,yes\n")
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    (tmp_path / "signs" / "shape=bar").mkdir(parents=True)
    (tmp_path / "signs" / "LICENCE.txt").write_text("of the pictures")
    for name in ("listed.csv", "numbers.csv", "signs", "nowhere.txt"):
        assert text_file(tmp_path / name) is None, name


def test_texts_that_give_no_attribute_are_refused(
    monkeypatch: Patch, capsys: Capsys, tmp_path: Path
) -> None:
    (tmp_path / "bare.csv").write_text("text\none\ntwo\n")
    (tmp_path / "many").mkdir()
    for name in "ab":
        (tmp_path / "many" / f"{name}.txt").write_text("one\n")
    table(tmp_path / "good.csv")
    for name, told, options in (
        ("bare.csv", "gives no attribute", ()),
        ("many", "holds 2 text files, and a node reads one", ()),
        ("good.csv", "--attributes may name id, Topic, style", ("--attributes", "mood")),
    ):
        assert run(monkeypatch, "init", tmp_path / "n", "--data", tmp_path / name, *options) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "n").exists()
