"""The simulated network: links, cuts, and the fate of each message."""

import random
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

from dcfm_node.simulation.scenario import Scenario

STRAY_S = 120.0


class Network:
    """Links and cuts between nodes, drawn from the world's random source."""

    def __init__(self, scenario: Scenario, keys: Sequence[bytes], rng: random.Random) -> None:
        self.scenario, self.keys, self.rng = scenario, keys, rng
        self.links = self._links()
        self.messages = 0
        self._side: frozenset[bytes] = frozenset()
        """One half of a split network; empty while it is whole."""
        self._one_way = False
        self._cut: set[bytes] = set()
        """Nodes that neither send nor receive any more, whatever else heals."""
        self._mute: set[bytes] = set()
        """Nodes whose messages do not pass any more."""

    def together(self, a: bytes, b: bytes) -> bool:
        """Whether a link between two nodes can be up."""
        if a in self._cut or b in self._cut:
            return False
        return self._one_way or (a in self._side) == (b in self._side)

    def passes(self, sender: bytes, receiver: bytes) -> bool:
        """Whether cuts let a message pass from one node to another."""
        if sender in self._mute or sender in self._cut or receiver in self._cut:
            return False
        if self._one_way:
            return sender in self._side or receiver not in self._side
        return self.together(sender, receiver)

    def reaches(self, a: bytes, b: bytes) -> bool:
        """Whether messages pass both ways."""
        return self.passes(a, b) and self.passes(b, a)

    def delays(self, faulty: bool) -> Iterator[float]:
        """One delay in seconds for each copy of a message that arrives."""
        self.messages += 1
        scenario, rng = self.scenario, self.rng
        for _ in range(1 + (rng.random() < scenario.duplicate)):
            if not faulty or rng.random() >= scenario.loss:
                yield rng.uniform(*scenario.delay_s)
            elif rng.random() < scenario.stray:
                yield rng.uniform(0, STRAY_S)

    def split(self, side: Collection[bytes], *, one_way: bool) -> None:
        """Cut these nodes off from the others, or let only their messages pass."""
        self._side, self._one_way = frozenset(side), one_way

    def lose(self, key: bytes, *, hears: bool) -> None:
        """Cut a node off for good, or (`hears`) block only the messages that it sends."""
        (self._mute if hears else self._cut).add(key)

    def heal(self) -> None:
        """Make the network whole again."""
        self._side, self._one_way = frozenset(), False

    def severed(self) -> list[tuple[bytes, bytes]]:
        """Linked pairs, in both orders, that a cut separates."""
        pairs = ((a, b) for a in self.keys for b in self.links[a])
        return [(a, b) for a, b in pairs if not self.together(a, b)]

    def _links(self) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {key: [] for key in self.keys}
        for a, b in sorted(self._pairs()):
            found[a].append(b)
            found[b].append(a)
        return found

    def _pairs(self) -> set[tuple[bytes, bytes]]:
        """All pairs, or a connected ring with random chords; and nodes that only dial out."""
        outside, inside = self.keys[: self.scenario.nat], list(self.keys[self.scenario.nat :])
        degree = self.scenario.degree
        if degree is None or degree >= len(inside) - 1:
            pairs = {_pair(a, b) for a, b in combinations(inside, 2)}
        else:
            pairs = {_pair(inside[i], inside[i - 1]) for i in range(len(inside))}
            while len(pairs) * 2 < degree * len(inside):
                pairs.add(_pair(*self.rng.sample(inside, 2)))
        for key in outside:
            pairs |= {_pair(key, other) for other in self.rng.sample(inside, 2)}
        return pairs


def _pair(a: bytes, b: bytes) -> tuple[bytes, bytes]:
    return (a, b) if a < b else (b, a)
