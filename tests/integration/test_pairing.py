"""Pairing over real sockets, and from empty folders to one run, as operators do it (SPEC 4.8)."""

import asyncio
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from zmq.utils import z85

from dcfm_node.demo.stage import free_addresses
from dcfm_node.errors import Failed
from dcfm_node.net.links import Down, LinkPeer, Received, Up
from dcfm_node.net.pairing import ask
from dcfm_node.wire.pairing import Code, InviteKeys, invite_keys
from tests.integration.cluster import (
    ADDRESSES,
    DCFM,
    ENVIRONMENT,
    Site,
    dcfm,
    dcfm_json,
    until,
)
from tests.integration.linking import Node, closing, new_keys

SECRET = b"0123456789"
SIDES = (["left", "right"], ["right", "top"], ["top", "left"])
LEVELS = np.tile(["low", "high"], 40)


def code_of(node: Node, address: str, secret: bytes = SECRET) -> tuple[Code, InviteKeys]:
    link_key = z85.decode(node.keys[0])
    code = Code(link_key, address.removeprefix("tcp://"), secret, 2**31)
    return code, invite_keys(link_key, secret)


async def hosting(node: Node, *peers: LinkPeer) -> tuple[Code, InviteKeys, list[bytes]]:
    """A host with one open invite, whose desk answers in capitals and notes what it heard."""
    heard: list[bytes] = []

    def desk(_: str, data: bytes) -> bytes | None:
        heard.append(data)
        return data.upper() if data != b"silence" else None

    address = await node.start(*peers, ask=desk)
    code, keys = code_of(node, address)
    assert node.links is not None
    node.links.admit(peers, [z85.encode(keys.public).decode()])
    return code, keys, heard


def test_a_guest_asks_and_is_answered_and_is_no_peer() -> None:
    async def scenario() -> None:
        host = Node("host")
        async with closing(host):
            code, keys, heard = await hosting(host)
            assert await asyncio.to_thread(ask, code, keys, b"hello") == b"HELLO"
            assert heard == [b"hello"]
            assert not any(isinstance(event, Up | Received) for event in host.events)

    asyncio.run(scenario())


def test_another_secret_and_a_closed_invite_are_refused_in_the_handshake() -> None:
    async def scenario() -> None:
        host = Node("host")
        async with closing(host):
            code, keys, heard = await hosting(host)
            _, wrong = code_of(host, f"tcp://{code.address}", b"abcdefghij")
            with pytest.raises(Failed, match="does not admit this code"):
                await asyncio.to_thread(ask, code, wrong, b"hello")
            assert host.links is not None
            host.links.admit([], [])
            with pytest.raises(Failed, match="does not admit this code"):
                await asyncio.to_thread(ask, code, keys, b"hello")
            assert heard == []

    asyncio.run(scenario())


def test_a_code_of_another_node_and_an_address_where_nobody_listens_are_told_apart() -> None:
    async def scenario() -> None:
        host = Node("host")
        async with closing(host):
            code, keys, _ = await hosting(host)
            other = Code(z85.decode(new_keys()[0]), code.address, SECRET, 2**31)
            with pytest.raises(Failed, match="another key"):
                await asyncio.to_thread(ask, other, keys, b"hello")
            nowhere = Code(code.link_key, free_addresses(1)[0][6:], SECRET, 2**31)
            with pytest.raises(Failed, match="cannot be reached"):
                await asyncio.to_thread(ask, nowhere, keys, b"hello")

    asyncio.run(scenario())


def test_a_guest_takes_no_part_in_the_links_and_large_messages_are_not_read() -> None:
    async def scenario() -> None:
        host, peer = Node("host"), Node("peer")
        async with closing(host, peer):
            code, keys, heard = await hosting(host, peer.peer())
            await peer.start(host.peer(f"tcp://{code.address}"))
            await host.until(Up(peer.id))
            with pytest.raises(Failed):
                await asyncio.to_thread(ask, code, keys, b"x" * (513 << 10))
            assert heard == []
            assert peer.links is not None and peer.links.send(host.id, b"still here")
            await host.until(Received(peer.id, b"still here"))

    asyncio.run(scenario())


def test_a_guest_that_gets_no_answer_is_hung_up_on() -> None:
    async def scenario() -> None:
        host = Node("host")
        async with closing(host):
            code, keys, heard = await hosting(host)
            with pytest.raises(Failed, match="ended the connection without an answer"):
                await asyncio.to_thread(ask, code, keys, b"silence")
            assert heard == [b"silence"]
            assert await asyncio.to_thread(ask, code, keys, b"again") == b"AGAIN"

    asyncio.run(scenario())


