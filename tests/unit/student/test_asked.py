"""What `student sample` is asked for."""

from itertools import product

import pytest

from dcfm_node.api.students import Estimated, Expected, Sampled
from dcfm_node.cli.sampled import sampled_text
from dcfm_node.errors import ConfigError
from dcfm_node.student.asked import asked_for, chosen_values, novel_of, pairs_of, weights_of
from dcfm_node.student.loaded import guided
from tests.training.settings import manifest

RUN = manifest(method={"guidance": {"known": 1.2, "novel": 1.4, "from_t": 0.3}})


@pytest.mark.parametrize(
    ("text", "known", "novel"),
    [("", 1.2, 1.4), ("1.6", 1.6, 1.6), ("1.3,2", 1.3, 2.0), ("1, 1", 1.0, 1.0)],
)
def test_one_weight_is_for_all_and_two_are_for_trained_on_and_novel(
    text: str, known: float, novel: float
) -> None:
    found = guided(RUN, weights_of(text)).method.guidance
    assert (found.known, found.novel, found.from_t) == (known, novel, 0.3)


@pytest.mark.parametrize("text", ["high", "1,2,3", "-1", "nan", "101", "1,"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a guidance weight") as told:
        weights_of(text)
    assert told.value.where == "--guidance"


def test_only_feasible_combinations_are_drawn() -> None:
    listed = RUN.model_copy(update={"feasible": ((0, 0), (0, 1), (1, 0))})
    assert asked_for(listed, {}) == [(0, 0), (0, 1), (1, 0)]
    assert asked_for(listed, {1: 0}) == [(0, 0), (1, 0)]
    with pytest.raises(ConfigError, match=r"no feasible combination with .* and ") as told:
        asked_for(listed, {0: 1, 1: 1})
    assert told.value.fix


def test_attributes_are_named_in_any_case() -> None:
    name = RUN.attributes[0].name
    assert chosen_values(RUN, {name.upper(): RUN.attributes[0].values[1]}) == {0: 1}
    with pytest.raises(ConfigError, match="given twice"):
        chosen_values(RUN, dict.fromkeys((name, name.upper()), RUN.attributes[0].values[0]))


def test_values_that_are_not_chosen_are_all_taken() -> None:
    sizes = RUN.cardinalities
    assert asked_for(RUN, {0: 1}) == [(1, *rest) for rest in product(*map(range, sizes[1:]))]


def test_what_no_teacher_trained_on_is_novel() -> None:
    counts = [{(0, 0): 2, (0, 1): 0}, {(1, 0): 1}]
    assert novel_of([(0, 0), (0, 1), (1, 0), (1, 1)], counts) == ((0, 1), (1, 1))


@pytest.mark.parametrize(
    ("count", "possible", "novel", "says"),
    [
        (64, 1, 0, "all of one combination, which is trained on"),
        (1, 1, 1, "all of one combination, which is novel"),
        (12, 4, 1, "3 of each of 4 combinations, 1 of them novel"),
        (64, 60, 20, "1 or 2 of each of 60 combinations, 20 of them novel"),
        (5, 60, 2, "give -n 60 or more"),
    ],
)
def test_how_samples_are_shared_is_said(count: int, possible: int, novel: int, says: str) -> None:
    made = sampled(count=count, combinations=min(count, possible), novel=novel)
    first, samples, columns, *more = sampled_text(
        made, possible=possible, guided_by=""
    ).splitlines()
    assert first == f"wrote {count} samples to x.csv"
    assert says in samples
    assert columns == "columns   a, b, c, d, e, f and 2 more: named as in t.csv"
    assert [line.split()[0] for line in more] == ["expected"] * bool(novel)


def sampled(**fields: object) -> Sampled:
    given = {
        "out": "x.csv",
        "all_novel": False,
        "unseen": (),
        "expected": EXPECTED,
        "columns": tuple("abcdefgh"),
        "columns_from": "named as in t.csv",
        "guidance_known": 1.0,
        "guidance_novel": 1.0,
    }
    return Sampled.model_validate(given | fields)


EXPECTED = Expected(
    known=Estimated(value=0.9, low=0.8, high=1.0),
    novel=Estimated(value=0.4, low=0.2, high=0.6),
    floor=0.5,
    below=True,
    why="",
    text="both",
)


def test_what_to_expect_is_said_of_what_was_drawn() -> None:
    one = {"count": 4, "combinations": 1, "novel": 1}
    text = sampled_text(sampled(**one, all_novel=True), possible=1, guided_by="")
    assert text.endswith("right draws: novel combinations 40% (20% to 60%), below the floor of 50%")
    text = sampled_text(sampled(**one | {"combinations": 2}), possible=2, guided_by="")
    assert text.endswith("right draws: both")
    unseen = sampled(**one, all_novel=True, unseen=("a=b",))
    *_, expected, why = sampled_text(unseen, possible=1, guided_by="").splitlines()
    assert "unknown, because no silo holds" in expected
    assert why == "unseen    no silo holds a=b: the student cannot know it"


NAMES = "; ".join(f"{one.name}={'|'.join(one.values)}" for one in RUN.attributes)


@pytest.mark.parametrize("text", ["", "x", "a", "digit:3"])
def test_a_text_without_a_value_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(ConfigError, match="is not written as attribute=value") as told:
        pairs_of(RUN, [text])
    assert NAMES in told.value.fix


def test_an_attribute_is_asked_for_once() -> None:
    name, (one, other, *_) = RUN.attributes[0].name, RUN.attributes[0].values
    assert pairs_of(RUN, [f"{name}={one}"]) == {name: one}
    with pytest.raises(
        ConfigError, match=f"{name} is given twice, as '{one}' and '{other}'"
    ) as told:
        pairs_of(RUN, [f"{name}={one}", f"{name}={other}"])
    assert told.value.fix.endswith(", ".join(RUN.attributes[0].values))


def test_an_unknown_name_is_answered_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match="no attribute 'size'") as told:
        chosen_values(RUN, {"size": "big"})
    assert NAMES in told.value.fix
    name, values = RUN.attributes[0].name, RUN.attributes[0].values
    with pytest.raises(ConfigError, match=f"{name} has no value 'none'") as told:
        chosen_values(RUN, {name: "none"}, "here")
    assert (told.value.where, told.value.fix) == ("here", f"choose one of {', '.join(values)}")
