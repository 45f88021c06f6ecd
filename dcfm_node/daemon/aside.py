"""Members whose input this node cannot handle.

What one of them signs may meet a defect of ours. The message is dropped; but its records come again
with the gossip of everybody who can handle them, and so would the defect, for as long as the node
runs. So whoever wrote what this node fails on is set aside: nothing more of it is taken in until
the node is started again, and everybody else is heard as before.
"""

from collections.abc import Callable, Sequence

from dcfm_node.records.messages import Entries
from dcfm_node.swarm.effects import Event, LinkUp, Received
from dcfm_node.wire.envelope import OPENER, Opener


class Aside:
    """Who is set aside: of the roster, so that it is bounded, and never this node itself.

    Args:
        me: this node's key.

    Attributes:
        authors: whose records and heartbeats are not taken in, whoever passes them on.
        senders: who is not heard at all: the node fails on what it says of itself.
    """

    def __init__(self, me: bytes, opener: Opener = OPENER) -> None:
        self._me, self._opener = me, opener
        self.authors: dict[bytes, None] = {}
        self.senders: dict[bytes, None] = {}

    def without(self, event: Received | LinkUp) -> Received | LinkUp | None:
        """An event without what is set aside; None if nothing is left of it."""
        if event.peer in self.senders:
            return None
        message = event.message if isinstance(event, Received) else None
        if not self.authors or not isinstance(message, Entries):
            return event
        kept = tuple(e for e in message.entries if self._entrys(e) not in self.authors)
        heartbeats = tuple(e for e in message.beats if self._heartbeats(e) not in self.authors)
        if not kept and not heartbeats:
            return None
        return Received(
            event.peer, message.model_copy(update={"entries": kept, "beats": heartbeats})
        )

    def parts(self, event: Event) -> Sequence[Received]:
        """A message in pieces by one author each, to find out by whom the bad one is."""
        if not isinstance(event, Received):
            return []
        peer, message = event.peer, event.message
        if not isinstance(message, Entries):
            return [event]
        alone = [
            *({"entries": (envelope,), "beats": ()} for envelope in message.entries),
            *({"entries": (), "beats": (envelope,)} for envelope in message.beats),
        ]
        return [Received(peer, message.model_copy(update=update)) for update in alone]

    def blame(self, part: Received) -> bytes | None:
        """Set aside who wrote one of those pieces, or who sent it where nobody signed it; None if
        that is this node itself."""
        message, author = part.message, None
        if isinstance(message, Entries):
            author = self._entrys(*message.entries) or self._heartbeats(*message.beats)
        if author == self._me:
            return None
        if author is not None:
            self.authors[author] = None
        else:
            self.senders[part.peer] = None
        return author or part.peer

    def _entrys(self, *envelopes: bytes) -> bytes | None:
        return _author(lambda: next(self._opener.entry(e).entry.author for e in envelopes))

    def _heartbeats(self, *envelopes: bytes) -> bytes | None:
        return _author(lambda: next(self._opener.heartbeat(e).heartbeat.author for e in envelopes))


def _author(opened: Callable[[], bytes]) -> bytes | None:
    """Who signed; None where that cannot be told: then whoever sent it is answerable."""
    try:
        return opened()
    except Exception:  # also a defect in opening it, which may be what the node fails on
        return None
