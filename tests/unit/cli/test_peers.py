"""`peers add`, `remove`, `approve` and `reject`, and what they mean for the present run."""

import json
from pathlib import Path

import pytest

from dcfm_node.config.pairing import Home
from dcfm_node.config.peers import load_peers, own_peer, peer_block
from dcfm_node.config.roster import add_peers, named_roster
from dcfm_node.config.run import load_run
from dcfm_node.daemon.pairing import pending_sites
from dcfm_node.records.manifest import Manifest
from dcfm_node.store import archive
from dcfm_node.store.pairing import Invite, PairingStore, Site
from dcfm_node.wire.envelope import run_id
from tests.unit.cli.running import run
from tests.unit.daemon.sites import made_home

WRONG = 40 * "0"
"""A link key that is nobody's."""
Patch = pytest.MonkeyPatch
Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Home, Home, Home]:
    """North with east as its peer, and west, which is new. None of their daemons runs."""
    north, east, west = (
        made_home(tmp_path, name, port)
        for name, port in (("north", 7400), ("east", 7402), ("west", 7404))
    )
    add_peers(north.peers, [own_peer(site.config, site.keys) for site in (north, east)])
    return north, east, west


def block(site: Home, folder: Path) -> Path:
    file = folder / f"{site.config.name}.toml"
    file.write_text(peer_block(own_peer(site.config, site.keys)))
    return file


def manifest(home: Home) -> Manifest:
    me = own_peer(home.config, home.keys)
    return load_run(home.run, load_peers(home.peers), me, listed=home.peers)


def names(home: Home) -> list[str]:
    return [peer.name for peer in home.listed()]


def waits(home: Home, site: Home, *, secret: bytes = b"0123456789") -> Invite:
    """The other site has used an invite of this one."""
    store = PairingStore(home.config.state)
    invite = Invite(
        public=secret.ljust(32), secret=secret, expires_s=2**40, guest=site.card.sign_key
    )
    store.put_invite(invite, 0.0)
    store.keep(Site(card=site.card, version="1", at_ms=0), site.told_run())
    return invite


def test_a_peer_is_added_from_a_file_and_removed(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home], tmp_path: Path
) -> None:
    north, _, west = sites
    config = ("--config", north.path)
    assert run(monkeypatch, "peers", "add", block(west, tmp_path), *config) == 0
    assert names(north) == ["east", "west"]
    assert run(monkeypatch, "peers", "add", block(west, tmp_path), *config) == 1  # known already
    assert run(monkeypatch, "peers", "add", block(north, tmp_path), *config) == 1  # itself
    assert run(monkeypatch, "peers", "remove", "west", *config, "--json") == 0
    assert names(north) == ["east"]
    assert run(monkeypatch, "peers", "remove", "west", *config) == 2
    assert named_roster(north.run) == ()


def wrong_key(home: Home, name: str) -> str:
    """Another link_key in the block of a peer; the text as it was."""
    text = home.peers.read_text()
    key = next(peer.link_key for peer in home.listed() if peer.name == name)
    home.peers.write_text("# by hand\n" + text.replace(key, WRONG))
    return text


def test_a_right_block_replaces_the_one_with_a_wrong_link_key(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home], tmp_path: Path
) -> None:
    north, east, west = sites
    right = wrong_key(north, "east")
    add = ("peers", "add", block(east, tmp_path), "--config", north.path)
    assert run(monkeypatch, *add) == 2  # no terminal to ask on
    told = capsys.readouterr().err
    assert f"east: link_key {WRONG} -> {east.keys.link_public}" in told
    assert run(monkeypatch, *add, "--yes") == 0
    assert north.peers.read_text() == f"# by hand\n{right}"
    # Another site's keys do not replace it.
    file = tmp_path / "other.toml"
    file.write_text(peer_block(own_peer(west.config, west.keys)).replace("west", "east"))
    assert run(monkeypatch, "peers", "add", file, "--yes", "--config", north.path) == 2
    assert north.peers.read_text() == f"# by hand\n{right}"


def test_approval_mends_a_wrong_link_key(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home]
) -> None:
    north, east, _ = sites
    waits(north, east)
    right = wrong_key(north, "east")
    assert [site.name for site in pending_sites(north)] == ["east"]
    assert run(monkeypatch, "peers", "approve", "east", "--yes", "--config", north.path) == 0
    assert north.peers.read_text() == f"# by hand\n{right}"
    assert pending_sites(north) == ()


def test_who_waits_under_the_name_of_a_removed_peer_goes_on_waiting(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home]
) -> None:
    north, east, _ = sites
    waits(north, east)
    wrong_key(north, "east")
    assert run(monkeypatch, "peers", "remove", "east", "--yes", "--config", north.path) == 0
    assert [site.name for site in pending_sites(north)] == ["east"]
    assert run(monkeypatch, "peers", "approve", "east", "--yes", "--config", north.path) == 0
    assert run(monkeypatch, "peers", "remove", "east", "--yes", "--config", north.path) == 0
    assert pending_sites(north) == ()


