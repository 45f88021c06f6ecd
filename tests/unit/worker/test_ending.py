"""How a process ended, as an operator reads it."""

import signal
from pathlib import Path

import pytest

from dcfm_node.worker.ending import how_it_ended, kills_for_memory


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "ended with exit code 1: IndexError: 1000"),
        (-signal.SIGSEGV, "crashed with signal 11 (SIGSEGV): IndexError: 1000"),
        (-signal.SIGTERM, "was killed by signal 15 (SIGTERM)"),
        (
            -signal.SIGKILL,
            "was killed by signal 9 (SIGKILL), by hand or, most often, by the kernel",
        ),
        (-99, "was killed by signal 99"),
    ],
)
def test_the_signal_is_named(code: int, text: str) -> None:
    assert how_it_ended(code, said="IndexError: 1000").startswith(text)


def test_memory_is_named_where_the_kernel_says_so() -> None:
    assert "for memory: the kernel ended" in how_it_ended(-9, for_memory=True)
    assert "memory" not in how_it_ended(-15, for_memory=True)


def test_the_control_group_counts_what_was_killed_for_memory(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "node.service"
    group.mkdir(parents=True)
    (group / "memory.events").write_text("low 0\noom 4\noom_kill 3\noom_group_kill 1\n")
    assert kills_for_memory("1:name=x:/\n0::/system.slice/node.service\n", tmp_path) == 3
    assert kills_for_memory("0::/elsewhere\n", tmp_path) == 0
    assert kills_for_memory("12:memory:/old\n", tmp_path) == 0
