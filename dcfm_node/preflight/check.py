"""All checks of a node, in order: what `dcfm-node check` prints."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dcfm_node.api.checked import Checked, Finding, Holding
from dcfm_node.api.client import Starting, call
from dcfm_node.api.problems import Code
from dcfm_node.api.requests import JournalRequest, StatusRequest
from dcfm_node.api.status import Status
from dcfm_node.config.advice import closest
from dcfm_node.config.node import NodeConfig
from dcfm_node.config.peers import Peer
from dcfm_node.config.run import least_bytes
from dcfm_node.data.source import Counts
from dcfm_node.errors import ConfigError, Failed, Unreachable, UserError
from dcfm_node.preflight import links
from dcfm_node.preflight.coverage import composition
from dcfm_node.preflight.findings import In
from dcfm_node.preflight.machine import (
    FLOAT_BYTES,
    Probe,
    available_memory,
    disk_finding,
    free_disk,
    memory_finding,
    running_findings,
    torch_findings,
)
from dcfm_node.preflight.private_data import Data, private_data, told_counts
from dcfm_node.preflight.probe import Prober, port_taken, unresolved
from dcfm_node.preflight.settings import Found, forwarded, settings
from dcfm_node.records.entries import Join
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.archive import find_archive
from dcfm_node.wire.envelope import run_id
from dcfm_node.worker.messages import Machine

NETWORK, MACHINE, RUN = In("network"), In("machine"), In("run")
ANSWER_S = 10.0
GROUPS = ("settings", "keys", "data", "run", "network", "machine", "coverage")


@dataclass(frozen=True)
class Daemon:
    """The node's daemon.

    Attributes:
        status: its answer; None unless it is up.
        why: why there is none.
    """

    state: Literal["up", "starting", "down"]
    status: Status | None = None
    why: str = ""


def check(config: Path, peers: Path, run: Path, only: str = "") -> Checked:
    """Look at everything that a node needs.

    Args:
        only: the peer to look at; all if empty.

    Raises:
        ConfigError: `only` names no peer.
    """
    found = settings(config, peers, run)
    if only and found.peers is not None and only not in (names := [p.name for p in found.peers]):
        raise ConfigError(f"no peer is named {only!r}", where=str(peers), fix=closest(only, names))
    chosen = [peer for peer in found.peers or () if only in ("", peer.name)]
    daemon = _daemon(found.config)
    device = found.config.worker.device if found.config is not None else "auto"
    # A running node has shown what torch finds.
    probe = Probe(device, found.manifest) if daemon.status is None else None
    data = private_data(found.config, found.manifest, found.features)
    counts = told_counts(data, found.config, found.keys, found.manifest)
    findings = [*found.findings, *data.findings, *_daemon_findings(daemon, found)]
    findings += _names(chosen)
    findings += _network(found, daemon, chosen)
    findings += _machine(found, data, daemon, probe)
    told, combinations = found.manifest, tuple[Holding, ...]()
    if told is not None:
        mine = told.silo_name(found.me.sign_key) if found.me else ""
        others = _published(found.config, told, daemon, mine)
        more, combinations = composition(told, counts, others)
        findings += more
    findings = links.own_clock(findings)
    return Checked(
        node=found.config.name if found.config is not None else "",
        daemon=daemon.state,
        findings=tuple(sorted(findings, key=lambda one: GROUPS.index(one.group))),
        features=data.features,
        attributes=tuple(a.name for a in told.attributes) if told is not None else (),
        combinations=combinations,
    )


def _daemon(config: NodeConfig | None) -> Daemon:
    if config is None:
        return Daemon("down")
    try:
        return Daemon("up", call(config.state, StatusRequest(), timeout_s=ANSWER_S))
    except Starting as error:
        return Daemon("starting", why=error.what)
    except Unreachable as error:
        return Daemon("down", why=error.what)
    except Failed as error:
        return Daemon("starting", why=error.what)


def _daemon_findings(daemon: Daemon, found: Found) -> Iterator[Finding]:
    """Whether the daemon runs what the files say, and what it reports."""
    status, manifest = daemon.status, found.manifest
    if status is None:
        return
    if manifest is not None and status.run.id != run_id(manifest).hex():
        what = (
            f"the node runs {status.run.id[:16]}; these files make another run: what follows of"
            " links and silos is about the running one"
        )
        fix = "name the files that it was started with (--run, --peers), or restart it with these"
        yield RUN.degraded("running node", what, fix)
    else:
        yield RUN.ok("running node", f"dcfm-node {status.version} takes part in this run")
    yield from (
        RUN.degraded(problem.code.value, problem.sentence, problem.fix)
        for problem in status.problems
        if problem.code not in CHECKED_HERE
    )


CHECKED_HERE = (
    Code.LINK_DOWN,
    Code.PEER_MISMATCH,
    Code.VALUE_UNSEEN,
    Code.COVERAGE_GAP,
    Code.DATA_SCALE,
    Code.DATA_FEATURES,
    Code.DATA_ALIKE,
    Code.DATA_LABELS,
)
"""Problems of `status` that this command finds and tells itself."""


def _names(peers: Sequence[Peer]) -> Iterator[Finding]:
    """DNS of the peers' addresses."""
    wanted = {
        address: peer.name for peer in peers for address in (peer.control, peer.bulk) if address
    }
    bad = {address: why for address, why in unresolved(wanted).items() if why}
    for address, why in bad.items():
        fix = "correct the host in peers.toml, or this machine's DNS"
        what = f"{address} cannot be resolved: {why}"
        yield NETWORK.degraded(f"name of {wanted[address]}", what, fix)
    if wanted and not bad:
        yield NETWORK.ok("names", f"the hosts of {len(wanted)} addresses can be resolved")


