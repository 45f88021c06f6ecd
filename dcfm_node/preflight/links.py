"""What links to peers say: both planes, both ways, run, version and clock. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from types import MappingProxyType

from dcfm_node import __version__
from dcfm_node.api.checked import Finding
from dcfm_node.api.status import Machine, SiloStatus
from dcfm_node.config.peers import Peer
from dcfm_node.net.peers import Failure, Way
from dcfm_node.preflight.findings import In
from dcfm_node.preflight.probe import Answer

NETWORK, MACHINE, RUN = In("network"), In("machine"), In("run")
REDIAL_S = 30.0
"""A peer's node that can reach this one does so within this many seconds."""
CLOCK_S = 30.0
"""A clock that is further off than this makes ages and dates misleading."""
START = "start the node to check it"
_FIXES = (
    ("no program listens", "start the node there, or correct its port in this site's peers.toml"),
    ("did not answer in", "open the port in that site's firewall, or correct its address"),
    ("cannot be resolved", "correct the host in peers.toml, or this machine's DNS"),
    (
        "does not know our link key",
        "send that site what 'dcfm-node id' prints here, for 'dcfm-node peers add' there",
    ),
    (
        "its link key here is right",
        "give what 'dcfm-node id' prints there to 'dcfm-node peers add' here",
    ),
    ("sends nothing", "see whether dcfm-node runs there, and listens at that port"),
)
"""A part of the reason of a failed dial (`net.reach`, `net.dialer`), and what to do."""


def fix_of(reason: str, *, runs: bool = False) -> str:
    """What to do about a failed dial.

    Args:
        runs: whether the peer's node is known to run.
    """
    if runs and "no program listens" in reason:
        return "its node runs: correct that port in this site's peers.toml, or under [listen] there"
    found = (fix for part, fix in _FIXES if part in reason)
    return next(found, "compare its address in peers.toml with 'dcfm-node id' there")


def from_probe(
    peers: Sequence[Peer], answers: Mapping[str, Answer], *, listens: bool
) -> list[Finding]:
    """What a stopped node finds by dialling.

    Args:
        listens: whether this node has an address that peers could dial.
    """
    found: list[Finding] = []
    for peer in peers:
        answer = answers[peer.name]
        found += _alike(
            f"links to {peer.name}",
            [
                *_dialled(peer, "control", answer.control),
                *_dialled(peer, "bulk", answer.bulk),
            ],
            (answer.control, answer.bulk),
        )
        found += _said(peer.name, answer.version, answer.trouble)
        found.append(_clock(peer.name, answer.clock_ahead_s))
    what = "not checked while the node is stopped"
    if listens:
        found.append(NETWORK.unknown("peers dial this node", what, START))
    found.append(NETWORK.unknown("rate", f"{what}: no snapshot passes", START))
    return found


def _alike(check: str, planes: list[Finding], ways: Iterable[Way | None]) -> list[Finding]:
    """Both planes in one finding, if neither has a link and both fail for the same cause."""
    failures = [f for way in ways if way is not None and not way.via for f in way.failures]
    same = len(planes) == 2 and planes[0].fix == planes[1].fix
    if not same or {one.state for one in planes} != {"degraded"} or not failures:
        return planes
    return [NETWORK.degraded(check, _reasons(failures), planes[0].fix)]


def _reasons(failures: Iterable[Failure]) -> str:
    """Why dials failed, with all addresses of a reason together."""
    by_reason: dict[str, dict[str, None]] = {}
    for failure in failures:
        by_reason.setdefault(failure.reason, {})[failure.address] = None
    return "; ".join(f"{' and '.join(where)}: {why}" for why, where in by_reason.items())


