"""Whether anything accepts connections at an address; if not, why.

The kernel is asked, since libzmq says nothing of a dial that fails, resolves names in the thread
that carries the traffic, and takes addresses of one family alone.
"""

import os
import socket
from collections.abc import Callable
from threading import Thread

CONNECT_S = 5.0
"""An address that has not answered after so long is given up."""


def parts(address: str) -> tuple[str, int]:
    """Host and port of "tcp://host:port", the host without brackets.

    Raises:
        ValueError: it is something else.
    """
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or not host or not port.isdecimal():
        raise ValueError(f"{address} is no address")
    return host.removeprefix("[").removesuffix("]"), int(port)


def reach(address: str) -> str:
    """The first of a name's addresses, of either family, at which something accepts connections.
    Blocks while the name is looked up, and `CONNECT_S` for each address.

    Args:
        address: "tcp://host:port".

    Returns:
        The address with a number for its name.

    Raises:
        OSError: in words, for each address that was tried.
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
            return f"did not answer in {CONNECT_S:g} s: a firewall, or the machine is off"
        case ConnectionRefusedError():
            return "refused the connection: nothing listens on that port"
        case _:
            return (os.strerror(error.errno) if error.errno else str(error)).lower()


def background(work: Callable[[], str], done: Callable[[str | OSError], None]) -> None:
    """Call `work` in a thread that keeps no process from ending, then, in that thread, `done`.

    Raises:
        RuntimeError: the system has no thread left.
    """

    def run() -> None:
        try:
            found: str | OSError = work()
        except OSError as error:
            found = error
        done(found)

    Thread(target=run, name="reach", daemon=True).start()
