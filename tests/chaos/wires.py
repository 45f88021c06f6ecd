"""Wires between real nodes that tests can delay, block, cut and mend: TCP proxies on loopback.

Every node dials each of its peers through a wire of its own, so that what befalls one direction of
one pair leaves the others alone. Bytes of a stream are never dropped, reordered or changed: to the
programs at its ends a bad network is silence, delay, or a closed connection.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from dcfm_node.config.peers import load_peers, peer_block
from dcfm_node.demo.stage import free_addresses
from tests.integration.cluster import Site

READ_BYTES = 65_536
MOMENT_S = 0.02
State = Literal["whole", "cut", "silent", "deaf"]


@dataclass
class Wire:
    """What one node uses to reach another: both planes, and answers on the same connections.

    Attributes:
        state: cut: connections are closed and refused. silent: nothing passes from the dialler.
            deaf: nothing passes to it.
        delay_s: how long bytes lie before they are passed on.
    """

    dialler: str
    peer: str
    state: State = "whole"
    delay_s: float = 0.0
    open: set[asyncio.StreamWriter] = field(default_factory=set)


class Wires:
    """All wires of a cluster, by (dialler, peer). `change` is safe to call from a test."""

    def __init__(self) -> None:
        self._up, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        self._up.wait()
        self.by_ends: dict[tuple[str, str], Wire] = {}

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._up.set()
        await self._over.wait()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def change(self, which: Callable[[Wire], bool], state: State, delay_s: float = 0.0) -> None:
        """Put wires into a state; those that are cut lose their connections."""
        self._do(self._change(which, state, delay_s))

    def isolate(self, name: str, state: State = "cut") -> None:
        """Part a node from all others. silent: it hears and is not heard; deaf: the reverse."""
        turned: dict[State, State] = {"silent": "deaf", "deaf": "silent"}
        self.change(lambda wire: wire.dialler == name, state)
        self.change(lambda wire: wire.peer == name, turned.get(state, state))

    def slow(self, name: str, delay_s: float) -> None:
        """Let what a node says and hears lie for a while before it is passed on."""
        self.change(lambda wire: name in (wire.dialler, wire.peer), "whole", delay_s)

    def heal(self) -> None:
        """Make every wire whole."""
        self.change(lambda wire: True, "whole")

    async def _change(self, which: Callable[[Wire], bool], state: State, delay_s: float) -> None:
        for wire in filter(which, self.by_ends.values()):
            wire.state, wire.delay_s = state, delay_s
            for writer in [*wire.open] if state == "cut" else []:
                writer.transport.abort()

    def add(self, wire: Wire, listen: str, dial: str) -> None:
        """Serve one plane of a wire."""
        self.by_ends[wire.dialler, wire.peer] = wire
        self._do(self._serve(wire, listen, dial))

    async def _serve(self, wire: Wire, listen: str, dial: str) -> None:
        async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # Cancelled at the end of all wires; asyncio's streams would print that.
            with suppress(OSError, asyncio.CancelledError):
                if wire.state != "cut":
                    await self._join(wire, (reader, writer), _place(dial))
            writer.transport.abort()

        await asyncio.start_server(joined, *_place(listen))

    async def _join(
        self,
        wire: Wire,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        place: tuple[str, int],
    ) -> None:
        far = await asyncio.open_connection(*place)
        ends = {near[1], far[1]}
        wire.open |= ends
        out = asyncio.create_task(_pass(wire, near[0], far[1], "silent"))
        back = asyncio.create_task(_pass(wire, far[0], near[1], "deaf"))
        try:
            await asyncio.wait([out, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            wire.open -= ends
            for task in (out, back):
                task.cancel()
            far[1].transport.abort()

    def close(self) -> None:
        """End all wires, and the connections on them."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)


async def _pass(
    wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, blocked: State
) -> None:
    with suppress(OSError):
        while data := await reader.read(READ_BYTES):
            if wire.delay_s:
                await asyncio.sleep(wire.delay_s)
            while wire.state == blocked:
                await asyncio.sleep(MOMENT_S)
            writer.write(data)
            await writer.drain()


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host, int(port)


@contextmanager
def wired(sites: Sequence[Site]) -> Iterator[Wires]:
    """Give every site of a cluster a peers.toml that leads through wires; before they start."""
    wires = Wires()
    peers = load_peers(sites[0].peers)
    free = iter(free_addresses(2 * len(sites) * (len(sites) - 1)))
    try:
        for site in sites:
            blocks = []
            for peer in peers:
                changes: dict[str, Any] = {}
                if peer.name != site.name and peer.control and peer.bulk:
                    changes = {"control": next(free), "bulk": next(free)}
                    wire = Wire(site.name, peer.name)
                    for plane, listen in changes.items():
                        wires.add(wire, listen, getattr(peer, plane))
                blocks.append(peer_block(peer.model_copy(update=changes)))
            site.peers = site.folder / "peers.toml"
            site.peers.write_text("\n".join(blocks))
        yield wires
    finally:
        wires.close()
