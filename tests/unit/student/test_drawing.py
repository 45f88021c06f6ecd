"""What a student's folder asks of memory, and what its model must be, before either is made."""

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from dcfm_node.config.node import load_node
from dcfm_node.data.source import load, read
from dcfm_node.data.spec import AttributeSource, NpzData, TableData
from dcfm_node.data.survey import survey
from dcfm_node.errors import ConfigError, DataError, Failed
from dcfm_node.flow import networks
from dcfm_node.flow.room import available, check_held, check_room
from dcfm_node.networks.settings import LinearCodecSettings
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.moments import Scale
from dcfm_node.records.settings import Training
from dcfm_node.samples import Samples
from dcfm_node.student import columns as columns_module
from dcfm_node.student import drawing
from dcfm_node.student.asked import novel_of
from dcfm_node.student.columns import (
    Columns,
    columns_of,
    require_agreed,
    write_csv,
    write_npz,
)
from dcfm_node.student.drawing import check_model
from dcfm_node.student.saving import MAX_TILES, check_form, names_columns
from dcfm_node.student.saving import write as save

COMBOS = [(0,), (1,)]
ALL = 10**15.0
"""Bytes of memory that no machine has: what is not refused for it is not refused at all."""


def manifest(shape: tuple[int, ...] = (4,), method: str = "dcfm", **network: Any) -> Manifest:
    stage = Training(steps=1)
    settings: dict[str, Any] = {"refine": stage, "distil": stage} if method == "dcfm" else {}
    return Manifest(
        name="x",
        sample_shape=shape,
        attributes=(Attribute(name="a", values=("0", "1")),),
        network={"kind": "mlp", "width": 8, "depth": 1, **network},
        method={"name": method, "local": stage, **settings},
        roster=(Silo(name="x", key=b"k" * 32),),
    )


def write(made: Manifest, path: Path, **changes: Any) -> Path:
    save_file(dict(networks.build(made).state_dict()) | changes, path)
    return path


def draw(
    made: Manifest,
    model: Path,
    combinations: Any,
    *,
    counts: Any,
    count: int,
    seed: int,
    out: Path,
    scale: Scale | None,
    config: Path = Path("node.toml"),
) -> Columns | None:
    """Draw into a file, as `student sample` does."""
    check_form(made, out, count, min(count, len(combinations)), force=True)
    drawn = drawing.draw(
        made, model, combinations, counts=counts, count=count, seed=seed, scale=scale
    )
    columns = columns_of(config, made) if names_columns(made, out) else None
    save(out, made, drawn, novel_of(combinations, counts.values()), columns or Columns((), ""))
    return columns


def test_the_runs_own_network_is_drawn_from(tmp_path: Path) -> None:
    made = manifest()
    model, out = write(made, tmp_path / "model.safetensors"), tmp_path / "samples.npz"
    draw(made, model, [(1,)], counts={}, count=3, seed=0, out=out, scale=None)
    assert out.stat().st_size > 0


def test_samples_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    made = manifest()
    last = {name: part * 0 + 1e6 for name, part in networks.build(made).state_dict().items()}
    model, out = write(made, tmp_path / "model.safetensors", **last), tmp_path / "samples.npz"
    with pytest.raises(Failed, match="something else than finite numbers"):
        draw(made, model, [(1,)], counts={}, count=3, seed=0, out=out, scale=None)
    assert not out.exists()


def test_samples_are_drawn_in_the_units_of_the_data(tmp_path: Path) -> None:
    made = manifest()
    model, out = write(made, tmp_path / "model.safetensors"), tmp_path / "samples.npz"
    drawn = []
    for scale in (None, Scale(mean=(1013.0, 0.0, 0.0, 0.0), deviation=(9.0, 1.0, 0.01, 1.0))):
        draw(made, model, [(1,)], counts={}, count=3, seed=0, out=out, scale=scale)
        drawn.append(np.load(out)["x"])
    z, x = drawn
    np.testing.assert_allclose(x, z * [9.0, 1.0, 0.01, 1.0] + [1013.0, 0.0, 0.0, 0.0], rtol=1e-6)


