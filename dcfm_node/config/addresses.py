"""Addresses of links: "tcp://host:port"."""

import re
from typing import Annotated

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


ListenAddress = Annotated[str, AfterValidator(_listening)]
"""Where to listen. Host 0.0.0.0 means every interface, port * means any free port."""

DialAddress = Annotated[str, AfterValidator(_dialled)]
"""Where peers reach a node."""


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
