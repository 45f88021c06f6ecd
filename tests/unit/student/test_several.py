"""What is asked of several students: names, alternatives, terms and what does not fit."""

from itertools import product
from typing import Any

import pytest

from dcfm_node.errors import ConfigError
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.student.several import (
    Names,
    Part,
    Term,
    alternatives_of,
    refused,
    shown,
    terms_of,
)
from tests.training.settings import manifest

DIGIT = Attribute(name="digit", values=("0", "1", "2"))
COLOUR = Attribute(name="colour", values=("red", "dark red"))


def posed(*attributes: Attribute, **changes: Any) -> Manifest:
    return manifest().model_copy(update={"attributes": attributes, **changes})


NAMES = Names([posed(DIGIT, COLOUR), posed(DIGIT, Attribute(name="pen", values=("thin", "wide")))])


def test_an_attribute_that_is_not_named_is_free_and_only_named_students_take_part() -> None:
    (one,) = alternatives_of(NAMES, ["colour=red"])
    assert one == (Part((3, 0), (None, None), (), 1.0), None)
    (both,) = alternatives_of(NAMES, ["A.digit=1 and pen=wide^1.6"])
    assert both == (
        Part((1, 2), (None, None), (), 1.0),
        Part((3, 1), (None, 1.6), (), 0.0),
    )
    (other,) = alternatives_of(NAMES, ["pen=wide", "B.digit=2"])
    assert other == (None, Part((2, 1), (None, None), (), 1.0))


def test_a_students_name_alone_is_its_whole_law() -> None:
    assert alternatives_of(NAMES, []) == alternatives_of(NAMES, ["a and b"])
    ((first, second),) = alternatives_of(NAMES, ["A and B^0.5"])
    assert first is not None and second is not None
    assert (first.whole, second.whole) == (1.0, 0.5)
    assert first.label == (3, 2)
    ((first, second),) = alternatives_of(NAMES, ["colour=red and B and pen=wide"])
    assert second is not None and second.whole == 1.0
    ((first, second),) = alternatives_of(NAMES, ["A and not B^0.5"])
    assert second == Part((3, 2), (None, None), ((-1, 0, 0.5),), 0.0)
    assert len(alternatives_of(NAMES, ["A or B"])) == 2


def test_a_value_with_spaces_needs_no_quotes_alone() -> None:
    (one,) = alternatives_of(NAMES, ["colour=dark red"])
    assert one[0] is not None and one[0].label == (3, 1)


@pytest.mark.parametrize(
    ("text", "why", "column"),
    [
        ("colour=red and digit=1", "A and B have 'digit'", 16),
        ("colour=red and B.digit=9", "digit has no value '9'", 16),
        ("A.pen=wide", "student A has no attribute 'pen'", 1),
        ("size=1", "no student has an attribute 'size'", 1),
        ("A and C", "no student is called 'C'", 7),
        ("A and not A", "no combination fits", 11),
        ("colour=red and (A or", "expected an attribute", 21),
        ("colour=red^0", "a weight here is a number above 0", 12),
        ("A and not B^1.5", "at most 1", 13),
    ],
)
def test_errors_point_at_the_column(text: str, why: str, column: int) -> None:
    with pytest.raises(ConfigError, match=why) as told:
        alternatives_of(NAMES, [text])
    assert told.value.where == f"--where, column {column}"
    assert told.value.more[1].index("^") + 1 == column


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["not A^0.5"], "nothing is asked of any student but to move away from A"),
        (["not B and pen=wide"], "no combination fits"),
        (["not A.digit=0^0.6", "not A.digit=0^0.6"], "add up to more than 1"),
    ],
)
def test_what_has_no_law_is_refused(texts: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        alternatives_of(NAMES, texts)


def test_terms_are_those_of_equation_5_and_their_exponents_add_up_to_w() -> None:
    run = posed(DIGIT, COLOUR)
    guided = run.guided(1.5, 2.0)
    joint = terms_of(run, Part((1, 0), (None, None), (), 1.0), known=True)
    assert joint == (
        [Term((1, 0), 1.0, 1.0)]
        if not run.method.composed
        else [Term((3, 2), -1.0, -1.0), Term((1, 2), 1.0, 1.0), Term((3, 0), 1.0, 1.0)]
    )
    free = terms_of(guided, Part((1, 2), (None, None), (), 0.0), known=False)
    assert free == [Term((3, 2), -2.0, -1.0), Term((1, 2), 2.0, 1.0)]
    away = terms_of(run, Part((1, 2), (0.7, None), ((1, 0, 0.5), (-1, 0, 0.25)), 1.0), known=True)
    assert {term.label: term.inside for term in away} == pytest.approx(
        {(3, 2): 0.55, (1, 2): 0.7, (3, 0): -0.5}
    )
    absent = posed(Attribute(name="flu", values=("no", "yes"), absent="no"), COLOUR)
    composed = absent.model_copy(
        update={"method": absent.method.model_copy(update={"composed": True})}
    )
    left = terms_of(composed, Part((0, 1), (None, None), (), 1.0), known=True)
    assert left == [Term((2, 1), 1.0, 1.0)]


def test_files_show_names_without_doubt_and_what_is_free() -> None:
    look = shown(NAMES, alternatives_of(NAMES, ["A.digit=1 and colour=red or pen=wide"]))
    assert [(one.name, one.values) for one in look.attributes] == [
        ("students", ("A", "B")),
        ("A.digit", ("1", "any")),
        ("colour", ("red", "any")),
        ("pen", ("any", "wide")),
    ]
    assert look.labels == ((0, 0, 0, 0), (1, 1, 1, 1))
    (only,) = shown(NAMES, alternatives_of(NAMES, [])).attributes
    assert (only.name, only.values) == ("students", ("A and B",))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"sample_shape": (7,)}, "its samples have the shape 7"),
        ({"sample_shape": (2, 1)}, "its samples have the shape 2 x 1"),
        ({"domain": "other"}, "its domain is set otherwise"),
    ],
)
def test_students_that_do_not_fit_are_refused(change: dict[str, Any], why: str) -> None:
    names = Names([posed(DIGIT), posed(DIGIT, **change)])
    with pytest.raises(ConfigError, match=why) as told:
        refused(names, ["a", "b"], lambda _: True)
    assert told.value.where == "b"
    with pytest.raises(ConfigError, match="1 student given"):
        refused(Names([posed(DIGIT)]), ["a"], lambda _: False)


def test_many_alternatives_look_at_a_runs_combinations_once() -> None:
    class Counted(tuple[tuple[int, ...], ...]):
        looks = 0

        def __iter__(self) -> Any:
            Counted.looks += 1
            return super().__iter__()

    many = tuple(Attribute(name=name, values=tuple(map(str, range(60)))) for name in "ab")
    run = posed(*many).model_copy(update={"feasible": Counted(product(range(60), range(30)))})
    asked = "not A.a=0 and not A.b=0"
    assert len(alternatives_of(Names([run, run]), [asked])) == 59 * 29
    assert Counted.looks < 10
