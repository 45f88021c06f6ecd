"""From what files say to indices."""

import numpy as np
import pytest

from dcfm_node.data.labels import constant, encode
from dcfm_node.data.spec import AttributeSource
from dcfm_node.errors import DataError
from dcfm_node.records.manifest import Attribute

COLOUR = Attribute(name="colour", values=("red", "green", "blue"))
AS_IS = AttributeSource()
SITE = Attribute(name="site", values=("1", "2", "3"))
MAPPED = AttributeSource(values={"rot": "red", "7": "blue"})


def row(index: int) -> str:
    return f"row {index}"


@pytest.mark.parametrize(
    ("source", "column", "expected"),
    [
        (AS_IS, np.array([2, 0, 1, 2], np.uint8), [2, 0, 1, 2]),
        (AS_IS, np.array([2, 0, 1, 2], np.int16), [2, 0, 1, 2]),
        (AS_IS, np.array(["blue", "red", "blue"]), [2, 0, 2]),
        (MAPPED, np.array(["rot", "red", "7"]), [0, 0, 2]),
        (MAPPED, np.array([7, 7]), [2, 2]),
        (MAPPED, np.array([7.0, 7.0]), [2, 2]),
    ],
)
def test_indices_and_names(
    source: AttributeSource, column: np.ndarray, expected: list[int]
) -> None:
    encoded = encode(COLOUR, source, column, row)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == expected


@pytest.mark.parametrize(
    ("source", "column", "where", "what"),
    [
        (AS_IS, np.array([0, 3, 3]), "row 1", "3 is not a value of attribute 'colour' (2 samples)"),
        (AS_IS, np.array([0, -1]), "row 1", "-1 is not a value of attribute 'colour'"),
        (AS_IS, np.array([2**63], np.uint64), "row 0", f"{2**63} is not a value"),
        (AS_IS, np.array(["red", "pink"]), "row 1", "'pink' is not a value of attribute 'colour'"),
        (AS_IS, np.array(["red", "Red"]), "row 1", "'Red' is not a value"),
        (MAPPED, np.array([0]), "row 0", "'0' is not a value"),
        (AS_IS, np.array([1.0]), "row 0", "attribute 'colour' is stored as float64"),
        (AS_IS, np.array([True]), "row 0", "attribute 'colour' is stored as bool"),
    ],
)
def test_what_is_outside_the_vocabulary_is_refused_by_row(
    source: AttributeSource, column: np.ndarray, where: str, what: str
) -> None:
    with pytest.raises(DataError) as caught:
        encode(COLOUR, source, column, row)
    assert caught.value.where == where
    assert caught.value.what.startswith(what)
    assert caught.value.fix


def test_the_fix_names_the_vocabulary() -> None:
    with pytest.raises(DataError, match="red, green, blue, or an index from 0 to 2"):
        encode(COLOUR, AS_IS, np.array([9]), row)


def test_a_mapping_to_an_unknown_value_is_refused_where_it_stands() -> None:
    source = AttributeSource(values={"rosa": "pink"})
    with pytest.raises(DataError) as caught:
        encode(COLOUR, source, np.array(["red"]), row)
    assert caught.value.where == "data.attributes.colour.values.rosa"


def test_a_constant() -> None:
    assert constant(COLOUR, "green", 3).tolist() == [1, 1, 1]
    with pytest.raises(DataError) as caught:
        constant(COLOUR, "pink", 3)
    assert caught.value.where == "data.attributes.colour.constant"


def test_integers_are_names_where_all_values_are_integers() -> None:
    for kind in (np.uint8, np.float64):
        assert encode(SITE, AS_IS, np.array([1, 3, 2, 1], kind), row).tolist() == [0, 2, 1, 0]
    mixed = Attribute(name="site", values=("1", "2", "other"))
    assert encode(mixed, AS_IS, np.array([1, 2]), row).tolist() == [1, 2]


def test_an_integer_that_names_no_value_is_refused_though_it_is_a_position() -> None:
    with pytest.raises(DataError) as caught:
        encode(SITE, AttributeSource(column="label"), np.array([1, 0, 0]), row)
    assert caught.value.where == "row 1"
    assert caught.value.what == (
        "'0' is not a value of attribute 'site', read from 'label' (2 samples)"
    )
    assert "the run knows 1, 2, 3;" in caught.value.fix
