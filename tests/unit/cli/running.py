"""The command line in this process, against a daemon that is made up."""

from collections.abc import Callable
from typing import Any

import pytest

from dcfm_node.cli.main import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run a command; its exit code."""
    monkeypatch.setattr("sys.argv", ["dcfm-node", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def answering(answers: dict[str, Any], asked: list[str]) -> Callable[..., dict[str, Any]]:
    """In place of `call`: answers by command; `asked` notes the commands."""

    def call(_: object, command: str, **__: object) -> dict[str, Any]:
        asked.append(command)
        return dict(answers[command])

    return call
