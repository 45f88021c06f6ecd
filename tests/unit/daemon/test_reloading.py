"""Settings, peers and invites that a running node takes up."""

from collections.abc import Collection
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from zmq.utils import z85

from dcfm_node.config.pairing import Home
from dcfm_node.config.peers import Peer, own_peer
from dcfm_node.config.roster import add_peers, remove_peer
from dcfm_node.config.run import load_run
from dcfm_node.daemon import logs
from dcfm_node.daemon.reloading import Reloading
from dcfm_node.errors import ConfigError
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.pairing import Invite, PairingStore
from dcfm_node.wire.pairing import invite_keys
from tests.unit.daemon.sites import made_home


class Network:
    def __init__(self) -> None:
        self.peers: list[str] = []
        self.invited: Collection[str] = ()
        self.upload = -1

    def admit(self, peers: tuple[Peer, ...], invited: Collection[str]) -> None:
        self.peers, self.invited = [peer.name for peer in peers], invited

    def invite(self, invited: Collection[str]) -> None:
        self.invited = invited

    def set_upload(self, upload: int) -> None:
        self.upload = upload


def run_of(home: Home, roster: Collection[str]) -> Manifest:
    """The run of a site's run.toml, which then names these silos."""
    text = home.run.read_text()
    home.run.write_text(f"roster = [{', '.join(map(repr, roster))}]\n{text}\n[method]\n")
    me = own_peer(home.config, home.keys)
    keys = (bytes([number]) * 32 for number in range(1, 9))
    others = [
        me.model_copy(update={"name": n, "sign_key": k}) for n, k in zip(roster, keys, strict=False)
    ]
    return load_run(home.run, tuple(p for p in others if p.name != me.name), me, listed=home.peers)


class Rig:
    def __init__(self, folder: Path, roster: Collection[str] = ()) -> None:
        self.home, self.network, self.gossip = made_home(folder, "north", 7400), Network(), 0.0
        self.manifest = run_of(self.home, roster) if roster else None
        self.reloading = Reloading(
            self.home, (), self.network, manifest=self.manifest, set_gossip=self.set_gossip
        )

    def set_gossip(self, interval_s: float) -> None:
        self.gossip = interval_s

    def edit(self, before: str, after: str) -> None:
        text = self.home.path.read_text()
        assert text.count(before) == 1
        self.home.path.write_text(text.replace(before, after))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def east(tmp_path: Path) -> Home:
    return made_home(tmp_path, "east", 7402)


def test_nothing_changed(rig: Rig) -> None:
    found = rig.reloading.reload()
    assert (found.applied, found.restart, found.peers, found.invites) == ((), (), (), 0)
    assert rig.network.upload == -1


def test_what_may_change_does_and_what_may_not_is_named(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[str] = []
    monkeypatch.setattr(logs, "set_level", levels.append)
    rig.edit('level = "info"', 'level = "debug"')
    rig.edit("interval_s = 1.0", "interval_s = 3.0")
    rig.edit("upload = 0", "upload = 70000")
    rig.edit('name = "north"', 'name = "south"')
    rig.edit("threads = 0", "threads = 3")
    rig.edit('path = "data.npz"', 'path = "other.npz"')
    found = rig.reloading.reload()
    assert found.applied == (
        "log.level is debug",
        "gossip.interval_s is 3",
        "limits.upload is 70000 bytes a second",
    )
    assert found.restart == ("name", "data.path", "worker.threads")
    assert (levels, rig.gossip, rig.network.upload) == (["debug"], 3.0, 70_000)
    again = rig.reloading.reload()
    assert (again.applied, again.restart) == ((), found.restart)


def test_peers_come_and_go(rig: Rig, east: Home) -> None:
    add_peers(rig.home.peers, [own_peer(rig.home.config, rig.home.keys)])
    add_peers(rig.home.peers, [own_peer(east.config, east.keys)])
    found = rig.reloading.reload()
    assert found.applied == ("east may link",)
    assert rig.network.peers == ["east"]
    remove_peer(rig.home.peers, "east")
    assert rig.reloading.reload().applied == ("east may not link any more",)
    assert rig.network.peers == []


def test_in_a_run_it_says_what_a_change_means_for_the_run(tmp_path: Path, east: Home) -> None:
    rig = Rig(tmp_path, roster={"north", "south"})
    south = made_home(tmp_path, "south", 7404)
    add_peers(rig.home.peers, [own_peer(s.config, s.keys) for s in (east, south)])
    assert rig.reloading.reload().applied == (
        "east may link, and takes part from the next run on",
        "south may link",
    )
    remove_peer(rig.home.peers, "south")
    (said,) = rig.reloading.reload().applied
    assert said == "south may not link any more: the present run goes on waiting for it"


def test_in_a_run_it_says_that_a_changed_run_toml_needs_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path, roster=("north", "south"))
    assert rig.reloading.reload().restart == ()
    text = rig.home.run.read_text()
    rig.home.run.write_text(text.replace('"shapes"', '"forms"'))
    assert rig.reloading.reload().restart == ("run.toml (name)",)
    rig.home.run.write_text("name = ")
    assert rig.reloading.reload().restart == ("run.toml (it is not valid)",)
    rig.home.run.write_text(text)
    assert rig.reloading.reload().restart == ()


def test_a_wrong_file_changes_nothing(rig: Rig, east: Home) -> None:
    add_peers(rig.home.peers, [own_peer(east.config, east.keys)])
    rig.reloading.reload()
    rig.home.peers.write_text("[[peer]]\nname = 1\n")
    rig.edit("upload = 0", "upload = 70000")
    with pytest.raises(ConfigError):
        rig.reloading.reload()
    assert rig.network.peers == ["east"]
    assert rig.network.upload == -1
    with capture_logs() as lines:
        rig.reloading.hang_up()
    assert [line["event"] for line in lines] == ["hangup"]
    assert "nothing is taken up" in lines[0]["why"]


def test_invites_are_swept_in_and_out(rig: Rig) -> None:
    store = PairingStore(rig.home.config.state)
    keys = invite_keys(z85.decode(rig.home.keys.link_public), b"0123456789")
    invite = Invite(public=keys.public, secret=b"0123456789", expires_s=2**40)
    store.put_invite(invite, 0.0)
    rig.reloading.sweep()
    assert list(rig.network.invited) == [z85.encode(keys.public).decode()]
    store.close_invite(keys.public)
    rig.reloading.sweep()
    assert list(rig.network.invited) == []


def test_a_damaged_invite_is_told_once(rig: Rig) -> None:
    folder = rig.home.config.state / "pairing" / ".invites"
    folder.mkdir(parents=True)
    (folder / "0.json").write_text("{")
    with capture_logs() as lines:
        for _ in range(3):
            rig.reloading.sweep()
    assert [line["event"] for line in lines] == ["invites_unreadable"]
