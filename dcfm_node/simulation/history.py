"""What happened in a simulated run, for invariants and readers of a trace."""

from collections import Counter

from dcfm_node.records.entries import Preparation
from dcfm_node.simulation.clock import Clock
from dcfm_node.simulation.trace import Happening
from dcfm_node.wire.envelope import Sealed


class History:
    """What silos said and did, honest or not.

    Args:
        traced: keep what happens in `trace`.
    """

    def __init__(self, clock: Clock, *, traced: bool) -> None:
        self._clock = clock
        self.said: dict[bytes, Sealed] = {}
        """Every entry any honest node ever signed and persisted, by digest."""
        self.excused: set[bytes] = set()
        """Those that too few others held when their author's disk was harmed (SPEC 8.6)."""
        self.equivocators: set[bytes] = set()
        """Silos whose key signed two histories."""
        self.spoilers: set[bytes] = set()
        """Silos whose students are bad."""
        self.spoilt: set[bytes] = set()
        """Digests of those, and of all that went on from one of their checkpoints."""
        self.byzantine: dict[bytes, str] = {}
        """Silos whose node or key is in bad hands, and how."""
        self.outside: set[bytes] = set()
        """Silos on which nothing is built: byzantine, or broken for good."""
        self.offered: set[bytes] = set()
        """Digests of snapshots that byzantine programs serve."""
        self.lies: set[bytes] = set()
        """Digests of snapshots that are named by students who lie."""
        self.unchecked: list[Sealed] = []
        """Those that no invariant has seen."""
        self.leaders: dict[int, bytes] = {}
        """Term, then who was ever seen to lead it."""
        self.prepared: Preparation | None = None
        """What the first node that knew held all to build on."""
        self.published: Counter[str] = Counter()
        self.trace: list[Happening] | None = [] if traced else None

    def say(self, key: bytes, sealed: Sealed) -> None:
        """Keep an entry that its author persisted."""
        if sealed.entry.author == key and sealed.digest not in self.said:
            self.said[sealed.digest] = sealed
            self.unchecked.append(sealed)

    def note(self, key: bytes | None, what: str, **fields: object) -> None:
        """Keep what happened, if somebody wants to read it."""
        if self.trace is not None:
            self.trace.append(Happening(self._clock.now, key, what, fields))
