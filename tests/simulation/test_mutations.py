"""Would the simulator notice? Each test breaks one rule of the protocol and expects a violation."""

from dataclasses import replace

import pytest

from dcfm_node.records.entries import Accept, Lease, Refuse, Student, Vote
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import Entries
from dcfm_node.simulation import faults
from dcfm_node.simulation.invariants import ViolationError
from dcfm_node.simulation.run import simulate
from dcfm_node.simulation.scenario import load
from dcfm_node.swarm import (
    conformity,
    election,
    exchange,
    journal,
    node,
    outcome,
    plan,
    preparing,
    wanted,
    writer,
)
from dcfm_node.swarm.effects import Persist, Score, Send
from dcfm_node.swarm.election import Await, next_move, rank
from dcfm_node.swarm.epochs import Epochs
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.journal import Journals, Offered
from dcfm_node.swarm.liveness import Liveness, Sign
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.outcome import still_true, student_of
from dcfm_node.swarm.recovery import Recovery
from dcfm_node.swarm.view import View

SEEDS = 40


def broken_rule(scenario: str, first: int = 0, **changes: object) -> str:
    """The rule that the first seed breaks which breaks any; fails the test if none does.

    Args:
        first: seed to begin with: one that breaks it, to save the time of those before.
    """
    given = load(scenario, changes)
    for seed in range(first, first + SEEDS):
        try:
            simulate(given, seed)
        except ViolationError as violation:
            return violation.rule
    pytest.fail(f"{SEEDS} seeds of {scenario} passed although a rule was broken")


def test_telling_before_persisting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.5.6: a vote is sent, then kept."""

    def publish(self, sealed):
        self.replica.fold(sealed)
        return [*self.push(sealed), Persist(sealed)]

    monkeypatch.setattr(Exchange, "publish", publish)
    assert broken_rule("power-cuts-publishing") == "durable before sent"


def test_never_persisting_a_vote_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 7.3.3, with power cuts amid elections."""
    publish = Exchange.publish

    def forgetful(self, sealed):
        effects = publish(self, sealed)
        return effects[1:] if isinstance(sealed.entry.body, Vote) else effects

    monkeypatch.setattr(Exchange, "publish", forgetful)
    assert broken_rule("power-cuts", crashes=20) in ("no fork", "nothing is lost")


def test_a_leader_that_is_not_fenced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 7.4, with machines that stand still and wake."""

    def always(body, view, me):
        return isinstance(body, Student) or still_true(body, view, me)

    monkeypatch.setattr(writer, "still_true", always)
    monkeypatch.setattr(node, "still_true", always)
    assert broken_rule("stopped:leaders") == "fenced leaders are silent"


def test_lateness_by_the_wall_clock_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.3.3, with clocks that are wrong: a record counts from when it says it was made."""
    on_folded = Exchange._on_folded
    moved = Liveness.moved

    def by_the_wall(self, peer, sealed, outcome, now):
        self.liveness.said_at = sealed.entry.time_ms / 1_000 - 1.7e9
        return on_folded(self, peer, sealed, outcome, now)

    def suspected(self, duty, now):
        since = self.waiting.get(duty)
        return since is not None and now > max(self.wall.get(duty.silo, 0), since) + self.stall_s

    def moved_by_the_wall(self, author, now):
        moved(self, author, now)
        self.__dict__.setdefault("wall", {})[author] = self.said_at

    monkeypatch.setattr(Liveness, "wall", {}, raising=False)
    monkeypatch.setattr(Exchange, "_on_folded", by_the_wall)
    monkeypatch.setattr(Liveness, "moved", moved_by_the_wall)
    monkeypatch.setattr(Liveness, "suspected", suspected)
    assert broken_rule("clocks:slow-work", 1) in ("nobody is left out", "no storm of votes")


def test_voting_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 7.3.3."""

    def vote_again(view, round_, booth):
        move = next_move(view, round_, booth)
        if not isinstance(move, Await) or "votes" not in move.why or not booth.candidates():
            return move
        term = view.last_term()
        best = min(booth.candidates(), key=lambda key: rank(booth.run, round_, 0, key))
        return Vote(term=term, round=round_, candidate=best)

    monkeypatch.setattr(plan, "next_move", vote_again)
    assert broken_rule("calm") == "nothing is said twice"


def test_accepting_what_nobody_checked_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.11.5, with leaders that make up joins."""

    def credulous(s, leader):
        agreement, term = s.view.agreement, leader.body.term
        proposed = agreement.proposal(term, leader.author)
        if proposed is None or not agreement.may_accept(s.me, term):
            return None
        return Accept(term=term, preparation=proposed)

    monkeypatch.setattr(preparing, "_answer", credulous)
    assert broken_rule("hostile:liars", first=10) == "one preparation"