def test_a_table_names_the_columns_in_the_order_of_training(tmp_path: Path) -> None:
    """The file has them in another order than that of their names, which is the samples'."""
    made = manifest()
    rows = [f"{row % 2},{row},{row + 0.5},{100 + row},{row},-1.25e-3" for row in range(8)]
    table, config = tmp_path / "t.csv", tmp_path / "node.toml"
    table.write_text("\n".join(["a,t10,wind,hum,note,t2", *rows]))
    config.write_text('name = "x"\n[data]\nformat = "csv"\npath = "t.csv"\nignore = ["note"]\n')
    trained = load(load_node(config).data, made).train
    columns = columns_of(config, made)
    assert columns == (("hum", "t2", "t10", "wind"), f"named as in {table}")
    write_csv(tmp_path / "again.csv", made, columns, trained)
    with (tmp_path / "again.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    for row, c in zip(written, trained.c[:, 0], strict=True):
        number = float(row["t10"])
        assert [row["a"], row["hum"]] == [str(c), str(100.0 + number)]
        assert [float(row["wind"]), row["t2"]] == [number + 0.5, "-0.00125"]
    model, out = write(made, tmp_path / "model.safetensors"), tmp_path / "samples.csv"
    told = draw(made, model, COMBOS, counts={}, count=3, seed=0, out=out, config=config, scale=None)
    assert told == columns
    draw(made, model, COMBOS, counts={}, count=3, seed=0, out=tmp_path / "s.npz", scale=None)
    with np.load(tmp_path / "s.npz") as file:
        x, labels = file["x"], file["a"]
    spec = TableData(format="csv", path=out)
    raw = read(spec, {"a": "a"}, ("a",), (4,))
    np.testing.assert_array_equal(raw.x, x)
    assert raw.columns["a"].tolist() == labels.tolist() == ["0", "1", "0"]


@pytest.mark.parametrize("where", ["run.toml", "student/columns.json"])
def test_a_table_with_other_names_does_not_name_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Its columns are in another order than the samples' numbers, so its names are wrong there."""
    made, folder = manifest(), tmp_path / "student"
    folder.mkdir()
    names = ["hum", "t2", "t10", "wind"]
    if where == "run.toml":
        monkeypatch.setattr(columns_module, "features_of", lambda *_: tuple(names))
    else:
        (folder / "columns.json").write_text(json.dumps(names))
    config = tmp_path / "node.toml"
    config.write_text('name = "x"\n[data]\nformat = "csv"\npath = "t.csv"\n')
    for header, named_as in (
        ("t10,wind,hum,t2", tmp_path / "t.csv"),
        ("t10,Wind,hum,t2", tmp_path / where),
    ):
        (tmp_path / "t.csv").write_text(f"a,{header}\n0,1,2,3,4\n1,3,4,5,6\n")
        columns = columns_of(config, made, folder)
        assert columns == (tuple(names), f"named as in {named_as}")
    with pytest.raises(DataError, match="the run has the features hum, t2") as caught:
        require_agreed(config, load_node(config).data, made, folder)
    assert caught.value.more == (f"the student's samples are named as in {tmp_path / where}",)


def named(values: tuple[str, ...], name: str = "a") -> Manifest:
    attribute = Attribute(name=name, values=values)
    return manifest().model_copy(update={"attributes": (attribute,)})


HOSTILE = (
    '=HYPERLINK("http://x","y")',
    "+1+1",
    "-2",
    "@sum",
    "\t=1",
    "a\rb",
    "\x1b[2J",
    "\u202etxt",
    "red;=1+1",
    'a; "@b;-3',
)


def test_no_cell_of_a_table_is_a_formula_or_hides_text(tmp_path: Path) -> None:
    made, many = named(HOSTILE), len(HOSTILE)
    drawn = Samples(np.full((many, 4), -1.0, np.float32), np.arange(many)[:, None])
    columns = Columns(("=t", "u", "v", "w"), "")
    write_csv(tmp_path / "s.csv", made, columns, drawn)
    assert tmp_path.joinpath("s.csv").read_text().replace("\n", "").isprintable()
    with (tmp_path / "s.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["'=t", "u", "v", "w", "a"]
    assert rows[0][0] == "-1.0"
    assert [row[-1] for row in rows] == [
        "'" + HOSTILE[0],
        "'+1+1",
        "-2",
        "'@sum",
        "\\t=1",
        "a\\rb",
        "\\x1b[2J",
        "\\u202etxt",
        "red;'=1+1",
        "a; \"'@b;'-3",
    ]


@pytest.mark.parametrize("name", ["fluid", "file", "x", "c"])
def test_an_archive_of_samples_is_data_that_a_site_may_have(tmp_path: Path, name: str) -> None:
    made, label = named(("oil", "Wasser, süß"), name), name if len(name) > 1 else f"{name}-label"
    rng, c = np.random.default_rng(0), np.arange(40)[:, None] % 2
    drawn = Samples(rng.standard_normal((40, 4)).astype(np.float32), c)
    write_npz(tmp_path / "s.npz", made, drawn)
    found = survey(tmp_path / "s.npz")
    assert found.attributes == ((label, ("Wasser, süß", "oil")),)
    assert found.combinations == ((("Wasser, süß",), 20), (("oil",), 20))
    spec = NpzData(format="npz", path=tmp_path / "s.npz")
    spec = spec.model_copy(update={"attributes": {name: AttributeSource(column=label)}})
    again = load(spec, made)
    assert len(again.train) + len(again.holdout) == 40


def test_pictures_of_a_table_name_its_columns(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A font without control characters must not make matplotlib print them."""
    made, out = named(("\x1b[31m$a$", "$b$ $c$")), tmp_path / "s.png"
    (tmp_path / "t.csv").write_text("a,p,q,$r$,\x1bs\n0,1,2,3,4\n1,3,4,5,6\n")
    config = tmp_path / "node.toml"
    config.write_text('name = "x"\n[data]\nformat = "csv"\npath = "t.csv"\n')
    model = write(made, tmp_path / "model.safetensors")
    told = draw(made, model, COMBOS, counts={}, count=4, seed=0, out=out, config=config, scale=None)
    assert told is not None and told.names == ("\x1bs", "$r$", "p", "q")
    assert "\x1b" not in "".join(capfd.readouterr())
    assert min(Image.open(out).size) > 100


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (None, "node.toml"),
        ('format = "npz"\npath = "t.npz"', "t.npz have no names"),
        ('format = "csv"\npath = "gone.csv"', "gone.csv"),
        ('format = "csv"\npath = "t.csv"', "has 2 columns of numbers"),
        ('format = "csv"\npath = "u.csv"\nattributes.a.column = "b"', "the name of an attribute"),
    ],
)
def test_columns_without_names_are_numbered_and_it_is_said_why(
    tmp_path: Path, config: str | None, why: str
) -> None:
    (tmp_path / "t.csv").write_text("a,p,q\n0,1,2\n1,3,4\n")
    (tmp_path / "u.csv").write_text("b,a,q,r,s\n0,1,2,0,0\n1,3,4,0,0\n")
    if config is not None:
        (tmp_path / "node.toml").write_text(f'name = "x"\n[data]\n{config}\n')
    columns = columns_of(tmp_path / "node.toml", manifest())
    assert columns.names == ("x1", "x2", "x3", "x4")
    assert why in columns.origin
    assert columns.summary.startswith("columns   x1, x2, x3, x4: numbered (")


def test_a_picture_with_too_many_tiles_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    model, out = tmp_path / "none", tmp_path / "x.png"
    made = manifest((1, 8, 8), kind="unet")
    with pytest.raises(ConfigError, match="4096 samples at most, and 4097 are asked for"):
        draw(made, model, COMBOS, counts={}, count=MAX_TILES + 1, seed=0, out=out, scale=None)
    many = [(k,) for k in range(200)]
    with pytest.raises(ConfigError, match="100 combinations at most, and 150 are asked for"):
        draw(manifest(), model, many, counts={}, count=150, seed=0, out=out, scale=None)
    with pytest.raises(ConfigError, match=r"cannot write \.jpg"):
        draw(made, model, COMBOS, counts={}, count=1, seed=0, out=tmp_path / "x.jpg", scale=None)


@pytest.mark.parametrize("shape", [(1, 8, 8), (4,), (2, 16)])
def test_pictures_of_all_kinds_of_samples_mark_what_no_teacher_trained_on(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    made = manifest(shape)
    model, shown = write(made, tmp_path / "model.safetensors"), []
    for trained in ({(0,): 3}, {(0,): 3, (1,): 3, (2,): 0}):
        out = tmp_path / "x.png"
        draw(made, model, COMBOS, counts={"x": trained}, count=4, seed=0, out=out, scale=None)
        r, g, _ = np.moveaxis(np.asarray(Image.open(out).convert("RGB")).astype(int), 2, 0)
        shown.append(int((r - g > 60).sum()))
    assert shown[0] > 100
    assert shown[1] == 0


HUGE = 100_000_000


@pytest.mark.parametrize(
    "made",
    [
        manifest((HUGE, HUGE, HUGE), width=4_096),
        manifest((HUGE,), width=4_096, depth=16),
        manifest((HUGE, 1, 1), kind="unet", width=4_096, depth=16),
        manifest((HUGE,), "dfd", width=4_096),
    ],
    ids=["10^24 numbers", "a wide mlp", "a wide unet", "an ensemble"],
)
def test_a_network_that_no_snapshot_can_hold_is_refused_before_it_is_made(
    tmp_path: Path, made: Manifest
) -> None:
    model = write(manifest(), tmp_path / "model.safetensors")
    tracemalloc.start()
    with pytest.raises(Failed, match=r"more than the 8589934592 bytes|does not belong") as told:
        check_model(made, model, {"x": {}})
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 64 << 20
    assert told.value.where == str(model)


def test_a_model_of_another_network_is_refused_by_its_header(tmp_path: Path) -> None:
    made = manifest()
    wider = write(manifest(width=16), tmp_path / "model.safetensors")
    with pytest.raises(Failed, match=r"does not fit the run's network: tensor .* has shape"):
        check_model(made, wider, {})
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(Failed, match="header"):
        check_model(made, tmp_path / "empty", {})
    with pytest.raises(Failed, match="a folder"):
        check_model(made, tmp_path, {})


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (manifest((1, 100_000, 100_000), kind="unet"), 1),
        (manifest((1_000_000,)), 65_536),
        (manifest((HUGE, HUGE, HUGE)), 1),
    ],
)
def test_samples_that_do_not_fit_the_memory_are_told_in_gigabytes(
    made: Manifest, count: int
) -> None:
    with pytest.raises(Failed, match="GB of memory, and 16 GB are free") as told:
        check_room(made, count, 16e9)
    assert "-n" in told.value.fix
    assert told.value.exit_code == 1
    check_room(manifest((3, 32, 32), kind="unet", width=64), 64, 16e9)


def test_numbers_are_not_given_to_samples_whose_covariance_fits_no_memory(tmp_path: Path) -> None:
    made = manifest((3, 1_000, 1_000))
    with pytest.raises(Failed, match="given numbers need about"):
        drawing.inpainter(made, tmp_path / "none", COMBOS, counts={}, scale=None)


def test_terms_to_move_away_from_take_memory() -> None:
    made = manifest((3, 64, 64))
    check_room(made, 1_024, 1e9)
    with pytest.raises(Failed, match="GB of memory"):
        check_room(made, 1_024, 1e9, away=300)


def test_samples_are_counted_after_the_codec_makes_pixels_of_them() -> None:
    codec = LinearCodecSettings.model_validate({"file": bytes(32).hex(), "shape": (8,)})
    made = manifest((3, 512, 512)).model_copy(update={"codec": codec})
    with pytest.raises(Failed, match="GB of memory"):
        check_room(made, 10_000, 16e9)


def test_the_weights_of_several_students_are_counted_together(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(bytes(100))
    check_held([tmp_path / "model"] * 2, 200)
    with pytest.raises(Failed, match="the weights of 3 students"):
        check_held([tmp_path / "model"] * 3, 200)


def test_the_memory_that_is_free_is_known() -> None:
    assert 1e6 < available() < ALL
