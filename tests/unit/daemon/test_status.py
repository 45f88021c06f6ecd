"""What status says of silos that are away, and of what is waited for."""

from typing import Any

import pytest

from dcfm_node.api.problems import THIS_NODE, Code, exit_code
from dcfm_node.api.status import Machine, Status, Stranger
from dcfm_node.cli.overview import status_text
from dcfm_node.daemon.eta import Rates
from dcfm_node.daemon.imports import LastImport
from dcfm_node.daemon.problems import other_units
from dcfm_node.daemon.registry import Registry
from dcfm_node.daemon.status import Surroundings, status
from dcfm_node.net.peers import Crowd, Failure, Way
from dcfm_node.records.entries import Verdict, Withdraw
from dcfm_node.records.messages import Entries
from dcfm_node.records.moments import Moments
from dcfm_node.swarm.effects import Held, LinkDown, LinkUp, Received, Tick, Train, Worked
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import seal_heartbeat
from tests.unit.swarm.builders import Run, endorse, lease, snapshot, vote
from tests.unit.swarm.nodes import empty, node, started, told

DAY_S = 86_400.0


def explained(made: Node, now: float, **around: Any) -> list[str]:
    """The reasons in `status --explain`."""
    lines = status_text(status(made, now, Surroundings(**around)), explain=True).splitlines()
    begin, end = (
        next(n for n, line in enumerate(lines) if line.startswith(word))
        for word in ("why ", "leader ")
    )
    return lines[begin:end]


def shown(found: Status) -> str:
    return status_text(found, explain=False)


def named(found: Status) -> list[tuple[Code, str]]:
    """Codes and subjects of the problems."""
    return [(problem.code, problem.subject) for problem in found.problems]


def heartbeat(made: Node, run: Run, peer: int, now: float, counter: int = 1) -> None:
    """A sign of life, over a link of its own."""
    sign = run.authors[peer].heartbeat(counter, done=43)
    message = Entries(run=run.id, entries=(), beats=(sign.envelope,))
    made.handle(LinkUp(run.keys[peer]), now)
    made.handle(Received(run.keys[peer], message), now)


def test_a_fresh_node_says_what_it_needs_of_whom_before_it_writes() -> None:
    run = Run(3)
    made = node(run)
    made.handle(Tick(), 0.0)
    why, *waits = explained(made, 0.0)
    assert "2 peers must tell what they hold of its own journal" in why
    assert why.endswith(": 0 did")
    assert waits == [
        f"waits for silo-000{n}: not connected, not heard since this node started" for n in (1, 2)
    ]
    made.handle(told(run, 1, empty(run)), 0.0)
    why, *waits = explained(made, 0.0)
    assert why.endswith(": 1 did")
    assert [line.split()[2] for line in waits] == ["silo-0002:"]


def test_who_is_down_is_not_said_to_train() -> None:
    run = Run(3)
    made = started(run)
    heartbeat(made, run, 1, 0.0)
    heartbeat(made, run, 2, 0.0)
    why, *waits = explained(made, 0.0)
    assert why.endswith(
        "this node's part in local is under way; after it, the run waits for the others' experts"
    )
    assert waits[0] == "waits for silo-0001: connected, local round 0, 43.0 %"
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    made.handle(LinkDown(run.keys[2]), 1.0)
    heartbeat(made, run, 1, 40.0)
    made.exchange.liveness.hear(run.authors[1].heartbeat(2, done=50), 40.0)
    assert explained(made, 40.0) == [
        "why       waiting for experts",
        "waits for silo-0001: connected, local round 0, 50.0 %",
        "waits for silo-0002: not connected, last heard 40 s ago",
    ]


