"""The settings files, the keys and the state folder of a node."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IMODE

from dcfm_node.api.checked import Finding
from dcfm_node.config.addresses import port_of
from dcfm_node.config.keys import NodeKeys, load_keys
from dcfm_node.config.node import NodeConfig, load_node
from dcfm_node.config.pairing import PEERS_FILE
from dcfm_node.config.peers import Peer, load_peers, own_peer
from dcfm_node.config.roster import listed_peers, named_roster
from dcfm_node.config.run import load_features, load_run
from dcfm_node.errors import ConfigError, UserError
from dcfm_node.preflight.findings import In
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.export import refuse_moved
from dcfm_node.wire.envelope import run_id

SETTINGS, KEYS, RUN = In("settings"), In("keys"), In("run")
ALONE = "lists no other node, so this node would make a run of one silo, with nobody to learn from"
WAITS = "lists no other node, so 'dcfm-node start' takes part in no run yet, and waits for peers"
JOIN = (
    "pair with another site: 'dcfm-node invite' here, 'dcfm-node join CODE' there; or add the"
    " [[peer]] blocks that 'dcfm-node id' prints at the other sites"
)


@dataclass
class Found:
    """What could be read; None where it could not."""

    config: NodeConfig | None = None
    keys: NodeKeys | None = None
    me: Peer | None = None
    peers: tuple[Peer, ...] | None = None
    """Without this node."""
    manifest: Manifest | None = None
    features: tuple[str, ...] = ()
    """Names of the numbers of a sample, as run.toml has them, if it does."""
    findings: list[Finding] = field(default_factory=list)


def settings(config: Path, peers: Path, run: Path) -> Found:
    """Read all files that `start` reads, and go on after what is wrong."""
    found = Found()
    add = found.findings.append
    try:
        found.config = load_node(config)
    except UserError as error:
        add(SETTINGS.wrong("node.toml", error))
    else:
        add(SETTINGS.ok("node.toml", f"{config}: silo {found.config.name}"))
        found.findings += _addresses(config, found.config)
        _keys(found, found.config)
    listed = None
    if found.config is None and not config.exists() and not peers.exists():
        add(SETTINGS.unknown("peers.toml", "not checked: node.toml must be there first"))
    else:
        # As for `start`: beside node.toml it may be missing, until the sites have paired.
        beside = peers == config.with_name(PEERS_FILE)
        listed = _peers(found, peers, run, read=listed_peers if beside else load_peers)
    _run(found, run, listed, peers)
    return found


def _addresses(path: Path, config: NodeConfig) -> list[Finding]:
    listen, advertise = config.listen, config.advertise
    if listen.control is None:
        return [SETTINGS.ok("addresses", "dials out only: peers cannot dial this node")]
    if advertise.control is None:
        what = f"{path} has [listen] and not [advertise], so no peer can dial this node"
        fix = "write under [advertise] the host and ports at which peers reach it"
        return [SETTINGS.degraded("addresses", what, fix)]
    bulk = f", bulk at {advertise.bulk}" if advertise.bulk else "; snapshots use the same port"
    told = [f"peers dial {advertise.control}{bulk}", *forwarded(config).values()]
    return [SETTINGS.ok("addresses", "; ".join(told))]


def forwarded(config: NodeConfig) -> dict[str, str]:
    """What must be so where peers dial another port than this node listens at, by plane."""
    return {
        plane: f"[listen] has {plane} at port {here}, and [advertise] at {there}: something must"
        f" forward {there} to {here}"
        for plane in ("control", "bulk")
        if (listen := getattr(config.listen, plane)) is not None
        and (advertise := getattr(config.advertise, plane)) is not None
        and (here := port_of(listen)) not in ((there := port_of(advertise)), "*")
    }


def _keys(found: Found, config: NodeConfig) -> None:
    try:
        found.keys = load_keys(config.keys)
    except UserError as error:
        found.findings.append(KEYS.wrong("keys", error))
    else:
        found.me = own_peer(config, found.keys)
        sign = found.me.sign_key.hex()[:8]
        what = f"{config.keys}: for this user alone; signing key {sign}…"
        found.findings.append(KEYS.ok("keys", what))
    found.findings.append(_state(config.state))


def _state(path: Path) -> Finding:
    """Whether the state folder is this user's alone. `start` makes it, and makes it private."""
    try:
        mode, owner = path.stat().st_mode, path.owner()
        next(path.iterdir(), None)
    except FileNotFoundError:
        return KEYS.ok("state folder", f"{path}: 'start' makes it")
    except (OSError, KeyError) as error:
        why = getattr(error, "strerror", None) or str(error)
        wrong = ConfigError(
            f"cannot be read: {why}", where=str(path), fix="run as the user that runs the node"
        )
        return KEYS.wrong("state folder", wrong)
    try:
        refuse_moved(path)
    except ConfigError as error:
        return KEYS.wrong("state folder", error)
    if mode & 0o077:
        what = f"{path}: other users may use this folder (mode {S_IMODE(mode):04o})"
        return KEYS.degraded("state folder", what, f"chmod 700 {shlex.quote(str(path))}")
    return KEYS.ok("state folder", f"{path}: for {owner} alone")


