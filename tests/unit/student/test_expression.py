"""The language of `--where`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.errors import ConfigError
from dcfm_node.student import asked, expression
from dcfm_node.student.asked import asked_of, plainly
from dcfm_node.student.expression import MOST_TEXT, Asked
from tests.training.settings import manifest

RUN = manifest((3, 2)).model_copy(
    update={
        "attributes": tuple(
            one.model_copy(update={"name": name, "values": values})
            for one, name, values in zip(
                manifest((3, 2)).attributes,
                ("digit", "colour"),
                (("3", "5", "8"), ("red", "wet sand")),
                strict=True,
            )
        )
    }
)
EVERY = [(i, j) for i in range(3) for j in range(2)]


def labels(*texts: str) -> list[tuple[int, ...]]:
    return [one.label for one in asked_of(RUN, texts)]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("digit=3", lambda d, c: d == 0),
        ("digit=3 and colour=red", lambda d, c: d == 0 and c == 0),
        ("digit=3 or digit=5", lambda d, c: d in (0, 1)),
        ("not digit=3", lambda d, c: d != 0),
        ("digit=3 or digit=5 and colour=red", lambda d, c: d == 0 or (d == 1 and c == 0)),
        ("(digit=3 or digit=5) and colour=red", lambda d, c: d in (0, 1) and c == 0),
        ("not (digit=3 or colour=red)", lambda d, c: d != 0 and c != 0),
        ("not (digit=3 and colour=red)", lambda d, c: d != 0 or c != 0),
        ("NOT not digit=3 AND colour=red", lambda d, c: d == 0 and c == 0),
        ("colour='wet sand' or colour=\"red\"", lambda d, c: True),
        ("colour=wet sand", lambda d, c: c == 1),
        (" ( digit = 3 ) ", lambda d, c: d == 0),
    ],
)
def test_it_chooses_the_combinations_of_which_it_is_true(text: str, holds: object) -> None:
    assert callable(holds)
    assert labels(text) == [label for label in EVERY if holds(*label)]
    assert asked_of(RUN, [text]) == plainly(labels(text))


def test_texts_must_all_hold_and_none_means_all() -> None:
    assert labels() == EVERY
    assert labels("digit=3", "colour=red") == [(0, 0)]
    assert labels("digit=3 or digit=5", "colour=red") == [(0, 0), (1, 0)]
    with pytest.raises(ConfigError, match="no combination fits all"):
        labels("digit=3 or digit=5", "digit=8")


def test_weights_are_of_one_attribute_and_a_brackets_weight_multiplies() -> None:
    assert asked_of(RUN, ["digit=3 and colour=red^1.6"]) == [Asked((0, 0), (None, 1.6))]
    (both,) = asked_of(RUN, ["(digit=3^2 and colour=red)^1.5"])
    assert both == Asked((0, 0), (3.0, 1.5))
    (away,) = asked_of(RUN, ["digit=3 and not colour=red^0.5"])
    assert away == Asked((0, 1), (None, None), ((1, 0, 0.5),))
    assert not away.plain
    several = asked_of(RUN, ["digit=3 and colour=red^2 or digit=3"])
    assert [one.label for one in several] == [(0, 0), (0, 0), (0, 1)]
    (met,) = asked_of(RUN, ["digit=3^2", "digit=3^1.5 and colour=red"])
    assert met == Asked((0, 0), (3.0, None))


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("digit=3 and", 12, "expected an attribute"),
        ("digit=3 or or colour=red", 12, "expected an attribute"),
        ("digit=3 colour=red", 9, "expected 'and', 'or' or the end"),
        ("(digit=3 or colour=red", 23, "expected '\\)'"),
        ("digit=3)", 8, "expected 'and', 'or' or the end"),
        ("not digit", 10, "expected '='"),
        ("digit= and colour=red", 8, "expected a value"),
        ("digit=3 and size=4", 13, "no attribute 'size'"),
        ("not colour=green", 5, "colour has no value 'green'"),
        ("colour='red", 8, "a quote is not closed"),
        ("digit=3^x", 9, "a weight here is a number above 0, at most 100"),
        ("digit=3^", 9, "a weight here is a number above 0, at most 100"),
        ("digit=3^0", 9, "above 0"),
        ("digit=3^nan", 9, "above 0"),
        ("digit=3^1e300", 9, "at most 100"),
        ("not digit=3^1.5", 13, "at most 1"),
        ("digit=3 and digit=5", 13, "no combination fits"),
        ("(" * 65 + "digit=3" + ")" * 65, 65, "too many brackets"),
    ],
)
def test_an_error_points_at_the_column(text: str, column: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as told:
        asked_of(RUN, [text])
    assert told.value.where == f"--where, column {column}"
    shown, caret = told.value.more
    assert shown == text
    assert caret == " " * (column - 1) + "^"
    assert told.value.fix


def test_the_example_of_a_weight_is_one_that_is_allowed() -> None:
    with pytest.raises(ConfigError) as told:
        asked_of(RUN, ["not digit=3^1.5"])
    assert told.value.fix == "write it as in not colour=red^0.5"


def test_a_text_of_any_length_ends_soon() -> None:
    with pytest.raises(ConfigError, match="too long"):
        asked_of(RUN, ["not " * MOST_TEXT + "digit=3"])
    many = " and ".join(["(digit=3^1.1 or digit=5^1.2 or colour=red)"] * 20)
    with pytest.raises(ConfigError, match="too many alternatives"):
        asked_of(RUN, [many])


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["digit=3^20 and colour=red", "digit=3^20 and colour=red"], "multiply to more than 100"),
        (["not digit=3^0.7 and not digit=3^0.7"], "add up to more than 1"),
        (["not digit=3^0.7", "not digit=3^0.7"], "add up to more than 1"),
    ],
)
def test_weights_are_bounded_together(texts: list[str], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        asked_of(RUN, texts)
    assert asked_of(RUN, ["not digit=3^0.7 and not digit=3^0.3"])
    assert asked_of(RUN, ["not digit=3^0.7 and not digit=5^0.7"])


def test_a_space_of_65536_combinations_is_searched_at_once() -> None:
    run = manifest((2,) * 16)
    name, (_, value) = run.attributes[0].name, run.attributes[0].values
    assert len(asked_of(run, [f"not {name}={value}"])) == 32_768


@pytest.mark.parametrize(
    "texts",
    [
        [" or ".join(f"digit=3^1.{i}" for i in range(60))],
        [" and ".join(["(not digit=3^0.1 or not digit=3^0.2)"] * 7)],
        [" or ".join(f"digit=3^1.{i}" for i in range(20))] * 2,
    ],
)
def test_few_words_do_not_ask_for_any_number(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (asked, expression):
        monkeypatch.setattr(module, "MOST_TRIED", 100)
    with pytest.raises(ConfigError, match="too many alternatives"):
        asked_of(RUN, texts)


def test_statements_of_all_alternatives_are_bounded_and_alternatives_by_or() -> None:
    long = " and ".join(["(digit=3 or digit=5)"] * 11 + ["digit=3"] * 60)
    wide = " and ".join(["(digit=3 or digit=5)"] * 12)
    for text in (long, f"({wide}) or ({wide})", f"not (not ({wide}) and not ({wide}))"):
        with pytest.raises(ConfigError, match="too many alternatives"):
            asked_of(RUN, [text])


@given(st.text(alphabet="digt=35 andornot()^.'\"colrew", max_size=60))
def test_any_text_is_answered_or_refused(text: str) -> None:
    try:
        found = asked_of(RUN, [text])
    except ConfigError:
        return
    assert found
    assert {one.label for one in found} <= set(EVERY)
