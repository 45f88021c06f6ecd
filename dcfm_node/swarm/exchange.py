"""Gossip: anti-entropy of journals and signs of life between linked peers (SPEC 4).

A node tells a few random peers what it holds; each answers with what the other lacks. Everything
is idempotent, so loss, duplication and reordering cost time and nothing else.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node import __version__
from dcfm_node.errors import PeerError
from dcfm_node.records.manifest import Manifest, differing_fields
from dcfm_node.records.messages import (
    MAX_ENTRIES_BYTES,
    PROTOCOL,
    Beat,
    Entries,
    Head,
    Message,
    Mismatch,
    Sync,
)
from dcfm_node.swarm.effects import Effect, Foreign, Persist, PersistFork, Report, Send
from dcfm_node.swarm.faults import Fault
from dcfm_node.swarm.journal import Fork, Journals, Offered
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import (
    Sealed,
    SealedBeat,
    Signs,
    Verify,
    decode_manifest,
    ed25519,
    manifest_bytes,
    open_beat,
    open_entry,
    run_id,
    seal_beat,
)

MAX_REMEMBERED_BEAT = 2**52
"""No node beats this often: a peer that says so would leave us no higher counter."""
MAX_CLAIMED_EPOCH = 2**52
"""No node starts this often: a head of ours in such an epoch would leave us no later one."""
EMPTY_ANSWERS = 8
"""So many answers in a row without a new entry, and a peer has nothing more for us."""
FANOUT = 2
"""Linked peers that a round of gossip tells; each tells back."""


@dataclass
class PeerState:
    """What is known of one peer's link and standing."""

    linked: bool = False
    heard_at: float | None = None
    version: str = ""
    trouble: str = ""
    """Why it takes no part with us, in words: another manifest, malformed input."""
    warned_at: float = -1e9
    empty_answers: int = 0
    """How often in a row it answered our sync and brought nothing that was new here."""
    brought: bool = False