def test_who_is_linked_and_takes_no_part_is_not_said_to_be_away() -> None:
    """A stopped process keeps its link a while, and one of another manifest for ever."""
    run = Run(3)
    made = started(run)
    heartbeat(made, run, 2, 0.0)
    made.handle(LinkUp(run.keys[1]), 0.0)
    made.exchange.peers[run.keys[1]].trouble = "its run.toml or roster differs in: name"
    made.handle(Worked(Train("local", 0), snapshot("mine"), {}), 1.0)
    assert explained(made, 40.0)[1:] == [
        "waits for silo-0001: connected, its run.toml or roster differs in: name",
        "waits for silo-0002: connected, and silent: last heard 40 s ago",
    ]


def carried(now: float, age_s: float) -> dict[str, LastImport]:
    """A bundle of the third silo, imported so long ago."""
    time_ms = int((now - age_s) * 1_000)
    return {
        "silo-0002": LastImport(time_ms=time_ms, bundle_of="silo-0002", records=12, snapshots=2)
    }


def done_by_the_second(made: Node, run: Run) -> None:
    """Its expert is here: nobody waits for it longer than `policy.duty_s`, whatever it shows."""
    run.publish_experts(0, but=(0, 2))
    hear(made, run, run.keys[1])
    for digest in list(made.fetching):
        made.handle(Held(digest), 0.0)


@pytest.mark.parametrize(
    ("age_s", "health"), [(None, "degraded"), (3 * 3_600.0, "healthy"), (8 * DAY_S, "degraded")]
)
def test_a_silo_that_comes_by_bundle_takes_part_until_none_came_for_a_week(
    age_s: float | None, health: str
) -> None:
    now, run = 30 * DAY_S, Run(3)
    made = started(run)
    made.handle(LinkDown(run.keys[2]), 0.0)
    done_by_the_second(made, run)
    heartbeat(made, run, 1, now)
    came = carried(now, age_s) if age_s is not None else {}
    document = status(made, now, Surroundings(carried=came))
    assert (document.health, bool(document.problems)) == (health, health == "degraded")
    assert exit_code(document.problems) == (3 if health == "degraded" else 0)
    text = shown(document)
    if age_s == 3 * 3_600.0:
        assert (
            "bundle    silo-0002: 3 h ago, 12 new records in the bundle of silo-0002,"
            " with 2 snapshots that this node needed"
        ) in text
        made.handle(Worked(Train("local", 0), snapshot("mine"), {}), now)
        assert explained(made, now, carried=came)[-1] == (
            "waits for silo-0002: takes part by bundle, the last one 3 h ago"
        )
    elif age_s is not None:
        (problem,) = document.problems
        assert (problem.code, problem.since_s) == (Code.BUNDLE_OVERDUE, age_s)
        assert problem.sentence == "silo-0002 was not mentioned in any bundle for 8 days"


def test_a_bundle_does_not_excuse_a_silo_that_was_heard_since() -> None:
    now, run = 30 * DAY_S, Run(3)
    made = started(run)
    done_by_the_second(made, run)
    heartbeat(made, run, 1, now)
    heartbeat(made, run, 2, now - 600.0)
    made.handle(LinkDown(run.keys[2]), now - 500.0)
    document = status(made, now, Surroundings(carried=carried(now, 3_600.0)))
    (problem,) = document.problems
    assert (problem.code, problem.subject) == (Code.PEER_SILENT, "silo-0002")
    assert (problem.sentence, problem.since_s) == (
        "silo-0002 has not been heard from for 600 s",
        600.0,
    )
    document = status(made, now, Surroundings(carried=carried(now, 60.0)))
    assert document.health == "healthy"


def test_unknown_keys_that_knocked_are_one_line() -> None:
    run = Run(3)
    made = started(run)
    assert "knocks" not in shown(status(made, 0.0))
    knocks = tuple(Stranger(link_key=f"key {n}", address=f"192.0.2.{n}", reason="") for n in (1, 2))
    for pending, more, words in (
        (knocks[:1], False, "1 key that peers.toml lacks, the last from 192.0.2.1:"),
        (knocks, False, "2 keys that peers.toml lacks, the last from 192.0.2.2:"),
        (knocks, True, "2 keys or more that peers.toml lacks, the last from 192.0.2.2:"),
    ):
        machine = Machine(pending=pending, pending_more=more)
        text = shown(status(made, 0.0, Surroundings(machine=machine)))
        assert f"knocks    {words} 'dcfm-node peers' shows them" in text.splitlines()


