"""On which line a setting stands."""

import tomllib

import pytest

from dcfm_node.config.lines import MAX_WORK, line_index, line_of

TEXT = '''\
# a comment
name = "a"

text = """
fake = 1
[fake]
"""
nested = [
    { deep = 1 },
]
dotted.key = 1
"quoted key" = 1

[table]
inline = { inner = { leaf = 1 } }

[table.sub]
x = 1

[[item]]
name = "one"

[item.sub]
y = 1

[[item]]
name = "two"  # "not = a key"

[[item.part]]
z = 1

[[item.part]]
z = 2

["odd.name"]
w = 1
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ((), 1),
        (("name",), 2),
        (("text",), 4),
        (("nested", 0, "deep"), 8),
        (("dotted", "key"), 11),
        (("quoted key",), 12),
        (("table",), 14),
        (("table", "inline", "inner", "leaf"), 15),
        (("table", "sub"), 17),
        (("table", "sub", "x"), 18),
        (("item", 0), 20),
        (("item", 0, "name"), 21),
        (("item", 0, "sub", "y"), 24),
        (("item", 1), 26),
        (("item", 1, "name"), 27),
        (("item", 1, "part", 0, "z"), 30),
        (("item", 1, "part", 1), 32),
        (("item", 1, "part", 1, "z"), 33),
        (("odd.name", "w"), 36),
    ],
)
def test_a_setting_is_found(place: tuple[str | int, ...], line: int) -> None:
    assert line_of(line_index(TEXT), place) == line


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("absent",), 1),
        (("table", "absent"), 14),
        (("item", 1, "absent"), 26),
        (("item", 1, "part", 0, "absent", "deeper"), 29),
    ],
)
def test_what_is_absent_lies_at_the_table_around_it(
    place: tuple[str | int, ...], line: int
) -> None:
    assert line_of(line_index(TEXT), place) == line


def test_text_inside_strings_is_no_setting() -> None:
    assert ("fake",) not in line_index(TEXT)


def test_a_table_that_is_implied_lies_where_it_first_occurs() -> None:
    assert line_of(line_index("\n[a.b.c]\nx = 1\n"), ("a", "b")) == 2


def test_windows_line_ends() -> None:
    assert line_of(line_index("a = 1\r\n\r\n[t]\r\nb = 2\r\n"), ("t", "b")) == 4


def test_a_statement_of_thousands_of_lines_is_given_up_on_and_what_was_before_it_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of its lines is parsed with all before it: a file of a megabyte would take hours."""
    parsed: list[int] = []
    loads = tomllib.loads
    monkeypatch.setattr("tomllib.loads", lambda text: parsed.append(len(text)) or loads(text))
    found = line_index("first = 1\nmany = [\n" + "  1,\n" * 50_000 + "]\nlast = 1\n")
    assert sum(parsed) <= MAX_WORK
    assert (line_of(found, ("first",)), line_of(found, ("last",))) == (1, 1)
