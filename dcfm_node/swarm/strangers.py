"""Peers that take no part with this node because their protocol version or manifest differs. The
difference is reported once, in words, and sent to them at most every MISMATCH_S (SPEC 2.6, 4.2.1,
4.5)."""

from dataclasses import dataclass

from dcfm_node import __version__
from dcfm_node.errors import PeerError
from dcfm_node.records.differing import differences, differing_packages, packages_by_section
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import PROTOCOL, Mismatch
from dcfm_node.swarm.effects import Effect, Foreign, Report, Send
from dcfm_node.wire.envelope import decode_manifest, manifest_bytes, named_packages, run_id

MISMATCH_S = 10.0
"""Seconds between two manifests sent to one peer."""
COMPARE_S = MISMATCH_S / 2
"""Seconds between two manifests of one peer that are read: reading one may take a second. A peer
that sends them at most every MISMATCH_S loses none."""


@dataclass
class PeerState:
    """The state of one peer's link."""

    linked: bool = False
    heard_at: float | None = None
    version: str = ""
    trouble: str = ""
    """Why it takes no part with this node, in words: another manifest, malformed input."""
    ahead: int = 0
    """Number of entries beyond ours in its last report."""
    warned_at: float = -1e9
    compared_at: float = -1e9
    turns: int = 0
    """How often `trouble` changed."""
    refusals: int = 0
    """Number of its messages that were refused whole."""
    empty_answers: int = 0
    """How often in a row it answered our `sync` with nothing new."""
    brought: bool = False

    def turned(self, trouble: str, report: Report) -> list[Effect]:
        """Note why the peer takes no part. A new reason is reported at the 1st, 2nd, 4th, 8th, ...
        change, because a member may change it with every message."""
        if trouble == self.trouble:
            return []
        self.trouble, self.turns = trouble, self.turns + 1
        return [] if self.turns & (self.turns - 1) else [report]


def other_protocol(manifest: Manifest, state: PeerState, event: Foreign) -> list[Effect]:
    """Handle a message of another version. The older side must upgrade (SPEC 4.2.1)."""
    name = manifest.silo_name(event.peer)
    older = name if event.protocol < PROTOCOL else "this node"
    software = f" (dcfm-node {event.software})" if event.software else ""
    why = f"speaks protocol {event.protocol}{software}, this node {PROTOCOL}; upgrade {older}"
    state.version = event.software
    return state.turned(why, Report("other_protocol", {"peer": name, "why": why}, "warning"))


def other_run(manifest: Manifest, peer: bytes, state: PeerState, now: float) -> list[Effect]:
    """Handle a message of another run: send our manifest for comparison."""
    state.trouble = state.trouble or "takes part in another run"
    if now - state.warned_at < MISMATCH_S:
        return []
    state.warned_at = now
    reply = Mismatch(
        run=run_id(manifest),
        version=__version__,
        manifest=manifest_bytes(manifest),
        reason="another manifest",
    )
    return [Send(peer, reply)]


def mismatch(
    manifest: Manifest, peer: bytes, state: PeerState, message: Mismatch, now: float
) -> list[Effect]:
    """Handle the manifest of a peer of another run: report what differs."""
    if now - state.compared_at < COMPARE_S:
        return []
    state.compared_at = now
    trouble = unlike(manifest, message)
    state.version = message.version
    fields = {"peer": manifest.silo_name(peer), "why": trouble}
    told = state.turned(trouble, Report("manifest_mismatch", fields, "warning"))
    return [*told, *other_run(manifest, peer, state, now)] if told else []


def unlike(manifest: Manifest, message: Mismatch) -> str:
    """What differs in a peer's manifest, in words."""
    try:
        differ = differences(manifest, decode_manifest(message.manifest, like=manifest))
        return f"its run.toml or roster differs in: {', '.join(differ) or 'nothing'}"
    except PeerError as error:
        there = named_packages(message.manifest)
        packages = differing_packages(packages_by_section(manifest), there)
        found = packages or f"it has dcfm-node {message.version}, this node {__version__}"
        return f"this node cannot read its manifest ({found}): {error}"
