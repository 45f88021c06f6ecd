"""What `student sample` is asked for."""

from itertools import product

import pytest

from dcfm_node.api.students import Sampled
from dcfm_node.cli.asked import asked_for, guided, novel_of, sampled_text
from dcfm_node.errors import ConfigError
from tests.training.settings import manifest

RUN = manifest(method={"guidance": {"known": 1.2, "novel": 1.4, "from_t": 0.3}})


@pytest.mark.parametrize(
    ("text", "known", "novel"),
    [("", 1.2, 1.4), ("1.6", 1.6, 1.6), ("1.3,2", 1.3, 2.0), ("1, 1", 1.0, 1.0)],
)
def test_one_weight_is_for_all_and_two_are_for_trained_on_and_novel(
    text: str, known: float, novel: float
) -> None:
    found = guided(RUN, text).method.guidance
    assert (found.known, found.novel, found.from_t) == (known, novel, 0.3)


@pytest.mark.parametrize("text", ["high", "1,2,3", "-1", "nan", "101", "1,"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a guidance weight") as told:
        guided(RUN, text)
    assert told.value.where == "--guidance"


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
    made = Sampled(
        count=count,
        out="x.csv",
        combinations=min(count, possible),
        novel=novel,
        columns=tuple("abcdefgh"),
        columns_from="named as in t.csv",
        guidance_known=1.0,
        guidance_novel=1.0,
    )
    first, samples, columns = sampled_text(made, possible=possible, guided_by="").splitlines()
    assert first == f"wrote {count} samples to x.csv"
    assert says in samples
    assert columns == "columns   a, b, c, d, e, f and 2 more: named as in t.csv"
