"""SPEC 3.3.6: what a node says fits its journal, and a full one is a state and no end."""

from dcfm_node.records.entries import Endorse, Withdraw
from dcfm_node.swarm import journal
from dcfm_node.swarm.effects import Leave, Report, Tick, Train, Worked
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.writer import FAREWELL_BYTES
from tests.unit.swarm.builders import Run, snapshot
from tests.unit.swarm.nodes import persisted, started


def full(made: Node, bytes_left: int = FAREWELL_BYTES) -> Node:
    """The same with only so much room in its journal."""
    journals = made.replica.journals
    journals.budget -= journals.room(made.me) - bytes_left
    return made


def reports(effects, event: str) -> list[Report]:
    return [e for e in effects if isinstance(e, Report) and e.event == event]


def test_a_full_journal_is_told_once_and_ends_nothing() -> None:
    made = full(started(Run(3)))
    first = made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    assert persisted(first) == [] and len(reports(first, "journal_full")) == 1
    later = made.handle(Worked(Train("local", 0), snapshot("again"), {}), 2.0)
    later += made.handle(Tick(), 9.0)
    assert persisted(later) == [] and reports(later, "journal_full") == []
    assert made.writer.full


def test_who_has_no_room_left_leads_nothing() -> None:
    made = full(started(Run(3)))
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    made.handle(Tick(), 9.0)
    assert (
        made.exchange.own_heartbeat is not None and not made.exchange.own_heartbeat.heartbeat.ready
    )


def test_a_silo_can_always_say_that_it_withdraws() -> None:
    made = full(started(Run(3)))
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    assert persisted(made.handle(Leave("w" * 500), 2.0)) == ["withdraw"]
    assert made.me in made.replica.view.withdrawn


def test_also_where_numbers_are_used_up_it_can_withdraw(monkeypatch) -> None:
    made = started(Run(3))
    monkeypatch.setattr("dcfm_node.swarm.writer.MAX_SEQ", 3)
    monkeypatch.setattr(journal, "MAX_SEQ", 3)
    for number in range(5):
        made.writer.publish(Endorse(student=bytes([number]) * 32, metrics={}), 0)
    assert made.writer.full
    assert [s.entry.seq for s in made.replica.journals.chains[made.me]] == [0, 1, 2]
    made.writer.publish(Withdraw(reason="moving"), 0)
    assert made.me in made.replica.view.withdrawn


def test_a_record_that_does_not_fit_the_run_is_told_and_dropped() -> None:
    made = started(Run(3))
    odd = Endorse(student=bytes(32), metrics={"two words": 1.0})
    assert len(reports(made.writer.publish(odd, 0), "record_unfit")) == 1
    assert made.writer.publish(odd, 0) == [] and "3.7.14" in made.writer.unfit
    assert persisted(made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)) == [
        "expert"
    ]
