"""What `student sample` is asked for."""

import pytest

from dcfm_node.cli.asked import guided
from dcfm_node.errors import ConfigError
from tests.training.settings import manifest

RUN = manifest(method={"guidance": {"known": 1.2, "novel": 1.4, "from_t": 0.3}})


@pytest.mark.parametrize(
    ("text", "known", "novel"),
    [("", 1.2, 1.4), ("1.6", 1.6, 1.6), ("1.3,2", 1.3, 2.0), ("1, 1", 1.0, 1.0)],
)
def test_one_weight_is_for_all_and_two_are_for_known_and_novel(
    text: str, known: float, novel: float
) -> None:
    found = guided(RUN, text).method.guidance
    assert (found.known, found.novel, found.from_t) == (known, novel, 0.3)


@pytest.mark.parametrize("text", ["high", "1,2,3", "-1", "nan", "101", "1,"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a guidance weight") as told:
        guided(RUN, text)
    assert told.value.where == "--guidance"
