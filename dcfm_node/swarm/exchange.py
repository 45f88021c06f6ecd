"""Gossip: anti-entropy of journals and heartbeats between linked peers (SPEC 4).

A node sends its heads to a few random peers. Each answers with the entries that the other lacks.
All messages are idempotent, so loss, duplication and reordering cost only time.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node import __version__
from dcfm_node.errors import PeerError
from dcfm_node.records.entries import Withdraw
from dcfm_node.records.manifest import MAX_SILOS, Manifest
from dcfm_node.records.messages import (
    Entries,
    Heartbeat,
    Message,
    Mismatch,
    Sync,
)
from dcfm_node.swarm import strangers
from dcfm_node.swarm.activity import Activity
from dcfm_node.swarm.answers import Answers
from dcfm_node.swarm.effects import (
    Effect,
    Foreign,
    Persist,
    PersistFork,
    PersistHeartbeat,
    Report,
    Send,
)
from dcfm_node.swarm.epochs import Epochs
from dcfm_node.swarm.faults import fault_of
from dcfm_node.swarm.journal import Offered, Proofs
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.swarm.recovery import Recovery
from dcfm_node.swarm.replica import Replica
from dcfm_node.swarm.strangers import PeerState
from dcfm_node.wire.envelope import (
    OPENER,
    Opener,
    Sealed,
    SealedHeartbeat,
    Signs,
    entry_digest,
    seal_heartbeat,
)

EMPTY_ANSWERS = 8
"""After this many answers in a row without a new entry, a peer's claim to hold more is doubted."""
FANOUT = 2
"""Linked peers that receive a `sync` in one round of gossip; each answers with its own."""