def test_a_quorum_below_a_majority_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 2.5, with the network split."""
    monkeypatch.setattr(Manifest, "quorum", property(lambda self: len(self.roster) // 2))
    assert broken_rule("split:tolerant", stall_s=40.0) == "one leader per term"


def test_a_lease_without_votes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.1.3: whoever was voted for by anyone leads."""

    def won(view, round_, ruled, me):
        term = view.last_term()
        cast = view.ballots.votes.get(term, {}).values() if term > ruled else ()
        if all(vote.body.candidate != me for vote in cast):
            return None
        cited = [vote.digest for vote in cast] + [bytes([number]) * 32 for number in range(9)]
        votes = sorted(cited)[: view.manifest.quorum]
        return Lease(term=term, round=round_, votes=tuple(votes))

    monkeypatch.setattr(election, "_won", won)
    assert broken_rule("calm") in ("leaders are elected", "nothing is said twice")


def test_writing_without_recovery_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.5.1, with disks lost."""
    monkeypatch.setattr(Recovery, "known", lambda self, *told, **waited: True)
    monkeypatch.setattr(Recovery, "acknowledged", lambda self, *told, **waited: True)
    assert broken_rule("disks-lost") in ("no fork", "nothing is said twice")


def test_an_epoch_that_does_not_rise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.5.3, with disks lost."""
    begin = Recovery.begin

    def same_epoch(self, journals, heartbeat):
        begun = begin(self, journals, heartbeat)
        self.epoch = 0
        return begun

    monkeypatch.setattr(Recovery, "begin", same_epoch)
    assert broken_rule("disks-lost:publishing") == "no fork"


def test_an_epoch_by_what_entries_tell_alone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.5.3, with a disk lost whose last entry few had heard."""

    def after_the_last_entry(self, journals, heartbeat):
        last = journals.head(self.me).epoch
        begun = self.epoch <= last
        self.epoch = last + 1 if begun else self.epoch
        return begun

    monkeypatch.setattr(Recovery, "begin", after_the_last_entry)
    assert broken_rule("disks-lost:publishing", 24) == "no fork"


def test_epochs_of_others_in_memory_alone_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 4.6.4, with disks lost while anybody restarts at any time; kept, they suffice."""
    monkeypatch.setattr(faults, "_witnessed", lambda found, scenario: found)
    often: dict[str, object] = {"disks_lost": 3, "crashes": 10, "loss": 0.4}
    simulate(load("disks-lost:three-silos", often), 17)
    take = Epochs.take

    def unwritten(self, heartbeats, me=None):
        take(self, heartbeats, me)
        return []

    monkeypatch.setattr(Epochs, "take", unwritten)
    assert broken_rule("disks-lost:three-silos", 17, **often) == "nothing is lost"


def test_a_student_that_hides_the_missing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.4.1, with silos that die."""

    def hide(work, *made):
        return student_of(replace(work, missing=()), *made)

    monkeypatch.setattr(outcome, "student_of", hide)
    assert broken_rule("deaths") == "nobody is hidden"


def test_an_entry_that_is_taken_in_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.3.4: a repeated entry cuts what came after it."""
    place = journal.Journals._place

    def again(self, sealed, chain):
        outcome = place(self, sealed, chain)
        if outcome is Offered.KNOWN:
            self._cut(sealed.entry.author, sealed.entry.seq + 1)
            return Offered.REPLACED
        return outcome

    monkeypatch.setattr(exchange, "entry_digest", lambda envelope: b"")
    monkeypatch.setattr(journal.Journals, "_place", again)
    assert broken_rule("unreliable") in ("no fork", "nothing is said twice", "nothing is lost")


def test_an_old_sign_of_life_that_counts_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 4.6.1: a heartbeat that was overtaken."""
    hear = Liveness.hear

    def forget_first(self, sealed, now):
        self.counters.pop(sealed.heartbeat.author, None)
        return hear(self, sealed, now)

    monkeypatch.setattr(Liveness, "hear", forget_first)
    assert broken_rule("unreliable") == "heartbeats only rise"


def test_a_fork_that_is_overlooked_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.3.5, with a key that signs two histories."""
    monkeypatch.setattr(journal.Journals, "_fork", lambda self, a, b: journal.Offered.STALE)
    assert broken_rule("forgers", limit_s=1_500.0) in ("nothing is lost", "in proportion")


