"""The pairing desk: what guests of invites may cause, and what the two sites learn (SPEC 4.8)."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from zmq.utils import z85

from dcfm_node.config.pairing import Home
from dcfm_node.config.peers import own_peer
from dcfm_node.config.roster import add_peers, peer_of
from dcfm_node.daemon.pairing import (
    MAX_INTRODUCED_WAITING,
    MAX_NEW,
    REQUESTS_AT_ONCE,
    Desk,
    learn,
    learn_introduced,
    pending_sites,
)
from dcfm_node.records.pairing import Card, Introduced, PairAnswer, PairRequest
from dcfm_node.store.pairing import (
    MAX_INVITES,
    MAX_REJECTED,
    MAX_WAITING,
    Invite,
    PairingStore,
    Site,
)
from dcfm_node.wire.envelope import Signer
from dcfm_node.wire.pairing import InviteKeys, invite_keys, open_answer, seal_request
from tests.unit.daemon.sites import made_home

NOW = 1_000_000.0
Patch = pytest.MonkeyPatch


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Host:
    """A host with a desk, and one open invite."""

    def __init__(self, folder: Path) -> None:
        self.home, self.clock = made_home(folder, "north", 7400), Clock()
        self.store = PairingStore(self.home.config.state)
        self.told: list[Site] = []
        self.desk = Desk(lambda: self.home, self.clock, self.told.append)
        self.keys = self.invite(b"0123456789")

    def invite(self, secret: bytes, expires_s: int = int(NOW) + 60) -> InviteKeys:
        keys = invite_keys(z85.decode(self.home.keys.link_public), secret)
        self.store.put_invite(
            Invite(public=keys.public, secret=secret, expires_s=expires_s), self.clock()
        )
        self.desk.refresh()
        return keys

    def approve(self, guest: Home) -> None:
        add_peers(self.home.peers, [own_peer(guest.config, guest.keys)])

    def knock(self, guest: Home, keys: InviteKeys | None = None, **changes: object) -> PairAnswer:
        found = self.knocked(
            seal_request(request(guest, keys or self.keys, **changes), signer(guest))
        )
        assert found is not None
        return open_answer(found)

    def knocked(self, data: bytes, keys: InviteKeys | None = None) -> bytes | None:
        self.clock.now += 2.0
        return self.desk.answer(z85.encode((keys or self.keys).public).decode(), data)


def signer(home: Home) -> Signer:
    return Signer(home.keys.sign)


def request(guest: Home, keys: InviteKeys, **changes: object) -> PairRequest:
    card = guest.card
    said = {
        "version": "1",
        "author": card.sign_key,
        "invite": keys.public,
        "card": card,
        "run": guest.told_run(),
    }
    return PairRequest.model_validate({**said, **changes})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def east(tmp_path: Path) -> Home:
    return made_home(tmp_path, "east", 7402)


@pytest.fixture
def south(tmp_path: Path) -> Home:
    return made_home(tmp_path, "south", 7404)


def test_who_asks_waits_and_is_told_nothing_of_the_run(host: Host, east: Home) -> None:
    answer = host.knock(east)
    assert (answer.outcome, answer.run, answer.introduced) == ("waiting", b"", ())
    assert answer.card == host.home.card
    assert [site.card.name for site in host.told] == ["east"]
    (waiting,) = pending_sites(host.home)
    assert (waiting.name, waiting.fingerprint) == ("east", east.fingerprint)
    assert host.store.run("east") == east.told_run()
    assert host.home.listed() == ()


def test_who_is_approved_gets_the_run_and_the_other_peers(
    host: Host, east: Home, south: Home
) -> None:
    host.knock(east)
    host.approve(east)
    other = host.invite(b"9876543210")
    sealed = seal_request(request(south, other), signer(south))
    host.knocked(sealed, other)
    host.approve(south)
    answer = host.knock(east)
    assert answer.outcome == "approved"
    assert answer.run == host.home.told_run()
    assert answer.introduced == (Introduced(card=south.card, run=south.told_run()),)
    assert len(host.told) == 2


def test_a_used_code_is_worth_nothing_to_another_site(host: Host, east: Home, south: Home) -> None:
    host.knock(east)
    answer = host.knock(south)
    assert answer.outcome == "refused"
    assert "used by another site" in answer.reason
    assert list(host.store.sites()) == ["east"]


def test_nor_after_the_host_was_started_again(host: Host, east: Home, south: Home) -> None:
    host.knock(east)
    host.desk = Desk(lambda: host.home, host.clock)
    host.desk.refresh()
    assert host.knock(south).outcome == "refused"
    assert host.knock(east).outcome == "waiting"


def test_an_expired_code_gets_no_answer_and_its_key_is_not_admitted(host: Host, east: Home) -> None:
    sealed = seal_request(request(east, host.keys), signer(east))
    host.clock.now += 60.0
    assert host.knocked(sealed) is None
    assert host.desk.refresh() == frozenset()
    assert host.knocked(sealed) is None
    assert host.store.sites() == {}


def test_another_secret_opens_nothing(host: Host, east: Home) -> None:
    wrong = invite_keys(z85.decode(host.home.keys.link_public), b"abcdefghij")
    assert z85.encode(wrong.public).decode() not in host.desk.refresh()
    sealed = seal_request(request(east, wrong), signer(east))
    assert host.knocked(sealed, wrong) is None
    answer = open_answer(host.knocked(sealed) or b"")
    assert "another invite" in answer.reason


def test_a_request_recorded_elsewhere_is_refused(host: Host, east: Home) -> None:
    other = host.invite(b"9876543210")
    sealed = seal_request(request(east, other), signer(east))
    assert open_answer(host.knocked(sealed) or b"").outcome == "refused"
    assert host.store.sites() == {}


@pytest.mark.parametrize("data", [b"", b"\xc1", b"x" * 1000, b"x" * (513 << 10)])
def test_bytes_that_are_no_request_are_refused_and_use_nothing(
    host: Host, east: Home, data: bytes
) -> None:
    with capture_logs() as logs:
        answer = open_answer(host.knocked(data) or b"")
    assert answer.outcome == "refused"
    assert [line["event"] for line in logs] == ["pairing_refused"]
    assert host.knock(east).outcome == "waiting"


def test_a_flood_is_dropped_and_a_second_later_there_is_room_again(host: Host, east: Home) -> None:
    key = z85.encode(host.keys.public).decode()
    answered = [host.desk.answer(key, b"x") is not None for _ in range(1_000)]
    assert sum(answered) == REQUESTS_AT_ONCE
    assert host.knock(east).outcome == "waiting"


def test_a_name_or_address_that_is_taken_is_refused(host: Host, east: Home, south: Home) -> None:
    host.approve(south)
    for change, said in (
        ({"name": "north"}, "is named 'north' too"),
        ({"name": "south"}, "its name is that of 'south'"),
        ({"control": "tcp://127.0.0.1:7404"}, "its control is that of 'south'"),
        ({"control": "tcp://127.0.0.1:7400"}, "its control is that of 'north'"),
        ({"link_key": south.card.link_key}, "its link_key is that of 'south'"),
        ({"link_key": host.home.card.link_key}, "this site's own"),
    ):
        answer = host.knock(east, card=east.card.model_copy(update=change))
        assert answer.outcome == "refused"
        assert said in answer.reason
    assert host.store.sites() == {}
    assert host.knock(east).outcome == "waiting"


def test_a_copy_of_this_site_is_refused(host: Host) -> None:
    assert "own" in host.knock(host.home).reason


def test_a_name_that_another_waiting_site_has_is_refused(
    host: Host, east: Home, south: Home
) -> None:
    host.knock(east)
    other = host.invite(b"9876543210")
    card = south.card.model_copy(update={"name": "east"})
    sealed = seal_request(request(south, other, card=card), signer(south))
    answer = open_answer(host.knocked(sealed, other) or b"")
    assert "another site named 'east' waits" in answer.reason
    assert host.store.sites()["east"].card == east.card


@pytest.mark.parametrize("run", [b"\xff\xfe", b"name = \0"])
def test_a_run_that_is_no_text_is_refused_with_its_reason(
    host: Host, east: Home, run: bytes
) -> None:
    answer = host.knock(east, run=run)
    assert answer.outcome == "refused"
    assert "its run.toml" in answer.reason
    assert host.store.sites() == {}


def test_who_was_rejected_stays_out_and_another_of_that_name_may_ask(
    host: Host, east: Home, south: Home
) -> None:
    host.knock(east)
    site = host.store.sites()["east"]
    host.store.keep(site.model_copy(update={"rejected": True}), b"")
    assert "rejected" in host.knock(east).reason
    other = host.invite(b"9876543210")
    card = south.card.model_copy(update={"name": "east"})
    sealed = seal_request(request(south, other, card=card), signer(south))
    assert open_answer(host.knocked(sealed, other) or b"").outcome == "waiting"


def test_introductions_of_a_guest_count_once_it_is_approved_and_approve_nobody(
    host: Host, east: Home, south: Home
) -> None:
    told = (Introduced(card=south.card, run=south.told_run()),)
    host.knock(east, introduced=told)
    assert list(host.store.sites()) == ["east"]
    host.approve(east)
    host.knock(east, introduced=told)
    assert host.store.sites()["south"].introduced_by == "east"
    assert host.store.run("south") == south.told_run()
    assert [peer.name for peer in host.home.listed()] == ["east"]


def approve(site: Home, *, at: Home) -> None:
    add_peers(at.peers, [own_peer(site.config, site.keys)])


def made_up(number: int) -> Card:
    return Card(name=f"s{number}", sign_key=number.to_bytes(32), link_key=number.to_bytes(32))


def answer(host: Home, *introduced: Introduced, outcome: str = "approved") -> PairAnswer:
    return PairAnswer.model_validate(
        {
            "version": "1",
            "author": host.card.sign_key,
            "invite": b"i" * 32,
            "card": host.card,
            "outcome": outcome,
            "run": host.told_run(),
            "introduced": introduced,
        }
    )


def test_a_guest_learns_the_host_and_its_peers_and_trusts_none(
    host: Host, east: Home, south: Home
) -> None:
    said = answer(host.home, Introduced(card=east.card), Introduced(card=south.card))
    assert learn(said, "CODE", east, NOW) == []
    store = PairingStore(east.config.state)
    assert list(store.sites()) == ["north"]  # which introduces nobody before it is approved here
    approve(host.home, at=east)
    assert learn(said, "CODE", east, NOW) == []
    assert {name: site.introduced_by for name, site in store.sites().items()} == {
        "north": None,
        "south": "north",
    }
    assert store.sites()["north"].code == "CODE"
    assert store.run("north") == host.home.told_run()
    assert [peer.name for peer in east.listed()] == ["north"]


def test_a_hostile_host_cannot_replace_what_is_known(host: Host, east: Home, south: Home) -> None:
    approve(host.home, at=east)
    learn(answer(host.home, Introduced(card=south.card, run=south.told_run())), "C", east, NOW)
    store = PairingStore(east.config.state)
    before = store.sites()["south"], store.run("south")
    forged = Card(name="south", sign_key=b"f" * 32, link_key=b"g" * 32)
    mine = Card(name="east", sign_key=b"f" * 32, link_key=b"g" * 32)
    bad_run = Introduced(
        card=Card(name="west", sign_key=b"w" * 32, link_key=b"v" * 32), run=b"\xff"
    )
    left = learn(
        answer(host.home, Introduced(card=forged), Introduced(card=mine), bad_run), "C", east, NOW
    )
    assert (store.sites()["south"], store.run("south")) == before
    assert len(left) == 3
    assert store.run("west") == b""


def test_a_rejected_site_is_not_introduced_again(host: Host, east: Home, south: Home) -> None:
    store = PairingStore(east.config.state)
    approve(host.home, at=east)
    said = answer(host.home, Introduced(card=south.card))
    learn(said, "C", east, NOW)
    store.keep(store.sites()["south"].model_copy(update={"rejected": True}), b"")
    learn(said, "C", east, NOW)
    again = south.card.model_copy(update={"name": "other"})
    learn(answer(host.home, Introduced(card=again)), "C", east, NOW)
    assert pending_sites(east) == ()


def test_what_waits_is_bounded(host: Host, east: Home) -> None:
    for number in range(MAX_WAITING):
        host.store.keep(Site(card=made_up(number), version="1", at_ms=number))
    assert "sites wait for approval already" in host.knock(east).reason
    assert len(host.store.sites()) == MAX_WAITING
    rejected = host.store.sites()["s0"].model_copy(update={"rejected": True})
    host.store.keep(rejected, b"")
    assert host.knock(east).outcome == "waiting"


def test_of_the_rejected_the_oldest_are_forgotten(host: Host, east: Home) -> None:
    for number in range(MAX_REJECTED + 2):
        host.store.keep(Site(card=made_up(number), version="1", at_ms=number, rejected=True))
    assert len(host.store.sites()) == MAX_REJECTED
    assert not {"s0", "s1"} & host.store.sites().keys()
    assert host.knock(east).outcome == "waiting"


def test_introductions_are_bounded_by_message_and_by_introducer(host: Host, east: Home) -> None:
    approve(host.home, at=east)
    said = answer(host.home, *(Introduced(card=made_up(number)) for number in range(64)))
    assert len(learn(said, "C", east, NOW)) == 64 - MAX_NEW
    assert len(pending_sites(east)) == MAX_NEW
    for _ in range(8):
        left = learn(said, "C", east, NOW)
    assert len(pending_sites(east)) == MAX_INTRODUCED_WAITING
    assert "approve or reject those first" in left[0]


def test_what_a_site_said_itself_is_not_replaced_by_an_introduction(
    host: Host, east: Home, south: Home
) -> None:
    other = host.invite(b"9876543210")
    host.knocked(seal_request(request(south, other), signer(south)), other)
    before = host.store.sites()["south"], host.store.run("south")
    for by in ("east", "west"):
        forged = south.card.model_copy(update={"control": "tcp://evil:1"})
        learn_introduced([Introduced(card=forged, run=b"a = 1")], by, host.home, NOW)
    assert (host.store.sites()["south"], host.store.run("south")) == before


def test_who_introduced_a_site_first_may_bring_its_run_and_another_may_not(
    host: Host, south: Home
) -> None:
    card = south.card.model_copy(update={"handover": b"h" * 64})
    learn_introduced([Introduced(card=card)], "east", host.home, NOW)
    learn_introduced([Introduced(card=card, run=b"a = 1")], "west", host.home, NOW)
    assert host.store.run("south") == b""
    learn_introduced([Introduced(card=card, run=b"a = 2")], "east", host.home, NOW)
    assert host.store.run("south") == b"a = 2"
    assert host.store.sites()["south"].introduced_by == "east"
    assert host.store.sites()["south"].card.handover is None


def test_its_own_word_replaces_what_others_said_of_a_site(host: Host, south: Home) -> None:
    learn_introduced([Introduced(card=south.card, run=b"a = 2")], "east", host.home, NOW)
    assert host.knock(south, run=b"").outcome == "waiting"
    assert host.store.sites()["south"].introduced_by is None
    assert host.store.run("south") == b""


def test_the_desk_does_not_parse_a_run(host: Host, east: Home, monkeypatch: Patch) -> None:
    """tomllib takes half a minute for 64 kB of a dotted key."""
    monkeypatch.setattr("tomllib.loads", lambda text: pytest.fail("parsed"))
    slow = (".".join("a" * 32_000) + " = 1").encode()
    assert host.knock(east, run=slow).outcome == "waiting"
    assert host.store.run("east") == slow


def test_a_guest_whose_card_changes_is_told_once_and_written_seldom(host: Host, east: Home) -> None:
    with capture_logs() as logs:
        said = [
            host.knock(east, card=east.card.model_copy(update={"control": f"tcp://a:{port}"}))
            for port in range(1, 30)
        ]
    assert [line["event"] for line in logs].count("pairing_request") == 1
    assert len(logs) < 12
    assert [one.outcome for one in said].count("waiting") < 12
    assert "too often" in said[-1].reason
    assert host.store.sites()["east"].card.control == "tcp://a:8"


def test_every_answer_is_counted_and_a_refused_guest_has_no_name(host: Host, east: Home) -> None:
    counted: list[tuple[bytes, str, int]] = []
    host.desk = Desk(lambda: host.home, host.clock, sent=lambda *what: counted.append(what))
    host.desk.refresh()
    answers = [
        host.knocked(data) or b""
        for data in (b"x", seal_request(request(east, host.keys), signer(east)))
    ]
    assert counted == [
        (b"", "", len(answers[0])),
        (east.card.sign_key, "east", len(answers[1])),
    ]


def test_what_a_guest_makes_the_node_log_is_short_and_seldom(host: Host, east: Home) -> None:
    with capture_logs() as logs:
        for _ in range(12):
            host.knock(east, run=b"\xff" * 60_000)
            host.knocked(b"x" * 60_000)
    assert len(logs) < 12
    assert all(len(str(line)) < 1_000 for line in logs)


def test_open_invites_are_bounded(host: Host) -> None:
    for number in range(1, MAX_INVITES):
        host.invite(number.to_bytes(10))
    with pytest.raises(Exception, match="invites are open"):
        host.invite(b"x" * 10)
    assert len(host.desk.refresh()) == MAX_INVITES


def test_files_of_pairing_are_private(host: Host, east: Home) -> None:
    host.knock(east)
    for path in (host.home.config.state / "pairing").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_card_with_addresses_makes_a_block_that_toml_reads_back(east: Home) -> None:
    assert peer_of(east.card) == own_peer(east.config, east.keys)
