"""Commands about peers: who they are, who waits, and changes of peers.toml."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dcfm_node.api.client import call
from dcfm_node.api.pairing import PeersChanged, Pending
from dcfm_node.api.requests import PeersRequest
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.others import asked_lines
from dcfm_node.cli.output import answer, ask, say
from dcfm_node.cli.pairing import PeersFile, reloaded_text, taken_up
from dcfm_node.cli.shown import peers_text
from dcfm_node.errors import ConfigError, Failed

if TYPE_CHECKING:
    from dcfm_node.config.pairing import Home
    from dcfm_node.config.peers import Peer
    from dcfm_node.store.pairing import Site

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; required without a terminal.")]
Who = Annotated[str, typer.Argument(metavar="NAME", help="The site's name.")]

app = typer.Typer(
    help="The peers: pending, approve, reject, add, remove; alone, shows them, their links and"
    " traffic, the sites that wait for approval, and unknown keys that tried to connect.",
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def show(context: typer.Context, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        answer(call(state_folder(config), PeersRequest()), as_json, peers_text)


@app.command()
def pending(
    config: Config = DEFAULT_CONFIG, peers: PeersFile = None, as_json: AsJson = False
) -> None:
    """Show the sites that wait for approval, also while the daemon is down."""
    from dcfm_node.config.pairing import home
    from dcfm_node.daemon.pairing import pending_sites

    here = home(config, peers)
    found = Pending(name=here.config.name, fingerprint=here.fingerprint, sites=pending_sites(here))
    answer(found, as_json, _pending_text)


def _pending_text(found: Pending) -> str:
    lines = [line for site in found.sites for line in asked_lines(site)]
    own = f"this site {found.name}: {found.fingerprint}"
    return "\n".join([*(lines or ["pending   no site waits for approval"]), own])


@app.command()
def approve(
    name: Who,
    fingerprint: Annotated[
        str,
        typer.Option(metavar="HEX", help="Approve only if the site's fingerprint is this one."),
    ] = "",
    yes: Yes = False,
    config: Config = DEFAULT_CONFIG,
    peers: PeersFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a site that waits for approval a peer: writes it into peers.toml.

    Compare its fingerprint by phone first. A running node takes up the change at once. The site
    takes part from the next run on.
    """
    from dcfm_node.config.pairing import home, is_peer, objection
    from dcfm_node.config.roster import peer_of
    from dcfm_node.daemon.pairing import pending_site
    from dcfm_node.store.pairing import PairingStore
    from dcfm_node.wire.pairing import fingerprint_of

    here = home(config, peers)
    store, listed = PairingStore(here.config.state), here.listed()
    site = _known(store.sites(), name)
    if is_peer(site.card, listed):
        raise Failed(f"{name} is a peer already", where=str(here.peers), fix="nothing to do")
    asked = peer_of(site.card)
    old = _earlier(asked, listed)
    others = [peer for peer in listed if peer is not old]
    if flaw := objection(site.card, here.card, others, ()):
        fix = f"'dcfm-node peers remove' the other one first, or 'peers reject {name}'"
        raise Failed(f"{name} cannot be a peer: {flaw}", where=str(here.peers), fix=fix)
    if fingerprint:
        _compare(fingerprint, fingerprint_of(site.card), name)
    elif not yes:
        say(*asked_lines(pending_site(site)), err=True)
        if old is not None:
            say(*_changes(old, asked), err=True)
        _confirm(
            f"Did {name} read out this fingerprint, on a line that you trust?",
            "nobody compared the fingerprints, and there is no terminal to ask on",
            fix="compare them by phone, and give --fingerprint 'HEX' with what you heard, or --yes",
        )
    notes = _keep_run(here, [name], gone=False)
    _write(here, [asked])
    if site.rejected:
        store.keep(site.model_copy(update={"rejected": False}))
    _answer(here, "approved", [name], notes, as_json)


def _compare(given: str, right: str, name: str) -> None:
    """Raises Failed: the operator heard another fingerprint than this node did."""
    if "".join(given.lower().replace("-", " ").split()) != right.replace(" ", ""):
        raise Failed(
            f"the fingerprint of {name} here is {right}, not {given}: somebody is between the two"
            " sites, or it was misheard",
            fix=f"listen again; if it stays different, 'dcfm-node peers reject {name}'",
        )


