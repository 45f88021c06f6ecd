"""Both planes of the network, as events for the swarm and facts for the operator."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from contextvars import Context, copy_context
from functools import partial
from math import inf
from typing import Protocol

import structlog

from dcfm_node.api.problems import THIS_NODE, Code, Problem
from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.config.peers import Peer
from dcfm_node.daemon.clocks import Clocks
from dcfm_node.daemon.disk import Disk
from dcfm_node.errors import OtherProtocolError, PeerError, UserError
from dcfm_node.net import bulk, links
from dcfm_node.net.frames import Buffer
from dcfm_node.net.peers import Crowd, Faulted, LinkPeer, Way
from dcfm_node.records.entries import Cause, Snapshot
from dcfm_node.records.messages import Message, Sync
from dcfm_node.swarm.chunks import SnapshotFiles
from dcfm_node.swarm.effects import (
    Downloading,
    Event,
    Foreign,
    LinkDown,
    LinkUp,
    Misbehaved,
    Received,
)
from dcfm_node.swarm.egress import Plane
from dcfm_node.wire.envelope import decode_message, encode_message

log = structlog.get_logger()

LASTING = 8
"""Failed dials in a row, over about half a minute, before they are warned of: nodes start one after
the other."""
STARVED_S = 60.0
"""For how long it is told that there was no descriptor left."""
Ask = Callable[[str, bytes], bytes | None]
"""Answers the message of an invite's guest, by the key (Z85) that it dialled with (SPEC 4.8)."""
MAX_PENDING = 64
"""Unknown keys that are remembered for the operator to approve."""


def no_guests(link_key: str, data: bytes) -> None:
    """Answers nobody."""