def test_who_is_added_in_a_run_takes_part_from_the_next_and_the_next_start_goes_on(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home], tmp_path: Path
) -> None:
    north, _, west = sites
    present = manifest(north)
    monkeypatch.setattr(archive, "last_run", lambda state: present)
    capsys.readouterr()
    config = ("--config", north.path)
    assert run(monkeypatch, "peers", "add", block(west, tmp_path), *config, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "west may link now, and takes part from the next run" in told["notes"][0]
    assert named_roster(north.run) == ("east", "north")
    assert run_id(manifest(north)) == run_id(present)


def test_a_run_file_that_is_not_of_the_present_run_is_left_alone(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home], tmp_path: Path
) -> None:
    north, _, west = sites
    present = manifest(north).model_copy(update={"name": "other"})
    monkeypatch.setattr(archive, "last_run", lambda state: present)
    before = north.run.read_bytes()
    capsys.readouterr()
    assert run(monkeypatch, "peers", "add", block(west, tmp_path), "--config", north.path) == 0
    assert "add 'roster = [...]'" in capsys.readouterr().out
    assert north.run.read_bytes() == before


def test_a_silo_of_the_present_run_is_removed_only_by_who_says_so(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home]
) -> None:
    north, *_ = sites
    present = manifest(north)
    monkeypatch.setattr(archive, "last_run", lambda state: present)
    assert run(monkeypatch, "peers", "remove", "east", "--config", north.path) == 2
    assert names(north) == ["east"]
    capsys.readouterr()
    assert run(monkeypatch, "peers", "remove", "east", "--yes", "--config", north.path) == 0
    assert "'dcfm-node run continue' makes one without it" in capsys.readouterr().out
    assert names(north) == []


def test_approval_needs_a_comparison(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home]
) -> None:
    north, _, west = sites
    waits(north, west)
    approve = ("peers", "approve", "west", "--config", north.path)
    assert run(monkeypatch, *approve) == 2  # no terminal to ask on
    assert run(monkeypatch, *approve, "--fingerprint", north.fingerprint) == 1
    assert names(north) == ["east"]
    said = west.fingerprint.upper().replace(" ", "-")
    assert run(monkeypatch, *approve, "--fingerprint", said) == 0
    assert names(north) == ["east", "west"]
    assert pending_sites(north) == ()
    assert run(monkeypatch, *approve, "--yes") == 1  # a peer already
    assert run(monkeypatch, "peers", "approve", "nobody", "--yes", "--config", north.path) == 2


def test_who_is_rejected_is_gone_and_its_code_closed(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home]
) -> None:
    north, _, west = sites
    waits(north, west)
    assert run(monkeypatch, "peers", "reject", "west", "--config", north.path) == 0
    assert pending_sites(north) == ()
    assert PairingStore(north.config.state).invites(0.0) == []
    capsys.readouterr()
    assert run(monkeypatch, "peers", "pending", "--config", north.path) == 0
    assert "no site waits" in capsys.readouterr().out
    # An operator may change his mind.
    assert run(monkeypatch, "peers", "approve", "west", "--yes", "--config", north.path) == 0
    assert names(north) == ["east", "west"]


def test_an_invite_without_an_address_or_a_port_says_what_to_do(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home]
) -> None:
    north, *_ = sites
    text = north.path.read_text()
    north.path.write_text(text[: text.rindex("[advertise]")])
    invite = ("invite", "--no-wait", "--config", north.path)
    assert run(monkeypatch, *invite) == 2
    assert "give --address HOST:PORT" in capsys.readouterr().err
    assert run(monkeypatch, *invite, "--address", "north.example.org") == 0
    assert "tcp://north.example.org:7400" in capsys.readouterr().out


def test_a_code_with_a_typo_and_an_own_code_are_refused(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home, Home]
) -> None:
    north, *_ = sites
    config = ("--config", north.path)
    assert run(monkeypatch, "invite", "--no-wait", *config, "--json") == 0
    code = json.loads(capsys.readouterr().out)["code"]
    assert run(monkeypatch, "join", code, *config) == 2
    assert "this node's own" in capsys.readouterr().err
    # The second group's check, so that no wrong character can be right by chance.
    group, digit = code.split("-")[2], "3" if code.split("-")[2][-1] == "2" else "2"
    wrong = code.replace(group, group[:-1] + digit)
    assert run(monkeypatch, "join", wrong, *config) == 2
    assert "has a typo" in capsys.readouterr().err
    assert run(monkeypatch, "join", *config) == 2
    assert "used no code yet" in capsys.readouterr().err