@dataclass
class Exchange:
    """The replicated state of one node, and the conversation that keeps it so."""

    manifest: Manifest
    me: bytes
    journals: Journals
    liveness: Liveness
    view: View
    peers: dict[bytes, PeerState]
    verify: Verify = ed25519
    own_heads: dict[bytes, Head] = field(default_factory=dict)
    """This node's own journal, as each peer holds it: a node that lost its disk must know."""
    own_beat: SealedBeat | None = None
    own_beats: dict[bytes, int] = field(default_factory=dict)
    """Counter of this node's newest beat that each peer remembers: a restart goes on above it."""
    malformed: dict[bytes, str] = field(default_factory=dict)
    """What a peer sent that could not be opened, the last of each: it relays only what it opened
    itself, so that it is its own."""
    writable: bool = False
    """This node knows how its own journal ends, and may extend it (SPEC 3.5)."""
    restored: int = 0
    """Length of this node's own journal on its disk; what peers had beyond it was lost here."""
    usurped: bool = False
    """Somebody else signs with this node's key, or it runs twice: it writes no more."""

    @classmethod
    def create(
        cls, manifest: Manifest, me: bytes, liveness: Liveness, verify: Verify = ed25519
    ) -> "Exchange":
        run = run_id(manifest)
        roster = [silo.key for silo in manifest.roster]
        peers = {key: PeerState() for key in roster if key != me}
        return cls(manifest, me, Journals(run, roster), liveness, View(manifest), peers, verify)

    def restore(self, entries: Iterable[bytes], forks: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in what the store kept: envelopes in chain order, and proofs of forks."""
        for envelope in entries:
            self._fold(open_entry(envelope, self.verify))
        for first, second in forks:
            both = open_entry(first, self.verify), open_entry(second, self.verify)
            self.journals.mark_fork(*both)
        self._rebuild()
        self.restored = len(self.journals.chains[self.me])
        self.usurped = self.me in self.journals.forks

    # What this node says

    def round_of_gossip(self, rng: random.Random) -> list[Effect]:
        """Tell a few random linked peers what we hold, and ask for the same."""
        linked = [key for key, peer in self.peers.items() if peer.linked]
        chosen = rng.sample(linked, min(FANOUT, len(linked)))
        message = self.sync(reply=True)
        return [Send(peer, message) for peer in chosen]

    def beat(
        self, signer: Signs, *, activity: str, round_: int, done: int, total: int, ready: bool
    ) -> None:
        """Make this node's next sign of life."""
        last = self.own_beat.beat.counter if self.own_beat is not None else 0
        beat = Beat(
            run=self.journals.run,
            author=self.me,
            counter=max(last, *self.own_beats.values(), 0) + 1,
            activity=activity,
            round=round_,
            done=done,
            total=total,
            ready=ready,
        )
        self.own_beat = seal_beat(beat, signer)

    def sync(self, *, reply: bool) -> Sync:
        """What this node holds."""
        beats = dict(self.liveness.counters)
        if self.own_beat is not None:
            beats[self.me] = self.own_beat.beat.counter
        return Sync.model_construct(  # our own state needs no validation; every peer validates it
            kind="sync",
            run=self.journals.run,
            version=__version__,
            heads=self.journals.heads(),
            beats=beats,
            reply=reply,
        )

    def push(self, sealed: Sealed) -> list[Effect]:
        """Tell every linked peer of a new entry at once; gossip mends what gets lost."""
        message = self._entries([sealed.envelope], [])
        return [Send(key, message) for key, peer in self.peers.items() if peer.linked]

    def own_journal_known(self, *, settled: bool, settled_for_good: bool = False) -> bool:
        """Enough peers say where this node's journal ends, and it holds it that far.

        A node whose disk was lost or rolled back would otherwise sign a second history. Enough is
        a quorum, or, once links had time to come up (`settled`), every linked peer (SPEC 3.5). A
        peer that claims more and, asked again and again, does not show it is not believed.
        """
        if self.me in self.journals.forks:
            return False
        if len(self.own_heads) + 1 < self.manifest.quorum:
            linked = [key for key, peer in self.peers.items() if peer.linked]
            if not settled or not linked or any(key not in self.own_heads for key in linked):
                return False
        return settled_for_good or all(
            self.peers[peer].empty_answers >= EMPTY_ANSWERS for peer in self.ahead()
        )

    def ahead(self) -> list[bytes]:
        """Peers that say they hold more of this node's journal than it does itself."""
        own = self.journals.head(self.me)
        heads = self.own_heads.items()
        return [p for p, head in heads if (head.epoch, head.seq) > (own.epoch, own.seq)]

    def next_epoch(self) -> int:
        """The epoch to write under: above the own journal's, and above what peers claim of it and
        do not show, so that even if it is true it is replaced and not contradicted (SPEC 3.5.3)."""
        chain = self.journals.chains[self.me]
        claimed = [self.own_heads[peer].epoch for peer in self.ahead()]
        return max([own.entry.epoch for own in chain[-1:]] + claimed, default=-1) + 1

    # What this node hears

    def hear(self, peer: bytes, message: Message, now: float) -> list[Effect]:
        """One message of an authenticated peer. Never raises on what a peer sent."""
        state = self.peers.get(peer)
        if state is None:
            return [_refusal(peer, "is not on the roster of this run")]
        state.heard_at = now
        if isinstance(message, Mismatch):
            return self._on_mismatch(peer, state, message, now)
        if message.run != self.journals.run:
            return self._on_other_run(peer, state, now)
        state.trouble = ""
        if isinstance(message, Sync):
            state.version = message.version
            return self._on_sync(peer, message)
        try:
            return self._on_entries(peer, message, now)
        except PeerError as error:
            state.trouble = self.malformed[peer] = str(error)
            return [_refusal(peer, str(error))]

    def hear_foreign(self, event: Foreign) -> list[Effect]:
        """A message of another version: whoever is older must be upgraded (SPEC 4.2.1)."""
        state = self.peers.get(event.peer)
        if state is None:
            return []
        name = self.manifest.silo_name(event.peer)
        older = name if event.protocol < PROTOCOL else "this node"
        software = f" (dcfm-node {event.software})" if event.software else ""
        why = f"speaks protocol {event.protocol}{software}, this node {PROTOCOL}; upgrade {older}"
        if state.trouble == why:
            return []
        state.trouble, state.version = why, event.software
        return [Report("other_protocol", {"peer": name, "why": why}, "warning")]

    def _on_sync(self, peer: bytes, sync: Sync) -> list[Effect]:
        if self.me in sync.heads and sync.heads[self.me].epoch < MAX_CLAIMED_EPOCH:
            self.own_heads[peer] = sync.heads[self.me]
        if not sync.reply:
            state = self.peers[peer]
            state.empty_answers = 0 if state.brought else state.empty_answers + 1
            state.brought = False
        if (counter := sync.beats.get(self.me, 0)) < MAX_REMEMBERED_BEAT:
            self.own_beats[peer] = counter
        effects: list[Effect] = []
        entries = [sealed.envelope for sealed in self.journals.missing(sync.heads)]
        beats = self._beats_unknown_to(peer, sync.beats)
        if entries or beats:
            effects.append(Send(peer, self._entries(entries, beats)))
        if sync.reply:
            effects.append(Send(peer, self.sync(reply=False)))
        return effects

    def _on_entries(self, peer: bytes, message: Entries, now: float) -> list[Effect]:
        # All are opened before any is applied: what was folded in must reach the disk.
        beats = [open_beat(envelope, self.verify) for envelope in message.beats]
        entries = [open_entry(envelope, self.verify) for envelope in message.entries]
        if any(self.journals.foreign(sealed) for sealed in entries):
            raise PeerError("sent an entry of another run or of a stranger")
        effects: list[Effect] = []
        for beat in beats:
            known = beat.beat.author in self.peers and beat.beat.run == self.journals.run
            if known:
                self.liveness.hear(beat, now)
        for sealed in entries:
            effects += self._on_entry(peer, sealed, now)
        return effects

    def _on_entry(self, peer: bytes, sealed: Sealed, now: float) -> list[Effect]:
        author = sealed.entry.author
        outcome = self._fold(sealed)
        match outcome:
            case Offered.NEW | Offered.REPLACED:
                self.peers[peer].brought = True
                self.liveness.moved(author, now)
                if outcome is Offered.REPLACED:
                    self._rebuild()
                return [Persist(sealed), *self._check_own(author)]
            case Offered.FORK:
                self._rebuild()
                proof = self.journals.forks[author]
                name = self.manifest.silo_name(author)
                why = f"{name} signed two different entries as number {proof.seq}"
                fork = Report("fork", {"why": why}, "error")
                return [PersistFork(proof.first, proof.second), fork, *self._check_own(author)]
            case Offered.STALE:
                newer = self.journals.chains[author][sealed.entry.seq :]
                return [Send(peer, self._entries([s.envelope for s in newer], []))]
            case _:
                return []

    def _check_own(self, author: bytes) -> list[Effect]:
        """An entry under our own key that we did not write, once we write ourselves."""
        if author != self.me or not self.writable or self.usurped:
            return []
        self.usurped = True
        why = "this node's key signs elsewhere too; this node writes no more"
        return [Report("key_used_twice", {"why": why}, "error")]

    def _on_other_run(self, peer: bytes, state: PeerState, now: float) -> list[Effect]:
        state.trouble = state.trouble or "takes part in another run"
        if now - state.warned_at < 10.0:
            return []
        state.warned_at = now
        reply = Mismatch(
            run=self.journals.run,
            version=__version__,
            manifest=manifest_bytes(self.manifest),
            reason="another manifest",
        )
        return [Send(peer, reply)]

    def _on_mismatch(
        self, peer: bytes, state: PeerState, message: Mismatch, now: float
    ) -> list[Effect]:
        try:
            fields = differing_fields(self.manifest, decode_manifest(message.manifest))
            trouble = f"its run.toml or roster differs in: {', '.join(fields) or 'nothing'}"
        except PeerError as error:
            trouble = f"its manifest cannot be read: {error}"
        state.version = message.version
        if trouble == state.trouble:
            return []
        state.trouble = trouble
        name = self.manifest.silo_name(peer)
        report = Report("manifest_mismatch", {"peer": name, "why": trouble}, "warning")
        return [report, *self._on_other_run(peer, state, now)]

    # State

    def publish(self, sealed: Sealed) -> list[Effect]:
        """Take in an entry this node just signed: durable first, then told."""
        if self._fold(sealed) is not Offered.NEW:
            raise AssertionError("an own entry must extend the own chain")
        return [Persist(sealed), *self.push(sealed)]

    def _fold(self, sealed: Sealed) -> Offered:
        outcome = self.journals.offer(sealed)
        if outcome is Offered.NEW:
            self.view.add(sealed)
        return outcome

    def _rebuild(self) -> None:
        chains: Sequence[list[Sealed]] = list(self.journals.chains.values())
        forked = {author: fault_of(fork) for author, fork in self.journals.forks.items()}
        said = (sealed for chain in chains for sealed in chain)
        self.view = View.of(self.manifest, said, forked)

    def _beats_unknown_to(self, peer: bytes, theirs: Mapping[bytes, int]) -> list[bytes]:
        found = [
            self.liveness.signs[author].beat.envelope
            for author, counter in self.liveness.counters.items()
            if theirs.get(author, -1) < counter and author != peer
        ]
        own = self.own_beat
        if own is not None and theirs.get(self.me, -1) < own.beat.counter:
            found.append(own.envelope)
        return found

    def _entries(self, entries: list[bytes], beats: list[bytes]) -> Entries:
        """As many entries as one message may bear; the rest follows at the next sync."""
        room, fitting = MAX_ENTRIES_BYTES, 0
        for envelope in entries[:4_096]:
            room -= len(envelope) + 5
            if room < 0 and fitting:
                break
            fitting += 1
        return Entries(run=self.journals.run, entries=tuple(entries[:fitting]), beats=tuple(beats))


def fault_of(fork: Fork) -> Fault:
    """A fork among other faults; its second entry shows it."""
    why = f"signed two different entries as number {fork.seq}"
    return Fault("fork", max(fork.first.digest, fork.second.digest), why)


def _refusal(peer: bytes, reason: str) -> Report:
    return Report("refused_input", {"peer": peer.hex()[:8], "why": reason}, "warning")
