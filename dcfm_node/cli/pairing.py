"""Commands by which two sites get to know each other: invite, join, reload."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcfm_node.api.client import Starting, call
from dcfm_node.api.pairing import Invitation, Joined, Reloaded
from dcfm_node.api.requests import ReloadRequest
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.others import asked_lines
from dcfm_node.cli.output import answer, say
from dcfm_node.errors import ConfigError, Failed, Unreachable
from dcfm_node.words import utc

if TYPE_CHECKING:
    from dcfm_node.config.pairing import Home
    from dcfm_node.records.pairing import PairAnswer

PeersFile = Annotated[
    Path | None,
    typer.Option("--peers", help="The peers.toml; default: the one beside node.toml."),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the other site.")]

POLL_S = 4.0
"""Seconds between two questions of a guest. The host admits one connection in 3 s for long."""
SKEW_S = 600
"""How far two sites' clocks may differ before a code counts as expired here."""


def register(app: typer.Typer) -> None:
    """Add these commands to the app."""
    for command in (invite, join, reload):
        app.command()(command)


def invite(
    config: Config = DEFAULT_CONFIG,
    address: Annotated[
        str,
        typer.Option(
            metavar="HOST[:PORT]", help="Where the other site dials; default: [advertise] control."
        ),
    ] = "",
    hours: Annotated[
        float, typer.Option(min=0.01, max=168, help="For how long the code is valid.")
    ] = 24.0,
    peers: PeersFile = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Print a code with which one other site can ask to be a peer: 'dcfm-node join CODE' there.

    The code is for one site, and for a day. It makes nobody a peer: whoever uses it waits until you
    approve it with 'dcfm-node peers approve NAME'. Send it by mail or chat, and compare the
    fingerprints of both sites by phone.

    Works with the daemon up or down. If none runs, this command itself listens on the node's
    control port until the other site has joined.

    Exit codes: 0 the code is printed; 1 the port cannot be used; 2 this node cannot be dialled.
    """
    import secrets

    from zmq.utils import z85

    from dcfm_node.config.pairing import home
    from dcfm_node.store.pairing import Invite, PairingStore
    from dcfm_node.wire.pairing import SECRET_BYTES, Code, encode_code, invite_keys

    here = home(config, peers)
    host, secret = _dialled_at(here, address), secrets.token_bytes(SECRET_BYTES)
    link_key, expires_s = z85.decode(here.keys.link_public), int(time.time() + 3_600 * hours)
    here.card  # noqa: B018 - an address that does not travel is told before the code is
    keys = invite_keys(link_key, secret)
    store = PairingStore(here.config.state)
    found = Invite(public=keys.public, secret=secret, expires_s=expires_s)
    store.put_invite(found, time.time())
    running, _ = taken_up(here.config.state)
    invitation = Invitation(
        code=encode_code(Code(link_key, host, secret, expires_s)),
        name=here.config.name,
        fingerprint=here.fingerprint,
        address=f"tcp://{host}",
        expires=utc(1_000 * expires_s),
        running=running,
    )
    answer(invitation, as_json, _invited_text)
    if no_wait or (running and as_json):
        if not running:
            say("note: no daemon runs, and nobody answers there until it does", err=True)
        return
    _wait_for_guest(here, keys.public, running=running)


def _dialled_at(here: "Home", address: str) -> str:
    """ "host:port" at which a guest dials this node."""
    from dcfm_node.config.addresses import host_and_port

    listen, advertised = here.config.listen.control, here.config.advertise.control
    if listen is None:
        raise ConfigError(
            "this node listens on no port, so no other site can dial it",
            where=str(here.path),
            fix="run 'dcfm-node invite' at the other site, and 'dcfm-node join CODE' here",
        )
    if address:
        port = listen.rpartition(":")[2]
        host, number = host_and_port(address, int(port) if port.isdecimal() else 7400)
        return f"{host}:{number}"
    if advertised is None:
        raise ConfigError(
            "advertise.control is not set, so this node does not know where others dial it",
            where=str(here.path),
            fix="set [advertise] in node.toml, or give --address HOST:PORT",
        )
    return advertised.removeprefix("tcp://")


def _invited_text(found: Invitation) -> str:
    return "\n".join(
        [
            f"invite    one site, until {found.expires} UTC; it dials {found.address}",
            "          at the other site:",
            "",
            f"dcfm-node join {found.code}",
            "",
            f"compare   fingerprint of this site, {found.name}: {found.fingerprint}",
            "          read it out by phone; the other site sees it too, and reads out its own",
        ]
    )


def _wait_for_guest(here: "Home", invite: bytes, *, running: bool) -> None:
    """Tell when the guest has asked, and when it is approved. Ctrl-C ends it."""
    from dcfm_node.cli.guests import Watch

    watch = Watch(here, invite)
    if running:
        say("waiting for the other site; Ctrl-C stops waiting, and the code stays valid", err=True)
        try:
            while not watch.over():
                time.sleep(1.0)
        except KeyboardInterrupt:
            say("", "the code stays valid: 'dcfm-node peers pending' shows who used it", err=True)
        return
    import asyncio

    from dcfm_node.daemon.logs import configure
    from dcfm_node.daemon.standby import wait

    say(
        "no daemon runs, so this command listens for the other site; leave it running, and use"
        " another terminal for 'dcfm-node peers approve'. Ctrl-C ends it",
        err=True,
    )
    configure(here.config.log.format, "error")
    asyncio.run(wait(here, until=watch.over))
    say("stopped listening", err=True)


def join(
    code: Annotated[
        str,
        typer.Argument(
            metavar="[CODE]",
            help="What 'dcfm-node invite' printed at the other site. Without it, every site whose"
            " code this site used is asked again.",
        ),
    ] = "",
    config: Config = DEFAULT_CONFIG,
    peers: PeersFile = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Ask the site that made an invite code to take this site as a peer.

    Sends this site's name, public keys and addresses, and nothing of its data. Then both operators
    compare fingerprints by phone, and each approves the other with 'dcfm-node peers approve NAME'.
    After that, 'dcfm-node join' once more also sends this site's run.toml and tells of its peers,
    and brings the same from there; new sites wait for approval here, too. Works with the daemon up
    or down.

    Exit codes: 0 the other site has heard this one; 1 it cannot be reached or refuses; 2 the code
    has a typo.
    """
    from dcfm_node.config.pairing import home
    from dcfm_node.store.pairing import PairingStore

    here = home(config, peers)
    known = PairingStore(here.config.state).sites().values()
    codes = [code] if code else [site.code for site in known if site.code]
    if not codes:
        raise ConfigError(
            "this site has used no code yet",
            where="CODE",
            fix="ask another site for one: 'dcfm-node invite' there",
        )
    for one in codes:
        _ask_until_approved(here, one, as_json=as_json, patient=not (no_wait or as_json))


def _ask_until_approved(here: "Home", code: str, *, as_json: bool, patient: bool) -> None:
    found = _asked(here, code)
    answer(found, as_json, _joined_text)
    if found.outcome == "approved" or not patient:
        return
    say(
        f"waiting until {found.host.name} approves this site; Ctrl-C stops waiting, and"
        " 'dcfm-node join' asks again",
        err=True,
    )
    try:
        while found.outcome == "waiting":
            time.sleep(POLL_S)
            found = _asked(here, code)
    except KeyboardInterrupt:
        say("", err=True)
        return
    answer(found, as_json, _joined_text)


def _asked(here: "Home", code: str) -> Joined:
    """Ask the host of an invite once, and keep what it answers.

    Raises:
        Failed: it cannot be reached, refuses, or has other keys than the code.
    """
    from zmq.utils import z85

    from dcfm_node.config.pairing import is_peer
    from dcfm_node.daemon.pairing import learn, pending_site, pending_sites
    from dcfm_node.store.pairing import PairingStore
    from dcfm_node.wire.pairing import decode_code

    said = decode_code(code)
    if z85.encode(said.link_key).decode() == here.keys.link_public:
        raise ConfigError("the code is this node's own", where="CODE", fix="use it at another site")
    if said.expires_s < time.time() - SKEW_S:
        raise Failed(
            f"the code expired at {utc(1_000 * said.expires_s)} UTC",
            where="CODE",
            fix="ask for a new one: 'dcfm-node invite' there",
        )
    answered = _conversation(here, code)
    left = learn(answered, code, here, time.time())
    host = answered.card
    kept = PairingStore(here.config.state).sites().get(host.name)
    if kept is None or kept.card != host:
        raise Failed(
            f"{host.name} answered, and cannot become a peer: {'; '.join(left)}",
            fix="settle this with the other site, and ask for a new code",
        )
    waiting = [site for site in pending_sites(here) if site.name != host.name]
    return Joined(
        outcome="approved" if answered.outcome == "approved" else "waiting",
        approved_here=is_peer(host, here.listed()),
        host=pending_site(kept),
        name=here.config.name,
        fingerprint=here.fingerprint,
        introduced=tuple(waiting),
        left_out=tuple(left),
    )


def _conversation(here: "Home", code: str) -> "PairAnswer":
    """The host's answer, if it is of the site that made the code."""
    from zmq.utils import z85

    from dcfm_node import __version__
    from dcfm_node.config.roster import card_of
    from dcfm_node.daemon.egress import record_request
    from dcfm_node.daemon.pairing import USED, introductions
    from dcfm_node.errors import PeerError
    from dcfm_node.net.pairing import ask
    from dcfm_node.records.pairing import PairRequest
    from dcfm_node.wire.envelope import Signer
    from dcfm_node.wire.pairing import decode_code, invite_keys, open_answer, seal_request

    said, card = decode_code(code), here.card
    host = next((p for p in here.listed() if z85.decode(p.link_key) == said.link_key), None)
    keys = invite_keys(said.link_key, said.secret)
    request = PairRequest(
        version=__version__,
        author=card.sign_key,
        invite=keys.public,
        card=card,
        # It names attributes and columns: only for a site that this operator approved.
        run=here.told_run() if host is not None else b"",
        introduced=introductions(here, card_of(host)) if host is not None else (),
    )
    where = f"tcp://{said.address}"
    sealed, sent = seal_request(request, Signer(here.keys.sign)), list[int]()
    try:
        found = open_answer(ask(said, keys, sealed, lambda: sent.append(len(sealed))))
    except PeerError as error:
        what = f"the other site's answer cannot be read: {error}"
        fix = "install the same version of dcfm-node at both sites"
        raise Failed(what, where=where, fix=fix) from error
    finally:
        if sent:
            key, name = (host.sign_key, host.name) if host is not None else (b"", "")
            record_request(here.config.state, key, name, sum(sent))
    if found.card.link_key != said.link_key or found.invite != keys.public:
        what = "the other site answered with other keys than the code's"
        raise Failed(what, where=where, fix="tell its operator, and ask for a new code")
    if found.outcome == "refused":
        what = f"{found.card.name} refused: {found.reason}"
        fix = "correct this here, and join again"
        if found.reason == USED:
            fix = "ask for a new code ('dcfm-node invite' there), and say there that this was used"
        raise Failed(what, where=where, fix=fix)
    return found


def _joined_text(found: Joined) -> str:
    host = found.host
    there = "has approved this site" if found.outcome == "approved" else "has heard this site"
    lines = [
        f"joined    {host.name} {there}",
        f"compare   fingerprint of this site, {found.name}: {found.fingerprint}",
        f"          fingerprint of {host.name}: {host.fingerprint}",
    ]
    if found.approved_here:
        lines.append(f"approved  {host.name} is a peer of this site")
    else:
        lines += [
            f"next      if {host.name} reads out the same by phone: dcfm-node peers approve"
            f" {host.name}",
            "          then 'dcfm-node join' here once more: it brings the run.toml of both sites",
        ]
    for site in found.introduced:
        lines += asked_lines(site)
    lines += [f"left out  {what}" for what in found.left_out]
    if found.outcome == "approved" and found.approved_here and not found.introduced:
        lines.append(
            "next      when all sites have approved each other: 'dcfm-node join' here once more,"
            " then 'dcfm-node run merge'"
        )
    return "\n".join(lines)


def reload(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Let the running node read node.toml and peers.toml again, as the signal HUP does.

    Taken up at once: log.level, gossip.interval_s, limits.upload, advertise, and peers. The answer
    names other settings that changed, also in run.toml; they take effect at the next start.
    """
    answer(call(state_folder(config), ReloadRequest()), as_json, reloaded_text)


def reloaded_text(found: Reloaded) -> str:
    """What a node took up, as text."""
    lines = [f"applied   {what}" for what in found.applied]
    lines += [f"restart   {name} takes effect at the next start" for name in found.restart]
    peers = ", ".join(found.peers) or "none"
    return "\n".join([*(lines or ["applied   nothing changed"]), f"peers     {peers}"])


def taken_up(state: Path) -> tuple[bool, Reloaded | None]:
    """Whether a node runs, and what it took up; None if it is starting and will by itself."""
    try:
        return True, call(state, ReloadRequest())
    except Starting as starting:
        say(f"note: {starting.what}; it takes up the change when it is ready", err=True)
        return True, None
    except Unreachable:
        return False, None