def _dialled(peer: Peer, plane: str, way: Way | None) -> Iterator[Finding]:
    check = f"{plane} to {peer.name}"
    address = peer.control if plane == "control" else peer.bulk
    if way is None:
        if plane == "control":
            what = f"{peer.name} has no address: it dials this node"
            yield NETWORK.unknown(check, what, START)
        elif peer.control is not None:
            yield NETWORK.ok(check, "over its control port: it has no bulk port")
    elif way.via:
        yield NETWORK.ok(check, f"{address} answers{_measured(way, plane)}", **_figures(way))
    elif way.failures:
        first = way.failures[0]
        what = f"{first.address}: {first.reason}"
        yield NETWORK.degraded(check, what, fix_of(first.reason))
    else:
        yield NETWORK.degraded(check, f"{address} did not answer in time", fix_of(""))


def from_status(
    silos: Sequence[SiloStatus],
    advertised: Mapping[str, bool],
    forwarded: Mapping[str, str] = MappingProxyType({}),
) -> list[Finding]:
    """What a running node knows of its links.

    Args:
        silos: of the roster, without this one.
        advertised: whether peers' nodes, by plane, have an address of this node to dial.
        forwarded: what must be so where that has another port than this node's own, by plane.
    """
    found: list[Finding] = []
    for silo in silos:
        planes = [
            _linked(
                silo,
                plane,
                silo.links[plane],
                dialled_here=advertised[plane],
                forwarded=forwarded.get(plane, ""),
            )
            for plane in ("control", "bulk")
            if plane in silo.links
        ]
        ways = silo.links.values()
        split = any(way.via for way in ways)
        found += planes if split else _alike(f"links with {silo.name}", planes, ways)
        linked = silo.linked
        found += _said(silo.name, silo.version or "" if linked else "", silo.trouble)
        found.append(_clock(silo.name, silo.clock_ahead_s if linked else None))
    return found


def _linked(
    silo: SiloStatus, plane: str, way: Way, *, dialled_here: bool, forwarded: str
) -> Finding:
    """Both directions of one plane with one peer."""
    check = f"{plane} with {silo.name}"
    why = _reasons(way.failures)
    fix = fix_of(way.failures[0].reason, runs=silo.linked) if way.failures else ""
    if not way.via:
        if silo.by_bundle:
            return NETWORK.ok(check, "takes part by bundle")
        what = (
            f"no link; {why}" if why else "no link; it has no address, and does not dial this node"
        )
        return NETWORK.degraded(check, what, fix or "start its node; see 'dcfm-node peers' there")
    told = _measured(way, plane)
    if way.via == "control port" and why:
        what = f"only over the control port, which is slower{told}; {why}"
        return NETWORK.degraded(check, what, fix, **_figures(way))
    if why and way.for_s < REDIAL_S:
        what = f"{silo.name} reaches this node{told}; the other way is not known yet"
        return NETWORK.unknown(check, what, f"check again in {REDIAL_S:g} s")
    if why:
        return NETWORK.degraded(
            check, f"{silo.name} reaches this node{told}; this node does not: {why}", fix
        )
    one_way = way.dialled and not way.accepted and dialled_here and way.via == "own"
    if one_way and way.for_s < REDIAL_S:
        what = f"this node reaches {silo.name}{told}; the other way is not known yet"
        return NETWORK.unknown(check, what, f"check again in {REDIAL_S:g} s")
    if one_way:
        what = f"this node reaches {silo.name}{told}; {silo.name} does not reach this node"
        fix = (
            "open this node's port in the firewall, and compare its address in that site's"
            " peers.toml with 'dcfm-node id' here"
        )
        if forwarded:
            fix = f"{forwarded}. If nothing does, write the same port in both, and restart the node"
        return NETWORK.degraded(check, what, fix, **_figures(way))
    ways = {
        (True, True): "both ways",
        (True, False): "dialled by this node",
        (False, True): f"dialled by {silo.name}",
    }
    via = ways.get((way.dialled, way.accepted), "over the control port")
    return NETWORK.ok(check, f"{via}{told}", **_figures(way))


