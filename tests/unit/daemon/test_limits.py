"""What is said of a silo before its node begins."""

from dcfm_node.daemon.limits import changed
from dcfm_node.records.entries import Join


def test_data_that_a_silo_did_not_join_with_is_told() -> None:
    counts = (((0, 0), 18), ((1, 0), 18))
    join = Join(name="silo", distils=True, version="", counts=counts)
    assert not changed(join, counts)
    assert not changed(None, counts)
    (said,) = changed(join, (((0, 0), 40), ((1, 1), 40)))
    assert "80 samples of 2 combinations to train on, and 36 samples of 2" in said
