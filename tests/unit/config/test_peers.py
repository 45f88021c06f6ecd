"""peers.toml."""

from pathlib import Path

import pytest

from dcfm_node.config.keys import create_keys
from dcfm_node.config.node import load_node, node_template
from dcfm_node.config.peers import Peer, load_peers, merged, own_peer, peer_block
from dcfm_node.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "configs"
A, B, C = load_peers(EXAMPLES / "peers.toml")


def peers(folder: Path, *blocks: str) -> tuple[Peer, ...]:
    file = folder / "peers.toml"
    file.write_text("".join(blocks), encoding="utf-8")
    return load_peers(file)


def refusal(folder: Path, *blocks: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        peers(folder, *blocks)
    return caught.value


def test_the_example_loads() -> None:
    assert [peer.name for peer in (A, B, C)] == ["silo-a", "silo-b", "silo-c"]
    assert A.control == "tcp://silo-a.example.org:7400"
    assert (C.control, C.bulk) == (None, None)
    assert len(A.sign_key) == 32


def test_blocks_come_back_as_they_were(tmp_path: Path) -> None:
    assert peers(tmp_path, *map(peer_block, (C, A, B))) == (C, A, B)


def test_no_peers_at_all(tmp_path: Path) -> None:
    assert peers(tmp_path, "# nobody yet\n") == ()


def test_a_node_s_own_block(tmp_path: Path) -> None:
    text = node_template("silo-z") + '[advertise]\ncontrol = "tcp://z:1"\nbulk = "tcp://z:2"\n'
    (tmp_path / "node.toml").write_text(text)
    keys = create_keys(tmp_path / "keys")
    me = own_peer(load_node(tmp_path / "node.toml"), keys)
    assert me == Peer(
        name="silo-z",
        sign_key=keys.sign_public,
        link_key=keys.link_public,
        control="tcp://z:1",
        bulk="tcp://z:2",
    )


@pytest.mark.parametrize(
    ("field", "line"), [("name", 10), ("sign_key", 11), ("link_key", 12), ("control", 13)]
)
def test_what_two_peers_share_is_refused_by_name_and_line(
    tmp_path: Path, field: str, line: int
) -> None:
    twin = B.model_copy(update={field: getattr(A, field)})
    error = refusal(tmp_path, peer_block(A), "\n\n", peer_block(twin))
    assert error.where == f"{tmp_path / 'peers.toml'}:{line}: peer[1].{field}"
    assert "'silo-a'" in error.what
    assert f"line {line - 8}" in error.what


def test_one_block_twice_names_every_field(tmp_path: Path) -> None:
    error = refusal(tmp_path, peer_block(A), peer_block(A))
    assert error.what.startswith("5 problems")


@pytest.mark.parametrize(
    ("old", "new", "where", "fix"),
    [
        (A.sign_key.hex(), "00" * 31, "3: peer[0].sign_key", "dcfm-node id"),
        (A.sign_key.hex(), "0 " * 32, "3: peer[0].sign_key", "dcfm-node id"),
        (A.sign_key.hex(), A.link_key, "3: peer[0].sign_key", "dcfm-node id"),
        (A.link_key, A.sign_key.hex(), "4: peer[0].link_key", "dcfm-node id"),
        (A.link_key, "#" * 40, "4: peer[0].link_key", "dcfm-node id"),
        (A.link_key, A.link_key[:-1], "4: peer[0].link_key", "dcfm-node id"),
        ("silo-a.example.org:7400", "silo-a:x", "5: peer[0].control", "tcp://host:port"),
        ("bulk", "bluk", "6: peer[0].bluk", "did you mean 'bulk'?"),
    ],
)
def test_a_mistake_is_refused_where_it_stands(
    tmp_path: Path, old: str, new: str, where: str, fix: str
) -> None:
    error = refusal(tmp_path, peer_block(A).replace(old, new))
    assert error.where == f"{tmp_path / 'peers.toml'}:{where}"
    assert fix in error.fix


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, peer_block(A).replace(f'"{A.sign_key.hex()}"', "12"))
    assert error.where.endswith(":3: peer[0].sign_key")


def test_a_node_whose_link_key_is_another_than_in_the_file_does_not_start(tmp_path: Path) -> None:
    """Everyone who has that file refuses it at the handshake."""
    me = A.model_copy(update={"link_key": B.link_key})
    with pytest.raises(ConfigError) as caught:
        merged((A, C), me, tmp_path / "peers.toml")
    assert A.link_key in caught.value.what and B.link_key in caught.value.what
    assert "dcfm-node id" in caught.value.fix
    assert set(merged((A, C), A, tmp_path)) == {A.name, C.name}


def test_a_node_with_other_keys_or_another_name_than_in_the_file_is_told_what_to_put_back(
    tmp_path: Path,
) -> None:
    keys = A.model_copy(update={"sign_key": B.sign_key, "link_key": B.link_key})
    with pytest.raises(ConfigError) as caught:
        merged((A, C), keys, tmp_path)
    assert caught.value.fix.startswith("put the old keys back from the backup")
    assert f"'dcfm-node run continue FILE --replaced {A.name}'" in caught.value.fix
    with pytest.raises(ConfigError) as caught:
        merged((A, C), A.model_copy(update={"name": "other"}), tmp_path)
    assert caught.value.fix.startswith("give this node that name in node.toml")
