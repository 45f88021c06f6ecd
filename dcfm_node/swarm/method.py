"""What the swarm asks of a method: the pure half of a plugin (SPEC 6)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from dcfm_node.records.entries import Expert
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import MethodSettings
from dcfm_node.swarm.effects import AuditExperts, Train, Waiting
from dcfm_node.swarm.said import Said

Experts = Sequence[Said[Expert]]


class AtHand(Protocol):
    """What this silo can train from. If something is not on its disk yet, the reason to wait for
    it."""

    @property
    def me(self) -> bytes:
        """This silo's key."""
        ...

    def student(self) -> bytes | Waiting:
        """Digest of the newest student's snapshot."""
        ...

    def own_expert(self) -> bytes | Waiting:
        """Digest of the snapshot of this silo's newest expert, or of the one that replaces a lost
        expert."""
        ...

    def experts(self, upto: int, audited: int) -> Experts | Waiting | AuditExperts:
        """Every active silo's newest expert of round `upto` or earlier, once all silos have audited
        the experts of round `audited`."""
        ...


class Method(MethodSettings, ABC):
    """A method: its settings, what follows from them (`MethodSettings`), and two rules.

    The rules decide from published records only, so that every node decides the same, and any
    reader can check a leader's decision later.
    """

    @abstractmethod
    def train_round(self, run: AtHand, round_: int) -> Train | Waiting | AuditExperts:
        """What this silo trains from in a round after Stage I, or why it waits.

        Args:
            run: the students and experts that are here.
            round_: the round, 1 or higher.
        """

    def finishes(
        self,
        experts: Mapping[bytes, Mapping[int, Said[Expert]]],
        round_: int,
        among: Set[bytes] | None = None,
    ) -> bool:
        """Whether training ends with this round (SPEC 6.5).

        Args:
            experts: by author, then round.
            among: digests of the expert entries that count; all if None.
        """
        return round_ >= self.last_round


class OneShot(Method):
    """A method without rounds: each silo trains once."""

    def train_round(self, run: AtHand, round_: int) -> Train | Waiting | AuditExperts:
        raise AssertionError("a method without rounds has nothing to refine")


def method_of(manifest: Manifest) -> Method:
    """The rules of a run's method.

    Raises:
        TypeError: the package that provides the method gives settings without rules.
    """
    method = manifest.method
    if not isinstance(method, Method):
        raise TypeError(f"method {method.name!r} is not a dcfm_node.swarm.method.Method")
    return method
