"""What one node holds of a run: every author's journal, and the view that follows from them.

The same records give the same replica, in any order and from any sender. A node replays them at its
start; a tool replays those of a state folder or lineage.
"""

from collections.abc import Iterable

from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.faults import fault_of
from dcfm_node.swarm.journal import Journals, Offered, Proofs
from dcfm_node.swarm.preparation import Derived
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Sealed


class Replica:
    """The journals of one run, and its view."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest, self.journals = manifest, Journals(manifest)
        self._derivations: dict[tuple[bytes, ...], Derived] = {}
        self._view: View | None = View(manifest, derivations=self._derivations)
        """None after a tail was replaced or cut, until somebody reads the view."""

    def replay(self, entries: Iterable[Sealed], forks: Proofs) -> None:
        """Add the entries that a store kept.

        Args:
            entries: verified; each author's in chain order.
            forks: pairs of entries that prove forks, verified.
        """
        for sealed in entries:
            self.journals.offer(sealed)
        for first, second in forks:
            self.journals.mark_fork(first, second)
        self._view = None

    def fold(self, sealed: Sealed) -> Offered:
        """Offer one verified entry to the journals, and update the view."""
        outcome = self.journals.offer(sealed)
        if outcome is Offered.NEW and self._view is not None:
            self._view.add(sealed)
        elif outcome in (Offered.REPLACED, Offered.FORK):
            self._view = None
        return outcome

    @property
    def view(self) -> View:
        """The view of the journals. After cuts it is rebuilt once, however many there were."""
        if self._view is None:
            forked = {author: fault_of(fork) for author, fork in self.journals.forks.items()}
            said = (sealed for chain in self.journals.chains.values() for sealed in chain)
            self._view = View.of(self.manifest, said, forked, self._derivations)
        return self._view
