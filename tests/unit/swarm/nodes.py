"""Nodes, and what peers tell them."""

import random

from dcfm_node.records.entries import Verdict
from dcfm_node.records.messages import Entries, Head, Sync
from dcfm_node.swarm.effects import Effect, LinkUp, Persist, Received, Tick
from dcfm_node.swarm.liveness import Pace
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import Signer
from tests.unit.swarm.builders import Run


def node(run: Run, *, distils: bool = True) -> Node:
    return Node(
        signer=run.authors[0].signer,
        manifest=run.manifest,
        counts=(((0, 0), 5),),
        distils=distils,
        rng=random.Random(0),
        wall_ms=0,
        pace=Pace(gossip_s=1.0, term_s=8.0, retry_s=10.0),
    )


def empty(run: Run) -> Head:
    return Head(epoch=0, seq=-1, digest=run.id)


def told(run: Run, peer: int, head: Head, heartbeats: int = 0, epoch: int = 0) -> Received:
    """A peer says how it holds the node's own journal, its newest heartbeat and its epoch."""
    mine = {run.keys[0]: head}
    known = {run.keys[0]: (heartbeats, epoch)}
    message = Sync(run=run.id, version="1", heads=mine, beats=known, reply=False)
    return Received(run.keys[peer], message)


def remembered(made: Node, run: Run) -> list[Effect]:
    """Enough peers say that its epoch is on their disks."""
    epoch, peers = made.exchange.recovery.epoch, range(1, run.manifest.quorum)
    held = made.replica.journals.head(made.me)
    return [e for peer in peers for e in made.handle(told(run, peer, held, epoch=epoch), 0.0)]


def persisted(effects) -> list[str]:
    return [e.sealed.entry.body.kind for e in effects if isinstance(e, Persist)]


def started(run: Run, **settings) -> Node:
    """A node that knows its journal is empty and has joined; it trains since 0 s."""
    made = node(run, **settings)
    effects = made.handle(Tick(), 0.0)
    for peer in range(1, min(run.manifest.quorum + 1, len(run.keys))):
        effects += made.handle(LinkUp(run.keys[peer]), 0.0)
        effects += made.handle(told(run, peer, empty(run), heartbeats=9), 0.0)
    effects += remembered(made, run)
    assert persisted(effects) == ["join"]
    return made


def writing(run: Run, me: int = 0, quota: int | None = None) -> Node:
    """A node that may write: everyone told it that its journal is empty."""
    made = Node(
        signer=run.authors[me].signer,
        manifest=run.manifest,
        counts=(((0, 0), 10),),
        distils=True,
        rng=random.Random(0),
        wall_ms=0,
        quota=quota,
    )
    for number, key in enumerate(run.keys):
        if number != me:
            made.handle(LinkUp(key), 0.0)
            other = _node_of(run.authors[number].signer, run)
            made.handle(Received(key, other.exchange.sync(reply=False)), 0.0)
    for number, key in enumerate(run.keys):
        if number != me:
            sync = _node_of(run.authors[number].signer, run).exchange.sync(reply=False)
            kept = {made.me: (0, made.exchange.recovery.epoch)}
            made.handle(Received(key, sync.model_copy(update={"beats": kept})), 0.0)
    assert made.exchange.recovery.writable
    return made


def _node_of(signer: Signer, run: Run) -> Node:
    return Node(signer, run.manifest, (), True, random.Random(1), 0)


def tell(made: Node, run: Run, now: float = 1.0) -> list[Verdict]:
    """Hand a node all that the authors said; the verdicts that it publishes on it."""
    peer = next(key for key in run.keys if key != made.me)
    said = [entry.envelope for author in run.authors for entry in author.journal]
    effects = made.handle(Received(peer, Entries(run=run.id, entries=tuple(said), beats=())), now)
    effects += made.handle(Tick(), now + 0.1)
    bodies = [e.sealed.entry.body for e in effects if isinstance(e, Persist)]
    return [body for body in bodies if isinstance(body, Verdict)]
