"""Others' words, made fit to be shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.words import LAST_MS, clean, plain, times, utc

ANY_TEXT = st.text(st.characters(categories=None), max_size=50)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("north, 3 samples: größer, 雨", "north, 3 samples: größer, 雨"),
        ("\x1b]0;PWNED\x07\x1b[31m", "\\x1b]0;PWNED\\x07\\x1b[31m"),
        ("x\nproblem   all is well\r", "x\\nproblem   all is well\\r"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),  # the same in eight bits
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("zero\u200bwidth\ufeff\u00ad", "zero\\u200bwidth\\ufeff\\xad"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("undecodable \udcff", "undecodable \\udcff"),
        ("\U000e0041tag", "\\U000e0041tag"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(ANY_TEXT)
def test_nothing_but_letters_is_left_of_any_text(text: str) -> None:
    shown = plain(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert plain(shown) == shown
    assert len(shown.splitlines()) <= 1


def test_all_text_in_plain_data_is_made_plain() -> None:
    document = {"a\n": ["\x1b", {"\u202e": ("\r", 1, None, 2.5, True)}]}
    assert clean(document) == {"a\\n": ["\\x1b", {"\\u202e": ["\\r", 1, None, 2.5, True]}]}


@pytest.mark.parametrize(
    ("time_ms", "shown"),
    [
        (0, "1970-01-01 00:00:00"),
        (1_700_000_000_000, "2023-11-14 22:13:20"),
        (LAST_MS, "9999-12-31 23:59:59"),
        (LAST_MS + 1_000, "9999-12-31 23:59:59"),
        (2**53, "9999-12-31 23:59:59"),
        (float("inf"), "9999-12-31 23:59:59"),
        (-1, "1970-01-01 00:00:00"),
    ],
)
def test_a_time_that_no_calendar_has_is_shown_as_its_end(time_ms: float, shown: str) -> None:
    assert utc(time_ms) == shown


def test_how_often_is_said_in_words() -> None:
    assert [times(count) for count in (1, 2, 17)] == ["once", "2 times", "17 times"]
