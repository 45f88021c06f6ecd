"""SPEC 5.2: what is asked for, what is refused, what is given up."""

from dcfm_node.swarm.effects import Fetch, Unfetch
from dcfm_node.swarm.holdings import Holdings
from tests.unit.swarm.builders import snapshot

ONE, OTHER = snapshot("one"), snapshot("other")


def holdings() -> Holdings:
    return Holdings(held=set(), stall_s=60.0, duty_s=3_600.0)


def test_each_is_asked_for_once_and_no_longer_than_wanted() -> None:
    shelf = holdings()
    assert shelf.seek({ONE.digest: ONE}, 0.0) == [Fetch(ONE)]
    assert shelf.seek({ONE.digest: ONE}, 1.0) == []
    assert shelf.seek({OTHER.digest: OTHER}, 2.0) == [Unfetch(ONE.digest), Fetch(OTHER)]


def test_it_is_asked_for_with_every_size_that_records_name_once() -> None:
    shelf = holdings()
    other = ONE.model_copy(update={"size": ONE.size + 1})
    sizes = {ONE.digest: [other.size, ONE.size]}
    assert shelf.seek({ONE.digest: ONE}, 0.0) == [Fetch(ONE)]
    assert shelf.seek({ONE.digest: ONE}, 1.0, sizes) == [Fetch(other)]
    assert shelf.seek({ONE.digest: other}, 2.0, sizes) == []
    assert shelf.seek({}, 3.0, sizes) == [Unfetch(ONE.digest)]
    assert shelf.seek({ONE.digest: other}, 4.0, sizes) == [Fetch(other), Fetch(ONE)]


def test_what_is_held_or_unfit_is_not_asked_for() -> None:
    shelf = holdings()
    shelf.seek({ONE.digest: ONE, OTHER.digest: OTHER}, 0.0)
    shelf.arrived(ONE.digest, 1.0)
    shelf.refuse(OTHER.digest)
    assert shelf.held == {ONE.digest}
    assert shelf.fetching == {}
    assert shelf.seek({ONE.digest: ONE, OTHER.digest: OTHER}, 2.0) == []


def test_lost_is_unfit_or_long_without_a_byte_of_anything() -> None:
    shelf = holdings()
    assert not shelf.lost(ONE.digest, 1e6)
    shelf.seek({ONE.digest: ONE}, 0.0)
    shelf.moved(50.0)
    assert not shelf.lost(ONE.digest, 110.0)
    assert shelf.lost(ONE.digest, 110.1)
    shelf.refuse(OTHER.digest)
    assert shelf.lost(OTHER.digest, 0.0)


def test_what_is_gone_from_the_disk_is_asked_for_again() -> None:
    shelf = holdings()
    shelf.seek({ONE.digest: ONE}, 0.0)
    shelf.arrived(ONE.digest, 1.0)
    shelf.gone(ONE.digest)
    assert shelf.seek({ONE.digest: ONE}, 2.0) == [Fetch(ONE)]
    shelf.gone(ONE.digest)  # before it was held: what was written of it could not be read
    assert shelf.seek({ONE.digest: ONE}, 3.0) == [Fetch(ONE)]
    shelf.gone(OTHER.digest)
    assert shelf.seek({ONE.digest: ONE}, 4.0) == []


def test_a_chunk_now_and_then_is_no_delivery() -> None:
    """One byte in every `stall_s` would keep a snapshot from being lost for ever."""
    shelf = holdings()
    shelf.seek({ONE.digest: ONE}, 0.0)
    for minute in range(1, 61):
        shelf.moved(60.0 * minute)
        assert not shelf.lost(ONE.digest, 60.0 * minute)
    shelf.moved(3_600.1)
    assert shelf.lost(ONE.digest, 3_600.1)
