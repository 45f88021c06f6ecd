"""The command line in this process, against a daemon that is made up."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dcfm_node.api.document import Document
from dcfm_node.api.requests import AnyRequest, Request
from dcfm_node.cli.main import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run a command; its exit code."""
    monkeypatch.setattr("sys.argv", ["dcfm-node", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def answering(
    answers: Mapping[type[Request[Any]], Document], asked: list[str]
) -> Callable[..., Document]:
    """In place of `call`: answers by kind of request; `asked` notes the commands."""

    def call(_: object, request: AnyRequest, **__: object) -> Document:
        asked.append(request.command)
        return answers[type(request)]

    return call
