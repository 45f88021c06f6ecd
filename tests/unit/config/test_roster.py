"""Changes of peers.toml and run.toml in place."""

from pathlib import Path

import pytest

from dcfm_node.config.peers import load_peers, peer_block
from dcfm_node.config.roster import (
    add_peers,
    card_of,
    listed_peers,
    named_roster,
    peer_of,
    pin_roster,
    remove_peer,
    unpinned,
)
from dcfm_node.errors import ConfigError
from dcfm_node.files import shipped_text

A, B, C = load_peers(Path(__file__).parents[3] / "configs" / "peers.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "peers.toml"
    path.write_text(
        f"# Our consortium.\n\n# the first\n{peer_block(A)}\n# the second\n# by phone, 3 May\n"
        f"{peer_block(B)}\n# the third\n{peer_block(C)}"
    )
    return path


def test_a_file_that_does_not_exist_is_made(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    assert listed_peers(path) == ()
    add_peers(path, [A])
    add_peers(path, [B, C])
    assert load_peers(path) == (A, B, C)
    assert path.read_text().startswith("# The nodes that may link")


def test_comments_stay_and_those_of_a_removed_block_go_with_it(file: Path) -> None:
    remove_peer(file, B.name)
    assert load_peers(file) == (A, C)
    text = file.read_text()
    assert "# Our consortium." in text and "# the first" in text and "# the third" in text
    assert "by phone" not in text
    add_peers(file, [B])
    assert load_peers(file) == (A, C, B)
    assert "# the third" in file.read_text()


def test_the_first_and_the_last_can_be_removed_and_so_can_all(file: Path) -> None:
    for name in (A.name, C.name, B.name):
        remove_peer(file, name)
    assert load_peers(file) == ()
    assert "# Our consortium." in file.read_text()


def test_what_would_not_be_valid_leaves_the_file_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        add_peers(file, [A.model_copy(update={"name": "other"})])
    assert str(file) in caught.value.where or str(file) in "".join(caught.value.more)
    with pytest.raises(ConfigError, match="has no 'nobody'"):
        remove_peer(file, "nobody")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["peers.toml"]


def test_a_file_of_another_form_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    path.write_text(
        f'peer = [{{ name = "x", sign_key = "{A.sign_key.hex()}", link_key = "{A.link_key}" }}]\n'
    )
    with pytest.raises(ConfigError, match="not written as"):
        remove_peer(path, "x")


def test_cards_and_blocks_say_the_same() -> None:
    for peer in (A, B, C):
        assert peer_of(card_of(peer)) == peer


def test_a_pinned_roster_comes_and_goes(tmp_path: Path) -> None:
    run = tmp_path / "run.toml"
    assert named_roster(run) == ()
    run.write_text(shipped_text("run.toml"))
    assert named_roster(run) == ()
    pin_roster(run, ["b", "a"])
    assert named_roster(run) == ("a", "b")
    assert unpinned(run.read_text()) == shipped_text("run.toml")


def test_a_roster_that_the_operator_wrote_stays() -> None:
    text = 'name = "r"\nroster = ["a", "b"]\n'
    assert unpinned(text) == text
