"""Pairing: the desk that answers guests of an invite, and what a guest makes of the answer.

Nothing here trusts anybody: a site that asks, or that is introduced, waits in `state/pairing` until
the operator approves it. What a guest can cause is bounded by its invite: one request a second, one
site, a few kilobytes on the disk.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping

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
from dcfm_node.store.pairing import MAX_WAITING, Invite, PairingStore, Site
from dcfm_node.swarm.rate_limiter import RateLimiter
from dcfm_node.wire.envelope import Signer
from dcfm_node.wire.pairing import fingerprint, fingerprint_of, open_request, seal_answer
from dcfm_node.words import utc

log = structlog.get_logger()

Sent = Callable[[bytes, str, int], None]

REQUESTS_PER_S, REQUESTS_AT_ONCE = 1.0, 8.0
"""Requests of one guest that are read. Others are dropped."""
CHANGES_PER_S, CHANGES_AT_ONCE = 1 / 60, 8.0
"""How often one guest may change what it says, and how often it may make this node log a line."""
MAX_NEW = 8
"""Sites that are taken from the introductions of one message. The next message brings others."""
MAX_INTRODUCED_WAITING = 16
"""The most sites that wait for approval by the word of one introducer."""
USED = "this code was used by another site before"
SWEEP_S = 5.0
"""Seconds between two looks for invites that expired or were closed."""


class _Bounds:
    """What the guest of one invite may still cause, from `now_s` on."""

    def __init__(self, now_s: float) -> None:
        self.requests = RateLimiter(REQUESTS_PER_S, REQUESTS_AT_ONCE, now_s)
        self.changes = RateLimiter(CHANGES_PER_S, CHANGES_AT_ONCE, now_s)
        self.warnings = RateLimiter(CHANGES_PER_S, CHANGES_AT_ONCE, now_s)
        self.announced = False


class Desk:
    """Answers the guests of this node's invites.

    Args:
        home: gives the node's present settings.
        clock: Unix seconds, for expiry and for the operator.
        told: called with each site that asks for the first time.
        sent: called with each answer: the guest's key and name, both empty if it was refused; and
            the bytes.
    """

    def __init__(
        self,
        home: Callable[[], Home],
        clock: Callable[[], float] = time.time,
        told: Callable[[Site], None] = lambda site: None,
        sent: Sent = lambda guest, name, size: None,
    ) -> None:
        self._home, self._clock, self._told, self._sent = home, clock, told, sent
        self._invites: dict[str, Invite] = {}
        self._bounds: dict[str, _Bounds] = {}

    def refresh(self) -> frozenset[str]:
        """Read the open invites again; the link keys (Z85) with which their guests may dial.

        Raises:
            UserError: they cannot be read.
        """
        found = PairingStore(self._home().config.state).invites(self._clock())
        self._invites = {z85.encode(invite.public).decode(): invite for invite in found}
        now = self._clock()
        self._bounds = {key: self._bounds.get(key) or _Bounds(now) for key in self._invites}
        return frozenset(self._invites)

    def answer(self, link_key: str, data: bytes) -> bytes | None:
        """The answer to a guest's message; None to say nothing.

        Args:
            link_key: the key that the guest dialled with, Z85.
        """
        invite, now = self._invites.get(link_key), self._clock()
        if invite is None or invite.expires_s <= now:
            return None
        if not self._of(invite).requests.take(1.0, now):
            return None
        guest, name = b"", ""
        try:
            request = open_request(data)
            answer = self._considered(invite, request)
        except PeerError as error:
            self._warn(invite, "pairing_refused", why=str(error))
            answer = self._refused(invite, f"the request cannot be read: {error}")
        except (DcfmError, OSError) as error:
            log.error("pairing_failed", why=str(error))
            answer = self._refused(invite, "that site cannot answer now: its operator must look")
        else:
            if answer.outcome != "refused":
                guest, name = request.author, request.card.name
        sealed = seal_answer(answer, Signer(self._home().keys.sign))
        self._sent(guest, name, len(sealed))
        return sealed

    def _considered(self, invite: Invite, request: PairRequest) -> PairAnswer:
        home, card, now = self._home(), request.card, self._clock()
        store, peers = PairingStore(home.config.state), home.listed()
        sites = store.sites()
        known = sites.get(card.name)
        if flaw := self._flaw(invite, request, peers, sites):
            self._warn(invite, "pairing_refused", site=card.name, why=flaw)
            return self._refused(invite, flaw)
        if invite.guest is None:
            invite = invite.model_copy(update={"guest": request.author})
            self._note(invite, store, now)
        same = known is not None and known.card == card and known.introduced_by is None
        same = same and not (known and known.rejected)
        if not same or (request.run and store.run(card.name) != request.run):
            if not self._of(invite).changes.take(1.0, now):
                return self._refused(invite, "it changes too often: ask again in a minute")
            site = Site(card=card, version=request.version, at_ms=int(now * 1_000))
            store.keep(site, (request.run or None) if same else request.run)
            if not same and not self._of(invite).announced:
                self._of(invite).announced = True
                fingerprint = fingerprint_of(card)
                log.warning("pairing_request", site=card.name, fingerprint=fingerprint)
                self._told(site)
        if not is_peer(card, peers):
            return self._answer(invite, "waiting")
        if left := learn_introduced(request.introduced, card.name, home, now):
            self._warn(invite, "introductions_left_out", by=card.name, why="; ".join(left))
        if not invite.told:
            self._note(invite.model_copy(update={"told": True}), store, now)
        introduced = introductions(home, card)
        return self._answer(invite, "approved", run=home.told_run(), introduced=introduced)

    def _of(self, invite: Invite) -> _Bounds:
        return self._bounds[z85.encode(invite.public).decode()]

    def _warn(self, invite: Invite, event: str, *, why: str, **more: str) -> None:
        """Log what a guest caused: bounded in length, and seldom."""
        if self._of(invite).warnings.take(1.0, self._clock()):
            log.warning(event, why=why[:MAX_REASON], **more)

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
            return USED
        if any(s.rejected and s.card.sign_key == card.sign_key for s in sites.values()):
            return "the operator there rejected this site"
        waiting = _waiting(peers, sites)
        return _unfit(card, self._home().card, peers, waiting) or run_flaw(request.run)

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
    sites = PairingStore(home.config.state).sites()
    return tuple(pending_site(site) for site in _waiting(home.listed(), sites))


def pending_site(site: Site) -> PendingSite:
    """A site for documents."""
    return PendingSite(
        name=site.card.name,
        fingerprint=fingerprint_of(site.card),
        link_key=z85.encode(site.card.link_key).decode(),
        control=site.card.control,
        bulk=site.card.bulk,
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
        UserError: a file is damaged.
    """
    approved = answer.outcome == "approved"
    host = Site(
        card=answer.card,
        version=answer.version,
        at_ms=int(now_s * 1_000),
        code=code,
        approved_there=approved,
    )
    left = _keep_host(host, answer.run if approved else None, home)
    if left or not is_peer(answer.card, home.listed()):
        return left  # a host introduces others once the operator here has approved it
    return learn_introduced(answer.introduced, answer.card.name, home, now_s)


