"""Why this node does what it does, and what it has yet to catch up on. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from dcfm_node.api.problems import THIS_NODE, Code, Problem
from dcfm_node.swarm.effects import AuditExperts, Distil, Score, Waiting, activity_of
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.rounds import missing_silos


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a node does what it does, and the silos that it waits for, in roster order."""

    why: str
    waiting_on: tuple[str, ...]


def explain(node: Node) -> Reason:
    """The reason by which the swarm decided."""
    step, recovery = node.step, node.exchange.recovery
    if step is None:
        return _reason(node, "the node is starting")
    if not recovery.writable and recovery.epoch < 0:
        told = recovery.told(node.replica.journals)
        enough = min(recovery.quorum, recovery.peers)
        why = (
            f"this node may not write yet: {enough} peers must tell what they hold of its own"
            f" journal, whose end its disk may have lost: {len(told)} did"
        )
        return _reason(node, why, node.exchange.peers.keys() - told.keys())
    if not recovery.writable:
        why = "this node may not write yet: most silos must first note that it has started"
        return _reason(node, why, node.exchange.peers.keys() - recovery.keepers())
    if isinstance(step.action, Waiting):
        return _reason(node, step.action.why, step.action.on)
    why, stage = f"this node's part in {step.phase.stage} is under way", step.phase.stage
    others = set(missing_silos(node.replica.view, step.phase.round)) - {node.me}
    if stage not in ("local", "refine") or not others:
        return _reason(node, why)
    return _reason(node, f"{why}; after it, the run waits for the others' experts", others)


def failing(node: Node) -> list[Problem]:
    """What this node's worker fails at, how often in a row and why, until it succeeds."""
    if (found := node.failing) is None:
        return []
    often = f"{found.times} times in a row" if found.times > 1 else "once"
    aside = any(found.hopeless(kind) for kind in (Distil, Score, AuditExperts))
    then = "is set aside" if aside else "is tried again"
    what = f"its work ({activity_of(found.work)}) failed {often} and {then}: {found.reason}"
    return [Code.WORK_FAILED.problem(THIS_NODE, what)]


def _reason(node: Node, why: str, on: Iterable[bytes] = ()) -> Reason:
    waited = set(on)
    return Reason(why, tuple(silo.name for silo in node.manifest.roster if silo.key in waited))


def catching_up(node: Node) -> list[str]:
    """What others have and this node does not have yet."""
    view, step, me = node.replica.view, node.step, node.me
    found = []
    ahead = {key: peer.ahead for key, peer in node.exchange.peers.items() if peer.ahead}
    if ahead:
        key = max(ahead, key=lambda key: ahead[key])
        found.append(f"{ahead[key]} records that {node.manifest.silo_name(key)} holds")
    if node.fetching:
        total = sum(snapshot.size for snapshot in node.fetching.values())
        found.append(f"{len(node.fetching)} snapshots of {total} bytes together")
    if step is None or me in view.withdrawn:
        return found
    own = view.latest_expert(me)
    reached = own.body.round if own is not None else -1
    passed = step.phase.round - (step.phase.stage in ("prepare", "local", "refine"))
    if reached < passed:
        rounds = f"round {passed}" if passed == reached + 1 else f"rounds {reached + 1} to {passed}"
        how = (
            "the student is released without it; a run that continues this one takes it in"
            if step.phase.stage == "done"
            else "it takes part again when the next round begins"
        )
        found.append(f"{rounds} went on without this silo's expert; {how}")
    return found
