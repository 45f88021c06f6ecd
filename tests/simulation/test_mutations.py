"""Would the simulator notice? Each test breaks one rule of the protocol and expects a violation."""

from dataclasses import replace

import pytest

from dcfm_node.records.entries import Vote
from dcfm_node.records.manifest import Manifest
from dcfm_node.simulation.faults import simulate
from dcfm_node.simulation.invariants import ViolationError
from dcfm_node.simulation.scenario import Scenario
from dcfm_node.swarm import outcome, plan
from dcfm_node.swarm.effects import Persist
from dcfm_node.swarm.election import Await, next_move, rank
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.outcome import student_of
from tests.simulation.scenarios import SEVEN

HASTE = {"work_s": (5.0, 20.0), "stall_s": 40.0, "quiet_s": 150.0}


def first_violation(scenario: Scenario, seeds: int) -> str:
    """What the first seed that breaks an invariant says; fails the test if none does."""
    for seed in range(seeds):
        try:
            simulate(scenario, seed)
        except ViolationError as violation:
            return str(violation)
    pytest.fail(f"{seeds} seeds passed although a rule was broken")


def test_telling_before_persisting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.5.6, with power cuts between the two."""

    def publish(self, sealed):
        self._fold(sealed)
        return [*self.push(sealed), Persist(sealed)]

    monkeypatch.setattr(Exchange, "publish", publish)
    scenario = replace(SEVEN["power cuts amid publishing"], loss=0.4, degree=2, **HASTE)
    assert "journal" in first_violation(scenario, 40)


def test_writing_without_recovery_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 3.5.1, with disks lost."""
    monkeypatch.setattr(Exchange, "own_journal_known", lambda self, settled: True)
    violation = first_violation(replace(SEVEN["disks lost"], **HASTE), 10)
    assert "said join" in violation or "journal" in violation


def test_voting_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 7.3.3."""

    def vote_again(view, round_, booth):
        move = next_move(view, round_, booth)
        terms = view.terms(round_)
        if not isinstance(move, Await) or "votes" not in move.why or not booth.candidates():
            return move
        best = min(booth.candidates(), key=lambda node: rank(booth.run, terms[-1], node))
        return Vote(term=terms[-1], round=round_, candidate=best)

    monkeypatch.setattr(plan, "next_move", vote_again)
    assert "said vote" in first_violation(replace(SEVEN["calm"], **HASTE), 10)


def test_a_quorum_below_a_majority_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 2.5, with the network split."""
    monkeypatch.setattr(Manifest, "quorum", property(lambda self: len(self.roster) // 2))
    scenario = replace(SEVEN["split, tolerant"], **HASTE, partition_s=(10.0, 120.0))
    assert "two leaders" in first_violation(scenario, 20)


def test_a_student_that_hides_the_missing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 6.4.1, with silos that die."""

    def hide(work, snapshot, metrics, seed):
        return student_of(replace(work, missing=()), snapshot, metrics, seed)

    monkeypatch.setattr(outcome, "student_of", hide)
    scenario = replace(SEVEN["deaths, tolerant"], **HASTE)
    assert "hides who was missing" in first_violation(scenario, 20)


def test_averaging_what_is_newest_to_oneself_alone_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SPEC 6.2.6, with disks lost: who is behind needs experts that are not the newest."""
    monkeypatch.setattr(plan, "_averaged_round", lambda s: None)
    scenario = replace(SEVEN["disks lost, averaging"], limit_s=2_000.0)
    assert "did not end" in first_violation(scenario, 10)
