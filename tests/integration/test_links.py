"""The control plane over real sockets on the loopback (SPEC 4)."""

import asyncio
import errno
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from dcfm_node.errors import UserError
from dcfm_node.net.curve import RawSocket, dialling_socket
from dcfm_node.net.door import LINKS_AT_ONCE
from dcfm_node.net.links import Down, LinkPeer, Misframed, Received, Refused, Up
from dcfm_node.net.listener import MAX_ROUTES
from dcfm_node.net.peers import Faulted, Twice
from dcfm_node.records.messages import MAX_MESSAGE_BYTES
from tests.integration.linking import WAIT_S, Node, closing, dial, new_keys


def test_two_nodes_exchange_messages_and_count_their_bytes() -> None:
    async def scenario() -> None:
        a, b = Node("a"), Node("b")
        async with closing(a, b):
            address = await b.start(a.peer())
            await a.start(b.peer(address))
            await asyncio.gather(a.until(Up(b.id)), b.until(Up(a.id)))
            large = bytes(MAX_MESSAGE_BYTES)
            assert a.links and a.links.send(b.id, b"ping") and a.links.send(b.id, large)
            await b.until(Received(a.id, b"ping"), Received(a.id, large))
            assert b.links and b.links.send(a.id, b"pong")
            await a.until(Received(b.id, b"pong"))
            assert a.links.stats() == {b.id: (4 + len(large), 4)}
            assert b.links.stats() == {a.id: (4, 4 + len(large))}

    asyncio.run(scenario())


def test_a_node_that_only_dials_out_takes_full_part() -> None:
    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(server, silo):
            address = await server.start(silo.peer())
            await silo.start(server.peer(address), listen=None)
            # The server speaks first, over the link that the silo opened.
            await server.until(Up(silo.id))
            assert server.links and server.links.send(silo.id, b"first")
            await silo.until(Received(server.id, b"first"))
            assert silo.links and silo.links.send(server.id, b"second")
            await server.until(Received(silo.id, b"second"))

    asyncio.run(scenario())


def test_an_unknown_key_is_refused_and_named_on_both_sides_then_let_in_when_approved() -> None:
    async def scenario() -> None:
        server, stranger = Node("server"), Node("stranger")
        async with closing(server, stranger):
            address = await server.start()
            await stranger.start(server.peer(address), listen=None)
            at_door, at_home = await asyncio.gather(server.refusal(), stranger.refusal())
            assert (at_door.name, at_door.link_key) == (None, stranger.keys[0])
            assert at_door.address == "127.0.0.1"
            assert (at_home.name, at_home.address) == ("server", address)
            assert stranger.keys[0] in at_home.reason
            assert stranger.links and not stranger.links.send(server.id, b"let me in")
            # A denied client dials again by itself, so approval alone lets it in.
            assert server.links
            await server.links.close()
            await server.start(stranger.peer(), listen=address)
            await asyncio.gather(server.until(Up(stranger.id)), stranger.until(Up(server.id)))
            assert sum(isinstance(event, Refused) for event in server.events) == 1

    asyncio.run(scenario())


def test_a_wrong_server_key_is_named_on_both_sides() -> None:
    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(server, silo):
            address = await server.start(silo.peer())
            wrong = LinkPeer(server.id, "server", new_keys()[0], address, None)
            await silo.start(wrong, listen=None)
            at_home, at_door = await asyncio.gather(silo.refusal(), server.refusal())
            assert at_home.name == "server" and "link key" in at_home.reason
            assert at_door.name is None and "cryptographic" in at_door.reason
            # Where it came from cannot be read any more if it hung up before we looked.
            assert at_door.address.rpartition(":")[0] in ("127.0.0.1", "")

    asyncio.run(scenario())


def test_a_peer_that_says_nothing_is_not_said_to_refuse_and_is_forgiven_when_it_answers() -> None:
    """As the kernel of a stopped process does: it accepts, and nobody answers."""

    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(server, silo):
            mute = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1")
            host, port = mute.sockets[0].getsockname()
            address = f"tcp://{host}:{port}"
            await silo.start(server.peer(address), listen=None)
            told = await silo.refusal()
            assert (told.name, "sends nothing" in told.reason) == ("server", True)
            assert "link key" not in told.reason
            mute.close()
            await server.start(silo.peer(), listen=address)
            better = Refused("server", server.keys[0], address, "")
            await silo.until(Up(server.id), better)

    asyncio.run(scenario())


