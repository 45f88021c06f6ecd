"""What one node holds of a run: every author's journal, and the view that follows from them.

The same records lead to the same replica, whoever sent them and in whatever order: a node replays
them at its start, and a tool that reads a state folder or a lineage does just that.
"""

from collections.abc import Iterable

from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.faults import fault_of
from dcfm_node.swarm.journal import Journals, Offered, Proofs
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import Sealed


class Replica:
    """The journals of one run, and its view."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest, self.journals = manifest, Journals(manifest)
        self._view: View | None = View(manifest)
        """None where a tail was replaced or cut, until it is asked for."""

    def replay(self, entries: Iterable[Sealed], forks: Proofs) -> None:
        """Take in what a store kept.

        Args:
            entries: each author's in chain order, verified.
            forks: pairs of entries that prove forks, verified.
        """
        for sealed in entries:
            self.journals.offer(sealed)
        for first, second in forks:
            self.journals.mark_fork(first, second)
        self._view = None

    def fold(self, sealed: Sealed) -> Offered:
        """Offer one verified entry to the journals, and let the view follow."""
        outcome = self.journals.offer(sealed)
        if outcome is Offered.NEW and self._view is not None:
            self._view.add(sealed)
        elif outcome in (Offered.REPLACED, Offered.FORK):
            self._view = None
        return outcome

    @property
    def view(self) -> View:
        """What the journals say. Made anew where one of them was cut: once, however often."""
        if self._view is None:
            forked = {author: fault_of(fork) for author, fork in self.journals.forks.items()}
            said = (sealed for chain in self.journals.chains.values() for sealed in chain)
            self._view = View.of(self.manifest, said, forked)
        return self._view
