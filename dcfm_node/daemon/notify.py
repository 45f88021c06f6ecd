"""Telling systemd how we are (sd_notify(3)): nothing happens where no service manager listens."""

import os
import socket

import structlog

from dcfm_node.swarm.effects import activity_of
from dcfm_node.swarm.node import Node

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


def state_line(node: Node) -> str:
    """Where the run stands and what this node does, as `systemctl status` shows it."""
    name, last = node.manifest.name, node.manifest.method.last_round
    if node.step is None:
        return f"{name}: starting"
    phase = node.step.phase
    place = {
        "prepare": "preparing the run",
        "done": f"finished after round {phase.round} of {last}",
    }.get(phase.stage, f"round {phase.round} of {last}, {phase.stage}")
    return f"{name}: {place}, {_doing(node, phase.stage)}"


def _doing(node: Node, stage: str) -> str:
    if node.work is None:
        return f"fetching {len(node.fetching)} snapshots" if node.fetching else "idle"
    done, total = node.progress
    far = f"{100 * min(done, total) // total} %" if total else "begun"
    activity = activity_of(node.work)
    return far if activity == stage else f"{activity} {far}"


class Teller:
    """Feeds the service manager from the loop: its watchdog, and a line on where the run stands.

    Nothing else feeds them, so a loop that hangs is silent, and systemd starts the node again.

    Args:
        watchdog_s: seconds between two signs of life; None if nobody asks for them.
    """

    def __init__(self, watchdog_s: float | None, now: float) -> None:
        self._watchdog_s, self._fed_at, self._line = watchdog_s, now, ""

    def turned(self, node: Node, now: float) -> None:
        """Tell that the loop has handled an event."""
        if self._watchdog_s is not None and now - self._fed_at >= self._watchdog_s:
            self._fed_at = now
            notify("WATCHDOG=1")
        if (line := state_line(node)) != self._line:
            self._line = line
            notify(f"STATUS={line}")