def test_who_is_not_heard_is_told_with_the_age_of_its_last_record() -> None:
    """A third site takes in no bundles of it: its records come by way of who does."""
    run, now = Run(3), 1_000.0
    made = started(run)
    run.authors[2].join()
    hear(made, run, run.keys[2])
    told_so = (
        "silo-0002 has not been heard from since this node started; its last record is 1000 s old"
    )
    assert told_so in [problem.sentence for problem in status(made, now).problems]


def test_coverage_is_that_of_the_silos_that_take_part_once_all_said_what_they_hold() -> None:
    run = Run(3)
    made = started(run)
    for number, author in enumerate(run.authors[1:], 1):
        author.join(counts=(((0, number - 1), 3),))
    so_far = "1 of 3 silos have published what they hold: 1 of 4 combinations so far"
    assert so_far in status_text(status(made, 0.0), explain=True)
    assert not unseen(made), "others may hold it"
    for author in run.authors[1:]:
        hear(made, run, author.key)
    whole = status(made, 0.0).coverage
    assert (whole.silos, whole.silos_told) == (3, 3)
    assert whole.missing_values and unseen(made)
    run.authors[2].say(Withdraw(reason="moving"))
    hear(made, run, run.keys[2])
    left = status(made, 0.0).coverage
    assert (left.silos, left.observed) == (2, whole.observed - 1)


def test_what_cannot_be_composed_is_told_with_what_to_add() -> None:
    def hold(*held: tuple[tuple[int, int], ...]) -> Status:
        run = Run(3)
        made = started(run)
        for author, labels in zip(run.authors, held, strict=True):
            author.join(counts=tuple((label, 3) for label in labels))
            hear(made, run, author.key)
        return status(made, 0.0)

    told = hold(((0, 0),), ((1, 1),), ((0, 0),)).problems
    (gap,) = (problem for problem in told if problem.code is Code.COVERAGE_GAP)
    assert "2 of 2 novel combinations cannot be composed" in gap.sentence
    assert "silo-0001 shares no value with the others" in gap.sentence
    assert "such as left/top" in gap.fix
    whole = hold(((0, 0),), ((1, 1),), ((0, 1), (1, 0)))
    assert Code.COVERAGE_GAP not in [code for code, _ in named(whole)]
    assert "none is left to compose" in status_text(whole, explain=True)


def test_a_superseded_student_is_said_to_be() -> None:
    run = Run(3, method="dfd", participation="tolerant")
    made = started(run)
    run.publish_experts(0, but=(0,))
    votes = [author.say(vote(1, 0, run.keys[1])) for author in run.authors[1:]]
    claimed = run.authors[1].say(lease(1, 0, votes))
    run.authors[1].say(run.student(claimed))
    for key in run.keys[1:]:
        hear(made, run, key)
    assert "none is released yet" in shown(status(made, 0.0))
    run.authors[2].say(Withdraw(reason="moving"))
    hear(made, run, run.keys[2])
    text = shown(status(made, 0.0))
    assert "the last is superseded" in text and "silo-0002 withdrew: moving" in text


