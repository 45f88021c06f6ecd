"""How fast one new record reaches every node, and what gossip costs each, by network size."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from dcfm_node.simulation.scenario import Scenario
from dcfm_node.simulation.world import World
from dcfm_node.swarm.effects import Effect, Leave, Persist, Send
from dcfm_node.wire.envelope import encode_message

SETTLED_S = 20.0
"""Seconds after which every node has joined and heard from every other, at one gossip round a
second."""
EVERY_S = 1.0
LISTEN_S = 6.0
SAMPLE = 20
"""One of this many messages is encoded to measure its size."""


@dataclass(frozen=True)
class Spread:
    """The results for one network size.

    Attributes:
        median_s, last_s: seconds until half of the nodes, and all, had a new record on disk;
            medians over the records.
        unheard: copies of a record that had not arrived at the end.
        bytes_s, messages_s: what a node sends per second, with one new record every second.
    """

    nodes: int
    records: int
    median_s: float
    last_s: float
    unheard: int
    bytes_s: float
    messages_s: float


def measure(sizes: Iterable[int], *, degree: int, gossip_s: float, seed: int) -> Iterator[Spread]:
    """Measure networks in which a few silos publish one record each and nothing else happens.

    Args:
        sizes: numbers of nodes.
        degree: links of a node; small networks are complete.
        gossip_s: seconds between two rounds of gossip of one node.
        seed: seed of the run.
    """
    for nodes in sizes:
        yield _spread(nodes, degree, gossip_s, seed)


def document(found: Sequence[Spread], **settings: Any) -> dict[str, Any]:
    """The results for JSON."""
    rows = [asdict(row) for row in found]
    return {"schema": "dcfm-node/spread/1", **settings, "rows": rows}


def _spread(nodes: int, degree: int, gossip_s: float, seed: int) -> Spread:
    records = min(3, (nodes - 1) // 2)
    settled = SETTLED_S * gossip_s
    end = settled + EVERY_S * records + LISTEN_S * gossip_s
    scenario = Scenario(
        nodes=nodes, degree=degree, gossip_s=gossip_s, work_s=(1e5, 1e5), quiet_s=end, limit_s=end
    )
    world = World(scenario, seed)
    listener = _Listener(settled, settled + EVERY_S * records)
    for index, key in enumerate(world.rng.sample(world.keys, records)):
        when = settled + EVERY_S * index
        world.clock.at(when, partial(world.deliver, key, Leave("to see how far it is heard")))
    world.run(listener.hear)
    times = [sorted(heard) for heard in listener.heard.values()]
    return Spread(
        nodes,
        records,
        statistics.median(found[len(found) // 2] for found in times),
        statistics.median(found[-1] for found in times),
        sum(nodes - len(found) for found in times),
        listener.bytes / nodes / (listener.end - listener.start),
        listener.messages / nodes / (listener.end - listener.start),
    )


class _Listener:
    """Watches what every node does, in place of the invariants."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end
        self.heard: dict[bytes, list[float]] = {}
        """By digest of a record, the seconds until each node had it."""
        self.messages, self.bytes = 0, 0
        self._said: dict[bytes, float] = {}

    def hear(self, world: World, key: bytes, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist) and effect.sealed.entry.body.kind == "withdraw":
                digest = effect.sealed.digest
                said = self._said.setdefault(digest, world.clock.now)
                self.heard.setdefault(digest, []).append(world.clock.now - said)
            elif isinstance(effect, Send) and self.start <= world.clock.now < self.end:
                self.messages += 1
                if self.messages % SAMPLE == 0:
                    self.bytes += SAMPLE * len(encode_message(effect.message))
