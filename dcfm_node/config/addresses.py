"""Addresses of links: "tcp://host:port"."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from dcfm_node.errors import ConfigError

_ADDRESS = re.compile(r"tcp://(\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(\d{1,5}|\*)")
_EVERYWHERE = ("0.0.0.0", "[::]", "*")  # noqa: S104


def _listening(address: str) -> str:
    _parts(address)
    return address


def _dialled(address: str) -> str:
    host, port = _parts(address)
    if host in _EVERYWHERE or port == "*":
        raise ValueError(f"{address!r} cannot be dialled; write the host and port that peers reach")
    return address


def _parts(address: str) -> tuple[str, str]:
    found = _ADDRESS.fullmatch(address)
    if found is None or (found[2] != "*" and not 1 <= int(found[2]) <= 65_535):
        raise ValueError(
            f'{address!r} is not valid; write it as "tcp://host:port", with a port from 1 to 65535 '
            "and IPv6 in [brackets]"
        )
    return found[1], found[2]


def port_of(address: str) -> str:
    """The port of an address of this module's types; * means any free one."""
    return _parts(address)[1]


ListenAddress = Annotated[str, AfterValidator(_listening)]
"""Where to listen. Host 0.0.0.0 means every interface, port * means any free port."""

DialAddress = Annotated[str, AfterValidator(_dialled)]
"""Where peers reach a node."""


class PagePlace(NamedTuple):
    """Where the page listens: a Unix socket, or a host and a TCP port."""

    socket: Path | None
    host: str
    port: int

    @property
    def open(self) -> bool:
        """Whether others than users of this machine can reach it."""
        if self.socket is not None or self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True


def page_place(text: str) -> PagePlace:
    """Where the page listens, from "127.0.0.1:7480" or "unix:/path".

    Raises:
        ValueError: the text is neither; it says what to write.
    """
    if text.startswith("unix:"):
        if not (path := text.removeprefix("unix:")):
            raise ValueError("no path follows unix:; write it as unix:/path/of/socket")
        return PagePlace(Path(path), "", 0)
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})", text)
    if found is None or not 1 <= int(found[2]) <= 65_535:
        raise ValueError(
            f'{text!r} is not valid; write it as "127.0.0.1:7480" or "unix:/path", with a port from'
            " 1 to 65535 and IPv6 in [brackets]"
        )
    return PagePlace(None, found[1].strip("[]"), int(found[2]))


def _page(address: str) -> str:
    page_place(address)
    return address


PageAddress = Annotated[str, AfterValidator(_page)]
"""Where the page listens: "host:port" or "unix:/path"."""


def host_and_port(text: str, port: int) -> tuple[str, int]:
    """The host and port of "host" or "host:port"; `port` where the text has none.

    Raises:
        ConfigError: it is not such an address, or peers cannot dial it.
    """
    said = text if re.search(r":\d+$", text.rpartition("]")[2]) else f"{text}:{port}"
    try:
        host, found = _parts(_dialled(f"tcp://{said}"))
        _parts(f"tcp://{host}:{int(found) + 1}")
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        raise ConfigError(what, where=f"--advertise {text}", fix=fix) from None
    return host, int(found)


def check_pair(control: str | None, bulk: str | None) -> None:
    """Raises ValueError if bulk is set without control, or if both are the same address."""
    if control is None and bulk is not None:
        raise ValueError(
            "bulk is set and control is not; set both, only control, or neither to only dial out"
        )
    if control is not None and control == bulk and not control.endswith(":*"):
        raise ValueError(
            "control and bulk are the same address; give each its own port, or remove bulk: peers"
            " then send snapshots to the control port"
        )
