"""Status as plain data: a pure function of the node's state (schema `dcfm-node/status/1`)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dcfm_node import __version__
from dcfm_node.daemon.explain import catching_up, explain
from dcfm_node.daemon.facts import student_facts
from dcfm_node.daemon.imports import NO_IMPORTS, LastImport
from dcfm_node.daemon.problems import lacking, of_own_journal, rejected, unfounded
from dcfm_node.net.peers import Failure, Way
from dcfm_node.records.entries import Student
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.coverage import coverage
from dcfm_node.swarm.effects import activity_of
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.verdicts import told
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Sealed, run_id

SCHEMA = "dcfm-node/status/1"
MAX_TOLD = 8
"""Values that are named in one problem."""
NO_WAYS: Mapping[bytes, Mapping[str, Way]] = {}
UNLINKED_S = 30.0
"""A plane may come up so much later than the other before it is a problem."""
COURIER_DAYS = 7
"""A silo that comes by bundle is taken for absent when none brought news for so long."""


def status(
    node: Node,
    now: float,
    troubles: Sequence[str] = (),
    carried: Mapping[str, LastImport] = NO_IMPORTS,
    ways: Mapping[bytes, Mapping[str, Way]] = NO_WAYS,
) -> dict[str, Any]:
    """What the operator asks: where the run is, what this node does and why, who is missing.

    Args:
        troubles: what the machine does to this node: its disk, its worker.
        carried: what last came of silos by bundle, by name.
        ways: how each peer is linked, by plane.
    """
    view, step = node.exchange.view, node.step
    phase = step.phase if step is not None else None
    silos = [
        _silo(node, silo.name, silo.key, now)
        | _by_bundle(node, silo.key, now, carried)
        | {"links": {plane: asdict(way) for plane, way in ways.get(silo.key, {}).items()}}
        for silo in node.manifest.roster
    ]
    students = [student_facts(view, said) for said in view.valid_students()]
    latest, continues = view.latest(), node.manifest.continues
    released = next((s for s in students if latest and s["digest"] == _hex(latest)), None)
    covered = _coverage(view)
    problems = [
        *troubles,
        *_problems(node, silos, released, now),
        *linking(node.manifest, ways),
        *_unseen(covered),
    ]
    return {
        "schema": SCHEMA,
        "node": node.manifest.silo_name(node.me),
        "id": node.me.hex(),
        "version": __version__,
        "run": {
            "name": node.manifest.name,
            "id": node.run.hex(),
            "continues": continues.run.hex() if continues is not None else None,
        },
        "health": "degraded" if problems else "healthy",
        "problems": problems,
        "phase": {"stage": phase.stage, "round": phase.round} if phase else None,
        "method": node.manifest.method.name,
        "schedule": node.manifest.method.title,
        "participation": node.manifest.policy.participation,
        "doing": _doing(node),
        "catching_up": catching_up(node),
        "silos": silos,
        "coverage": covered,
        "students": students,
        "latest": released,
        "checkpoint": _checkpoint(node, phase.round) if phase else None,
        "terms": view.last_term(),
    }


def starting(name: str, manifest: Manifest, doing: str) -> dict[str, Any]:
    """What there is to say before the training process, which does this, is ready."""
    return {
        "schema": SCHEMA,
        "node": name,
        "version": __version__,
        "run": {"name": manifest.name, "id": run_id(manifest).hex()},
        "health": "starting",
        "problems": [],
        "phase": None,
        "doing": {
            "activity": "starting",
            "why": f"its training process {doing}",
            "waiting_on": [],
        },
    }


def _silo(node: Node, name: str, key: bytes, now: float) -> dict[str, Any]:
    view, me = node.exchange.view, key == node.me
    peer = node.exchange.peers.get(key)
    sign = node.exchange.liveness.signs.get(key)
    own = node.exchange.own_heartbeat
    heartbeat = (
        own.heartbeat
        if me and own is not None
        else sign.heartbeat.heartbeat
        if sign is not None
        else None
    )
    expert, chain = view.latest_expert(key), node.exchange.journals.chains[key]
    published = chain[expert.seq] if expert is not None else None
    share = view.share(key)
    return {
        "name": name,
        "id": key.hex(),
        "self": me,
        "linked": me or (peer is not None and peer.linked),
        "live": me or node.exchange.liveness.live(key, now),
        "heard_ago_s": 0.0 if me else round(now - sign.heard_at, 1) if sign else None,
        "moved_ago_s": 0.0 if me else round(now - sign.moved_at, 1) if sign else None,
        "activity": heartbeat.activity if heartbeat is not None else None,
        "round": heartbeat.round if heartbeat is not None else None,
        "done": heartbeat.done if heartbeat is not None else None,
        "total": heartbeat.total if heartbeat is not None else None,
        "joined": key in view.joins,
        "withdrawn": key in view.withdrawn,
        "late_s": None if me else _late(node, key, now),
        "samples": view.samples(key),
        "share": share,
        "expert_round": expert.body.round if expert is not None else None,
        "condemned": expert is not None and view.condemned(expert.digest),
        "expert_ago_s": _ago(node, published, now),
        "record_ago_s": _ago(node, chain[-1] if chain else None, now),
        "link_ago_s": None if me else _link_ago(node, key, now),
        "metrics": dict(expert.body.metrics) if expert is not None else {},
        "records": len(chain),
        "version": peer.version if peer is not None else None,
        "trouble": peer.trouble if peer is not None else "",
        "refused": "",
        "forked": key in node.exchange.journals.forks,
        "quarantined": view.quarantined().get(key, ""),
        "verdicts": [
            {"cause": cause, "reason": reason, "by": [view.manifest.silo_name(k) for k in by]}
            for cause, reason, by in told(view).get(key, ())
        ],
    }


def _by_bundle(
    node: Node, key: bytes, now: float, carried: Mapping[str, LastImport]
) -> dict[str, Any]:
    """What last came of a silo by hand, and whether that is how it takes part."""
    found, sign = carried.get(node.manifest.silo_name(key)), node.exchange.liveness.signs.get(key)
    if found is None:
        return {"bundle": None, "by_bundle": False}
    ago = max(0.0, round(now + (node.wall_ms - found.time_ms) / 1_000, 1))
    heard = sign is not None and now - sign.heard_at < ago
    facts = {"ago_s": ago} | found.model_dump(exclude={"time_ms"})
    return {"bundle": facts, "by_bundle": not (heard or node.exchange.peers[key].linked)}


def _checkpoint(node: Node, round_: int) -> dict[str, Any] | None:
    """From where the next leader would go on, if the one that distils were lost."""
    view = node.exchange.view
    found = view.checkpoints_of(round_)
    if not found:
        return None
    said = next((s for s in reversed(found) if s.body.snapshot.digest in node.held), found[-1])
    return {
        "leader": view.manifest.silo_name(said.author),
        "round": said.body.round,
        "term": said.body.term,
        "step": said.body.step,
        "held": said.body.snapshot.digest in node.held,
    }


def _late(node: Node, key: bytes, now: float) -> float | None:
    """For how long a silo is waited for, in seconds, once that is too long; else None."""
    liveness = node.exchange.liveness
    late = [
        now - since
        for duty, since in liveness.waiting.items()
        if duty.silo == key and _awaited(node, duty) and liveness.suspected(duty, now)
    ]
    return round(max(late), 1) if late else None


def _awaited(node: Node, duty: Duty) -> bool:
    """Whether the run still waits for this."""
    view, phase = node.exchange.view, node.step.phase if node.step is not None else None
    if phase is None or (phase.round > duty.number and duty.task == "train"):
        return False
    if duty.task == "train":
        return phase.stage in ("local", "refine") and duty.silo in view.missing(duty.number)
    leader = view.last_leader(phase.round) if duty.task == "lead" else None
    return phase.stage == "distil" and leader is not None and leader.body.term == duty.number


def _ago(node: Node, sealed: Sealed | None, now: float) -> float | None:
    """Seconds since an entry was written, by its author's wall clock: it informs."""
    if sealed is None:
        return None
    return max(0.0, round(now + (node.wall_ms - sealed.entry.time_ms) / 1_000, 1))


