"""What `invite` tells while it waits for its guest."""

import time

from dcfm_node.cli.others import asked_lines
from dcfm_node.cli.output import say
from dcfm_node.config.pairing import Home, is_peer
from dcfm_node.daemon.pairing import pending_site
from dcfm_node.store.pairing import PairingStore

LINGER_S = 2.0
"""Seconds for which `invite` still runs after its last answer, so that it arrives."""


class Watch:
    """Follows one invite in the node's files, and prints what happens to it."""

    def __init__(self, here: Home, invite: bytes) -> None:
        self._here, self._invite = here, invite
        self._told = self._approved = self._absent = ""
        self._answered_at: float | None = None

    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        store, now = PairingStore(self._here.config.state), time.time()
        found = [one for one in store.invites(now) if one.public == self._invite]
        if not found:
            say("the code is not valid any more", err=True)
            return True
        if found[0].guest is None:
            return False
        guests = [s for s in store.sites().values() if s.card.sign_key == found[0].guest]
        if not guests:
            return True
        (guest, *_), name = guests, guests[0].card.name
        if not self._told:
            self._told = name
            say(*asked_lines(pending_site(guest)))
        if not self._approved and is_peer(guest.card, self._here.listed()):
            self._approved = name
            say(f"approved  {name} is a peer of this site; waiting until it asks again")
        if not found[0].told:
            return False
        if not store.run(name):
            if not self._absent:
                self._absent = name
                say(
                    f"next      {name} has not sent its run.toml: it does so when it has approved"
                    " this site and joins again. Ctrl-C stops waiting",
                )
            return False
        if self._answered_at is None:
            self._answered_at = now
        return now - self._answered_at > LINGER_S