class Network:
    """Links to the peers of `peers.toml`.

    Args:
        put: takes an event for the swarm.
        broken: called when transfers ended by a defect of ours.

    Attributes:
        pending: strangers who knocked, by link key.
        refusals: what a peer did on its links that no honest node does, by its name.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        *,
        put: Callable[[Event], None],
        broken: Callable[[], None],
        disk: Disk,
    ) -> None:
        self._put, self._broken = put, broken
        self._disk = disk
        self._names: dict[bytes, str] = {}
        self._know(peers)
        self.pending: dict[str, dict[str, str]] = {}
        self.refusals: dict[str, str] = {}
        self._clocks = Clocks()
        self._faults: dict[str, Faulted] = {}
        self._accused: Counter[tuple[bytes, Cause]] = Counter()

    def _know(self, peers: Sequence[Peer]) -> None:
        # A peer that was removed keeps its name: what is still said of it may be on its way.
        self._names.update({peer.sign_key: peer.name for peer in peers})
        self._members: dict[str | None, bytes] = {peer.link_key: peer.sign_key for peer in peers}
        self._peers = [
            LinkPeer(peer.sign_key, peer.name, peer.link_key, peer.control, peer.bulk)
            for peer in peers
        ]

    def admit(self, peers: Sequence[Peer], invited: Collection[str] = ()) -> None:
        """Link with these peers from now on, and with no others.

        Args:
            invited: link keys of invites, whose holders may ask.

        Raises:
            UserError: an address cannot be used.
        """
        self._know(peers)
        for key in self._members:
            self.pending.pop(str(key), None)
        kept = set(self._members.values())
        for gone in [key for key in self._names if key not in kept]:
            self.refusals.pop(self._names[gone], None)
        self._links.admit(self._peers, invited)
        self._bulk.admit(self._peers)

    def invite(self, invited: Collection[str]) -> None:
        """Let the holders of these keys ask, and no others."""
        self._links.admit(self._peers, invited)

    def set_upload(self, upload: int) -> None:
        """Send at most this many bytes of chunks per second; 0 for no limit."""
        self._bulk.set_upload(upload or inf)

    @property
    def crowded(self) -> bool:
        """Whether so many strangers knocked that no more are remembered."""
        return len(self.pending) >= MAX_PENDING

    async def open(
        self,
        config: NodeConfig,
        keys: NodeKeys,
        files: SnapshotFiles,
        downloads: "Downloads",
        *,
        stack: AsyncExitStack,
        room: int,
        sent: Callable[[bytes, Plane, list[Buffer]], None],
        ask: Ask = no_guests,
    ) -> None:
        """Bind and dial as `config` says; the stack closes both planes.

        Args:
            downloads: hears what came of the snapshots that it asked for.
            room: strangers' connections that each plane may have.
            sent: called with every message that a link took, from two threads.
            ask: answers the guests of invites.

        Raises:
            UserError: an address cannot be used.
        """
        hand = partial(_hand_over, asyncio.get_running_loop(), copy_context())
        self._bulk = bulk.Bulk(
            secret=keys.link_secret,
            public=keys.link_public,
            listen=config.listen.bulk,
            peers=self._peers,
            files=files,
            notify=partial(hand, self._on_bulk, downloads),
            upload=config.limits.upload or inf,
            room=room,
            relay=partial(hand, self._to_guest),
            sent=lambda peer, frames, guest: sent(peer, "bulk", frames),
        )
        self._links = links.Links(
            secret=keys.link_secret,
            public=keys.link_public,
            listen=config.listen.control,
            peers=self._peers,
            notify=self._on_link,
            room=room,
            guests=self._bulk,
            sent=lambda peer, frames, guest: sent(peer, "bulk" if guest else "control", frames),
            ask=ask,
        )
        with _listening("control"):
            await self._links.start()
        stack.push_async_callback(self._links.close)
        with _listening("bulk"):
            self._bulk.start()
        stack.callback(self._bulk.close)

    def send(self, peer: bytes, message: Message) -> None:
        """Queue a message. What does not fit is lost: gossip says it again."""
        if isinstance(message, Sync):
            message = message.model_copy(update={"time_ms": _wall_ms()})
        self._links.send(peer, encode_message(message))

    def fetch(self, snapshot: Snapshot) -> None:
        """Begin or go on downloading a snapshot."""
        self._bulk.fetch(snapshot)

    def unfetch(self, digest: bytes) -> None:
        """Give a download up."""
        self._bulk.cancel(digest)

    def traffic(self) -> dict[bytes, tuple[int, int]]:
        """Payload bytes (sent, received) by peer, control and bulk together."""
        total: dict[bytes, tuple[int, int]] = {}
        for stats in (self._links.stats(), self._bulk.stats()):
            for peer, (sent, received) in stats.items():
                before = total.get(peer, (0, 0))
                total[peer] = (before[0] + sent, before[1] + received)
        return total

    def addresses(self) -> dict[bytes, str | None]:
        """The control address of each peer, as in peers.toml."""
        return {peer.id: peer.control for peer in self._peers}

    def ways(self) -> dict[bytes, Mapping[str, Way]]:
        """How each peer is linked, by plane."""
        bulk = self._bulk.ways()
        return {
            peer: {"control": control, "bulk": bulk.get(peer, Way(""))}
            for peer, control in self._links.ways().items()
        }

    def clocks(self) -> dict[bytes, float]:
        """Seconds by which each peer's wall clock is ahead of this node's, as far as peers told."""
        return self._clocks.offsets()

    def crowds(self) -> dict[str, Crowd]:
        """Unknown connections at the ports, by plane."""
        return {"control": self._links.crowd(), "bulk": self._bulk.crowd()}

    def problems(self) -> list[Problem]:
        """What the machine does to the links."""
        found = [
            Code.LINK_FAULT.problem(
                THIS_NODE,
                f"the {plane} links failed unexpectedly {fault.times} times since the start, the"
                f" last time: {fault.reason}; all else goes on",
            )
            for plane, fault in self._faults.items()
        ]
        crowds = (self._links.crowd(), self._bulk.crowd())
        if any(c.starved_ago_s is not None and c.starved_ago_s < STARVED_S for c in crowds):
            what = (
                "connections of strangers took the last of this process's file descriptors; they"
                " are hung up on, and this node goes on by itself"
            )
            found.append(Code.DESCRIPTORS_EXHAUSTED.problem(THIS_NODE, what))
        return found

    def _to_guest(self, peer: bytes, frames: list[Buffer]) -> None:
        self._links.send_guest(peer, frames)

    def _on_link(self, event: links.LinkEvent) -> None:
        match event:
            case links.Up(peer):
                self.refusals.pop(self._names[peer], None)
                log.info("link_up", peer=self._names[peer])
                self._put(LinkUp(peer))
            case links.Down(peer):
                log.info("link_down", peer=self._names[peer])
                self._put(LinkDown(peer))
            case links.Received(peer, data):
                self._on_message(peer, data)
            case links.Misframed(peer, frames, size):
                what = "a message of several frames" if frames > 1 else f"a message of {size} bytes"
                self._accuse(peer, "malformed", f"sent {what}, against SPEC 4.1.2")
            case links.Refused():
                self._on_refused(event, "control")
            case Faulted():
                self._on_fault("control", event)
            case links.Twice(peer, hosts):
                log.error("key_used_twice", peer=self._names[peer], hosts=hosts)
            case links.Flooded(peer, dropped):
                self._accuse(peer, "flood", f"sent {dropped} messages more than it may")

    def _accuse(self, peer: bytes, cause: Cause, reason: str) -> None:
        """A peer did on its links what no honest node does. Told at the 1st, 2nd, 4th, ... time: it
        may do so with every message."""
        self.refusals[self._names[peer]] = reason
        self._accused[peer, cause] += 1
        times = self._accused[peer, cause]
        if times & (times - 1) == 0:
            log.warning("misbehaved", peer=self._names[peer], cause=cause, why=reason, times=times)
            self._put(Misbehaved(peer, cause, reason))

    def _on_message(self, peer: bytes, data: bytes) -> None:
        try:
            message = decode_message(data)
            if isinstance(message, Sync):
                self._clocks.heard(peer, message.time_ms, _wall_ms())
            self._put(Received(peer, message))
        except OtherProtocolError as error:
            self._put(Foreign(peer, error.protocol, error.software))
        except PeerError as error:
            self._accuse(peer, "malformed", f"sent what is no message: {error}")

    def _on_refused(self, event: links.Refused, plane: str) -> None:
        if event.name is not None:
            self._on_dialled(event, plane)
        elif event.link_key in self._members:
            reason = f"{event.reason}, at the {plane} port"
            self._accuse(self._members[event.link_key], "malformed", reason)
        elif event.link_key is not None:
            self._on_stranger(event.link_key, event)
        else:
            log.warning("turned_away", address=event.address, why=event.reason)

    def _on_dialled(self, event: links.Refused, plane: str) -> None:
        told = {"peer": event.name, "plane": plane, "address": event.address}
        if event.reason:
            level = log.warning if event.times >= LASTING else log.info
            level("cannot_link", **told, why=event.reason, times=event.times)
        else:
            log.info("links_again", **told)

    def _on_fault(self, plane: str, fault: Faulted) -> None:
        self._faults[plane] = fault
        if fault.times & (fault.times - 1) == 0:
            log.error("fault", plane=plane, why=fault.reason, times=fault.times)

    def _on_stranger(self, link_key: str, event: links.Refused) -> None:
        """Told once for each key, and of so many alone: an attacker has any number of them."""
        if link_key in self.pending or self.crowded:
            return
        found = {"link_key": link_key, "address": event.address, "reason": event.reason}
        self.pending[link_key] = found
        log.warning("unknown_key", key=link_key, address=event.address, why=event.reason)
        if self.crowded:
            log.warning("unknown_keys", why=f"{MAX_PENDING} knocked; no more are told of")

    def _on_bulk(self, downloads: "Downloads", event: bulk.BulkEvent) -> None:
        match event:
            case bulk.Fetched(digest):
                downloads.fetched(digest)
            case bulk.FetchProgressed(digest, done, total):
                self._disk.accepted("snapshots")
                downloads.moved(digest)
                self._put(Downloading(done, total))
            case bulk.BadPeer(peer, digest, reason):
                if digest:
                    self._accuse(peer, "chunks", f"of snapshot {digest.hex()[:8]}: {reason}")
                else:
                    self._accuse(peer, "malformed", f"sent what is no bulk message: {reason}")
            case links.Flooded(peer, dropped):
                self._accuse(peer, "flood", f"sent {dropped} bulk messages more than it may")
            case links.Refused():
                self._on_refused(event, "bulk")
            case Faulted():
                self._on_fault("bulk", event)
            case bulk.FetchFailed(digest, reason):
                log.error("fetch_failed", snapshot=digest.hex()[:8], why=reason)
                self._disk.refused("snapshots", reason)
            case bulk.ServeFailed(digest, reason):
                log.error("serve_failed", snapshot=digest.hex()[:8], why=reason)
            case bulk.Crashed(reason):
                log.error("transfers_ended", why=reason)
                self._broken()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Downloads(Protocol):
    """Hears what came of the snapshots that were asked for."""

    def fetched(self, digest: bytes) -> None: ...

    def moved(self, digest: bytes) -> None: ...


@contextmanager
def _listening(plane: str) -> Iterator[None]:
    """Says which setting it was that could not be done."""
    try:
        yield
    except UserError as error:
        error.where = error.where or f"listen.{plane} in the node's settings"
        raise


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    context: Context,
    handle: Callable[..., None],
    *arguments: object,
) -> None:
    """From the bulk thread to the loop."""
    loop.call_soon_threadsafe(handle, *arguments, context=context)