def test_endorsing_a_student_unseen_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.2.4."""
    release = plan._release

    def unseen(s):
        student = s.view.newest_student()
        action = release(s)
        if isinstance(action, plan.Waiting) and "snapshot of the student" in action.why:
            return Score(student.digest, student.body.snapshot.digest, None)
        return action

    monkeypatch.setattr(plan, "_release", unseen)
    assert broken_rule("unreliable") == "work has what it needs"


def test_averaging_what_is_newest_to_oneself_alone_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SPEC 6.2.6, with disks lost: who is behind needs experts that are not the newest."""
    monkeypatch.setattr(wanted, "combined_round", lambda s: None)
    assert broken_rule("disks-lost:fedflow", limit_s=1_500.0) == "the run ends"


def test_building_on_what_silos_refused_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.1.5, with leaders whose students are bad."""
    monkeypatch.setattr(View, "overruled", lambda self, student: False)
    assert broken_rule("spoilers:few", 2) == "bad students teach nobody"


def hostile_rule(how: str) -> str:
    """Broken beside a member that writes a fat journal so."""
    return broken_rule("hostile:fat", nodes=5, fat_by=(how,), core=False, limit_s=600.0)


def test_a_record_for_every_record_of_another_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others can make a node write is bounded: here it refuses every student that it hears."""
    handle = Node.handle

    def chatty(self, event, now):
        effects = handle(self, event, now)
        heard = [e.sealed for e in effects if isinstance(e, Persist)] if self._may_write() else []
        for sealed in heard:
            if isinstance(sealed.entry.body, Student) and sealed.entry.author != self.me:
                body = Refuse(student=sealed.digest, reason="", metrics={})
                effects += self.writer.publish(body, 0)
        return effects

    monkeypatch.setattr(Node, "handle", chatty)
    assert hostile_rule("students") in ("in proportion", "bounded")


def test_an_answer_with_all_that_is_held_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is answered is in proportion to what was said: here each stale record gets it all."""
    on_folded = Exchange._on_folded

    def generous(self, peer, sealed, outcome, now):
        effects = on_folded(self, peer, sealed, outcome, now)
        if outcome in (Offered.NEW, Offered.REPLACED):
            return effects
        held = tuple(said.envelope for said in self.replica.journals.chains[sealed.entry.author])
        return [
            *effects,
            Send(peer, Entries(run=self.replica.journals.run, entries=held, beats=())),
        ]

    monkeypatch.setattr(Exchange, "_on_folded", generous)
    assert hostile_rule("stale") == "in proportion"


def test_a_core_that_waits_for_the_broken_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.3: nobody is ever late, so that a tolerant run ends with all or not at all."""
    monkeypatch.setattr(Liveness, "suspected", lambda self, duty, now: False)
    assert broken_rule("hostile", nodes=3, work_s=(80.0, 90.0), quiet_s=60.0) == "the run goes on"


def test_a_student_whose_record_nobody_checks_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.8, with leaders who lie."""
    monkeypatch.setattr(conformity, "flaw", lambda view, said: "")
    assert broken_rule("hostile:liars", first=3) == "lies count for nothing"


def test_counts_that_fit_no_run_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.7.3 and 3.7.4, with a member that joins with such; its expert fails every job."""
    monkeypatch.setattr(Journals, "flaw", lambda self, sealed: "")
    assert broken_rule("hostile:misjoined", nodes=3) in ("the run goes on", "nothing is lost")


def test_progress_without_an_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.3.1, with a member that is busy for ever."""
    late = Liveness.suspected

    def patient(self, duty, now):
        self.duty_s = float("inf")
        return late(self, duty, now)

    monkeypatch.setattr(Sign, "progressed", lambda self, heartbeat: True)
    monkeypatch.setattr(Liveness, "suspected", patient)
    assert broken_rule("hostile:busy", nodes=3) == "the run goes on"


def test_what_is_kept_of_a_fat_journal_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that count for nothing are kept, opened, all the same."""
    monkeypatch.setattr(Journals, "flaw", lambda self, sealed: "")
    monkeypatch.setattr(Journals, "room", lambda self, author: 1 << 30)
    assert broken_rule("hostile:fat-joins") == "in proportion"
