"""What a site tells another one of itself, and which of another's claims fit what it knows."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from zmq.utils import z85

from dcfm_node.config import toml
from dcfm_node.config.keys import NodeKeys, load_keys
from dcfm_node.config.node import NodeConfig, load_node
from dcfm_node.config.peers import Peer, own_peer
from dcfm_node.config.roster import card_of, listed_peers, peer_of
from dcfm_node.config.run import SiteRun
from dcfm_node.config.text import text_of
from dcfm_node.errors import ConfigError
from dcfm_node.files import read_bounded
from dcfm_node.records.pairing import MAX_RUN_BYTES, Card
from dcfm_node.wire.pairing import fingerprint

PEERS_FILE, RUN_FILE = "peers.toml", "run.toml"
SITE_RUN_FILE = "run.site.toml"
"""This site's own run.toml, once `run merge` made another of it."""
MAX_LINE_DOTS = 200
"""The most dots of a line in a run.toml that another site sent."""


@dataclass(frozen=True)
class Home:
    """This node's settings and keys, and the files that pairing reads and writes.

    Attributes:
        path: its node.toml.
        peers: its peers.toml, which may not exist yet.
        run: its run.toml, which may not exist yet.
    """

    path: Path
    config: NodeConfig
    keys: NodeKeys
    peers: Path
    run: Path

    @property
    def card(self) -> Card:
        """What this site says about itself.

        Raises:
            ConfigError: an advertised address has characters that do not travel.
        """
        try:
            return card_of(own_peer(self.config, self.keys))
        except ValidationError as error:
            raise ConfigError(
                "[advertise] has an address with other characters than letters, digits, '.', '-'"
                " and '_'",
                where=str(self.path),
                fix="write a host name or a number",
            ) from error

    @property
    def fingerprint(self) -> str:
        """Of this site's own keys."""
        return fingerprint(self.keys.sign_public, z85.decode(self.keys.link_public))

    def listed(self) -> tuple[Peer, ...]:
        """The approved peers, without this node.

        Raises:
            ConfigError: peers.toml is not valid.
        """
        me = self.keys.sign_public
        return tuple(peer for peer in listed_peers(self.peers) if peer.sign_key != me)

    @property
    def site_run(self) -> Path:
        """The run.toml as this site's own data show it."""
        own = self.run.with_name(SITE_RUN_FILE)
        return own if own.exists() else self.run

    def told_run(self) -> bytes:
        """What others get of it; empty if there is none, or if it is too large."""
        try:
            return read_bounded(self.site_run, MAX_RUN_BYTES)
        except OSError:
            return b""


def home(config: Path, peers: Path | None = None, run: Path | None = None) -> Home:
    """Read a node's settings and keys.

    Raises:
        ConfigError: node.toml or a key cannot be used.
    """
    settings = load_node(config)
    beside = config.parent
    return Home(
        path=config,
        config=settings,
        keys=load_keys(settings.keys),
        peers=peers or beside / PEERS_FILE,
        run=run or beside / RUN_FILE,
    )


def objection(card: Card, me: Card, peers: Iterable[Peer], waiting: Iterable[Card]) -> str:
    """Why a site cannot be approved as its card says; empty if it can.

    Args:
        peers: the approved ones.
        waiting: sites that wait for approval.
    """
    if card.sign_key == me.sign_key or card.link_key == me.link_key:
        return "its keys are this site's own: every site makes its own keys with 'dcfm-node init'"
    if card.name == me.name:
        return f"this site is named {me.name!r} too: set another name in one node.toml"
    try:
        asked = peer_of(card)
    except ValidationError as error:
        return f"its addresses are not valid: {error.errors()[0]['msg']}"
    own = peer_of(me)
    for peer in (own, *peers):
        if (peer.name, peer.sign_key, peer.link_key) == (card.name, asked.sign_key, asked.link_key):
            continue
        if taken := _taken(asked, peer):
            return f"its {taken} is that of {peer.name!r}, another peer"
    for other in waiting:
        if other.sign_key == card.sign_key and other.name != card.name:
            return f"it is known here by the name {other.name!r}, and waits for approval"
        if other.name == card.name and other.sign_key != card.sign_key:
            return f"another site named {card.name!r} waits for approval"
    return ""


def _taken(asked: Peer, peer: Peer) -> str:
    """What of a peer another site claims."""
    for field in ("name", "sign_key", "link_key", "control", "bulk"):
        value = getattr(asked, field)
        if value is not None and value == getattr(peer, field):
            return field
    return ""


def is_peer(card: Card, peers: Iterable[Peer]) -> bool:
    """Whether a site is approved, by its name and both keys."""
    asked = peer_of(card)
    return any(
        (peer.name, peer.sign_key, peer.link_key) == (asked.name, asked.sign_key, asked.link_key)
        for peer in peers
    )


def run_flaw(data: bytes) -> str:
    """Why bytes from another site cannot be read as text; empty if they can, or if there are none.

    They are not parsed: to parse hostile TOML takes long, and the daemon asks this. `sent_run`
    parses, for the operator who waits for it.
    """
    try:
        return "its run.toml has a character NUL" if "\0" in data.decode() else ""
    except UnicodeDecodeError:
        return "its run.toml is not UTF-8 text"


def sent_run(path: Path) -> toml.Document:
    """A run.toml that another site sent.

    Raises:
        ConfigError: it is not one. Also if it would take long to parse: tomllib's work grows with
            the square of the parts of a key.
    """
    fix = "tell its operator, who corrects it and joins again"
    for number, line in enumerate(text_of(path, fix).split("\n"), 1):
        if line.count(".") > MAX_LINE_DOTS:
            what = f"has a line with more than {MAX_LINE_DOTS} dots, which no run.toml needs"
            raise ConfigError(what, where=f"{path}:{number}", fix=fix)
    document = toml.read(path, fix)
    document.parse(SiteRun)
    return document
