"""What the kernel measured of a TCP connection: round-trip time and rate (tcp(7), TCP_INFO)."""

import socket as sockets
import struct
import sys
from typing import NamedTuple

MOVED_BYTES = 1 << 20
"""The kernel's rate means little before this many bytes passed."""
INFO_BYTES = 168
RTT_AT, ACKED_AT, RATE_AT = 68, 120, 160
"""Offsets in Linux's `struct tcp_info`: tcpi_rtt (microseconds), tcpi_bytes_acked and
tcpi_delivery_rate (bytes a second)."""


class Measured(NamedTuple):
    """Figures of one connection.

    Attributes:
        rtt_s: smoothed round-trip time in seconds.
        sent_bytes_s: bytes a second, as last sent with data waiting; None before `MOVED_BYTES` of
            the connection arrived.
    """

    rtt_s: float
    sent_bytes_s: float | None


def measured(descriptor: int | None) -> Measured | None:
    """The kernel's figures of a connection; None where there is none, or the system has none.

    Args:
        descriptor: of the connection. It may be another's by now: the figures only inform.
    """
    if descriptor is None or sys.platform != "linux":
        return None
    try:
        connection = sockets.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        info = connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, INFO_BYTES)
    except OSError:
        return None
    finally:
        connection.detach()  # the descriptor stays its owner's
    return _read(info)


def _read(info: bytes) -> Measured | None:
    if len(info) < INFO_BYTES:  # Linux before 4.9
        return None
    (rtt_us,) = struct.unpack_from("=I", info, RTT_AT)
    acked, rate = (struct.unpack_from("=Q", info, at)[0] for at in (ACKED_AT, RATE_AT))
    return Measured(rtt_us / 1e6, float(rate) if acked >= MOVED_BYTES and rate else None)