def _network(found: Found, daemon: Daemon, peers: Sequence[Peer]) -> list[Finding]:
    if daemon.status is not None:
        names = {peer.name for peer in peers}
        others = [
            silo
            for silo in daemon.status.silos
            if not silo.own and (silo.name in names or found.peers is None)
        ]
        advertise = found.config.advertise if found.config is not None else None
        dialled = {
            "control": advertise is not None and advertise.control is not None,
            "bulk": advertise is not None and advertise.bulk is not None,
        }
        unlike = forwarded(found.config) if found.config is not None else {}
        told = links.from_status(others, dialled, unlike)
        return [*told, *links.strangers(daemon.status)]
    if daemon.state == "starting":
        what = f"not checked: {daemon.why}"
        return [NETWORK.unknown("links", what, "check again in a moment")]
    if found.config is None or found.keys is None or found.peers is None:
        what = "not checked: node.toml, the keys and peers.toml must be right first"
        return [NETWORK.unknown("links", what)]
    ports = list(_own_ports(found.config))
    if not peers:
        return ports
    answers = Prober(found.keys, peers, found.manifest).run()
    listens = found.config.listen.control is not None
    return [*ports, *links.from_probe(peers, answers, listens=listens)]


def _own_ports(config: NodeConfig) -> Iterator[Finding]:
    """Whether a stopped node could listen."""
    wanted = {"control": config.listen.control, "bulk": config.listen.bulk}
    for plane, address in wanted.items():
        if address is None or address.endswith(":*"):
            continue
        if why := port_taken(address):
            what = f"this machine cannot listen at {address}: {why}"
            fix = "stop the program that has the port ('ss -ltnp'), or change listen in node.toml"
            yield NETWORK.wrong(f"own {plane} port", ConfigError(what, fix=fix))
        else:
            yield NETWORK.ok(f"own {plane} port", f"{address} is free")


def _machine(found: Found, data: Data, daemon: Daemon, probe: Probe | None) -> Iterator[Finding]:
    config, manifest = found.config, found.manifest
    silos, numbers = len(manifest.roster) if manifest is not None else 1, 0
    if daemon.status is not None:
        yield from running_findings(daemon.status, available_memory())
    elif probe is not None:
        answer = probe.answer()
        yield from torch_findings(answer)
        if isinstance(answer, Machine):
            numbers = answer.numbers
        yield memory_finding(numbers, silos, data.size_bytes, available_memory())
        if isinstance(answer, Machine) and answer.gpu:
            yield memory_finding(numbers, silos, 0, answer.gpu_free_bytes, "GPU memory")
    if config is not None:
        width = manifest.transfer.width if manifest is not None else FLOAT_BYTES
        least = least_bytes(manifest) // width if manifest is not None else 0
        place, free = free_disk(config.state)
        yield disk_finding(place, free, numbers=numbers or least, width=width, silos=silos)


def _published(
    config: NodeConfig | None, manifest: Manifest, daemon: Daemon, mine: str
) -> dict[str, Counts]:
    """What other silos published that they hold: from the daemon, or as the disk has it."""
    if config is None:
        return {}
    names = [silo.name for silo in manifest.roster if silo.name != mine]
    if daemon.status is not None and daemon.status.run.id == run_id(manifest).hex():
        told = {name: _joined(config.state, name) for name in names}
        return {name: counts for name, counts in told.items() if counts is not None}
    with suppress(UserError):  # a damaged or foreign journal: `start` tells of it
        archive = find_archive(config.state, run_id(manifest))
        if archive is not None:
            joins = archive.view.joins.items()
            return {
                name: join.counts
                for key, join in joins
                if (name := manifest.silo_name(key)) != mine
            }
    return {}


def _joined(state: Path, silo: str) -> Counts | None:
    with suppress(UserError):
        entries = call(state, JournalRequest(silo=silo), timeout_s=ANSWER_S).entries
        joins = [entry.body for entry in entries if isinstance(entry.body, Join)]
        return joins[-1].counts if joins else None
    return None
