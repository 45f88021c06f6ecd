"""The simulated network: who is linked with whom, what is cut, what a message's fate is."""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations

from dcfm_node.simulation.scenario import Scenario


class Network:
    """Links and cuts between nodes, drawn from the world's random source."""

    def __init__(self, scenario: Scenario, keys: Sequence[bytes], rng: random.Random) -> None:
        self.scenario, self.keys, self.rng = scenario, keys, rng
        self.links = self._links()
        self.messages = 0
        self._side: dict[bytes, int] = {}
        """Half of the network a node is in; empty while it is whole."""
        self._one_way = False

    def together(self, a: bytes, b: bytes) -> bool:
        """Whether a link between two nodes can stand."""
        return self._side.get(a) == self._side.get(b)

    def passes(self, sender: bytes, receiver: bytes) -> bool:
        """Whether a message gets from one node to another, as far as cuts are concerned."""
        if self._one_way:
            return self._side[sender] <= self._side[receiver]
        return self.together(sender, receiver)

    def delays(self, faulty: bool) -> Iterator[float]:
        """One delay in seconds for each copy of a message that arrives."""
        self.messages += 1
        scenario, rng = self.scenario, self.rng
        for _ in range(1 + (rng.random() < scenario.duplicate)):
            if not faulty or rng.random() >= scenario.loss:
                yield rng.uniform(*scenario.delay_s)

    def split(self, *, one_way: bool = False) -> None:
        """Cut the network in two at random."""
        keys = self.rng.sample(list(self.keys), len(self.keys))
        cut = self.rng.randint(1, len(keys) - 1)
        self._side = {key: int(index >= cut) for index, key in enumerate(keys)}
        self._one_way = one_way

    def heal(self) -> None:
        """Make the network whole again."""
        self._side, self._one_way = {}, False

    def severed(self) -> list[tuple[bytes, bytes]]:
        """Linked pairs, in both orders, that a cut keeps apart."""
        pairs = ((a, b) for a in self.keys for b in self.links[a])
        return [(a, b) for a, b in pairs if not self.together(a, b)]

    def _links(self) -> dict[bytes, list[bytes]]:
        pairs = self._pairs()
        return {a: [b for b in self.keys if frozenset((a, b)) in pairs] for a in self.keys}

    def _pairs(self) -> set[frozenset[bytes]]:
        """Everyone, or a ring with random chords, always connected; and who can only dial out."""
        outside = list(self.keys[: self.scenario.dial_only])
        inside = list(self.keys[self.scenario.dial_only :])
        degree = self.scenario.degree
        if degree is None or degree >= len(inside) - 1:
            pairs = {frozenset(pair) for pair in combinations(inside, 2)}
        else:
            pairs = {frozenset((inside[i], inside[i - 1])) for i in range(len(inside))}
            while len(pairs) * 2 < degree * len(inside):
                pairs.add(frozenset(self.rng.sample(inside, 2)))
        for key in outside:
            pairs |= {frozenset((key, other)) for other in self.rng.sample(inside, 2)}
        return pairs
