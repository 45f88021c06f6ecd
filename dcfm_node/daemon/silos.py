"""One silo of the roster as a node sees it: links, signs of life, work, records. Pure."""

from collections.abc import Iterator, Mapping

from dcfm_node.api.status import Judgement, LastBundle, SiloStatus
from dcfm_node.daemon.imports import LastImport
from dcfm_node.net.peers import Way
from dcfm_node.records.entries import PREPARATION
from dcfm_node.swarm.liveness import Duty, Sign
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.verdicts import told
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Sealed


def silo_status(
    node: Node,
    key: bytes,
    now: float,
    *,
    carried: Mapping[str, LastImport],
    ways: Mapping[str, Way],
    refusal: str,
    clock: float | None = None,
    address: str | None = None,
    traffic: tuple[int, int] | None = None,
) -> SiloStatus:
    """What a node knows of one silo.

    Args:
        carried: what last came of silos by bundle, by name.
        ways: how it is linked, by plane.
        refusal: what it did on its links that no honest node does.
        clock: by how many seconds its wall clock is ahead of this node's, if that is known.
        address: its control address, as in peers.toml.
        traffic: payload bytes sent to it and received from it; None for this node's own silo.
    """
    exchange, replica, me = node.exchange, node.replica, key == node.me
    view = replica.view
    peer, sign = exchange.peers.get(key), exchange.liveness.signs.get(key)
    sealed = exchange.own_heartbeat if me else sign.heartbeat if sign is not None else None
    heartbeat = sealed.heartbeat if sealed is not None else None
    expert, chain = view.latest_expert(key), replica.journals.chains[key]
    published = chain[expert.seq] if expert is not None else None
    linked, bundle = me or (peer is not None and peer.linked), _last_bundle(node, key, now, carried)
    return SiloStatus(
        name=node.manifest.silo_name(key),
        id=key.hex(),
        own=me,
        linked=linked,
        live=me or exchange.liveness.live(key, now),
        heard_ago_s=0.0 if me else round(now - sign.heard_at, 1) if sign else None,
        moved_ago_s=0.0 if me else round(now - sign.moved_at, 1) if sign else None,
        disk_full_ago_s=_full_ago(sign, now),
        activity=heartbeat.activity if heartbeat is not None else None,
        round=heartbeat.round if heartbeat is not None else None,
        done=heartbeat.done if heartbeat is not None else None,
        total=heartbeat.total if heartbeat is not None else None,
        joined=key in view.joins,
        withdrawn=key in view.withdrawn,
        late_s=None if me else _late(node, key, now),
        samples=view.samples(key),
        share=view.share(key),
        expert_round=expert.body.round if expert is not None else None,
        condemned=expert is not None and view.condemned(expert.digest),
        expert_ago_s=_ago(node, published, now),
        record_ago_s=_ago(node, chain[-1] if chain else None, now),
        link_ago_s=None if me else _link_ago(node, key, now),
        metrics=dict(expert.body.metrics) if expert is not None else {},
        records=len(chain),
        version=peer.version if peer is not None else None,
        trouble=peer.trouble if peer is not None else "",
        refused=refusal or ("" if linked else _undialled(ways)),
        forked=key in replica.journals.forks,
        quarantined=view.quarantined().get(key, ""),
        verdicts=tuple(_verdicts(view, key)),
        bundle=bundle,
        by_bundle=bundle is not None and not linked and not _heard_since(node, key, now, bundle),
        links=dict(ways),
        clock_ahead_s=None if clock is None else round(clock, 3),
        address=address,
        bytes_sent=traffic[0] if traffic is not None else None,
        bytes_received=traffic[1] if traffic is not None else None,
    )


def _full_ago(sign: Sign | None, now: float) -> float | None:
    """Since a silo last said that its disk is full; None if it never did."""
    return None if sign is None or sign.full_at is None else round(now - sign.full_at, 1)


def _verdicts(view: View, key: bytes) -> Iterator[Judgement]:
    for cause, reason, by in told(view).get(key, ()):
        names = tuple(map(view.manifest.silo_name, by))
        yield Judgement(cause=cause, reason=reason, by=names)


def _last_bundle(
    node: Node, key: bytes, now: float, carried: Mapping[str, LastImport]
) -> LastBundle | None:
    """What last came of a silo by hand."""
    if (found := carried.get(node.manifest.silo_name(key))) is None:
        return None
    ago = max(0.0, round(now + (node.wall_ms - found.time_ms) / 1_000, 1))
    return LastBundle(ago_s=ago, **found.model_dump(exclude={"time_ms"}))


def _heard_since(node: Node, key: bytes, now: float, bundle: LastBundle) -> bool:
    """Whether a sign of life of a silo is newer than its bundle."""
    sign = node.exchange.liveness.signs.get(key)
    return sign is not None and now - sign.heard_at < bundle.ago_s


def _undialled(ways: Mapping[str, Way]) -> str:
    """Why its control port cannot be dialled."""
    failures = ways["control"].failures if "control" in ways else ()
    return failures[0].reason if failures else ""


def _late(node: Node, key: bytes, now: float) -> float | None:
    """For how long a silo has been waited for, in seconds, once that is too long; else None."""
    liveness = node.exchange.liveness
    late = [
        now - since
        for duty, since in liveness.waiting.items()
        if duty.silo == key and _awaited(node, duty) and liveness.suspected(duty, now)
    ]
    return round(max(late), 1) if late else None


def _awaited(node: Node, duty: Duty) -> bool:
    """Whether the run still waits for this."""
    view, phase = node.replica.view, node.step.phase if node.step is not None else None
    if phase is None or (phase.round > duty.number and duty.task == "train"):
        return False
    if duty.task == "train":
        return phase.stage in ("local", "refine") and duty.silo in view.missing(duty.number)
    if phase.stage == "prepare":
        if duty.task == "join":
            return duty.silo not in view.joins
        leader = view.last_leader(PREPARATION)
    else:
        leader = view.last_leader(phase.round) if phase.stage == "distil" else None
    elected = leader is not None and leader.body.term == duty.number
    return elected and duty.task in ("lead", "prepare")


def _ago(node: Node, sealed: Sealed | None, now: float) -> float | None:
    """Seconds since an entry was written, by its author's wall clock. It informs only."""
    if sealed is None:
        return None
    return max(0.0, round(now + (node.wall_ms - sealed.entry.time_ms) / 1_000, 1))


def _link_ago(node: Node, key: bytes, now: float) -> float | None:
    """Seconds since a peer said something over a link of its own; None if it never did."""
    heard_at = node.exchange.peers[key].heard_at
    return None if heard_at is None else round(now - heard_at, 1)