def test_what_was_thought_of_a_past_expert_is_no_problem_once_the_student_has_a_good_one() -> None:
    run = Run(3, rounds=1)
    made = started(run)

    def train(work: Train) -> None:
        made.handle(Worked(work, snapshot(f"expert 0 {work.round}"), {}), 0.0)
        run.publish_experts(work.round, but=(0,))
        run.authors[0].journal = list(made.replica.journals.chains[made.me])

    def doubts() -> list[str]:
        for key in run.keys[1:]:
            hear(made, run, key)
        return [p.sentence for p in status(made, 0.0).problems if "noise" in p.sentence]

    train(Train("local", 0))
    bad = run.view().experts[run.keys[2]][0]
    verdict = Verdict(subject=run.keys[2], cause="score", entry=bad.digest, reason="like noise")
    run.authors[1].say(verdict)
    assert doubts()
    train(Train("refine", 1, anchor=bytes(32)))
    votes = [author.say(vote(1, 1, run.keys[1])) for author in run.authors[1:]]
    claimed = run.authors[1].say(lease(1, 1, votes))
    released = run.authors[1].say(run.student(claimed))
    assert doubts(), "it may be superseded yet"
    for author in run.authors[1:]:
        author.say(endorse(released))
    assert not doubts()


def unseen(made: Node) -> bool:
    """Whether status says that nobody holds some value."""
    return Code.VALUE_UNSEEN in [problem.code for problem in status(made, 0.0).problems]


def hear(made: Node, run: Run, author: bytes) -> None:
    """All that an author said so far."""
    (journal,) = (a.journal for a in run.authors if a.key == author)
    entries = tuple(sealed.envelope for sealed in journal)
    made.handle(Received(author, Entries(run=run.id, entries=entries, beats=())), 0.0)


FAILED = Failure("tcp://east:7401", 17, "refused the connection")


def ways(run: Run, **bulk: Any) -> dict[bytes, dict[str, Way]]:
    """All linked on both planes, but the second silo's bulk."""
    both = {"control": Way("own", 99.0), "bulk": Way("own", 99.0)}
    return {run.keys[1]: both | {"bulk": Way(**bulk)}, run.keys[2]: both}


def alive(run: Run) -> Node:
    """A node that hears both others."""
    made = started(run)
    for peer in (1, 2):
        heartbeat(made, run, peer, 0.0)
    return made


@pytest.mark.parametrize(
    ("bulk", "problem", "shown"),
    [
        ({"via": "own"}, "", "up"),
        ({"via": "control port", "failures": (FAILED,)}, "", "control port"),
        ({"via": "", "for_s": 5.0, "failures": (FAILED,)}, "", "down"),
        (
            {"via": "", "for_s": 99.0, "failures": (FAILED,)},
            "no bulk link to silo-0001 stands, so no snapshot passes directly: 17 dials in a row to"
            " tcp://east:7401 failed: refused the connection",
            "down",
        ),
        (
            {"via": "", "for_s": 99.0},
            "no bulk link to silo-0001 stands, so no snapshot passes directly: it does not dial"
            " this node either",
            "down",
        ),
    ],
)
def test_who_is_linked_on_one_plane_alone_is_a_problem(
    bulk: dict[str, Any], problem: str, shown: str
) -> None:
    run = Run(3)
    document = status(alive(run), 0.0, Surroundings(ways=ways(run, **bulk)))
    assert [p.sentence for p in document.problems] == [problem] * bool(problem)
    assert all(p.code is Code.LINK_DOWN for p in document.problems)
    lines = status_text(document, explain=True).splitlines()
    row = next(line for line in lines if line.startswith("silo-0001"))
    assert f"  {shown}  " in row
    dials = [line for line in lines if line.startswith("dials ")]
    assert bool(dials) == ("failures" in bulk)
    assert all(
        "bulk at tcp://east:7401: failed 17 times in a row: refused" in line for line in dials
    )


def test_why_a_silo_that_is_not_heard_cannot_be_dialled_is_told() -> None:
    run = Run(3)
    made = started(run)
    heartbeat(made, run, 2, 0.0)
    made.handle(LinkDown(run.keys[1]), 0.0)
    down = {"control": Way("", 9.0, (Failure("tcp://east:7400", 3, "no such name"),))}
    linked = ways(run, via="", for_s=9.0)
    linked[run.keys[1]] |= down
    assert status(made, 20.0, Surroundings(ways=linked)).problems == (), "it may be starting"
    heartbeat(made, run, 2, 40.0, counter=2)
    (problem,) = status(made, 40.0, Surroundings(ways=linked)).problems
    assert problem.sentence.endswith("; 3 dials in a row to tcp://east:7400 failed: no such name")