def _link_ago(node: Node, key: bytes, now: float) -> float | None:
    """Seconds since a peer itself said something, over a link of its own; None if it never did."""
    heard_at = node.exchange.peers[key].heard_at
    return None if heard_at is None else round(now - heard_at, 1)


def _problems(
    node: Node, silos: list[dict[str, Any]], released: dict[str, Any] | None, now: float
) -> list[str]:
    """Everything of the run that makes the node degraded, in words."""
    found = []
    whole = released is not None and released["outcome"] == "COMPLETE"
    for silo in silos:
        if silo["withdrawn"]:
            continue
        if silo["forked"]:
            found.append(f"{silo['name']} signed two histories; its later records do not count")
        if silo["quarantined"]:
            found.append(f"{silo['name']} is in quarantine: {silo['quarantined']}")
        elif silo["condemned"]:
            round_ = silo["expert_round"]
            found.append(f"{silo['name']}'s expert of round {round_} teaches nobody: refused")
        for said in silo["verdicts"]:
            if said["cause"] == "score" and whole and not silo["condemned"]:
                continue  # Of an expert that is past; the student has a good one of every silo.
            by = ", ".join(said["by"])
            found.append(f"{silo['name']}: {said['cause']}, say {by}: {said['reason']}")
        if why := _absence(silo):
            found.append(f"{silo['name']} {why}")
    if len(node.exchange.view.active()) < node.manifest.quorum:
        found.append(
            "so many silos withdrew that the others are no quorum: nobody can be elected; continue"
            " the run with another roster"
        )
    found += of_own_journal(node) + unfounded(node.exchange.view)
    found += rejected(node.exchange.view) + lacking(node.exchange.view)
    phase = node.step.phase if node.step is not None else None
    if phase is not None and phase.stage == "done" and released is None:
        found.append("the run ended without a released student")
    return found