def _peers(
    found: Found, path: Path, run: Path, *, read: Callable[[Path], tuple[Peer, ...]]
) -> tuple[Peer, ...] | None:
    """All peers that the file lists."""
    try:
        listed = read(path)
    except UserError as error:
        if not path.exists():
            error.fix = f"{error.fix}. If the file is elsewhere, name it with --peers"
        found.findings.append(SETTINGS.wrong("peers.toml", error))
        return None
    me = found.me
    # With its old keys in the file, this node would dial itself.
    found.peers = tuple(
        p for p in listed if me is None or (p.sign_key != me.sign_key and p.name != me.name)
    )
    names = ", ".join(peer.name for peer in found.peers)
    if not found.peers:
        found.findings.append(SETTINGS.degraded("peers.toml", f"{path} {_alone(run)}", JOIN))
    elif me is not None and me.name not in {peer.name for peer in listed}:
        what = f"{path} does not list this node, {me.name}; the other sites refuse it unless theirs"
        fix = "send what 'dcfm-node id' prints to all sites, for one peers.toml at all of them"
        found.findings.append(SETTINGS.degraded("peers.toml", f"{what} does", fix))
    else:
        found.findings.append(SETTINGS.ok("peers.toml", f"{path}: {names}"))
    if (
        found.peers
        and me is not None
        and me.control is None
        and all(peer.control is None for peer in found.peers)
    ):
        what = "neither this node nor any peer has an address, so no two nodes can meet"
        fix = "write [listen] and [advertise] in the node.toml of one site at least"
        found.findings.append(SETTINGS.wrong("who dials", ConfigError(what, fix=fix)))
    return listed


def _alone(run: Path) -> str:
    """What `start` does without peers."""
    try:
        return ALONE if named_roster(run) else WAITS
    except ConfigError:  # told of run.toml
        return WAITS


def _run(found: Found, path: Path, listed: tuple[Peer, ...] | None, peers: Path) -> None:
    if listed is None or found.me is None:
        what = "not checked: peers.toml and the keys must be right first"
        found.findings.append(SETTINGS.unknown("run.toml", what))
        return
    try:
        manifest = load_run(path, listed, found.me, listed=peers)
        found.manifest, found.features = manifest, load_features(path)
    except UserError as error:
        found.findings.append(SETTINGS.wrong("run.toml", error))
        return
    sizes = manifest.cardinalities
    what = (
        f"{path}: {manifest.name}, {len(sizes)} attributes, {manifest.combinations} combinations,"
        f" {len(manifest.roster)} silos, {manifest.method.name} with {manifest.network.kind}"
    )
    found.findings.append(SETTINGS.ok("run.toml", what))
    found.findings.append(RUN.ok("id of the run", run_id(manifest).hex()[:16]))