def test_a_key_that_two_nodes_use_is_named_by_peers_and_by_itself() -> None:
    run = Run(3)
    made, linked = alive(run), ways(run, via="own")
    linked[run.keys[1]]["control"] = Way("own", 99.0, hosts=("192.0.2.1", "192.0.2.2"))
    (problem,) = status(made, 0.0, Surroundings(ways=linked)).problems
    assert (problem.code, problem.subject) == (Code.KEY_SHARED, "silo-0001")
    assert "at 192.0.2.1 and at 192.0.2.2" in problem.sentence
    made.exchange.recovery.show(run.authors[0].heartbeat(10**6, epoch=10**6).heartbeat)
    assert named(status(made, 0.0)) == [(Code.KEY_SHARED, THIS_NODE)]


def test_strangers_that_were_hung_up_on_are_one_line() -> None:
    run = Run(3)
    made, quiet = started(run), Crowd(waiting=2)
    busy = Crowd(waiting=5, hung_up=900, hung_up_ago_s=3.0)

    def crowded(**unknown: Crowd) -> str:
        return shown(status(made, 0.0, Surroundings(machine=Machine(unknown=unknown))))

    assert "strangers" not in crowded(bulk=quiet)
    text = crowded(bulk=busy, control=quiet)
    (line,) = [line for line in text.splitlines() if line.startswith("strangers")]
    told = "strangers 5 connections have not identified themselves; this node closed 900 "
    assert line.startswith(told)


def test_a_silo_in_other_units_is_named_with_its_feature() -> None:
    run = Run(4)
    for author, deviation in zip(run.authors, (9.0, 9.5, 900.0, 8.0), strict=True):
        author.join(moments=Moments(mean=(0.0, 10.0 * deviation), deviation=(1.0, deviation)))
    (problem,) = other_units(run.view())
    assert (problem.code, problem.subject) == (Code.DATA_UNITS, "silo-0002")
    assert "its feature 1 has mean 9000 and deviation 900, that of most silos" in str(problem)
    (named,) = other_units(run.view(), ("wind", "hPa"))
    assert "its 'hPa' has mean 9000" in str(named)
    run.authors[2].say(Withdraw(reason="moving"))
    assert list(other_units(run.view())) == []


def test_a_silo_that_holds_one_value_is_not_in_other_units() -> None:
    run, both = Run(3), ((0, 0), (1, 0))
    told = ((24.3, 18.1, both), (38.5, 40.0, both), (51.0, 2.6, both[:1]))
    for author, (mean, deviation, held) in zip(run.authors, told, strict=True):
        counts = tuple((label, 90) for label in held)
        author.join(counts=counts, moments=Moments(mean=(mean,), deviation=(deviation,)))
    assert list(other_units(run.view())) == []


def doing(made: Node, run: Run, now: float, counter: int, **told: Any) -> None:
    """The second silo's sign of life says that it does this; the third shows life as well."""
    author = run.authors[1]
    plain = author.heartbeat(counter).heartbeat.model_copy(update=told)
    for sealed in (seal_heartbeat(plain, author.signer), run.authors[2].heartbeat(counter)):
        made.exchange.liveness.hear(sealed, now)


def test_a_silo_that_says_that_its_disk_is_full_is_not_called_stalled() -> None:
    run = Run(3)
    made = alive(run)
    doing(made, run, 1_000.0, 5, activity="disk-full", total=0)
    found = named(status(made, 1_000.0))
    assert (Code.PEER_DISK_FULL, "silo-0001") in found
    assert (Code.PEER_STALLED, "silo-0001") not in found


