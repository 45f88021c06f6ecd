"""Every kind that can leave a node is declared, in the code and in SPEC 11.7, and says the same."""

import re
from typing import get_args

from dcfm_node.net import frames
from dcfm_node.records.carried import CARRIED
from dcfm_node.records.entries import Body
from dcfm_node.records.messages import Message
from tests.packaging.tree import ROOT

ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| (nothing|names|figures|weights) \|$", re.M)


def kinds_in_code() -> set[str]:
    """Of records and control messages, of bulk messages, and what the two others are called."""
    models = (*get_args(get_args(Body)[0]), *get_args(get_args(Message)[0]))
    bulk = {kind.__name__.lower() for kind in get_args(frames.Frames)}
    return (
        {model.model_fields["kind"].default for model in models}
        | bulk
        | {"heartbeat", "bundle", "pairing"}
    )


def test_every_kind_in_the_code_is_declared_and_no_other() -> None:
    assert len(kinds_in_code()) > 20
    assert kinds_in_code() == CARRIED.keys()


def test_every_kind_of_bulk_message_is_called_as_its_header_says() -> None:
    made = (
        frames.Ask(b""),
        frames.Holds(b"", b"", b""),
        frames.Has(b"", b""),
        frames.Lacks(b""),
        frames.Want(b"", 0),
        frames.Chunk(b"", 0, b""),
    )
    assert {type(message) for message in made} == set(get_args(frames.Frames))
    for message in made:
        name = type(message).__name__.lower()
        assert bytes(frames.encode(message)[0])[2 : 2 + len(name)] == name.encode()


def test_what_carries_the_manifest_carries_names_that_may_come_from_private_data() -> None:
    told = {kind for kind, of in CARRIED.items() if re.search(r"manifest|run\.toml", of.what)}
    assert told == {kind for kind, of in CARRIED.items() if of.derived == "names"} != set()


def test_the_specification_says_the_same() -> None:
    spec = (ROOT / "protocol" / "SPEC.md").read_text(encoding="utf-8")
    rows = ROW.findall(spec.partition("\n11.7 ")[2])
    assert {kind: (what, derived) for kind, what, derived in rows} == {
        kind: (of.what, of.derived) for kind, of in CARRIED.items()
    }