@dataclass
class Exchange:
    """The conversation of one node with its peers. It keeps the replicas equal."""

    manifest: Manifest
    me: bytes
    replica: Replica
    liveness: Liveness
    peers: dict[bytes, PeerState]
    recovery: Recovery
    opener: Opener = OPENER
    epochs: Epochs = field(default_factory=Epochs)
    own_heartbeat: SealedHeartbeat | None = None
    malformed: dict[bytes, str] = field(default_factory=dict)
    """By peer, why its last malformed input could not be opened. A peer relays only what it opened
    itself, so the fault is its own."""
    outsiders: frozenset[bytes] = frozenset()
    """Linked peers that are on the allow list but not on the roster, so there are few."""
    departed: frozenset[bytes] = frozenset()
    """Authors whose withdrawal is in the log. They may repeat it any number of times."""
    restored: int = 0
    """Length of this node's own journal on its disk when it started."""
    usurped: bool = False
    """Another process signs with this node's key. This node writes no more."""
    answers: Answers = field(init=False)

    def __post_init__(self) -> None:
        self._journals = self.replica.journals
        self.answers = Answers(self._journals)

    @classmethod
    def create(
        cls, manifest: Manifest, me: bytes, liveness: Liveness, opener: Opener = OPENER
    ) -> "Exchange":
        roster = [silo.key for silo in manifest.roster]
        peers = {key: PeerState() for key in roster if key != me}
        recovery = Recovery(me, manifest.quorum, len(peers))
        return cls(manifest, me, Replica(manifest), liveness, peers, recovery, opener)

    def restore(
        self, entries: Iterable[Sealed], forks: Proofs, heartbeats: Iterable[SealedHeartbeat] = ()
    ) -> None:
        """Add what the store kept. Its heartbeats show epochs; they are not signs of life."""
        self.replica.replay(entries, forks)
        self._know_epochs(list(heartbeats))
        for author, kept in self.epochs.kept.items():
            # A stored heartbeat shows an epoch, not life, even if a peer sends it again.
            self.liveness.counters.setdefault(author, kept.heartbeat.counter)
        self.restored = len(self._journals.chains[self.me])
        self.usurped = self.me in self._journals.forks

    # What this node says

    def round_of_gossip(self, rng: random.Random) -> list[Effect]:
        """Send what this node holds to a few random linked peers, and ask for theirs."""
        self._journals.breathe()
        self.epochs.breathe()
        linked = self.linked()
        chosen = rng.sample(linked, min(FANOUT, len(linked)))
        message = self.sync(reply=True)
        return [Send(peer, message) for peer in chosen]

    def heartbeat(self, signer: Signs, activity: Activity, *, ready: bool) -> None:
        """Make this node's next heartbeat."""
        heartbeat = Heartbeat(
            run=self._journals.run,
            author=self.me,
            counter=self.recovery.next_count(self.own_count),
            epoch=max(0, self.recovery.epoch),
            **activity._asdict(),
            ready=ready,
        )
        self.own_heartbeat = seal_heartbeat(heartbeat, signer)

    def sync(self, *, reply: bool) -> Sync:
        """This node's `sync`: what it holds.

        Args:
            reply: ask the receiver for its own.
        """
        counts = {**self.liveness.counters, self.me: self.own_count}
        known = dict.fromkeys((*counts, *self.epochs.kept))
        heartbeats = {author: (counts.get(author, 0), self.epochs.of(author)) for author in known}
        return (
            Sync.model_construct(  # our own state needs no validation here; every peer validates it
                kind="sync",
                run=self._journals.run,
                version=__version__,
                heads=self._journals.heads(),
                beats=heartbeats,
                reply=reply,
            )
        )

    def greet(self, peer: bytes, now: float) -> list[Effect]:
        """Send a `sync` to a peer whose link came up, and ask for its own."""
        may = self.answers.may_greet(peer, now)
        return [Send(peer, self.sync(reply=True))] if may else []

    def push(self, sealed: Sealed) -> list[Effect]:
        """Send a new entry to every linked peer at once. Gossip replaces lost messages."""
        message = Entries(run=self._journals.run, entries=(sealed.envelope,), beats=())
        return [Send(key, message) for key, peer in self.peers.items() if peer.linked]

    def show_life(self) -> list[Effect]:
        """Send this node's newest heartbeat, and nothing else, to every linked peer."""
        if self.own_heartbeat is None:
            return []
        beats = (self.own_heartbeat.envelope,)
        message = Entries(run=self._journals.run, entries=(), beats=beats)
        return [Send(peer, message) for peer in self.linked()]

    def linked(self) -> list[bytes]:
        """Peers whose link is up."""
        return [key for key, peer in self.peers.items() if peer.linked]

    @property
    def own_count(self) -> int:
        """Counter of this node's newest heartbeat; 0 before the first."""
        return self.own_heartbeat.heartbeat.counter if self.own_heartbeat is not None else 0

    def ahead(self) -> list[bytes]:
        """Peers that claim to hold more of this node's journal than the node itself."""
        return self.recovery.ahead(self._journals)

    def own_journal_known(self, waited_s: float, pause_s: float) -> bool:
        """Whether this node knows where its journal ends (SPEC 3.5.1, 3.5.2).

        Args:
            waited_s: seconds since the first link; negative before it.
            pause_s: seconds after the first link in which more links may come up.
        """
        ahead = self.ahead()
        at_last = waited_s >= self.manifest.policy.stall_s
        doubted = [p for p in ahead if at_last or self.peers[p].empty_answers >= EMPTY_ANSWERS]
        return self.recovery.known(
            self._journals,
            self.linked(),
            settled=waited_s >= pause_s,
            at_last=at_last,
            doubted=doubted,
        )

    def recovered(self, *, begun: bool) -> list[Effect]:
        """Report entries that peers restored to this node's journal, once it may write. If the
        epoch was just chosen (`begun`), announce it."""
        found = len(self._journals.chains[self.me]) - self.restored
        told = found > 0 and self.recovery.writable
        report = [Report("journal_recovered", {"entries": found}, "warning")] if told else []
        return [*report, *(self._announce() if begun else [])]

    def _announce(self) -> list[Effect]:
        """Send this node's newest heartbeat to every linked peer, and ask what the peer holds."""
        heartbeats = [self.own_heartbeat] if self.own_heartbeat is not None else []
        kept = self._know_epochs(heartbeats)
        told = Entries(
            run=self._journals.run,
            entries=(),
            beats=tuple(heartbeat.envelope for heartbeat in heartbeats),
        )
        both = (told, self.sync(reply=True))
        return [*kept, *(Send(peer, message) for peer in self.linked() for message in both)]

    # What this node hears

    def hear(self, peer: bytes, message: Message, now: float) -> list[Effect]:
        """Handle a message of an authenticated peer. Never raises because of a peer's input."""
        state = self.peers.get(peer)
        if state is None:
            known, self.outsiders = self.outsiders, self.outsiders | {peer}
            return [] if peer in known else [_refusal(peer, "is not on the roster of this run", 1)]
        state.heard_at = now
        if isinstance(message, Mismatch):
            return strangers.mismatch(self.manifest, peer, state, message, now)
        if message.run != self._journals.run:
            return strangers.other_run(self.manifest, peer, state, now)
        state.trouble = ""
        if isinstance(message, Sync):
            state.version = message.version
            state.ahead = self._journals.lacking(message.heads)
            return self._on_sync(peer, message, now)
        try:
            return self._on_entries(peer, message, now)
        except PeerError as error:
            state.trouble = self.malformed[peer] = str(error)
            state.refusals += 1
            often = state.refusals & (state.refusals - 1)  # reported at the 1st, 2nd, 4th, 8th, ...
            return [] if often else [_refusal(peer, str(error), state.refusals)]

    def hear_foreign(self, event: Foreign) -> list[Effect]:
        """Handle a message of another protocol version."""
        state = self.peers.get(event.peer)
        return strangers.other_protocol(self.manifest, state, event) if state is not None else []

    def _on_sync(self, peer: bytes, sync: Sync, now: float) -> list[Effect]:
        self.recovery.hear(peer, sync)
        if not sync.reply:
            state = self.peers[peer]
            state.empty_answers = 0 if state.brought else state.empty_answers + 1
            state.brought = False
        effects: list[Effect] = []
        if not self.answers.may_ask(peer, now):
            return effects
        heartbeats = self._heartbeats_unknown_to(sync.beats, now)
        effects += self._answer(peer, self.answers.lacking(peer, sync.heads), heartbeats, now)
        if sync.reply:
            effects.append(Send(peer, self.sync(reply=False)))
        return effects

    def _on_entries(self, peer: bytes, message: Entries, now: float) -> list[Effect]:
        # All are opened before any is applied: a folded entry must reach the disk.
        heartbeats = [self.opener.heartbeat(envelope) for envelope in message.beats]
        once = dict.fromkeys(message.entries)
        fresh = (e for e in once if entry_digest(e) not in self._journals.known)
        entries = [self.opener.entry(envelope) for envelope in fresh]
        if any(self._journals.foreign(sealed) for sealed in entries):
            raise PeerError(
                "sent an entry of another run, or of an author who is not on the roster"
            )
        if why := next(filter(None, map(self._journals.flaw, entries)), ""):
            raise PeerError(f"sent an entry that does not fit the run: {why}")
        members, run = self._journals.chains, self._journals.run
        heartbeats = [
            b for b in heartbeats if b.heartbeat.author in members and b.heartbeat.run == run
        ]
        effects: list[Effect] = [*self._know_epochs(heartbeats)]
        for heartbeat in heartbeats:
            if heartbeat.heartbeat.author != self.me:
                self.liveness.hear(heartbeat, now)
        outcomes = [self.replica.fold(sealed) for sealed in entries]
        for sealed, outcome in zip(entries, outcomes, strict=True):
            effects += self._on_folded(peer, sealed, outcome, now)
        if stale := [s.entry for s, o in zip(entries, outcomes, strict=True) if o is Offered.STALE]:
            effects += self._answer(peer, self.answers.in_place_of(stale), [], now)
        return effects

    def _on_folded(self, peer: bytes, sealed: Sealed, outcome: Offered, now: float) -> list[Effect]:
        author = sealed.entry.author
        match outcome:
            case Offered.NEW | Offered.REPLACED:
                self.peers[peer].brought = True
                self.liveness.moved(author, now)
                return [Persist(sealed), *self._check_own(sealed), *self._report(sealed)]
            case Offered.FORK:
                proof = self._journals.forks[author]
                why = f"{self.manifest.silo_name(author)} {fault_of(proof).why}"
                fork = Report("fork", {"why": why}, "error")
                return [PersistFork(proof.first, proof.second), fork, *self._check_own(sealed)]
        return []

    def _answer(
        self, peer: bytes, lacking: Iterable[Sealed], heartbeats: list[bytes], now: float
    ) -> list[Effect]:
        entries = self.answers.entries(peer, lacking, now)
        if not entries and not heartbeats:
            return []
        return [
            Send(peer, Entries(run=self._journals.run, entries=entries, beats=tuple(heartbeats)))
        ]

    def _report(self, sealed: Sealed) -> list[Effect]:
        """A withdrawal, for the log."""
        body, author = sealed.entry.body, sealed.entry.author
        if not isinstance(body, Withdraw) or author in self.departed:
            return []
        self.departed |= {author}
        silo = self.manifest.silo_name(sealed.entry.author)
        return [Report("silo_withdrew", {"silo": silo, "why": body.reason}, "warning")]

    def _check_own(self, sealed: Sealed) -> list[Effect]:
        """Report an entry under our own key, of our epoch or later, that this node did not write.
        Entries of earlier epochs come back from peers after a lost disk."""
        forked = self.me in self._journals.forks
        ours = sealed.entry.author == self.me and self.recovery.writable
        if self.usurped or not ours or (sealed.entry.epoch < self.recovery.epoch and not forked):
            return []
        self.usurped = True
        why = "another process signs with this node's key; this node writes no more"
        return [Report("key_used_twice", {"why": why}, "error")]

    # State

    def publish(self, sealed: Sealed) -> list[Effect]:
        """Add an entry that this node just signed: durable first, then sent."""
        if self.replica.fold(sealed) is not Offered.NEW:
            raise AssertionError("an own entry must extend the own chain")
        return [Persist(sealed), *self.push(sealed)]

    def _know_epochs(self, heartbeats: Sequence[SealedHeartbeat]) -> list[PersistHeartbeat]:
        """Store the epochs in members' heartbeats: they are on disk before any `sync` names
        them."""
        for sealed in heartbeats:
            if sealed.heartbeat.author == self.me:
                self.recovery.show(sealed.heartbeat)
        return [PersistHeartbeat(sealed) for sealed in self.epochs.take(heartbeats, self.me)]

    def _heartbeats_unknown_to(
        self, theirs: Mapping[bytes, tuple[int, int]], now: float
    ) -> list[bytes]:
        own = [self.own_heartbeat] if self.own_heartbeat is not None else []
        # No old heartbeats: a node that has just started would take them for signs of life.
        live = (
            s.heartbeat for key, s in self.liveness.signs.items() if self.liveness.live(key, now)
        )
        held = [*live, *own]
        newer = [
            b for b in held if theirs.get(b.heartbeat.author, (-1, 0))[0] < b.heartbeat.counter
        ]
        found = dict.fromkeys(b.envelope for b in (*self.epochs.unknown_to(theirs), *newer))
        return list(found)[:MAX_SILOS]


def _refusal(peer: bytes, reason: str, times: int) -> Report:
    fields = {"peer": peer.hex()[:8], "why": reason, "times": times}
    return Report("refused_input", fields, "warning")
