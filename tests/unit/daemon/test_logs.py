"""What a member says of itself reaches a log as words, and as nothing else."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from dcfm_node.daemon.logs import configure

HOSTILE = "\x1b[2J\n2026-01-01 [info     ] all is well   peer=north\r\u202e"


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    kept = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = kept


def tell(form: Any, **fields: Any) -> None:
    configure(form, "info")
    structlog.get_logger().warning("misbehaved", **fields)


def test_a_console_line_is_one_line_whose_fields_are_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell("console", why=HOSTILE, peer="east", **{"\x1b[31m\nx": [HOSTILE, {HOSTILE: 1}]})
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.rstrip("\n").isprintable()
    why = told.partition(" why=")[2]
    assert why.startswith("'") and why.endswith("'\n") and "all is well   peer=north" in why
    assert "peer=east" in told.partition(" why=")[0]


def test_an_exception_is_told_in_lines_that_are_none_of_the_logs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("console", "info")
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        structlog.get_logger().error("defect", exc_info=error)
    _, *rest = capsys.readouterr().err.rstrip("\n").split("\n")
    assert any("ValueError" in line for line in rest)
    assert all(line.isprintable() and not line.startswith("2026") for line in rest)


def test_json_lines_are_ascii_and_hold_the_words_as_they_were(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell("json", why=HOSTILE, **{"\x1bx": [HOSTILE]})
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.isascii()
    assert json.loads(told)["why"] == HOSTILE
    assert json.loads(told)["\x1bx"] == [HOSTILE]


def test_what_a_library_logs_of_a_peers_words_is_a_line_like_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("console", "info")
    logging.getLogger("asyncio").error("Task exception was never retrieved: %s", HOSTILE)
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "asyncio" in told
    assert told.rstrip("\n").isprintable()
