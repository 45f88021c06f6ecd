"""Telling systemd how we are (sd_notify(3)): nothing happens where no service manager listens."""

import os
import socket

import structlog

log = structlog.get_logger()


def notify(*lines: str) -> None:
    """Send state lines such as READY=1, STATUS=..., WATCHDOG=1, STOPPING=1."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            link.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        log.warning("notify_failed", why=str(error))


def watchdog_interval_s() -> float | None:
    """How often to send WATCHDOG=1: half of what the unit asks, or None if it asks nothing."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
