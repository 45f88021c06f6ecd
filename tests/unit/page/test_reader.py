"""Looking at the daemon: shared, bounded, and only for what has changed."""

import asyncio

import pytest

from dcfm_node.api.status import WorkerStatus
from dcfm_node.daemon.facts import journal_facts
from dcfm_node.errors import Failed, Unreachable
from dcfm_node.page import records
from dcfm_node.page.reader import JOURNALS_S, POINTS
from dcfm_node.wire.envelope import run_id
from tests.unit.page.made import NONE, Clock, Daemon, looked, reader
from tests.unit.swarm.builders import Run


def test_a_look_has_status_run_and_journals() -> None:
    daemon = Daemon()
    seen = looked(reader(daemon))
    assert seen.now.status == daemon.status
    assert seen.past.run is not None
    assert seen.past.run.node == daemon.status.node
    assert [record.kind for record in seen.past.records] == ["join"]
    assert [mark.kind for mark in seen.past.marks] == ["join"]
    assert {t.name for t in seen.now.traffic} == {"silo-0001", "silo-0002"}


def test_all_who_ask_at_once_share_a_look() -> None:
    daemon = Daemon()
    of = reader(daemon)

    async def crowd() -> None:
        await asyncio.gather(*(of.look() for _ in range(50)))

    asyncio.run(crowd())
    assert daemon.asked.count("status") == 1


def test_journals_are_read_again_only_where_they_have_grown() -> None:
    daemon, clock = Daemon(), Clock()
    of = reader(daemon, clock)
    first = looked(of)
    assert daemon.asked.count("journal") == 1
    clock.now += 60
    again = looked(of)
    assert daemon.asked.count("journal") == 1
    assert again.version == first.version
    daemon.changed["silos"] = tuple(
        s.model_copy(update={"records": 2 * s.own}) for s in daemon.status.silos
    )
    clock.now += 60
    looked(of)
    assert daemon.asked.count("journal") == 2
    clock.now += JOURNALS_S / 2
    looked(of)  # it says 2 records, and its journal has one: not asked for at every look
    assert daemon.asked.count("journal") == 2


def test_rates_are_those_between_two_looks() -> None:
    daemon, clock = Daemon(), Clock()
    of = reader(daemon, clock)
    assert {t.sent_per_s for t in looked(of).now.traffic} == {None}
    clock.now, daemon.sent = clock.now + 10, 6_000
    assert {t.sent_per_s for t in looked(of).now.traffic} == {500.0}
    clock.now, daemon.sent = clock.now + 10, 0  # the daemon was started again
    assert {t.sent_per_s for t in looked(of).now.traffic} == {None}


def test_losses_are_kept_and_bounded() -> None:
    daemon, clock = Daemon(), Clock()
    of = reader(daemon, clock)
    for step in range(POINTS + 20):
        metrics = {"loss": 1.0 / (step + 1)}
        daemon.changed["worker"] = WorkerStatus(device="cpu", pid=1, metrics=metrics)
        doing = daemon.status.doing.model_copy(update={"done": step})
        daemon.changed["doing"] = doing
        clock.now += 2
        seen = looked(of)
    assert len(seen.now.work) == POINTS
    assert seen.now.work[-1].done == POINTS + 19


@pytest.mark.parametrize("error", [Unreachable("nobody", fix="start it"), Failed("it failed")])
def test_a_daemon_that_does_not_answer_is_told(error: Exception) -> None:
    daemon, clock = Daemon(), Clock()
    of = reader(daemon, clock)
    looked(of)
    daemon.fails = error
    clock.now += 60
    seen = looked(of)
    assert seen.now.status is None
    assert seen.now.unreachable == str(error).split("\n", maxsplit=1)[0]
    assert not seen.now.ready.ready
    assert seen.past.records  # what was known stays on the page
    daemon.fails = None
    clock.now += 60
    assert looked(of).now.status is not None


def test_after_another_run_nothing_of_the_old_one_is_shown() -> None:
    daemon, clock = Daemon(), Clock()
    of = reader(daemon, clock)
    old = looked(of).past.run
    other = Daemon(Run(2))
    of.ask = other
    clock.now += 1.6
    new = looked(of).past.run
    assert old is not None
    assert new is not None
    assert old.run.id != new.run.id == run_id(other.run.manifest).hex()


def test_the_newest_records_are_told_and_the_number_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(3, schedule="paper")
    daemon = Daemon(run)
    run.publish_experts(0)
    for author in run.authors[1:]:
        for sealed in author.journal:
            daemon.node.replica.journals.offer(sealed)
    monkeypatch.setattr(records, "MAX_RECORDS", 2)
    names = [silo.name for silo in daemon.run.manifest.roster]
    replica = daemon.node.replica
    journals = {n: journal_facts(replica.journals, replica.view, n) for n in names}
    total = sum(len(journal.entries) for journal in journals.values())
    found = records.past(None, journals, NONE)
    assert total > 2
    assert len(found.records) == 2
    assert found.records_more == total - 2
