"""Strangers and floods at a real listener: honest traffic goes on, memory stays flat (SPEC 4)."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import zmq

from dcfm_node.net.links import Down, Flooded, Links, Received, Refused, Up
from dcfm_node.net.rate_limits import MESSAGES_AT_ONCE
from tests.integration.linking import Node, closing, dial

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
"""ZMTP 3.1, as a CURVE client sends it first."""
HUGE = b"\x06" + (2**32).to_bytes(8, "big")
"""The header of a command frame of 4 GiB."""
FLAT_BYTES = 64 << 20
CLOSED_S = 60.0

Visit = Callable[[str, int], Awaitable[None]]


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def speak(host: str, port: int, data: bytes, *, slowly: bool = False) -> bytes:
    """Say something and wait until the other side hangs up; what it said."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for part in [bytes([byte]) for byte in data] if slowly else [data]:
            writer.write(part)
            await writer.drain()
            if slowly:
                await asyncio.sleep(0.5)
        return await asyncio.wait_for(reader.read(), CLOSED_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def garbage(host: str, port: int) -> None:
    rng = random.Random(0)
    await asyncio.gather(*(speak(host, port, rng.randbytes(10_000)) for _ in range(50)))


async def half_open(host: str, port: int) -> None:
    await asyncio.gather(*(speak(host, port, b"") for _ in range(50)))


async def slow_drip(host: str, port: int) -> None:
    await asyncio.gather(*(speak(host, port, GREETING, slowly=True) for _ in range(50)))


async def greeting_only(host: str, port: int) -> None:
    await asyncio.gather(*(speak(host, port, GREETING) for _ in range(50)))


async def four_gigabytes(host: str, port: int) -> None:
    data = GREETING + HUGE + bytes(1 << 20)
    await asyncio.gather(*(speak(host, port, data) for _ in range(50)))


async def five_hundred(host: str, port: int) -> None:
    await asyncio.gather(*(speak(host, port, GREETING[:11]) for _ in range(500)))


@pytest.mark.parametrize(
    "visit", [garbage, half_open, slow_drip, greeting_only, four_gigabytes, five_hundred]
)
def test_strangers_are_hung_up_on_and_honest_traffic_goes_on(visit: Visit) -> None:
    """Every one of their connections is closed, by the listener."""

    async def scenario() -> None:
        server, silo = Node("server"), Node("silo")
        async with closing(server, silo):
            address = await server.start(silo.peer())
            await silo.start(server.peer(address), listen=None)
            await asyncio.gather(server.until(Up(silo.id)), silo.until(Up(server.id)))
            host, port = address.removeprefix("tcp://").rsplit(":", 1)
            before = resident()
            strangers = asyncio.create_task(visit(host, int(port)))
            said = 0
            # Some strangers are hung up on at once: honest messages pass during and after.
            while said < 5 or not strangers.done():
                said += 1
                data = f"{said}".encode()
                assert silo.links and silo.links.send(server.id, data)
                await server.until(Received(silo.id, data))
                await asyncio.sleep(0.05)
            await strangers
            assert resident() - before < FLAT_BYTES
            # A new honest link still comes up at the same door.
            late = Node("silo", keys=silo.keys)
            async with closing(late):
                await late.start(server.peer(address), listen=None)
                await late.until(Up(server.id))

    asyncio.run(scenario())


def test_strangers_have_little_room_and_members_come_in_beside_them() -> None:
    """libzmq accepts until the process has no descriptor left."""
    room, comes = 32, 300

    async def stranger(port: int) -> None:
        while True:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=("127.0.0.2", 0)
            )
            await reader.read()  # until it is hung up on; then it comes again
            writer.close()
            await asyncio.sleep(0.1)

    async def scenario() -> None:
        server, silo, late = Node("server"), Node("silo"), Node("late")
        async with closing(server, silo, late):
            server.links = Links(
                public=server.keys[0],
                secret=server.keys[1],
                listen="tcp://127.0.0.1:*",
                peers=[silo.peer(), late.peer()],
                notify=server.notify,
                room=room,
            )
            await server.links.start()
            address = server.links.address or ""
            await silo.start(server.peer(address), listen=None)
            await server.until(Up(silo.id))
            port = int(address.rpartition(":")[2])
            crowd = [asyncio.create_task(stranger(port)) for _ in range(comes)]
            try:
                await server.until_true(lambda: len(server.events) > 1)  # somebody was turned away
                await late.start(server.peer(address), listen=None)
                await server.until(Up(late.id))
                assert server.links.crowd().waiting <= room
                assert server.links.crowd().hung_up > comes - 2 * room
                assert silo.links and silo.links.send(server.id, b"still here")
                await server.until(Received(silo.id, b"still here"))
                assert Down(silo.id) not in server.events
            finally:
                for task in crowd:
                    task.cancel()
                await asyncio.gather(*crowd, return_exceptions=True)
            told = [event for event in server.events if isinstance(event, Refused)]
            assert ["too many connections" in event.reason for event in told] == [True]

    asyncio.run(scenario())


def test_a_member_that_floods_is_cut_and_named_and_others_are_heard() -> None:
    """SPEC 4.7."""

    async def scenario() -> None:
        server, rogue, honest = Node("server"), Node("rogue"), Node("honest")
        async with closing(server, honest):
            address = await server.start(rogue.peer(), honest.peer())
            await honest.start(server.peer(address), listen=None)
            await server.until(Up(honest.id))
            before = resident()
            with dial(address, server, rogue) as socket:
                sent = 0
                while sent < 20_000:
                    try:
                        socket.send(bytes(1_000), zmq.DONTWAIT)
                        sent += 1
                    except zmq.Again:
                        await asyncio.sleep(0.01)
                await server.until_true(lambda: any(isinstance(e, Flooded) for e in server.events))
                assert honest.links and honest.links.send(server.id, b"heard")
                await server.until(Received(honest.id, b"heard"))
            taken = [e for e in server.events if isinstance(e, Received) and e.peer_id == rogue.id]
            named = [e for e in server.events if isinstance(e, Flooded)]
            assert {event.peer_id for event in named} == {rogue.id}
            assert len(named) < 20  # told at powers of two, not as often as it floods
            assert MESSAGES_AT_ONCE <= len(taken) < 20_000
            assert resident() - before < FLAT_BYTES

    asyncio.run(scenario())