def test_a_full_disk_is_told_on_while_the_silo_tries_again() -> None:
    run = Run(3)
    made = alive(run)
    doing(made, run, 1_000.0, 5, activity="disk-full", total=0)
    doing(made, run, 1_010.0, 6, activity="local", total=9)
    (problem,) = (one for one in status(made, 1_019.0).problems if one.code is Code.PEER_DISK_FULL)
    assert "silo-0001 said 19 s ago that its disk is full" in problem.sentence
    doing(made, run, 1_060.5, 7, activity="local", done=1, total=9)
    assert (Code.PEER_DISK_FULL, "silo-0001") not in named(status(made, 1_061.0))


def test_a_silo_that_fetches_and_receives_nothing_is_named_after_two_minutes() -> None:
    run, rates = Run(3), Rates()
    made, now = alive(run), [0.0]
    around = Surroundings(rates=rates, registry=Registry(lambda: now[0]))
    stuck = []
    for number, done in enumerate((10, 20, 20, 20, 20, 20), 5):
        now[0] = 30.0 * number
        doing(made, run, now[0], number, activity="fetch", done=done, total=99)
        found = status(made, now[0], around)
        stuck += [p for p in found.problems if p.code is Code.PEER_STUCK]
    (problem,) = stuck
    assert problem.subject == "silo-0001"
    assert "receives nothing, 20 of 99 bytes are there" in problem.sentence


def test_a_node_that_hears_nobody_says_so_and_the_silence_of_others_follows() -> None:
    run = Run(3)
    made = started(run)
    assert named(status(made, 20.0)) == []
    found = status(made, 60.0)
    causes = [problem.code for problem in found.problems if problem.follows is None]
    assert causes == [Code.NODE_ALONE]
    follow = {p.code for p in found.problems if p.follows is not None}
    assert follow == {Code.PEER_SILENT}
    assert found.elections is not None and found.elections.losses_left == -1


def test_a_node_of_another_run_is_heard_so_nobody_is_told_of_a_firewall() -> None:
    run = Run(3)
    made = started(run)
    made.exchange.peers[run.keys[1]].trouble = "its run.toml or roster differs in: method.local"
    found = status(made, 60.0).problems
    assert Code.NODE_ALONE not in {problem.code for problem in found}
    (told,) = (problem for problem in found if problem.code is Code.PEER_MISMATCH)
    assert told.sentence.startswith("silo-0001: its run.toml or roster differs in: method.local")
    assert "restart the node" in told.fix


def test_how_many_more_losses_stop_elections_is_told() -> None:
    run = Run(5)
    made = started(run)
    for peer in (1, 2, 3):
        heartbeat(made, run, peer, 0.0)
    found = status(made, 0.0).elections
    assert found is not None
    assert (found.quorum, found.present, found.losses_left) == (3, 4, 1)


@pytest.mark.parametrize(
    ("for_s", "failures", "heard", "told"),
    [
        (99.0, (FAILED,), True, True),
        (5.0, (FAILED,), True, False),  # it may be a moment's trouble
        (99.0, (), True, False),  # neither dials the other: others relay, by design
        (99.0, (FAILED,), False, False),  # it is silent, which is told
    ],
)
def test_who_is_heard_through_others_only_is_a_problem(
    for_s: float, failures: tuple[Failure, ...], heard: bool, told: bool
) -> None:
    run = Run(3)
    down = Way("", for_s=for_s, failures=failures)
    around = Surroundings(ways={run.keys[1]: {"control": down, "bulk": down}})
    made = alive(run) if heard else started(run)
    found = [p for p in status(made, 0.0, around).problems if p.code is Code.LINK_DOWN]
    assert bool(found) == told
    for problem in found:
        assert problem.sentence.startswith("no link to silo-0001 stands; it is heard through")
        assert "refused the connection" in problem.sentence
        assert "keys" in problem.fix
