"""Finds out whether a server accepts connections at an address, and if not, why.

It asks the kernel, because libzmq does not report failed dials, resolves names in the thread that
carries the traffic, and uses addresses of one family only.
"""

import os
import socket
from collections.abc import Callable
from threading import Thread

CONNECT_S = 5.0
"""Seconds to wait for an address to answer."""


def parts(address: str) -> tuple[str, int]:
    """Host and port of "tcp://host:port"; the host without brackets.

    Raises:
        ValueError: the address has another form.
    """
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not port.isdecimal():
        raise ValueError(f"{address} is not an address; write it as tcp://host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def reach(address: str) -> str:
    """The first address of a name, of either family, that accepts connections. Blocks during the
    name's lookup, and up to `CONNECT_S` for each address.

    Args:
        address: "tcp://host:port".

    Returns:
        The address with a number in place of the name.

    Raises:
        OSError: no address accepts connections; the text says why, for each address.
    """
    name, port = parts(address)
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OSError(f"its name cannot be resolved: {why}") from error
    failed = []
    for family, _, _, _, where in found:
        host = socket.getnameinfo(where, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(CONNECT_S)
                probe.connect(where)
        except OSError as error:
            failed.append(f"{host} {_words(error)}")
        else:
            return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    raise OSError("; ".join(dict.fromkeys(failed)))


def _words(error: OSError) -> str:
    match error:
        case TimeoutError():
            return f"did not answer in {CONNECT_S:g} s: a firewall blocks it, or the machine is off"
        case ConnectionRefusedError():
            return "refused the connection: no program listens on that port"
        case _:
            return (os.strerror(error.errno) if error.errno else str(error)).lower()


def background(work: Callable[[], str], done: Callable[[str | OSError], None]) -> None:
    """Call `work` in a daemon thread, then `done` in the same thread with its result or OSError.

    Raises:
        RuntimeError: the system cannot start another thread.
    """

    def run() -> None:
        try:
            found: str | OSError = work()
        except OSError as error:
            found = error
        done(found)

    Thread(target=run, name="reach", daemon=True).start()