def _keep_host(host: Site, run: bytes | None, home: Home) -> list[str]:
    store = PairingStore(home.config.state)
    sites, peers, name = store.sites(), home.listed(), host.card.name
    if flaw := _unfit(host.card, home.card, peers, _waiting(peers, sites)):
        return [f"{name}: {flaw}"]
    known, left = sites.get(name), list[str]()
    if flaw := run_flaw(run or b""):
        left, run = [f"the run.toml of {name}: {flaw}"], None
    if known is not None and known.introduced_by is not None:
        run = run or b""  # what others said of it gives way to its own word
    store.keep(host, run)
    return left


def learn_introduced(
    introduced: Iterable[Introduced], by: str, home: Home, now_s: float
) -> list[str]:
    """Keep the sites that a peer introduces, to be approved. Nothing that a site said itself, or
    that another introduced first, is replaced. Returns and raises as `learn`."""
    store, peers, me = PairingStore(home.config.state), home.listed(), home.card
    sites = store.sites()
    by_key = {site.card.sign_key: site for site in sites.values()}
    waiting, fresh, left = _waiting(peers, sites), 0, list[str]()
    for told in introduced:
        card, run = told.card.model_copy(update={"handover": None}), told.run
        if (card.sign_key, card.link_key) == (me.sign_key, me.link_key):
            continue
        if flaw := run_flaw(run):
            left.append(f"the run.toml of {card.name}: {flaw}")
            run = b""
        if (known := by_key.get(card.sign_key)) is not None:
            said = known.introduced_by == by and not known.rejected
            if said and run and store.run(known.card.name) != run:
                store.keep(known, run)
        elif fresh == MAX_NEW:
            left.append(f"{card.name}: {MAX_NEW} others came with it; the next 'join' brings it")
        elif flaw := _unfit(card, me, peers, waiting) or _unintroduced(card, by, sites, waiting):
            left.append(f"{card.name}: {flaw}")
        else:
            site = Site(card=card, version="", at_ms=int(now_s * 1_000), introduced_by=by)
            store.keep(site, run)
            sites[card.name] = by_key[card.sign_key] = site
            waiting.append(site)
            fresh += 1
    return left


def _waiting(peers: tuple[Peer, ...], sites: Mapping[str, Site]) -> list[Site]:
    return [s for s in sites.values() if not s.rejected and not is_peer(s.card, peers)]


def _unfit(card: Card, me: Card, peers: tuple[Peer, ...], waiting: list[Site]) -> str:
    """Why a site cannot wait for approval; empty if it can."""
    if flaw := objection(card, me, peers, (site.card for site in waiting)):
        return flaw
    others = [site for site in waiting if site.card.name != card.name]
    if len(others) >= MAX_WAITING and not is_peer(card, peers):
        return f"{MAX_WAITING} sites wait for approval already"
    return ""


def _unintroduced(card: Card, by: str, sites: Mapping[str, Site], waiting: list[Site]) -> str:
    """Why an introduction is left out, beyond that; empty if it is not."""
    if card.name in sites:
        return "another site of that name is known here"
    told = [site for site in waiting if site.introduced_by == by]
    if len(told) >= MAX_INTRODUCED_WAITING:
        return f"{len(told)} sites wait that {by} introduced; approve or reject those first"
    return ""
