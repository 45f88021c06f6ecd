"""How answers look."""

import pytest

from dcfm_node.cli.output import ago, share, size, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = table(("silo", "n"), [("north", 1), ("e", None)])
    assert text.splitlines() == ["silo   n", "north  1", "e      -"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2_300_000, "2.3 MB"), (5e15, "5000.0 TB")],
)
def test_bytes_get_a_unit_people_read(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (3.2, "3 s"), (600, "10 min"), (7_200, "2 h"), (400_000, "5 days")],
)
def test_ages_get_a_unit_people_read(seconds: float | None, text: str) -> None:
    assert ago(seconds) == text


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [(0, 0, "begun"), (0, 1_000, "0.0 %"), (2, 1_000, "0.2 %"), (7, 7, "100.0 %")],
)
def test_work_is_never_shown_as_nothing(done: int, total: int, text: str) -> None:
    assert share(done, total) == text
