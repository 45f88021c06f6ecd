"""A node without training: both planes, the store and its checks, in a process of its own.

Reads commands from standard input, one JSON object a line, and answers each with another:

    start {name, keys, peers, folder, listen}   links up; answers {control, bulk}
    write {size, seed}                          makes a file of weights, as a worker would
    round {}                                    publishes it, and answers when everyone's is held
    ping {peer, count, size, window}            messages there and back
    usage {}                                    what this process took so far
"""

import asyncio
import json
import struct
import sys
import time
from functools import partial
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, TCP_INFO, socket
from typing import Any

import numpy as np

from dcfm_node.net.bulk import Bulk, BulkEvent, Fetched
from dcfm_node.net.links import LinkEvent, LinkPeer, Links, Received, Up
from dcfm_node.records.entries import Snapshot
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.store.tensors import check_snapshot
from dcfm_node.wire.canonical import pack, unpack
from network.streams import cpu_seconds

TENSORS = 8
PING, PONG, RECORD = b"p", b"q", b"r"


class Silo:
    """What the commands act on."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.folder = Path(told["folder"])
        self.store = SnapshotStore(self.folder)
        self.peers = [
            LinkPeer(bytes.fromhex(p["id"]), p["name"], p["key"], p["control"], p["bulk"])
            for p in told["peers"]
        ]
        loop = asyncio.get_running_loop()
        keys = {"public": told["keys"][0], "secret": told["keys"][1], "peers": self.peers}
        listen = "tcp://127.0.0.1:*"
        self.links = Links(listen=listen, notify=self.on_link, **keys)
        self.bulk = Bulk(
            listen=listen,
            files=self.store,
            notify=lambda event: loop.call_soon_threadsafe(self.on_bulk, event),
            **keys,
        )
        self.up: set[bytes] = set()
        self.got: set[bytes] = set()
        self.changed = asyncio.Event()
        self.shape: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.pongs = 0

    async def start(self) -> dict[str, Any]:
        await self.links.start()
        self.bulk.start()
        return {"control": self.links.address, "bulk": self.bulk.address}

    async def linked(self) -> dict[str, Any]:
        await self.until(lambda: len(self.up) == len(self.peers))
        return {}

    async def until(self, done: Any) -> None:
        while not done():
            self.changed.clear()
            await self.changed.wait()

    def on_link(self, event: LinkEvent) -> None:
        match event:
            case Up(peer):
                self.up.add(peer)
            case Received(peer, data):
                self.on_message(peer, data)
        self.changed.set()

    def on_message(self, peer: bytes, data: bytes) -> None:
        match data[:1]:
            case b"p":
                self.links.send(peer, PONG + data[1:])
            case b"q":
                self.pongs += 1
            case b"r":
                self.bulk.fetch(Snapshot.model_validate(unpack(data[1:])))

    def on_bulk(self, event: BulkEvent) -> None:
        if isinstance(event, Fetched):
            task = asyncio.create_task(self.check(event.digest))
            task.add_done_callback(lambda done: done.result())

    async def check(self, digest: bytes) -> None:
        path = self.store.path(digest)
        assert path is not None
        await asyncio.to_thread(check_snapshot, path, self.shape)
        self.got.add(digest)
        self.changed.set()

    async def write(self, size: int, seed: int) -> dict[str, Any]:
        """Weights that no other silo has, in safetensors."""
        shape = (size // 4 // TENSORS,)
        self.shape = {f"layer{i}": ("F32", shape) for i in range(TENSORS)}
        rng = np.random.default_rng(seed)
        step = 4 * shape[0]
        header = {
            name: {"dtype": "F32", "shape": shape, "data_offsets": [i * step, (i + 1) * step]}
            for i, name in enumerate(self.shape)
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (self.folder / "output").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _ in range(TENSORS):
                file.write(rng.standard_normal(shape, np.float32).tobytes())
        return {"size": 8 + len(text) + TENSORS * step}

    async def round(self) -> dict[str, Any]:
        """Publish, and hold everyone's."""
        snapshot = await asyncio.to_thread(self.store.adopt, self.folder / "output")
        for peer in self.peers:
            self.links.send(peer.id, RECORD + pack(snapshot.model_dump()))
        await self.until(lambda: len(self.got) == len(self.peers))
        return {}

    async def publish(self) -> dict[str, Any]:
        """Adopt alone: what an author's own hashing costs."""
        snapshot = await asyncio.to_thread(self.store.adopt, self.folder / "output")
        return {"snapshot": pack(snapshot.model_dump()).hex()}

    async def fetch(self, snapshot: str) -> dict[str, Any]:
        """Download one and check it."""
        found = Snapshot.model_validate(unpack(bytes.fromhex(snapshot)))
        self.bulk.fetch(found)
        await self.until(lambda: found.digest in self.got)
        return {}

    async def drop(self) -> dict[str, Any]:
        """Hold nothing, so that it can be fetched again."""
        for digest in self.store.held():
            self.store.remove(digest)
        self.got.clear()
        return {}

    async def ping(self, count: int, size: int, window: int) -> dict[str, Any]:
        """Messages to the first peer and back, `window` of them under way."""
        self.pongs, sent, message = 0, 0, PING.ljust(size, b".")
        started = time.perf_counter()
        while self.pongs < count:
            while sent < count and sent - self.pongs < window:
                self.links.send(self.peers[0].id, message)
                sent += 1
            self.changed.clear()
            await self.changed.wait()
        return {"seconds": time.perf_counter() - started}

    async def usage(self) -> dict[str, Any]:
        status = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        return {
            "cpu_s": cpu_seconds(),
            "rss_mb": int(status["VmRSS"].split()[0]) / 1e3 * 1.024,
            "peak_mb": int(status["VmHWM"].split()[0]) / 1e3 * 1.024,
            "wire_bytes": wire_bytes(),
        }

    async def reset_peak(self) -> dict[str, Any]:
        Path("/proc/self/clear_refs").write_text("5")
        return {}


def wire_bytes() -> int:
    """Bytes that the TCP connections open now received, as the kernel counted (tcp(7))."""
    total = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            is_socket = str(entry.readlink()).startswith("socket:")
        except OSError:
            continue
        if not is_socket:
            continue
        connection = socket(fileno=int(entry.name))
        try:
            if connection.family in {AF_INET, AF_INET6} and connection.type == SOCK_STREAM:
                info = connection.getsockopt(IPPROTO_TCP, TCP_INFO, 192)
                total += struct.unpack_from("<Q", info, 128)[0]  # tcpi_bytes_received
        finally:
            connection.detach()
    return total


async def main() -> None:
    """Obey standard input until it ends."""
    loop = asyncio.get_running_loop()
    read = partial(loop.run_in_executor, None, sys.stdin.readline)
    silo = Silo(json.loads(await read()))
    print(json.dumps(await silo.start()), flush=True)
    while line := await read():
        command = json.loads(line)
        answer = await getattr(silo, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
