"""What crosses between the daemon and its worker is text, whatever names it tells of."""

import os

import pytest

from dcfm_node.data.oddities import DataWarning
from dcfm_node.errors import UserError
from dcfm_node.worker.messages import LINE, Broken, Hindered, Line, Ready

NAME = os.fsdecode(b"caf\xe9.png")
READY = {"device": "cpu", "counts": (), "data": "", "tensors": {}}


@pytest.mark.parametrize(
    "line",
    [
        Broken(key="setup", reason=f"{NAME}: cannot be read"),
        Hindered(key="local-0", reason=f"{NAME}: cannot be written"),
        Ready.model_validate(READY | {"warnings": (DataWarning("data-scale", NAME),)}),
        Ready.model_validate(READY | {"notes": (NAME,)}),
    ],
)
def test_a_name_that_is_no_text_is_told(line: Line) -> None:
    text = line.model_dump_json()
    assert LINE.validate_json(text) == line
    assert r"caf\\xe9.png" in text


def test_an_error_can_be_written_whatever_it_names() -> None:
    error = UserError(f"{NAME} is odd", where=NAME, fix=f"rename {NAME}")
    assert str(error).encode("utf-8").count(rb"caf\xe9.png") == 3
    assert UserError("lone \ud800").what == r"lone \ud800"
