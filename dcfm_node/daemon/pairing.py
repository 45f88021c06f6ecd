"""Pairing: the desk that answers guests of an invite, and what a guest makes of the answer.

Nothing here trusts anybody: a site that asks, or that is introduced, waits in `state/pairing` until
the operator approves it. What a guest can cause is bounded by its invite: one request a second, one
site, a few kilobytes on the disk.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import structlog
from zmq.utils import z85

from dcfm_node import __version__
from dcfm_node.api.pairing import OtherPeer, PendingSite
from dcfm_node.config.pairing import Home, is_peer, objection, run_flaw
from dcfm_node.config.peers import Peer
from dcfm_node.config.roster import card_of
from dcfm_node.errors import DcfmError, PeerError
from dcfm_node.net.peers import Way
from dcfm_node.records.base import MAX_REASON
from dcfm_node.records.pairing import (
    MAX_INTRODUCED,
    Card,
    Introduced,
    PairAnswer,
    PairRequest,
)
from dcfm_node.store.pairing import Invite, PairingStore, Site
from dcfm_node.swarm.rate_limiter import RateLimiter
from dcfm_node.wire.envelope import Signer
from dcfm_node.wire.pairing import fingerprint, fingerprint_of, open_request, seal_answer
from dcfm_node.words import utc

log = structlog.get_logger()

REQUESTS_PER_S, REQUESTS_AT_ONCE = 1.0, 8.0
"""Requests of one guest that are read. Others are dropped."""
SWEEP_S = 5.0
"""Seconds between two looks for invites that expired or were closed."""


class Desk:
    """Answers the guests of this node's invites.

    Args:
        home: gives the node's present settings.
        clock: Unix seconds, for expiry and for the operator.
        told: called with each site that asks for the first time.
    """

    def __init__(
        self,
        home: Callable[[], Home],
        clock: Callable[[], float] = time.time,
        told: Callable[[Site], None] = lambda site: None,
    ) -> None:
        self._home, self._clock, self._told = home, clock, told
        self._invites: dict[str, Invite] = {}
        self._limiters: dict[str, RateLimiter] = {}

    def refresh(self) -> frozenset[str]:
        """Read the open invites again; the link keys (Z85) with which their guests may dial.

        Raises:
            UserError: they cannot be read.
        """
        found = PairingStore(self._home().config.state).invites(self._clock())
        self._invites = {z85.encode(invite.public).decode(): invite for invite in found}
        self._limiters = {
            key: self._limiters.get(key)
            or RateLimiter(REQUESTS_PER_S, REQUESTS_AT_ONCE, self._clock())
            for key in self._invites
        }
        return frozenset(self._invites)

    def answer(self, link_key: str, data: bytes) -> bytes | None:
        """The answer to a guest's message; None to say nothing.

        Args:
            link_key: the key that the guest dialled with, Z85.
        """
        invite, now = self._invites.get(link_key), self._clock()
        if invite is None or invite.expires_s <= now or not self._limiters[link_key].take(1.0, now):
            return None
        try:
            request = open_request(data)
            answer = self._considered(invite, request)
        except PeerError as error:
            log.warning("pairing_refused", why=str(error))
            answer = self._refused(invite, f"the request cannot be read: {error}")
        except (DcfmError, OSError) as error:
            log.error("pairing_failed", why=str(error))
            answer = self._refused(invite, "that site cannot answer now: its operator must look")
        return seal_answer(answer, Signer(self._home().keys.sign))

    def _considered(self, invite: Invite, request: PairRequest) -> PairAnswer:
        home, card, now = self._home(), request.card, self._clock()
        store, peers = PairingStore(home.config.state), home.listed()
        sites = store.sites()
        known = sites.get(card.name)
        if flaw := self._flaw(invite, request, peers, sites):
            log.warning("pairing_refused", site=card.name, why=flaw)
            return self._refused(invite, flaw)
        if invite.guest is None:
            invite = invite.model_copy(update={"guest": request.author})
            self._note(invite, store, now)
        same = known is not None and known.card == card and not known.rejected
        if not same or store.run(card.name) != request.run:
            site = Site(card=card, version=request.version, at_ms=int(now * 1_000))
            store.keep(site, request.run)
            if not same:
                fingerprint = fingerprint_of(card)
                log.warning("pairing_request", site=card.name, fingerprint=fingerprint)
                self._told(site)
        if not is_peer(card, peers):
            return self._answer(invite, "waiting")
        for what in learn_introduced(request.introduced, card.name, home, now):
            log.warning("introduction_left_out", by=card.name, why=what)
        if not invite.told:
            self._note(invite.model_copy(update={"told": True}), store, now)
        introduced = introductions(home, card)
        return self._answer(invite, "approved", run=home.told_run(), introduced=introduced)

    def _note(self, invite: Invite, store: PairingStore, now: float) -> None:
        store.put_invite(invite, now)
        self._invites[z85.encode(invite.public).decode()] = invite

    def _flaw(
        self,
        invite: Invite,
        request: PairRequest,
        peers: tuple[Peer, ...],
        sites: dict[str, Site],
    ) -> str:
        card = request.card
        if request.invite != invite.public:
            return "it is meant for another invite"
        if invite.guest not in (None, request.author):
            return "this code was used by another site before; ask for a new one, and say so there"
        known = sites.get(card.name)
        if known is not None and known.rejected and known.card.sign_key == card.sign_key:
            return "the operator there rejected this site"
        waiting = [s.card for s in sites.values() if not s.rejected and not is_peer(s.card, peers)]
        return objection(card, self._home().card, peers, waiting) or run_flaw(request.run)

    def _refused(self, invite: Invite, reason: str) -> PairAnswer:
        return self._answer(invite, "refused", reason=reason[:MAX_REASON])

    def _answer(self, invite: Invite, outcome: str, **more: object) -> PairAnswer:
        card = self._home().card
        return PairAnswer.model_validate(
            {
                "version": __version__,
                "author": card.sign_key,
                "invite": invite.public,
                "card": card,
                "outcome": outcome,
                **more,
            }
        )


def introductions(home: Home, to: Card) -> tuple[Introduced, ...]:
    """What a peer is told of the others: their cards, and the run.toml files that they sent."""
    store = PairingStore(home.config.state)
    others = [peer for peer in home.listed() if peer.sign_key != to.sign_key][:MAX_INTRODUCED]
    return tuple(Introduced(card=card_of(peer), run=store.run(peer.name)) for peer in others)


def pending_sites(home: Home) -> tuple[PendingSite, ...]:
    """The sites that wait for approval.

    Raises:
        UserError: a file is damaged.
    """
    peers = home.listed()
    return tuple(
        pending_site(site)
        for site in PairingStore(home.config.state).sites().values()
        if not site.rejected and not is_peer(site.card, peers)
    )


def pending_site(site: Site) -> PendingSite:
    """A site for documents."""
    return PendingSite(
        name=site.card.name,
        fingerprint=fingerprint_of(site.card),
        link_key=z85.encode(site.card.link_key).decode(),
        control=site.card.control,
        introduced_by=site.introduced_by,
        approved_there=site.approved_there,
        time=utc(site.at_ms),
    )


def other_peers(
    peers: Iterable[Peer], ways: Mapping[bytes, Mapping[str, Way]], roster: Collection[str]
) -> tuple[OtherPeer, ...]:
    """The peers that are not silos of the present run, with their links."""
    none = {"control": Way(""), "bulk": Way("")}
    return tuple(
        OtherPeer(
            name=peer.name,
            fingerprint=fingerprint(peer.sign_key, z85.decode(peer.link_key)),
            control=ways.get(peer.sign_key, none)["control"].via,
            bulk=ways.get(peer.sign_key, none)["bulk"].via,
        )
        for peer in peers
        if peer.name not in roster
    )


def learn(answer: PairAnswer, code: str, home: Home, now_s: float) -> list[str]:
    """Keep what a host answered to this site's request: the host, and whom it introduces.

    Returns:
        What was left out, and why.

    Raises:
        Failed: too many sites are kept.
    """
    approved = answer.outcome == "approved"
    host = Site(
        card=answer.card,
        version=answer.version,
        at_ms=int(now_s * 1_000),
        code=code,
        approved_there=approved,
    )
    left = list(_kept(host, answer.run if approved else None, home))
    return left + learn_introduced(answer.introduced, answer.card.name, home, now_s)


def learn_introduced(
    introduced: Iterable[Introduced], by: str, home: Home, now_s: float
) -> list[str]:
    """Keep the sites that a peer introduces, to be approved. Returns and raises as `learn`."""
    left: list[str] = []
    for told in introduced:
        site = Site(card=told.card, version="", at_ms=int(now_s * 1_000), introduced_by=by)
        left += _kept(site, told.run or None, home)
    return left


def _kept(site: Site, run: bytes | None, home: Home) -> Iterator[str]:
    """Keep a site; tells what of it was left out."""
    store, peers, me = PairingStore(home.config.state), home.listed(), home.card
    sites, name = store.sites(), site.card.name
    if (site.card.sign_key, site.card.link_key) == (me.sign_key, me.link_key):
        return
    known = sites.get(name)
    if site.introduced_by and known is not None and known.card.sign_key == site.card.sign_key:
        # What is known already came from the site itself, or from who introduced it first.
        if known.rejected or run is None:
            return
        site = known
    waiting = [s.card for s in sites.values() if not s.rejected and not is_peer(s.card, peers)]
    if flaw := objection(site.card, me, peers, waiting):
        yield f"{name}: {flaw}"
        return
    if flaw := run_flaw(run or b""):
        yield f"the run.toml of {name}: {flaw}"
        run = None
    store.keep(site, run)