def test_peers_come_and_go_while_other_links_stand() -> None:
    async def scenario() -> None:
        host, stays, comes = Node("host"), Node("stays"), Node("comes")
        async with closing(host, stays, comes):
            address = await host.start(stays.peer())
            await stays.start(host.peer(address))
            await comes.start(host.peer(address))
            await asyncio.gather(host.until(Up(stays.id)), comes.refusal())
            assert host.links and stays.links
            host.links.admit([stays.peer(), comes.peer()])
            await asyncio.gather(host.until(Up(comes.id)), comes.until(Up(host.id)))
            host.links.admit([stays.peer()])
            await asyncio.gather(host.until(Down(comes.id)), comes.until(Down(host.id)))
            assert stays.links.send(host.id, b"on")
            await host.until(Received(stays.id, b"on"))
            assert Down(stays.id) not in host.events
            assert not host.links.send(comes.id, b"gone")

    asyncio.run(scenario())


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    """Three new nodes with tiny data, each with its own run.toml. No file is shared."""
    found = [Site(tmp_path, name) for name in ("north", "east", "south")]
    addresses = free_addresses(2 * len(found))
    control, bulk = addresses[::2], addresses[1::2]
    rng = np.random.default_rng(0)
    for index, site in enumerate(found):
        site.peers, site.run = site.folder / "peers.toml", site.folder / "run.toml"
        data = tmp_path / f"{site.name}.npz"
        np.savez(data, x=rng.normal(size=(80, 2)), side=np.repeat(SIDES[index], 40), level=LEVELS)
        assert dcfm("init", site.folder, "--data", data).returncode == 0
        node = site.folder / "node.toml"
        table = ADDRESSES.format(table="advertise", control=control[index], bulk=bulk[index])
        text = node.read_text().replace("tcp://0.0.0.0:7400", control[index])
        node.write_text(text.replace("tcp://0.0.0.0:7401", bulk[index]) + table)
    try:
        yield found
    finally:
        for site in found:
            if site.process is not None and site.process.poll() is None:
                site.kill()


def begin(site: Site) -> None:
    """`start` as an operator types it in the node's folder."""
    site.start()
    until((site.state / "control.sock").exists)


def code_from(host: Site) -> str:
    config = host.folder / "node.toml"
    return str(dcfm_json("invite", "--no-wait", "--config", config)["code"])


def test_three_sites_pair_by_code_and_get_one_run(sites: list[Site]) -> None:
    north, east, south = sites
    config = {site.name: ("--config", site.folder / "node.toml") for site in sites}
    (north.folder / "peers.toml").write_text("")
    begin(north)
    status = dcfm("status", *config["north"])
    assert status.returncode == 3
    assert "no run yet: no peer is approved" in status.stdout

    for guest in (east, south):
        code = code_from(north)
        own = dcfm_json("peers", "pending", *config[guest.name])["fingerprint"]
        joined = dcfm_json("join", code, *config[guest.name])
        assert joined["outcome"] == "waiting"
        (asked,) = dcfm_json("peers", *config["north"])["waiting"]
        assert (asked["name"], asked["fingerprint"]) == (guest.name, own)
        assert dcfm("peers", "approve", guest.name, *config["north"]).returncode == 2
        wrong = dcfm("peers", "approve", guest.name, "--fingerprint", "00", *config["north"])
        assert wrong.returncode == 1
        done = dcfm("peers", "approve", guest.name, "--fingerprint", own, *config["north"])
        assert done.returncode == 0, done.stderr
        assert dcfm("join", code, *config["north"]).returncode == 2  # its own code
        theirs = joined["host"]["fingerprint"]
        assert (
            dcfm(
                "peers", "approve", "north", "--fingerprint", theirs, *config[guest.name]
            ).returncode
            == 0
        )
    # The first guest hears of the second, and the second of the first: neither trusts the other.
    for guest, other in ((east, south), (south, east)):
        (told,) = dcfm_json("join", *config[guest.name])["introduced"]
        assert (told["name"], told["introduced_by"]) == (other.name, "north")
        assert dcfm("peers", "approve", other.name, "--yes", *config[guest.name]).returncode == 0
    # By then north has the run.toml of both.
    assert dcfm_json("join", *config["east"])["introduced"] == []
    for site in sites:
        merged = dcfm("run", "merge", *config[site.name])
        assert merged.returncode == 0, merged.stderr
    texts = {(site.folder / "run.toml").read_text() for site in sites}
    assert len(texts) == 1
    attributes = tomllib.loads(texts.pop())["attribute"]
    assert {value for one in attributes for value in one["values"]} == {
        *("left", "right", "top"),
        *("low", "high"),
    }

    # All go to one run, which is named before their training processes are ready.
    assert dcfm_json("stop", *config["north"])["stopped"]
    until(lambda: "'dcfm-node stop' ended the node" in sites[0].log.read_text())
    for site in sites:
        begin(site)
    runs = {dcfm_json("status", *config[site.name])["run"]["id"] for site in sites}
    assert len(runs) == 1
    assert runs != {""}


def test_an_invite_without_a_daemon_listens_by_itself(sites: list[Site], tmp_path: Path) -> None:
    north, east, _ = sites
    log = tmp_path / "invite.log"
    with log.open("wb") as out:
        waiting = subprocess.Popen(
            [*DCFM, "invite", "--config", str(north.folder / "node.toml")],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
        )
    try:
        until((north.state / "control.sock").exists)
        code = re.search(r"dcfm-node join (dcfm-\S+)", log.read_text())
        assert code is not None
        config = ("--config", east.folder / "node.toml")
        assert dcfm_json("join", code[1], *config)["outcome"] == "waiting"
        until(lambda: "peers approve east" in log.read_text())
        approve = ("peers", "approve", "east", "--yes", "--config", north.folder / "node.toml")
        assert dcfm(*approve).returncode == 0
        assert dcfm_json("join", *config)["outcome"] == "approved"
        until(lambda: "has not sent its run.toml" in log.read_text())
        back = ("peers", "approve", "north", "--yes", *config)
        assert dcfm(*back).returncode == 0
        assert dcfm_json("join", *config)["approved_here"]
        assert waiting.wait(60) == 0
    finally:
        waiting.kill()
