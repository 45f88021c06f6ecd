"""Takes up changed settings, peers and invites while the node runs."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Protocol

import structlog

from dcfm_node.api.pairing import Reloaded
from dcfm_node.config import toml
from dcfm_node.config.keys import load_keys
from dcfm_node.config.node import NodeConfig, load_node
from dcfm_node.config.pairing import Home
from dcfm_node.config.peers import Peer, merged, own_peer
from dcfm_node.config.run import differing as differing_fields
from dcfm_node.daemon import logs
from dcfm_node.daemon.pairing import SWEEP_S, Desk, Sent
from dcfm_node.errors import UserError
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.pairing import Site

log = structlog.get_logger()

LIVE = ("log.level", "gossip.interval_s", "limits.upload", "advertise")
"""Settings of node.toml that take effect at once. Guests of invites are told `advertise`."""


class Admits(Protocol):
    """The parts of the network that a reload changes."""

    def admit(self, peers: tuple[Peer, ...], invited: Collection[str]) -> None: ...

    def invite(self, invited: Collection[str]) -> None: ...

    def set_upload(self, upload: int) -> None: ...


class Reloading:
    """The node's files as it uses them now.

    Args:
        home: what the node was started with.
        peers: the peers that it links with, without itself.
        manifest: of the present run; None if the node is in none.
        set_gossip: takes another gossip interval, in seconds.
        told: called with each site that asks for the first time.
        sent: called with each answer to a guest, as `Desk` says.

    Attributes:
        home: what is in force.
        desk: answers the guests of invites.
    """

    def __init__(
        self,
        home: Home,
        peers: tuple[Peer, ...],
        network: Admits,
        *,
        manifest: Manifest | None = None,
        set_gossip: Callable[[float], None] = lambda interval_s: None,
        told: Callable[[Site], None] = lambda site: None,
        sent: Sent = lambda guest, name, size: None,
    ) -> None:
        self.home, self._peers, self._network = home, peers, network
        self._manifest, self._set_gossip = manifest, set_gossip
        self._roster = {silo.name for silo in manifest.roster} if manifest is not None else set()
        self._invited: frozenset[str] = frozenset()
        self._failed = ""
        self.desk = Desk(lambda: self.home, told=told, sent=sent)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The peers that may link now."""
        return self._peers

    def reload(self) -> Reloaded:
        """Read node.toml, peers.toml and the invites again, and take up what may change. Of
        run.toml, nothing may: a run keeps its settings.

        Raises:
            UserError: a file is wrong; then nothing changes.
        """
        config = load_node(self.home.path)
        peers, invited = self.home.listed(), self.desk.refresh()
        merged(peers, own_peer(config, self.home.keys), self.home.peers)
        changed = differing(self.home.config, config)
        keys = load_keys(config.keys) if "keys" not in changed else self.home.keys
        if keys.sign_public != self.home.keys.sign_public:
            changed.append("the keys")
        applied = [*self._apply(config, changed), *self._admit(peers, invited)]
        return Reloaded(
            applied=tuple(applied),
            restart=(*(name for name in changed if not name.startswith(LIVE)), *self._run()),
            peers_file=str(self.home.peers.absolute()),
            peers=tuple(peer.name for peer in self._peers),
            invites=len(invited),
        )

    def hang_up(self) -> None:
        """The signal HUP: reload, and log what came of it."""
        try:
            found = self.reload()
        except (UserError, OSError) as error:
            log.error("hangup", why=f"nothing is taken up: {error}")
            return
        log.info("hangup", applied=found.applied, at_next_start=found.restart, peers=found.peers)

    def catch_up(self) -> None:
        """Take up what changed while the node was starting."""
        try:
            found = self.reload()
        except (UserError, OSError) as error:
            log.error("reload_failed", why=str(error))
            return
        if found.applied or found.restart:
            log.info("reloaded", applied=found.applied, at_next_start=found.restart)

    def sweep(self) -> None:
        """Take up invites that were opened, expired or were closed. Never raises."""
        try:
            invited = self.desk.refresh()
            if invited != self._invited:
                self._network.invite(invited)
            self._invited, self._failed = invited, ""
        except (UserError, OSError) as error:
            if str(error) != self._failed:
                self._failed = str(error)
                log.error("invites_unreadable", why=self._failed)

    async def watch(self) -> None:
        """Sweep for ever."""
        while True:
            self.sweep()
            await asyncio.sleep(SWEEP_S)

    def _apply(self, config: NodeConfig, changed: list[str]) -> list[str]:
        """Take up settings; what was, in words."""
        old, applied = self.home.config, []
        log_, gossip, limits = config.log, config.gossip, config.limits
        if "log.level" in changed:
            logs.set_level(log_.level)
            applied.append(f"log.level is {log_.level}")
        if "gossip.interval_s" in changed:
            self._set_gossip(gossip.interval_s)
            applied.append(f"gossip.interval_s is {gossip.interval_s:g}")
        if "limits.upload" in changed:
            self._network.set_upload(limits.upload)
            many = f"{limits.upload} bytes a second" if limits.upload else "0: no limit"
            applied.append(f"limits.upload is {many}")
        if any(name.startswith("advertise") for name in changed):
            applied.append("advertise: guests of invites are told the new addresses")
        taken = old.model_copy(
            update={
                "log": old.log.model_copy(update={"level": log_.level}),
                "gossip": gossip,
                "limits": limits,
                "advertise": config.advertise,
            }
        )
        self.home = replace(self.home, config=taken)
        return applied

    def _run(self) -> Iterator[str]:
        """run.toml, and what differs there from the present run."""
        if self._manifest is None or not self.home.run.exists():
            return
        try:
            differ = differing_fields(toml.read(self.home.run, ""), self._manifest)
        except UserError:
            differ = ["it is not valid"]
        if differ:
            yield f"{self.home.run.name} ({', '.join(differ)})"

    def _admit(self, peers: tuple[Peer, ...], invited: frozenset[str]) -> list[str]:
        """Take up peers and invites; what changed, in words."""
        before = {peer.name: peer for peer in self._peers}
        after = {peer.name: peer for peer in peers}
        self._network.admit(peers, invited)
        self._peers, self._invited = peers, invited
        later = ", and takes part from the next run on" if self._roster else ""
        told = []
        for name, peer in after.items():
            if name not in before:
                told.append(f"{name} may link{'' if name in self._roster else later}")
            elif before[name] != peer:
                told.append(f"{name} has other keys or addresses")
        for name in before.keys() - after.keys():
            why = ": the present run goes on waiting for it" if name in self._roster else ""
            told.append(f"{name} may not link any more{why}")
        return told


def differing(old: NodeConfig, new: NodeConfig) -> list[str]:
    """Settings that differ, as "table.field"."""
    found = []
    for name in NodeConfig.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        inner = getattr(type(before), "model_fields", {}) if type(before) is type(after) else {}
        differ = [f for f in inner if getattr(before, f) != getattr(after, f)]
        found += [f"{name}.{field}" for field in differ] or [name]
    return found
