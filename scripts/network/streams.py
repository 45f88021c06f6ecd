"""One stream between two processes, by every means: raw TCP, TLS 1.3, CURVE."""

import os
import resource
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import zmq
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PIECE = 1 << 20
"""Bytes handed over at a time: a chunk of a snapshot."""


@dataclass(frozen=True)
class Cost:
    """Of moving a gigabyte (10^9 bytes).

    Attributes:
        wall: seconds.
        cpu: CPU seconds of both ends together.
    """

    wall: float
    cpu: float


def cpu_seconds() -> float:
    """This process's own, in user and kernel mode, of all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def raw_tcp(size: int, _: Path) -> Cost:
    """Sockets as they are."""
    return _stream(size, lambda s: s, lambda s: s)


def tls(size: int, folder: Path) -> Cost:
    """TLS 1.3 of the standard library, between sockets."""
    certificate = folder / "certificate.pem"
    certificate.write_bytes(_self_signed())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    return _stream(
        size,
        lambda s: server.wrap_socket(s, server_side=True),
        lambda s: client.wrap_socket(s, server_hostname="bench"),
    )


def curve(size: int, _: Path) -> Cost:
    """ZeroMQ with CURVE and frames of a mebibyte; nothing is hashed, checked or written."""
    keys = zmq.curve_keypair()
    with zmq.Context() as context, context.socket(zmq.PULL) as sink:
        sink.setsockopt(zmq.RCVHWM, 32)
        sink.curve_publickey, sink.curve_secretkey = zmq.curve_keypair()
        sink.curve_serverkey = keys[0]
        with _peer(_curve_source, size, keys) as far:
            sink.connect(far.recv())
            started, used = time.perf_counter(), cpu_seconds()
            for _ in range(size // PIECE):
                sink.recv(copy=False)
            return _cost(size, started, used, far)


def _curve_source(far: Connection, size: int, keys: tuple[bytes, bytes]) -> None:
    piece = os.urandom(PIECE)
    with zmq.Context() as context, context.socket(zmq.PUSH) as source:
        source.setsockopt(zmq.SNDHWM, 32)
        source.curve_server = True
        source.curve_publickey, source.curve_secretkey = keys
        source.bind("tcp://127.0.0.1:*")
        far.send(source.last_endpoint.decode())
        used = cpu_seconds()
        for _ in range(size // PIECE):
            source.send(piece, copy=False)
        far.recv()
        far.send(cpu_seconds() - used)


Wrap = Callable[[socket.socket], socket.socket]


def _stream(size: int, serve: Wrap, dial: Wrap) -> Cost:
    with (
        socket.create_server(("127.0.0.1", 0)) as door,
        _peer(_source, size, door, serve) as far,
        dial(socket.create_connection(door.getsockname())) as sink,
    ):
        started, used = time.perf_counter(), cpu_seconds()
        buffer = memoryview(bytearray(PIECE))
        left = size
        while left:
            left -= sink.recv_into(buffer[: min(PIECE, left)])
        return _cost(size, started, used, far)


def _source(far: Connection, size: int, door: socket.socket, serve: Wrap) -> None:
    piece = os.urandom(PIECE)
    with serve(door.accept()[0]) as source:
        used = cpu_seconds()
        for _ in range(size // PIECE):
            source.sendall(piece)
        far.recv()
        far.send(cpu_seconds() - used)


class _peer:  # noqa: N801 - a context manager, used as a function
    """A process that runs `target(connection, *arguments)`; gives our end of the connection."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = get_context("fork")
        self._near, far = context.Pipe()
        self._process = context.Process(target=target, args=(far, *arguments), daemon=True)

    def __enter__(self) -> Connection:
        self._process.start()
        return self._near

    def __exit__(self, *_: object) -> None:
        self._process.join(10)


def _cost(size: int, started: float, used: float, far: Connection) -> Cost:
    wall, mine = time.perf_counter() - started, cpu_seconds() - used
    far.send(None)
    return Cost(wall * 1e9 / size, (mine + far.recv()) * 1e9 / size)


def _self_signed() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bench")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
