"""`join` and `run merge`: what a site tells an unapproved one, and how it parses what came."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dcfm_node.config.pairing import MAX_LINE_DOTS, Home
from dcfm_node.config.peers import own_peer
from dcfm_node.config.roster import add_peers
from dcfm_node.daemon.pairing import Desk
from dcfm_node.net import pairing as net
from dcfm_node.records.pairing import PairRequest
from dcfm_node.store.egress import Ledger
from dcfm_node.store.pairing import PairingStore, Site
from dcfm_node.wire.pairing import Code, InviteKeys, open_request
from tests.unit.cli.running import run
from tests.unit.daemon.sites import made_home

Patch = pytest.MonkeyPatch
Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Home, Home]:
    return made_home(tmp_path, "north", 7400), made_home(tmp_path, "east", 7402)


def approve(site: Home, *, at: Home) -> None:
    add_peers(at.peers, [own_peer(site.config, site.keys)])


def test_a_host_gets_the_run_only_once_it_is_approved_here(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home]
) -> None:
    north, east = sites
    assert run(monkeypatch, "invite", "--no-wait", "--config", north.path) == 0
    code = capsys.readouterr().out.partition("dcfm-node join ")[2].split()[0]
    desk, heard, sizes = Desk(lambda: north), list[PairRequest](), list[int]()

    def ask(code: Code, keys: InviteKeys, request: bytes, sent: Callable[[], None]) -> bytes:
        sent()
        sizes.append(len(request))
        heard.append(open_request(request))
        (link_key,) = desk.refresh()
        return desk.answer(link_key, request) or b""

    monkeypatch.setattr(net, "ask", ask)
    config = ("--config", east.path)
    assert run(monkeypatch, "join", code, "--no-wait", *config) == 0
    assert "'dcfm-node join' here once more" in capsys.readouterr().out
    approve(north, at=east)
    assert run(monkeypatch, "join", "--no-wait", *config) == 0
    assert [request.run for request in heard] == [b"", east.told_run()]
    assert PairingStore(north.config.state).run("east") == east.told_run()
    lines = Ledger(east.config.state).lines()
    assert [(line.name, line.what.kind, line.sum.size) for line in lines] == [
        ("", "pairing", sizes[0]),
        ("north", "pairing", sizes[1]),
    ]
    capsys.readouterr()
    assert run(monkeypatch, "egress", *config) == 0
    text = capsys.readouterr().out
    assert "(a site in pairing)" in text
    head, *rows = text[text.index("sent to") :].splitlines()
    own, names = head.index("own weights"), head.index("names of values and columns")
    (row,) = (row for row in rows if row.startswith("north"))
    assert row[own:].startswith("0 B") and not row[names:].startswith("0 B")


def test_a_file_of_another_site_is_parsed_by_merge_within_bounds(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home]
) -> None:
    north, east = sites
    approve(east, at=north)
    store = PairingStore(north.config.state)
    config = ("--config", north.path)
    site = Site(card=east.card, version="1", at_ms=0)
    for sent, said in (
        (b"name = ", "is not TOML"),
        (b'name = "x"', "is missing"),
        (b"[" * 5_000, "is not TOML"),
        (b"x = 1\n" + b".".join([b"a"] * 32_000) + b" = 1", f"more than {MAX_LINE_DOTS} dots"),
    ):
        store.keep(site, sent)
        assert run(monkeypatch, "run", "merge", *config) == 2
        assert said in capsys.readouterr().err
    store.keep(site, east.told_run())
    assert run(monkeypatch, "run", "merge", *config) == 0


def test_a_merge_says_who_is_not_in_it_yet(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home], tmp_path: Path
) -> None:
    north, east = sites
    approve(east, at=north)
    store, south = PairingStore(north.config.state), made_home(tmp_path, "south", 7404)
    store.keep(Site(card=east.card, version="1", at_ms=0), east.told_run())
    store.keep(Site(card=south.card, version="1", at_ms=0), south.told_run())
    assert run(monkeypatch, "run", "merge", "--config", north.path) == 0
    told = capsys.readouterr().out
    assert "note: south is not in it, because it waits for approval here" in told
    assert "'dcfm-node stop' if the node runs" in told
    store.keep(Site(card=south.card, version="1", at_ms=0, rejected=True))
    assert run(monkeypatch, "run", "merge", "--config", north.path) == 0
    assert "south" not in capsys.readouterr().out


def test_a_bulk_address_at_another_host_is_shown(
    monkeypatch: Patch, capsys: Capsys, sites: tuple[Home, Home]
) -> None:
    north, east = sites
    store, config = PairingStore(north.config.state), ("--config", north.path)
    store.keep(Site(card=east.card, version="1", at_ms=0))
    assert run(monkeypatch, "peers", "pending", *config) == 0
    assert "another host" not in capsys.readouterr().out
    card = east.card.model_copy(update={"bulk": "tcp://elsewhere.example:7403"})
    store.keep(Site(card=card, version="1", at_ms=0))
    assert run(monkeypatch, "peers", "pending", *config) == 0
    assert "its bulk data at another host: tcp://elsewhere.example:7403" in capsys.readouterr().out