def test_what_hangs_up_before_the_handshake_is_told() -> None:
    """As a proxy does that answers for a peer which it cannot reach."""

    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(silo):
            proxy = await asyncio.start_server(
                lambda reader, writer: writer.transport.abort(), "127.0.0.1"
            )
            host, port = proxy.sockets[0].getsockname()
            await silo.start(server.peer(f"tcp://{host}:{port}"), listen=None)
            told = await silo.refusal()
            assert told.name == "server" and "without a reason" in told.reason
            proxy.close()

    asyncio.run(scenario())


def test_a_peer_that_restarts_goes_down_and_comes_back() -> None:
    async def scenario() -> None:
        a, b, reborn = Node("a"), Node("b"), Node("b")
        reborn.keys = b.keys
        async with closing(a, b, reborn):
            address = await b.start(a.peer())
            await a.start(b.peer(address))
            await asyncio.gather(a.until(Up(b.id)), b.until(Up(a.id)))
            assert a.links and b.links
            await b.links.close()
            await a.until(Down(b.id))
            assert not a.links.send(b.id, b"lost")
            await reborn.start(a.peer(), listen=address)
            await asyncio.gather(
                a.until_true(lambda: a.events == [Up(b.id), Down(b.id), Up(b.id)]),
                reborn.until(Up(a.id)),
            )
            assert a.links.send(b.id, b"again")
            await reborn.until(Received(a.id, b"again"))

    asyncio.run(scenario())


def test_the_listening_side_sees_a_dialler_leave() -> None:
    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(server, silo):
            address = await server.start(silo.peer())
            await silo.start(server.peer(address), listen=None)
            await server.until(Up(silo.id))
            assert silo.links and server.links
            await silo.links.close()
            await server.until(Down(silo.id))
            assert not server.links.send(silo.id, b"lost")

    asyncio.run(scenario())