def linking(manifest: Manifest, ways: Mapping[bytes, Mapping[str, Way]]) -> list[str]:
    """What is wrong with the links themselves, in words: one plane stands and the other does not,
    or a key is used twice."""
    found = []
    for silo in manifest.roster:
        planes = ways.get(silo.key)
        if planes is None:
            continue
        control, bulk = planes["control"], planes["bulk"]
        if hosts := control.hosts or bulk.hosts:
            found.append(
                f"{silo.name}'s keys are used by two nodes at once, at {' and at '.join(hosts)}:"
                " stop one of them, or give it keys of its own"
            )
        for name, way, other in (("bulk", bulk, control), ("control", control, bulk)):
            late = min(way.for_s, other.for_s) > UNLINKED_S
            if not way.via and other.via and late:
                lost = "no snapshot passes" if name == "bulk" else "no record passes"
                why = "; ".join(map(_failure, way.failures)) or "it does not dial this node either"
                found.append(f"no {name} link to {silo.name} stands, so {lost} directly: {why}")
    return found


def _failure(failure: Failure) -> str:
    return f"{failure.times} dials in a row to {failure.address} failed: {failure.reason}"


def _absence(silo: dict[str, Any]) -> str:
    """Why a silo does not take part as it should; empty if it does."""
    if silo["trouble"]:
        return str(silo["trouble"])
    if silo["by_bundle"]:
        days = silo["bundle"]["ago_s"] / 86_400
        return f"was told of by no bundle for {days:.0f} days" if days > COURIER_DAYS else ""
    if not silo["live"] and not silo["quarantined"]:
        ago = silo["heard_ago_s"]
        when = f"for {ago:.0f} s" if ago is not None else "since this node started"
        # Where others take in its bundles, its records come here, and no sign of life does.
        written = silo["record_ago_s"]
        record = f"; its last record is {written:.0f} s old" if written is not None else ""
        return f"was not heard {when}{record}{_undialled(silo)}"
    if silo["late_s"] is not None:
        return f"answers, but is waited for since {silo['late_s']:.0f} s and shows no progress"
    return ""


def _undialled(silo: dict[str, Any]) -> str:
    """Why its control port cannot be dialled, where no link stands."""
    failures = () if silo["linked"] else silo["links"].get("control", {}).get("failures", ())
    return "".join(f"; {_failure(Failure(**failure))}" for failure in failures)


def _doing(node: Node) -> dict[str, Any]:
    work, fetching = node.work, [digest.hex() for digest in node.fetching]
    done, total = node.progress
    activity = activity_of(work) if work is not None else "fetch" if fetching else "idle"
    return {
        "activity": activity,
        "done": done,
        "total": total,
        "fetching": fetching,
        **explain(node),
    }


def _coverage(view: View) -> dict[str, Any]:
    """Eq. 2, from the label counts that the silos published that take part."""
    counts: dict[tuple[int, ...], int] = {}
    told = [view.joins[key] for key in view.active() if key in view.joins]
    for join in told:
        for label, count in join.counts:
            counts[label] = counts.get(label, 0) + count
    found = coverage(counts, view.manifest.cardinalities)
    attributes = view.manifest.attributes
    return {
        "observed": found.observed,
        "combinations": math.prod(view.manifest.cardinalities),
        "silos": len(view.active()),
        "silos_told": len(told),
        "sufficient": found.sufficient,
        "combinations_short": found.missing_combinations,
        "missing_values": [
            {"attribute": attributes[i].name, "value": attributes[i].values[value]}
            for i, value in found.missing_values
        ],
    }


def _unseen(covered: dict[str, Any]) -> list[str]:
    """That nobody holds some value, once all silos said what they hold."""
    if covered["silos_told"] < covered["silos"] or not covered["missing_values"]:
        return []
    missing = [f"{v['attribute']}={v['value']}" for v in covered["missing_values"]]
    more = f" and {len(missing) - MAX_TOLD} more" if len(missing) > MAX_TOLD else ""
    values = ", ".join(missing[:MAX_TOLD]) + more
    return [f"no silo holds {values}: no student learns that; see the labels, or change run.toml"]


def _hex(said: Said[Student]) -> str:
    return said.body.snapshot.digest.hex()
