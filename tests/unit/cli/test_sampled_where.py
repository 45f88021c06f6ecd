"""`student sample` with expressions, corrections and what does not fit the student."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.cli.running import run
from tests.unit.student.made import make


def test_an_expression_is_drawn_and_a_wrong_one_shows_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = make(tmp_path / "student"), tmp_path / "x.npz"
    command = ("student", "sample", folder, "--out", out, "--where")
    assert run(monkeypatch, *command, "n=one and (colour=red or") == 2
    assert not out.exists()
    lines = capsys.readouterr().err.splitlines()
    assert "--where, column 25: expected an attribute" in lines[0]
    assert lines[1].index("or") + 2 == lines[2].index("^")

    asked = "n=one and not colour=blue^0.5 or n=two and colour=red^1.6"
    assert run(monkeypatch, *command, asked, "-n", 40, "--correct", "smc") == 0
    assert "with weights of their own" in capsys.readouterr().out
    with np.load(out) as drawn:
        assert np.isfinite(drawn["x"]).all()
        assert sorted(set(zip(drawn["n"].tolist(), drawn["colour"].tolist(), strict=True))) == [
            ("one", "red"),
            ("two", "red"),
        ]
    assert run(monkeypatch, *command, "n=one", "--force", "--routing", "switch") == 2
    assert "cannot switch between experts" in capsys.readouterr().err