def _said(name: str, version: str, trouble: str) -> Iterator[Finding]:
    """A peer's run and version; an empty version means that its node said nothing."""
    run, software = f"run of {name}", f"version of {name}"
    if trouble:
        fix = "give all sites the same run.toml, peers.toml and version, and restart the node"
        yield RUN.degraded(run, f"{name}: {trouble}", fix)
    elif version:
        yield RUN.ok(run, "the same manifest")
    else:
        yield RUN.unknown(run, "not known, and its version neither: its node said nothing")
    if not version:
        return
    if version != __version__:
        what = f"{version}; this node has {__version__}, and both speak the same protocol"
        yield RUN.ok(software, what)
    else:
        yield RUN.ok(software, version)


def _clock(name: str, ahead_s: float | None) -> Finding:
    check = f"clock of {name}"
    if ahead_s is None:
        return MACHINE.unknown(check, "not measured: its node said nothing")
    way = "ahead of" if ahead_s > 0 else "behind"
    if abs(ahead_s) > CLOCK_S:
        what = f"{_duration(abs(ahead_s))} {way} the clock of this machine"
        fix = "see 'timedatectl' at both sites: one of the two clocks is wrong"
        return MACHINE.degraded(check, what, fix, ahead_s=round(ahead_s, 1))
    what = "within a second of this machine's"
    if abs(ahead_s) >= 1.0:
        what = f"{ceil(abs(ahead_s))} s {way} this machine's"
    return MACHINE.ok(check, what, ahead_s=round(ahead_s, 3))


def own_clock(findings: Sequence[Finding]) -> list[Finding]:
    """Says so where all peers find the same of this machine: its own clock is wrong."""
    clocks = [f for f in findings if f.check.startswith("clock of ") and "ahead_s" in f.figures]
    off = [f.figures["ahead_s"] for f in clocks if f.state == "degraded"]
    if len(off) < 2 or len(off) < len(clocks) or max(off) - min(off) > CLOCK_S:
        return list(findings)
    way = "behind" if off[0] > 0 else "ahead of"
    what = f"this machine is {_duration(abs(off[0]))} {way} all peers: its own clock is wrong"
    mended = MACHINE.degraded("clock", what, "sudo timedatectl set-ntp true", ahead_s=-off[0])
    return [*(f for f in findings if f not in clocks), mended]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _measured(way: Way, plane: str) -> str:
    """Round-trip time and, of the bulk plane, rates once enough passed."""
    told = [f"{_milliseconds(way.rtt_s)} ms" if way.rtt_s is not None else ""]
    if plane == "bulk":
        rates = {"sends": way.sent_bytes_s, "received": way.received_bytes_s}
        told += [f"{word} {rate / 1e6:.1f} MB/s" for word, rate in rates.items() if rate]
        told += [] if any(rates.values()) else ["rate not measured yet"]
    return "".join(f", {text}" for text in told if text)


def _milliseconds(seconds: float) -> str:
    return f"{1_000 * seconds:.1f}" if seconds >= 1e-4 else "under 0.1"


def _figures(way: Way) -> dict[str, float | None]:
    return {
        "rtt_s": way.rtt_s,
        "sent_bytes_s": way.sent_bytes_s,
        "received_bytes_s": way.received_bytes_s,
    }


def strangers(machine: Machine) -> list[Finding]:
    """Unknown keys that tried to connect: perhaps those of peers with a wrong block here."""
    found = []
    for stranger in machine.pending:
        what = (
            f"an unknown link key tried from {stranger.address}: {stranger.link_key}; if it is a"
            " peer's, the link_key in that peer's block of this site's peers.toml is wrong"
        )
        fix = (
            "compare with what 'dcfm-node id' prints at the sites; 'dcfm-node peers add' here takes"
            " the right block up, without a restart"
        )
        found.append(NETWORK.degraded("unknown key", what, fix))
    return found
