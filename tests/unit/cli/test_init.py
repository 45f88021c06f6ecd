"""`init --data` and `run merge`: three sites with data get a run that they can start."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import load_peers, own_peer
from dcfm_node.config.run import load_run
from dcfm_node.data.source import load
from dcfm_node.data.spec import BuiltinData
from tests.unit.cli.running import run

HELD = {
    "north": [("square", "red"), ("cross", "green")],
    "east": [("cross", "blue"), ("bar", "blue")],
    "south": [("square", "blue"), ("cross", "red")],
}


def signs(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for silo, held in HELD.items():
        for shape, colour in held:
            under = folder / silo / f"shape={shape},colour={colour}"
            under.mkdir(parents=True)
            for i in range(5):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(under / f"{i}.png")
    return folder


def weather(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for silo, held in HELD.items():
        labels = [np.repeat([pair[i] for pair in held], 20) for i in (0, 1)]
        x = (1013.0 + 9.0 * rng.standard_normal((40, 6))).astype(np.float32)
        np.savez(folder / f"{silo}.npz", x=x, shape=labels[0], colour=labels[1])
    return folder


@pytest.mark.parametrize(
    ("made", "suffix", "kind"), [(signs, "", "unet"), (weather, ".npz", "mlp")]
)
def test_three_sites_get_a_run_that_they_can_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    made: object,
    suffix: str,
    kind: str,
) -> None:
    data = made(tmp_path / "data")  # type: ignore[operator]
    blocks = []
    for number, silo in enumerate(HELD):
        at = ("--data", data / f"{silo}{suffix}", "--advertise", f"127.0.0.1:{7400 + 2 * number}")
        assert run(monkeypatch, "init", tmp_path / silo, *at) == 0
        capsys.readouterr()
        assert run(monkeypatch, "id", "--config", tmp_path / silo / "node.toml") == 0
        blocks.append(capsys.readouterr().out)
    peers, merged = tmp_path / "peers.toml", tmp_path / "run.toml"
    peers.write_text("\n".join(blocks))
    files = [tmp_path / silo / "run.toml" for silo in HELD]
    assert run(monkeypatch, "run", "merge", merged, *files) == 0
    everyone = load_peers(peers)
    assert [peer.control for peer in everyone] == [
        f"tcp://127.0.0.1:{7400 + 2 * number}" for number in range(3)
    ]
    for silo, held in HELD.items():
        node = load_node(tmp_path / silo / "node.toml")
        me = own_peer(node, load_keys(node.keys, {}))
        manifest = load_run(merged, everyone, me, listed=peers)
        assert manifest.network.kind == kind
        assert [one.values for one in manifest.attributes] == [
            ("bar", "cross", "square"),
            ("blue", "green", "red"),
        ]
        assert not isinstance(node.data, BuiltinData)
        found = load(node.data, manifest)
        names = {
            tuple(one.values[i] for one, i in zip(manifest.attributes, label, strict=True))
            for label, _ in found.counts
        }
        assert names == set(held)
    # Once merged, the file shows what is settled for all attributes together, and loads anew.
    assert run(monkeypatch, "run", "merge", tmp_path / "again.toml", merged, *files) == 0
    assert (tmp_path / "again.toml").read_text() == merged.read_text()


def test_what_was_found_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = signs(tmp_path / "data") / "east"
    assert run(monkeypatch, "init", tmp_path / "east", "--data", data) == 0
    text = capsys.readouterr().out
    assert "found 10 samples of shape 3 x 8 x 8" in text
    assert "warning: 'colour' is always 'blue' here" in text
    assert "where peers reach this node" in text
    assert "run merge" in text
    assert run(monkeypatch, "init", tmp_path / "again", "--data", data, "--json") == 0
    found = json.loads(capsys.readouterr().out)["data"]
    assert found["combinations"] == [
        {"values": ["bar", "blue"], "samples": 5},
        {"values": ["cross", "blue"], "samples": 5},
    ]
    assert len(found["features"]) == 3


def tones(file: Path, many: int = 120) -> Path:
    """Tones at any phase, as one number a column."""
    rng, rows = np.random.default_rng(0), np.arange(many)
    turns = np.array([3, 5])[rows % 2, None] * np.arange(32) / 32 + rng.random((many, 1))
    loud = rows // 2 % 2
    x = (1 + loud[:, None]) * np.cos(2 * np.pi * turns)
    np.savez(file, x=x.astype(np.float32), tone=rows % 2, loud=loud)
    return file


def test_a_series_is_recognised_at_one_site_for_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, many in (("few", 8), ("many", 120)):
        data = tones(tmp_path / f"{name}.npz", many)
        assert run(monkeypatch, "init", tmp_path / name, "--data", data) == 0
    assert "assumed: samples are read as series of 32 numbers" in capsys.readouterr().out
    text = (tmp_path / "many" / "run.toml").read_text()
    assert "# samples are read as series of 32 numbers" in text
    assert "set sample_shape = [32] in run.toml" in text.replace("\n# ", " ")
    assert "sample_shape = [32]" in (tmp_path / "few" / "run.toml").read_text()
    files = [tmp_path / name / "run.toml" for name in ("few", "many")]
    assert run(monkeypatch, "run", "merge", tmp_path / "run.toml", *files) == 0
    told = capsys.readouterr().out
    assert f"{files[0]} has sample_shape = [32]; [1, 32] of {files[1]} counts" in told
    everyone = [
        own_peer(n := load_node(f.with_name("node.toml")), load_keys(n.keys, {})) for f in files
    ]
    manifest = load_run(tmp_path / "run.toml", tuple(everyone), None, listed=tmp_path)
    assert (manifest.sample_shape, manifest.network.kind) == ((1, 32), "mixer")
    for file in files:
        private = load_node(file.with_name("node.toml")).data
        assert not isinstance(private, BuiltinData)
        assert load(private, manifest).train.x.shape[1:] == (1, 32)


def test_nothing_is_made_where_the_data_or_the_address_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = signs(tmp_path / "data") / "east"
    assert run(monkeypatch, "init", tmp_path / "n", "--data", tmp_path / "nowhere") == 2
    for wrong in ("a b", "0.0.0.0:1", "host:99999", "host:65535"):
        assert run(monkeypatch, "init", tmp_path / "n", "--data", data, "--advertise", wrong) == 2
        assert f"--advertise {wrong}" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_a_run_that_is_there_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "run.toml").write_text("mine")
    assert run(monkeypatch, "init", tmp_path / "n", "--data", signs(tmp_path / "d") / "east") == 0
    assert (tmp_path / "n" / "run.toml").read_text() == "mine"


SITE = 'name = "r"\nsample_shape = [2]\n[[attribute]]\nname = "p"\nvalues = ["b"]\n'


@pytest.mark.parametrize(
    ("other", "what", "fix"),
    [
        (SITE.replace("[2]", "[3]"), "sample_shape is", "the same sample_shape"),
        (SITE.replace("[2]", "[1, 3]"), "sample_shape is", "the same sample_shape"),
        (SITE.replace('"r"', '"s"'), 'name is "s"', "the same name"),
        (SITE + "[method.local]\nsteps = 3\n", "method is", "the same method"),
        (SITE.replace('"p"', '"q"'), "has no attribute", "constant under [data.attributes"),
        (SITE.replace("values", "value"), "2 problems", ""),
        (SITE.replace('["b"]', "3"), "is 3", "write an array"),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    other: str,
    what: str,
    fix: str,
) -> None:
    for name, text in (("a", SITE), ("b", other)):
        (tmp_path / name).write_text(text)
    out = tmp_path / "out.toml"
    assert run(monkeypatch, "run", "merge", out, tmp_path / "a", tmp_path / "b") == 2
    told = capsys.readouterr().err
    assert what in told
    assert fix in told
    assert not out.exists()


PICTURES = SITE.replace("[2]", "[3, 28, 28]").replace('["b"]', '["b", "c"]')


@pytest.mark.parametrize(
    ("other", "counts"),
    [("[3, 20, 24]", "[3, 20, 24]"), ("[1, 8, 8]", "[3, 28, 28]"), ("[3, 64, 64]", "[3, 28, 28]")],
)
def test_pictures_get_one_size(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    other: str,
    counts: str,
) -> None:
    for name, text in (("a", PICTURES), ("b", PICTURES.replace("[3, 28, 28]", other))):
        (tmp_path / name).write_text(text)
    out = tmp_path / "out.toml"
    assert run(monkeypatch, "run", "merge", out, tmp_path / "a", tmp_path / "b") == 0
    told = capsys.readouterr().out
    assert f"sample_shape = {counts}" in out.read_text()
    assert f"; {counts} of" in told
    assert "resize = true" in told
    assert "'p' is the only attribute, so there is nothing to compose" in told


def test_an_attribute_with_one_value_at_all_sites_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a").write_text(SITE)
    assert run(monkeypatch, "run", "merge", tmp_path / "out", tmp_path / "a", tmp_path / "a") == 2
    assert "'p' is 'b' at all sites" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_say_what_the_data_do_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    for i in range(4):
        Image.new("L", (8, 8), i).save(tmp_path / "d" / f"{('bar', 'cross')[i % 2]}_red_{i}.png")
    data = ("--data", tmp_path / "d", "--names", "{shape}_{colour}_*")
    assert run(monkeypatch, "init", tmp_path / "n", *data, "--attributes", "shape") == 0
    assert "'shape' is the only attribute" in capsys.readouterr().out
    node = load_node(tmp_path / "n" / "node.toml")
    manifest = load_run(
        tmp_path / "n" / "run.toml", (), own_peer(node, load_keys(node.keys, {})), listed=tmp_path
    )
    assert not isinstance(node.data, BuiltinData)
    assert [n for _, n in load(node.data, manifest).counts] == [1, 2]


def test_a_named_column_that_cannot_be_an_attribute_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [
        f"{('old', 'new')[i % 2]},{('a', 'b')[i // 2 % 2]},{i / 7},{i % 5 / 3}" for i in range(40)
    ]
    (tmp_path / "d.csv").write_text("\n".join(["oil,load,power,hum", *rows]))
    data = ("--data", tmp_path / "d.csv", "--attributes")
    assert run(monkeypatch, "init", tmp_path / "n", *data, "oil,load,power") == 2
    assert (
        "'power' cannot be an attribute: it has another value for nearly" in capsys.readouterr().err
    )
    assert not (tmp_path / "n").exists()
    assert run(monkeypatch, "init", tmp_path / "n", *data, "oil,load") == 0


def test_a_folder_that_is_not_that_of_the_pictures_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "project" / "src").mkdir(parents=True)
    (tmp_path / "project" / "src" / "main.py").write_text("")
    assert run(monkeypatch, "init", tmp_path / "n", "--data", tmp_path / "project") == 2
    told = capsys.readouterr().err
    assert "is not the folder of the pictures, name that folder" in told
    assert "remove" not in told


def test_commands_to_copy_are_quoted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "init", tmp_path / "my node", "--name", "n") == 0
    line = next(one for one in capsys.readouterr().out.split("\n") if "dcfm-node id" in one)
    assert shlex.split(line) == ["dcfm-node", "id", "--config", str(tmp_path / "my node/node.toml")]


def test_values_keep_the_order_that_a_site_gave_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, values in (("a", '["small", "large"]'), ("b", '["large", "huge"]')):
        (tmp_path / name).write_text(SITE.replace('["b"]', values))
    out = tmp_path / "out.toml"
    assert run(monkeypatch, "run", "merge", out, tmp_path / "a", tmp_path / "b") == 0
    assert 'values = ["small", "large", "huge"]' in out.read_text()
    assert run(monkeypatch, "run", "merge", out, tmp_path / "a", tmp_path / "b") == 1
