"""`domain discover`: a folder without labels becomes data that `init` accepts."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.cli.running import run

COLOURS = np.array([[255, 20, 20], [30, 230, 30]])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixty pictures of bars, upright or lying, red or green; no name says which."""
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    folder.mkdir()
    for i in range(60):
        grey = np.zeros((4, 4, 1))
        grey[(slice(None), slice(1, 3)) if i % 2 else slice(1, 3)] = rng.uniform(0.8, 1.0)
        painted = (grey * COLOURS[i // 2 % 2]).astype(np.uint8)
        Image.fromarray(painted).save(folder / f"{i:02}.png")
    return folder


def test_found_factors_are_named_applied_elsewhere_and_declared(
    tmp_path: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask = ("domain", "discover", pictures, "--json", "--out")
    sees = ("--factor", "2:brightness", "--factor", "2:mean-colour", "--steps", 60)
    assert run(monkeypatch, *ask, tmp_path / "found", *sees) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in said["factors"]] == ["factor-1", "factor-2"]
    with np.load(said["data"]) as data:
        assert data["x"].shape == (60, 3, 4, 4)
        colour = data["factor-2"]
    green = np.arange(60) // 2 % 2 == 1
    assert len(set(colour[green])) == len(set(colour[~green])) == 1, "one value each"
    assert set(colour) == {"v1", "v2"}
    with Image.open(said["picture"]) as sheet:
        assert sheet.height >= 4 * 64

    red = colour[~green][0]
    names = ("--name", "factor-2=colour", "--name", f"factor-2.{red}=red")
    finder = ("--finder", said["finder"], "--digest", said["digest"])
    assert run(monkeypatch, *ask, tmp_path / "named", *finder, *names) == 0
    named = json.loads(capsys.readouterr().out)
    assert named["digest"] != said["digest"], "the names are in the file"
    assert said["note"] == named["note"] == ""
    with np.load(named["data"]) as data:
        assert set(data["colour"][~green]) == {"red"}

    site = (
        "init",
        tmp_path / "site",
        "--data",
        tmp_path / "named",
        "--advertise",
        "127.0.0.1:7400",
    )
    assert run(monkeypatch, *site, "--json") == 0
    data_found = json.loads(capsys.readouterr().out)["data"]
    assert {one["name"] for one in data_found["attributes"]} == {"factor-1", "colour"}


def test_pictures_of_another_size_are_said_to_be_resampled(
    tmp_path: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask = ("domain", "discover", pictures, "--out")
    assert run(monkeypatch, *ask, tmp_path / "found", "--factor", 2, "--steps", 5) == 0
    assert "resampled" not in capsys.readouterr().out
    for file in pictures.iterdir():
        with Image.open(file) as picture:
            picture.resize((8, 6)).save(file)
    finder = ("--finder", tmp_path / "found" / "finder.safetensors")
    assert run(monkeypatch, *ask, tmp_path / "again", *finder) == 0
    why = "the pictures have 3 x 6 x 8 numbers, and were resampled to the finder's 3 x 4 x 4"
    assert f"note: {why}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "either --factor or --finder"),
        (("--factor", "1"), "2 to 32 values"),
        (("--factor", "3:taste"), "everything, brightness, mean-colour"),
        (("--factor", "3", "--digest", "00"), "--finder"),
        (("--factor", "3", "--name", "colour=x"), "factor-1: v1, v2, v3"),
        (("--factor", "3", "--name", "factor-1.v9=x"), "factor-1: v1, v2, v3"),
        (("--factor", "3", "--name", "factor-1=Not A Name"), "factors.0.name"),
        (("--factor", "3", "--name", "factor-1.v1=v2"), "names a value twice"),
        (("--factor", "3", "--name", "factor-1.v1=v2"), "factors.0: attribute 'factor-1' names"),
        (("--finder", "missing"), "missing: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path,
    pictures: Path,
    options: tuple[str, ...],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("domain", "discover", pictures, "--out", tmp_path / "out", *options)
    assert run(monkeypatch, *asked) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
