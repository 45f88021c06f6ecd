"""The released student as one file, as a machine downloads it that only uses it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dcfm_node.page.app import Page
from dcfm_node.store.download import unpack
from tests.unit.student.made import make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "student")


@pytest.fixture
def page(folder: Path) -> Starlette:
    reader: Any = SimpleNamespace()
    drawing: Any = SimpleNamespace(files={"ab" * 32: folder}.get)
    return Page(reader, drawing).app


def test_the_archive_is_the_folder(page: Starlette, folder: Path, tmp_path: Path) -> None:
    client = TestClient(page)
    answer = client.get(f"/student/{'ab' * 32}.tar")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-tar")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["content-disposition"].endswith('filename="student.tar"')
    (tmp_path / "got.tar").write_bytes(answer.content)
    (tmp_path / "got").mkdir()
    unpack(tmp_path / "got.tar", tmp_path / "got")
    assert {p.name: p.read_bytes() for p in (tmp_path / "got").iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }
    assert client.get(f"/student/{'ab' * 32}/config.json").status_code == 200


def test_no_other_student_is_there(page: Starlette) -> None:
    client = TestClient(page)
    for path in ("/student/cd.tar", "/student/.tar", "/student/..%2f..%2fetc.tar"):
        assert client.get(path).status_code == 404
    assert client.post(f"/student/{'ab' * 32}.tar").status_code == 405
