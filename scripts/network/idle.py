"""A real daemon that waits: its memory, its share of a core, its answers, what a link costs it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dcfm_node.api.client import call
from dcfm_node.api.requests import StatusRequest
from dcfm_node.config.keys import create_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import Peer, own_peer, peer_block
from dcfm_node.demo.stage import Wish, free_addresses, run_settings, to_toml
from dcfm_node.errors import Unreachable

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "dcfm_node")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
WATCHED_S = 20.0
PATIENCE_S = 120.0
SIGN_OF_LIFE_S = 2.0


@dataclass(frozen=True)
class Idle:
    """A daemon with so many linked peers that say nothing but signs of life.

    Attributes:
        rss_mb: of the daemon's process; its worker, which idles too, is another.
        core_percent: of one core, over `WATCHED_S`.
        status_s: the daemon's answer on its socket; `command_s` with `dcfm-node status` around it.
        handshake_ms: CPU that the daemon spent for each link it took, on both planes together.
    """

    peers: int
    rss_mb: float
    core_percent: float
    status_s: float
    command_s: float
    handshake_ms: float


def idle(peers: int) -> Idle:
    """Start a daemon, link so many peers, wait until it has nothing to do, and watch it."""
    with tempfile.TemporaryDirectory(prefix="bench-network-") as name:
        folder = Path(name)
        context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, 2 * peers + 8)
        keys = [zmq.curve_keypair() for _ in range(peers)]
        addresses = free_addresses(2)
        public = _prepare(folder, addresses, [key.decode() for key, _ in keys])
        with _daemon(folder) as pid:
            _until_waiting(folder)
            before = _cpu_s(pid)
            dealers = [_dealer(context, a, public, key) for key in keys for a in addresses]
            try:
                _until_linked(folder, dealers, peers)
                handshakes = (_cpu_s(pid) - before) / max(1, len(dealers))
                _keep_alive(dealers, 5.0)
                before, started = _cpu_s(pid), time.perf_counter()
                _keep_alive(dealers, WATCHED_S)
                share = (_cpu_s(pid) - before) / (time.perf_counter() - started)
                answers, commands = zip(*(_status(folder) for _ in range(5)), strict=True)
            finally:
                context.destroy(linger=0)
            return Idle(
                peers=peers,
                rss_mb=_rss_mb(pid),
                core_percent=100 * share,
                status_s=min(answers),
                command_s=min(commands),
                handshake_ms=1e3 * handshakes,
            )


def _prepare(folder: Path, addresses: list[str], link_keys: list[str]) -> str:
    """Settings of a node and of a run with so many more silos; the node's link key."""
    listen = dict(zip(("control", "bulk"), addresses, strict=True))
    data = {"format": "builtin", "name": "gaussians", "silo": 0, "silos": 2, "seed": 0}
    settings = {
        "name": "bench",
        "listen": listen,
        "advertise": listen,
        "data": data,
        "worker": {"device": "cpu", "threads": 1},
    }
    (folder / "node.toml").write_text(to_toml(settings))
    keys = create_keys(folder / "keys")
    own = own_peer(load_node(folder / "node.toml"), keys)
    others = [
        Peer(
            name=f"peer-{index}",
            sign_key=Ed25519PrivateKey.generate().public_key().public_bytes_raw(),
            link_key=key,
        )
        for index, key in enumerate(link_keys)
    ]
    blocks = [peer_block(peer) for peer in (own, *others)]
    (folder / "peers.toml").write_text("\n".join(blocks))
    run = run_settings(Wish(domain="gaussians", shorten=0.01))
    run["policy"] = {"participation": "strict"}
    (folder / "run.toml").write_text(to_toml(run))
    return keys.link_public


@contextmanager
def _daemon(folder: Path) -> Iterator[int]:
    arguments = ["start", "--peers", folder / "peers.toml", "--run", folder / "run.toml"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments), "--config", str(folder / "node.toml")],
            stdout=log,
            stderr=log,
            env=ENVIRONMENT,
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _until_waiting(folder: Path) -> None:
    """The daemon has started. Without a quorum it says nothing, so it trains nothing either."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            call(folder / "state", StatusRequest())
            return
        except Unreachable:
            time.sleep(0.2)
    raise RuntimeError(f"the daemon does not answer: {(folder / 'log').read_text()[-2000:]}")


def _dealer(
    context: "zmq.Context[zmq.Socket[bytes]]", address: str, server: str, key: tuple[bytes, bytes]
) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.DEALER)
    socket.curve_publickey, socket.curve_secretkey = key
    socket.curve_serverkey = server.encode()
    socket.connect(address)
    socket.send(b"")
    return socket


def _until_linked(folder: Path, dealers: "list[zmq.Socket[bytes]]", peers: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        silos = call(folder / "state", StatusRequest()).silos
        if sum(silo.linked for silo in silos if not silo.own) == peers:
            return
        _keep_alive(dealers, 0.5)
    raise RuntimeError("not every peer was linked in time")


def _keep_alive(dealers: "list[zmq.Socket[bytes]]", seconds: float) -> None:
    """Read what comes, and send a sign of life on every link when one is due."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        for dealer in dealers:
            dealer.send(b"", zmq.DONTWAIT)
            while dealer.poll(0):
                dealer.recv()
        time.sleep(min(left, SIGN_OF_LIFE_S))


def _status(folder: Path) -> tuple[float, float]:
    started = time.perf_counter()
    call(folder / "state", StatusRequest())
    answered = time.perf_counter()
    subprocess.run(
        [*COMMAND, "status", "--config", str(folder / "node.toml")],
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
        check=False,
    )
    return answered - started, time.perf_counter() - answered


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return kib * 1024 / 1e6