@app.command()
def reject(
    name: Who, config: Config = DEFAULT_CONFIG, peers: PeersFile = None, as_json: AsJson = False
) -> None:
    """Refuse a site that waits for approval. Its code is closed, and it is not shown again."""
    from dcfm_node.config.pairing import home, is_peer

    here = home(config, peers)
    site = _close(here, name)
    if is_peer(site.card, here.listed()):
        raise Failed(
            f"{name} is a peer", where=str(here.peers), fix=f"'dcfm-node peers remove {name}'"
        )
    from dcfm_node.store.pairing import PairingStore

    PairingStore(here.config.state).keep(site.model_copy(update={"rejected": True}), b"")
    _answer(here, "rejected", [name], [], as_json)


def _close(here: "Home", name: str) -> "Site":
    """Close the invites that a site used; what is known of it."""
    import time

    from dcfm_node.store.pairing import PairingStore

    store = PairingStore(here.config.state)
    site = _known(store.sites(), name)
    for invite in store.invites(time.time()):
        if invite.guest == site.card.sign_key:
            store.close_invite(invite.public)
    return site


@app.command()
def add(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What 'dcfm-node id' printed there; - is stdin.")
    ],
    config: Config = DEFAULT_CONFIG,
    yes: Yes = False,
    peers: PeersFile = None,
    as_json: AsJson = False,
) -> None:
    """Make peers of the [[peer]] blocks in a file, without a code. You vouch for their keys.

    A block with the name and sign_key of a peer, and another link_key or address, replaces the one
    of that peer. A running node takes up the change at once. New sites take part from the next run
    on.
    """
    from dcfm_node.config import toml
    from dcfm_node.config.pairing import home
    from dcfm_node.config.peers import load_peers, peers_of

    here = home(config, peers)
    if file == "-":
        text = sys.stdin.read(1 << 20)
        added = peers_of(toml.parsed(Path("stdin"), text))
    else:
        added = load_peers(Path(file))
    listed = here.listed()
    added = tuple(
        peer for peer in added if peer.sign_key != here.keys.sign_public and peer not in listed
    )
    if not added:
        raise Failed(
            "has no [[peer]] block that is new here", where=file, fix="nothing is to be added"
        )
    changes = [
        line
        for peer in added
        if (old := _earlier(peer, listed)) is not None
        for line in _changes(old, peer)
    ]
    if changes and not yes:
        say(*changes, err=True)
        _confirm(
            f"Change this in {here.peers}?",
            f"this changes {here.peers}, and there is no terminal to ask on",
            fix="give --yes",
        )
    names = [peer.name for peer in added]
    notes = _keep_run(here, names, gone=False)
    _write(here, added)
    _answer(here, "added", names, notes, as_json)


@app.command()
def remove(
    name: Who,
    yes: Yes = False,
    config: Config = DEFAULT_CONFIG,
    peers: PeersFile = None,
    as_json: AsJson = False,
) -> None:
    """Remove a peer from peers.toml. A running node ends its links at once."""
    from dcfm_node.config.pairing import home, is_peer
    from dcfm_node.config.roster import remove_peer
    from dcfm_node.store.archive import last_run
    from dcfm_node.store.pairing import PairingStore

    here = home(config, peers)
    if name not in {peer.name for peer in here.listed()}:
        raise ConfigError(
            f"has no {name!r}", where=str(here.peers), fix="'dcfm-node peers' shows all names"
        )
    present = last_run(here.config.state)
    if present is not None and name in {silo.name for silo in present.roster} and not yes:
        say(
            f"{name} is a silo of the present run, which goes on waiting for it. To go on without"
            " it: 'dcfm-node run continue'",
            err=True,
        )
        _confirm(
            f"Remove {name} from {here.peers}?",
            f"{name} is a silo of the present run, and there is no terminal to ask on",
            fix="give --yes",
        )
    notes = _keep_run(here, [name], gone=True)
    removed = [peer for peer in here.listed() if peer.name == name]
    remove_peer(here.peers, name)
    store = PairingStore(here.config.state)
    site = store.sites().get(name)
    if site is not None and is_peer(site.card, removed):  # a site that waits goes on waiting
        _close(here, name)
        store.forget(name)
    _answer(here, "removed", [name], notes, as_json)


