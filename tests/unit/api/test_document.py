"""Documents: strict where we write, tolerant of another version's fields where we read."""

import json

import pytest
from pydantic import ValidationError

from dcfm_node.api.commands import Version
from dcfm_node.api.requests import ImportedBundle
from dcfm_node.api.status import Machine, Peers, WorkerStatus


def test_what_we_write_has_no_unknown_field() -> None:
    with pytest.raises(ValidationError, match="colour"):
        Version.model_validate({"version": "1", "colour": "red"})


def test_unknown_fields_of_another_version_are_left_out() -> None:
    text = '{"schema": "dcfm-node/version/1", "version": "1", "colour": "red"}'
    assert Version.read(text).plain() == {"schema": "dcfm-node/version/1", "version": "1"}


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": "dcfm-node/version/2", "version": "1"}',
        '{"schema": "dcfm-node/version/1"}',
        "[]",
    ],
)
def test_another_form_is_not_read(text: str) -> None:
    with pytest.raises(ValidationError):
        Version.read(text)


def test_names_that_python_has_taken_are_as_they_were_in_json() -> None:
    imported = ImportedBundle(
        author="east", records=1, new_records=1, snapshots=0, new_snapshots=0, wanted=0
    )
    assert imported.plain()["from"] == "east"
    assert ImportedBundle.read(json.dumps(imported.plain())) == imported


def test_the_schema_comes_first_whatever_a_document_inherits() -> None:
    peers = Peers(peers=())
    assert next(iter(peers.model_dump())) != "schema"
    assert next(iter(peers.plain())) == "schema"


def test_a_figure_that_is_not_finite_is_read_back() -> None:
    """A loss may be one: plain JSON would say null."""
    worker = WorkerStatus(device="cpu", pid=1, metrics={"loss": float("inf")})
    text = json.dumps(Machine(worker=worker).model_dump(mode="json"))
    assert Machine.model_validate_json(text).worker.metrics == {"loss": float("inf")}
