"""The table of problems: every code is said somewhere, and a problem bears what its code says."""

from pathlib import Path

import pytest

import dcfm_node
from dcfm_node.api.problems import THIS_NODE, Code, Problem, exit_code
from dcfm_node.api.runbook import RUNBOOK

PACKAGE = Path(dcfm_node.__file__).parent
SOURCES = "\n".join(
    path.read_text()
    for room in ("daemon", "data")
    for path in sorted((PACKAGE / room).glob("*.py"))
)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.value)
def test_every_code_is_said_somewhere(code: Code) -> None:
    assert f"Code.{code.name}.problem(" in SOURCES or f'DataWarning("{code.value}"' in SOURCES


def test_a_problem_takes_its_fix_from_its_code_unless_it_has_a_better_one() -> None:
    usual = Code.PEER_FORKED.problem("east", "east signed two histories")
    assert (usual.severity, usual.fix) == (
        "error",
        "show others: 'dcfm-node proof write --silo east'",
    )
    better = Code.PEER_FORKED.problem("east", "it did", fix="ask it", since_s=1.26)
    assert (better.fix, better.since_s) == ("ask it", 1.3)
    assert Problem.model_validate_json(better.model_dump_json()) == better
    assert (exit_code([]), exit_code([usual])) == (0, 3)


def test_words_that_no_text_may_hold_are_escaped() -> None:
    problem = Code.DISK_FULL.problem(THIS_NODE, "caf\udce9 cannot be written")
    assert problem.sentence == r"caf\xe9 cannot be written"


def test_a_code_is_found_by_how_it_is_written() -> None:
    assert all(Code.of(code.value) is code for code in Code)
    with pytest.raises(StopIteration):
        Code.of("no-such-code")


def test_causes_exist_and_lead_round_no_circle() -> None:
    for code in Code:
        seen, todo = set(), [code]
        while todo:
            causes = [Code.of(cause) for cause in todo.pop().after]
            assert code not in causes, f"{code.value} follows from itself"
            todo += [cause for cause in causes if cause not in seen]
            seen.update(causes)


def test_the_runbook_has_every_code_and_no_other() -> None:
    assert set(RUNBOOK) == set(Code)
    assert all(entry.look and entry.do for entry in RUNBOOK.values())
