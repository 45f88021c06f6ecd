"""Which problems are shown, since when, and which follow from others."""

from dcfm_node.api.problems import THIS_NODE, THIS_RUN, Code, FollowsFrom, Problem
from dcfm_node.daemon.registry import Registry

EAST, SOUTH = "east", "south"


class At:
    """A registry at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.registry = Registry(lambda: self.now)

    def shown(self, now: float, *present: Problem) -> list[tuple[Code, str]]:
        self.now = now
        self.last = self.registry.shown(present)
        return [(problem.code, problem.subject) for problem in self.last]


def problem(code: Code, subject: str, since_s: float | None = None) -> Problem:
    return code.problem(subject, f"{subject} has it", since_s=since_s)


def test_a_problem_is_shown_once_it_has_lasted() -> None:
    at, silent = At(), problem(Code.PEER_SILENT, EAST)
    assert at.shown(0.0, silent) == []
    assert at.shown(29.0, silent) == []
    assert at.shown(30.0, silent) == [(Code.PEER_SILENT, EAST)]
    assert at.last[0].since_s == 30.0


def test_a_problem_that_was_over_begins_anew() -> None:
    at, silent = At(), problem(Code.PEER_SILENT, EAST)
    at.shown(0.0, silent)
    assert at.shown(20.0) == []
    assert at.shown(35.0, silent) == []
    assert at.shown(65.0, silent) == [(Code.PEER_SILENT, EAST)]


def test_what_a_problem_says_of_its_age_counts_before_anybody_looked() -> None:
    at = At()
    at.shown(5.0, problem(Code.PEER_SILENT, EAST, 600.0))
    assert [p.since_s for p in at.last] == [600.0]


def test_a_consequence_names_the_first_cause_and_comes_after_all_causes() -> None:
    at = At()
    found = at.shown(
        100.0,
        problem(Code.STUDENT_INCOMPLETE, THIS_RUN),
        problem(Code.LINK_DOWN, EAST, 50.0),
        problem(Code.PEER_SILENT, EAST, 50.0),
        problem(Code.DATA_ALIKE, THIS_NODE),
    )
    assert found[:2] == [(Code.PEER_SILENT, EAST), (Code.DATA_ALIKE, THIS_NODE)]
    of = FollowsFrom(code=Code.PEER_SILENT, subject=EAST)
    assert [p.follows for p in at.last] == [None, None, of, of]


def test_a_chain_of_causes_leads_to_the_first_one() -> None:
    at = At()
    at.shown(
        0.0,
        problem(Code.WORK_FAILED, THIS_NODE),
        problem(Code.WORKER_DOWN, THIS_NODE),
        problem(Code.DISK_FULL, THIS_NODE),
    )
    causes = {p.code: p.follows.code for p in at.last if p.follows is not None}
    assert causes == {Code.WORK_FAILED: Code.DISK_FULL, Code.WORKER_DOWN: Code.DISK_FULL}


def test_a_problem_of_one_silo_is_not_the_cause_of_that_of_another() -> None:
    at = At()
    at.shown(0.0, problem(Code.PEER_SILENT, EAST, 99.0), problem(Code.LINK_DOWN, SOUTH, 99.0))
    assert [p.follows for p in at.last] == [None, None]


def test_what_follows_from_a_problem_that_has_not_lasted_is_hidden_while_it_is_as_young() -> None:
    at = At()
    both = problem(Code.PEER_SILENT, EAST), problem(Code.STUDENT_INCOMPLETE, THIS_RUN)
    assert at.shown(0.0, *both) == []
    assert at.shown(29.0, *both) == []
    assert len(at.shown(40.0, *both)) == 2
    silent, old = problem(Code.PEER_SILENT, SOUTH), problem(Code.STUDENT_INCOMPLETE, THIS_RUN, 99.0)
    assert at.shown(50.0, silent, old) == [(Code.STUDENT_INCOMPLETE, THIS_RUN)]
    assert at.last[0].follows is None


def test_a_fresh_cause_hides_nothing_that_follows_from_one_that_has_lasted() -> None:
    at = At()
    found = at.shown(
        0.0,
        problem(Code.PEER_SILENT, SOUTH, 1.0),
        problem(Code.PEER_SILENT, EAST, 99.0),
        problem(Code.STUDENT_INCOMPLETE, THIS_RUN, 5.0),
    )
    assert found == [(Code.PEER_SILENT, EAST), (Code.STUDENT_INCOMPLETE, THIS_RUN)]
    assert at.last[1].follows == FollowsFrom(code=Code.PEER_SILENT, subject=EAST)


def test_what_a_hidden_problem_would_explain_is_shown_once_it_is_old_enough() -> None:
    at = At()
    alone = problem(Code.PEER_SILENT, EAST, 10.0)
    stalled = problem(Code.PEER_STALLED, EAST, 10.0)
    young = problem(Code.STUDENT_INCOMPLETE, THIS_RUN, 5.0)
    old = problem(Code.STUDENT_INCOMPLETE, THIS_RUN, 100.0)
    assert at.shown(0.0, alone, stalled, young) == []
    assert at.shown(0.0, alone, stalled, old) == [(Code.STUDENT_INCOMPLETE, THIS_RUN)]
    assert at.last[0].follows is None


def test_a_critical_problem_is_not_hidden_by_one_that_is_less_severe() -> None:
    at = At()
    fresh, stopped = problem(Code.PEER_SILENT, EAST, 1.0), problem(Code.ELECTIONS_STOPPED, THIS_RUN)
    for now in (0.0, 31.0):  # a silo that is silent anew, and anew
        found = at.shown(now, fresh, stopped)
    assert found == [(Code.ELECTIONS_STOPPED, THIS_RUN)]
    lasting = problem(Code.PEER_SILENT, SOUTH, 99.0)
    assert at.shown(32.0, lasting, stopped)[0] == (Code.ELECTIONS_STOPPED, THIS_RUN)
    assert [p.follows for p in at.last] == [None, None]
    for cause, subject in ((Code.QUORUM_LOST, THIS_RUN), (Code.NODE_ALONE, THIS_NODE)):
        at.shown(33.0, problem(cause, subject, 99.0), stopped)
        assert at.last[1].follows == FollowsFrom(code=cause, subject=subject)


def test_the_most_severe_comes_first() -> None:
    at = At()
    found = at.shown(
        0.0,
        problem(Code.DATA_SCALE, THIS_NODE),
        problem(Code.JOURNAL_FULL, THIS_NODE),
        problem(Code.DISK_FULL, THIS_NODE),
    )
    assert [code.severity for code, _ in found] == ["critical", "error", "warning"]