def test_a_full_queue_says_so_and_does_not_block() -> None:
    async def scenario() -> None:
        a, b = Node("a"), Node("b")
        async with closing(a, b):
            address = await b.start(a.peer())
            await a.start(b.peer(address))
            await a.until(Up(b.id))
            links, data = a.links, bytes(MAX_MESSAGE_BYTES)
            # b's loop has no turn while this runs, so its queues and ours must fill.
            assert links and not all(links.send(b.id, data) for _ in range(1_000))

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [zmq.ZMQError(errno.ENOMEM), MemoryError()])
def test_what_the_machine_has_no_means_to_send_is_lost_and_told(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        a, b = Node("a"), Node("b")
        async with closing(a, b):
            address = await b.start(a.peer())
            await a.start(b.peer(address))
            await asyncio.gather(a.until(Up(b.id)), b.until(Up(a.id)))

            def refusing(*arguments: object) -> bool:
                raise error

            assert a.links
            with monkeypatch.context() as patch:
                patch.setattr("dcfm_node.net.dialer.try_send", refusing)
                patch.setattr("dcfm_node.net.listener.try_send", refusing)
                assert not a.links.send(b.id, b"lost")
            faults = [event for event in a.events if isinstance(event, Faulted)]
            assert type(error).__name__ in faults[0].reason
            assert a.links.send(b.id, b"sent")
            await b.until(Received(a.id, b"sent"))

    asyncio.run(scenario())


def test_a_silent_link_is_dead_and_an_idle_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcfm_node.net.links.SILENCE_S", 2.0)
    for module in ("dialer", "listener"):
        monkeypatch.setattr(f"dcfm_node.net.{module}.SIGN_OF_LIFE_S", 0.2)

    async def scenario() -> None:
        server, silent, idle = Node("server"), Node("silent"), Node("idle")
        async with closing(server, idle):
            address = await server.start(silent.peer(), idle.peer())
            await idle.start(server.peer(address), listen=None)
            await server.until(Up(idle.id))
            with dial(address, server, silent) as socket:
                socket.send(b"")
                await server.until(Up(silent.id))
                await server.until(Down(silent.id))
            assert Down(idle.id) not in server.events
            assert Down(server.id) not in idle.events

    asyncio.run(scenario())


def test_an_allowed_peer_that_breaks_the_rules_harms_no_other() -> None:
    async def scenario() -> None:
        server, rogue, honest = Node("server"), Node("rogue"), Node("honest")
        async with closing(server, honest):
            address = await server.start(rogue.peer(), honest.peer())
            with (
                dial(address, server, rogue) as first,
                dial(address, server, rogue) as twin,
            ):
                first.send_multipart([b"frame"] * 1_000)
                first.send(bytes(MAX_MESSAGE_BYTES + 1))
                await server.until(
                    Misframed(rogue.id, 4, 20), Misframed(rogue.id, 1, MAX_MESSAGE_BYTES + 1)
                )
                first.send(bytes(2 * MAX_MESSAGE_BYTES))  # the transport hangs up on so much
                twin.send(b"twin")
                await server.until(Received(rogue.id, b"twin"))
                await honest.start(server.peer(address), listen=None)
                await server.until(Up(honest.id))
                assert server.links and server.links.send(honest.id, b"to honest")
                await honest.until(Received(server.id, b"to honest"))
            received = [event for event in server.events if isinstance(event, Received)]
            assert received == [Received(rogue.id, b"twin")]

    asyncio.run(scenario())


@pytest.mark.parametrize("own", [b"chosen", b"h".ljust(32, b".")])
def test_a_client_that_chooses_its_routing_id_is_hung_up_on_and_told(own: bytes) -> None:
    """SPEC 4.1.5: libzmq ends the process when one meets an id that it makes up itself."""

    async def scenario() -> None:
        server, rogue = Node("server"), Node("rogue")
        async with closing(server):
            address = await server.start(rogue.peer())
            with dial(address, server, rogue, own) as socket:
                socket.send(b"mask")
                refusal = await server.refusal()
                await settled(address, 0)
            assert "routing id" in refusal.reason and refusal.link_key == rogue.keys[0]
            assert not any(isinstance(event, Received | Up) for event in server.events)

    asyncio.run(scenario())


def established(address: str) -> int:
    """Connections that a listener of this machine holds."""
    end = f":{int(address.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(end) and row[3] == "01" for row in rows)


async def settled(address: str, most: int) -> None:
    """Wait until a listener holds so many connections at most."""
    async with asyncio.timeout(WAIT_S):
        while established(address) > most:
            await asyncio.sleep(0.05)


def test_a_key_has_few_links_and_makes_few_at_once() -> None:
    """SPEC 4.1.5: nobody holds or makes routing ids enough for one to meet another."""

    async def scenario() -> None:
        server, rogue, honest = Node("server"), Node("rogue"), Node("honest")
        async with closing(server, honest):
            address = await server.start(rogue.peer(), honest.peer())
            sockets = [dial(address, server, rogue) for _ in range(3 * int(LINKS_AT_ONCE))]
            try:
                for socket in sockets:
                    socket.send(b"")
                await server.until(Up(rogue.id))
                await settled(address, MAX_ROUTES)
                await honest.start(server.peer(address), listen=None)
                await server.until(Up(honest.id))
                assert Down(rogue.id) not in server.events
                refusal = await server.refusal()
                assert (refusal.link_key, refusal.name) == (rogue.keys[0], None)
                assert "more links than it may" in refusal.reason
            finally:
                for socket in sockets:
                    socket.close(linger=0)

    asyncio.run(scenario())


def test_a_member_that_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold a routing id and a descriptor, and count as nobody's link."""
    monkeypatch.setattr("dcfm_node.net.door.UNKNOWN_S", 1.0)

    async def scenario() -> None:
        server, rogue = Node("server"), Node("rogue")
        async with closing(server):
            address = await server.start(rogue.peer())
            with dial(address, server, rogue):
                async with asyncio.timeout(WAIT_S):
                    while not established(address):
                        await asyncio.sleep(0.01)
                await settled(address, 0)
            assert server.events == []

    asyncio.run(scenario())


def test_a_key_that_two_nodes_use_is_known_by_both_speaking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dcfm_node.net.listener.TWICE_S", 1.0)
    for module in ("dialer", "listener"):
        monkeypatch.setattr(f"dcfm_node.net.{module}.SIGN_OF_LIFE_S", 0.2)

    async def scenario() -> None:
        server, silo, clone, other = Node("server"), Node("silo"), Node("silo"), Node("other")
        clone.keys = silo.keys
        async with closing(server, silo, clone, other):
            address = await server.start(silo.peer(), other.peer())
            for node in (silo, other):
                await node.start(server.peer(address), listen=None)
            await server.until(Up(silo.id), Up(other.id))
            assert server.links and server.links.ways()[silo.id].hosts == ()
            await clone.start(server.peer(address), listen=None)
            async with asyncio.timeout(WAIT_S):
                while not server.links.ways()[silo.id].hosts:
                    await asyncio.sleep(0.05)
            assert server.links.ways()[silo.id].hosts == ("127.0.0.1", "127.0.0.1")
            assert server.events.count(Twice(silo.id, ("127.0.0.1", "127.0.0.1"))) == 1
            assert server.links.ways()[other.id].hosts == ()

    asyncio.run(scenario())


UNREACHABLE = {
    "tcp://no-such-host.invalid:7400": "cannot be resolved",
    "tcp://127.0.0.1:1": "127.0.0.1 refused the connection",
}


@pytest.mark.parametrize("address", UNREACHABLE)
def test_a_dial_that_fails_is_told_with_reason_and_count(address: str) -> None:
    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(silo):
            await silo.start(server.peer(address), listen=None)
            refusals = [Refused("server", server.keys[0], address, "", n) for n in (1, 2)]
            await silo.until_true(lambda: len(silo.events) == len(refusals))
            for event, wanted in zip(silo.events, refusals, strict=True):
                assert isinstance(event, Refused) and UNREACHABLE[address] in event.reason
                assert replace(event, reason="") == wanted
            assert silo.links
            (failure,) = silo.links.ways()[server.id].failures
            assert (failure.address, failure.times >= 2) == (address, True)

    asyncio.run(scenario())


def test_a_process_without_descriptors_says_so_and_dials_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialled, left = dialling_socket, [1, 2]

    def without(*arguments: Any) -> RawSocket:
        if left:
            left.pop()
            raise zmq.ZMQError(errno.EMFILE)
        return dialled(*arguments)

    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(server, silo):
            address = await server.start(silo.peer())
            monkeypatch.setattr("dcfm_node.net.dialer.dialling_socket", without)
            await silo.start(server.peer(address), listen=None)
            assert "too many open files" in (await silo.refusal()).reason
            await silo.until(Up(server.id))

    asyncio.run(scenario())


def test_a_name_with_addresses_of_the_other_family_alone_is_linked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And of one with both, that which answers."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    rows = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]

    def addresses(host: str, port: int, *, type: int) -> list[Any]:  # noqa: A002
        wanted = rows[:1] if host == "six.example" else rows
        return [(*row[:4], (row[4][0], port, *row[4][2:])) for row in wanted]

    monkeypatch.setattr("dcfm_node.net.reach.socket.getaddrinfo", addresses)

    async def scenario() -> None:
        six, four, silo = Node("six"), Node("four"), Node("silo")
        async with closing(six, four, silo):
            at_six = (await six.start(silo.peer(), listen="tcp://[::1]:*")).rpartition(":")[2]
            at_four = (await four.start(silo.peer())).rpartition(":")[2]
            peers = (six.peer(f"tcp://six.example:{at_six}"), four.peer(f"tcp://both:{at_four}"))
            await silo.start(*peers, listen=None)
            await silo.until(Up(six.id), Up(four.id))

    asyncio.run(scenario())


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "tcp://999.0.0.1:1", "udp:1"])
def test_an_address_that_cannot_be_used_is_named(address: str) -> None:
    with pytest.raises(UserError, match=r"127|999|udp"):
        asyncio.run(Node("a").start(listen=address))
    if address != "tcp://999.0.0.1:1":  # a host name is looked up later, and may appear later
        with pytest.raises(UserError, match="peer b"):
            asyncio.run(Node("a").start(Node("b").peer(address), listen=None))


def test_a_taken_port_is_named() -> None:
    async def scenario() -> None:
        a, b = Node("a"), Node("b")
        async with closing(a, b):
            address = await a.start()
            with pytest.raises(UserError, match="in use"):
                await b.start(listen=address)

    asyncio.run(scenario())