def _known(sites: "dict[str, Site]", name: str) -> "Site":
    if name not in sites:
        names = ", ".join(sites) or "none"
        raise ConfigError(
            f"no site named {name!r} has asked or was introduced",
            where="NAME",
            fix=f"'dcfm-node peers pending' shows who waits; known here: {names}",
        )
    return sites[name]


def _confirm(question: str, unasked: str, *, fix: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(unasked, fix=fix)
    ask(question)


def _earlier(peer: "Peer", listed: "Sequence[Peer]") -> "Peer | None":
    """The block that a new one of the same name and signing key replaces."""
    return next((p for p in listed if (p.name, p.sign_key) == (peer.name, peer.sign_key)), None)


def _changes(old: "Peer", new: "Peer") -> list[str]:
    """What a new block of a peer changes."""
    fields = ("link_key", "control", "bulk", "handover")
    return [
        f"{new.name}: {field} {_field(old, field)} -> {_field(new, field)}"
        for field in fields
        if getattr(old, field) != getattr(new, field)
    ]


def _field(peer: "Peer", field: str) -> str:
    value = getattr(peer, field)
    return value.hex() if isinstance(value, bytes) else str(value or "none")


def _write(here: "Home", added: "Sequence[Peer]") -> None:
    """Put peers into peers.toml, after this node's own block if it lacks that."""
    from dcfm_node.config.peers import own_peer
    from dcfm_node.config.roster import add_peers, listed_peers

    keys = {peer.sign_key for peer in listed_peers(here.peers)}
    own = [] if here.keys.sign_public in keys else [own_peer(here.config, here.keys)]
    add_peers(here.peers, [*own, *added])


def _keep_run(here: "Home", names: Sequence[str], *, gone: bool) -> list[str]:
    """peers.toml is the roster of a run whose run.toml names none. So that the next start goes on
    with the present run, its run.toml gets the names of its silos now. Returns what to tell."""
    from dcfm_node.config.peers import own_peer
    from dcfm_node.config.roster import listed_peers, named_roster, pin_roster
    from dcfm_node.config.run import load_run
    from dcfm_node.store.archive import last_run
    from dcfm_node.wire.envelope import run_id

    present = last_run(here.config.state)
    if present is None:
        return []
    roster, who = [silo.name for silo in present.roster], " and ".join(names)
    inside = [name for name in names if name in roster]
    if gone and not inside:
        return []
    what = f"the present run has the silos {', '.join(roster)}"
    if gone:
        follows = f"{what}. It waits for {who}; 'dcfm-node run continue' makes one without it"
    elif set(names) <= set(roster):
        return []
    else:
        follows = (
            f"{what}, and goes on with them. {who} may link now, and takes part from the next run"
            " on: 'dcfm-node run continue' at any site, with the new peers.toml at every site"
        )
    if named_roster(here.run):
        return [follows]
    try:
        own = own_peer(here.config, here.keys)
        made = load_run(here.run, listed_peers(here.peers), own, listed=here.peers)
        same = run_id(made) == run_id(present)
    except ConfigError:
        same = False
    if same:
        pin_roster(here.run, roster)
        return [
            follows,
            f"{here.run} now names those silos, so the next start goes on with that run",
        ]
    return [
        follows,
        "if the run.toml that this node is started with names no roster, add 'roster = [...]' with"
        " those silos to it: the next start would make another run, since peers.toml changed",
    ]


def _answer(
    here: "Home",
    action: Literal["approved", "rejected", "added", "removed"],
    names: Sequence[str],
    notes: Sequence[str],
    as_json: bool,
) -> None:
    (_, found), notes = taken_up(here.config.state), list(notes)
    file = str(here.peers.absolute())
    if found is not None and found.peers_file != file:
        notes.append(f"the running node reads {found.peers_file}: give --peers that file")
    changed = PeersChanged(
        action=action, names=tuple(names), file=file, reloaded=found, notes=tuple(notes)
    )
    answer(changed, as_json, _changed_text)


def _changed_text(found: PeersChanged) -> str:
    into = {"removed": " from", "rejected": ""}.get(found.action, " in")
    file = f"{into} {found.file}" if into else ""
    lines = [f"{found.action:<9} {', '.join(found.names)}{file}"]
    if found.reloaded is not None:
        lines += reloaded_text(found.reloaded).split("\n")
    return "\n".join([*lines, *(f"note      {note}" for note in found.notes)])
