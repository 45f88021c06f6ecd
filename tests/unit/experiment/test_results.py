"""results.json as somebody handed it on: of whatever shape, one error that names it."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.errors import Failed
from dcfm_node.experiment import settings
from dcfm_node.experiment.results import (
    SCHEMA,
    Results,
    Row,
    kept_row,
    load_samples,
    read,
    write_json,
)
from tests.unit.cli.running import run
from tests.unit.experiment import tiny

ROW = Row("ddm", "noniid", 0, "joint", {"known_accuracy": 0.5})
FOUND = Results("tiny", "cpu", "abc", "here", "dcfm-node", (ROW,), {"name": "tiny"})
WHOLE = json.loads(json.dumps(FOUND.document().plain()))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    FOUND.write(tmp_path)
    assert read(tmp_path) == FOUND


@pytest.mark.parametrize(
    "document",
    [
        *([], {}, None, 1, "text", [WHOLE], {"schema": SCHEMA}),
        WHOLE | {"schema": "dcfm-node/experiment/9"},
        *(WHOLE | {"rows": rows} for rows in (None, {}, [1], [[]], [{}], "rows")),
        *(WHOLE | {name: 7} for name in ("experiment", "command", "settings")),
        WHOLE | {"more": 1},
        WHOLE | {"rows": [WHOLE["rows"][0] | {"metrics": []}]},
        WHOLE | {"rows": [WHOLE["rows"][0] | {"seed": "many"}]},
        WHOLE | {"rows": [WHOLE["rows"][0] | {"rounds": [1]}]},
        WHOLE | {"rows": [WHOLE["rows"][0] | {"more": 1}]},
        WHOLE,  # its settings are no experiment's
    ],
)
def test_a_wrong_shape_is_one_error_and_exit_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    document: Any,
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(document))
    assert run(monkeypatch, "experiment", "show", tmp_path) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("dcfm-node: ")
    assert "Traceback" not in told.err


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' + "9" * 5_000 + "}"])
def test_what_is_no_json_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(Failed, match="is not JSON") as told:
        read(tmp_path)
    assert told.value.where == str(tmp_path / "results.json")


def test_a_pipe_or_a_folder_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(Failed, match="not a regular file"):
        read(tmp_path)
    (tmp_path / "results.json").unlink()
    (tmp_path / "results.json").mkdir()
    with pytest.raises(Failed, match="is a folder"):
        read(tmp_path)


def test_a_damaged_row_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    assert kept_row(path, "code") is None
    write_json(path, {"made_from": "code", "row": WHOLE["rows"][0]})
    assert kept_row(path, "code") == ROW
    assert kept_row(path, "other code") is None
    for text in ("", "[]", "{}", '{"made_from": "code", "row": []}'):
        path.write_text(text)
        assert kept_row(path, "code") is None


def test_samples_that_unpack_to_more_than_any_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, x=np.zeros(1 << 20, np.float32))
    monkeypatch.setattr("dcfm_node.experiment.results.MAX_SAMPLES_BYTES", 4 << 20)
    assert path.stat().st_size < 1 << 14
    with pytest.raises(ValueError, match="unpacks to"):
        load_samples(path)


@pytest.mark.parametrize("what", ["link", "fifo"])
def test_what_is_shown_is_written_through_no_link(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    folder, precious = tmp_path / "found", tmp_path / "precious"
    folder.mkdir()
    precious.write_text("precious")
    given = settings.read(str(tiny.write(tmp_path)), "cpu").model_dump(mode="json")
    write_json(folder / "results.json", WHOLE | {"rows": [], "settings": given})
    if what == "link":
        (folder / "table.md").symlink_to(precious)
    else:
        os.mkfifo(folder / "table.md")
    assert run(monkeypatch, "experiment", "show", folder) == 1
    assert str(folder / "table.md") in capsys.readouterr().err
    assert precious.read_text() == "precious"
    (folder / "table.md").unlink()
    assert run(monkeypatch, "experiment", "show", folder) == 0
