"""How many may stand at a listener: pure, by a given clock."""

import pytest

from dcfm_node.net.door import LINKS_AT_ONCE, LINKS_PER_S, UNKNOWN_S, Door

ROOM = 40


def test_whoever_waited_longest_of_the_address_with_most_makes_room() -> None:
    door = Door(ROOM)
    for n in range(ROOM // 2):
        assert door.accepted(n, "crowd", 0.0) == []
    assert door.accepted(100, "crowd", 0.0) == [0]  # one address has half of the room
    for n in range(ROOM // 2):
        assert door.accepted(200 + n, f"host {n}", 0.0) == []
    assert door.accepted(300, "late", 1.0) == [1]
    assert door.crowd(3.0).waiting == ROOM
    assert (door.crowd(3.0).hung_up, door.crowd(3.0).hung_up_ago_s) == (2, 2.0)


@pytest.mark.parametrize("addresses", [1, 3, 10_000])
def test_no_number_of_strangers_takes_more_than_the_room(addresses: int) -> None:
    door, there = Door(ROOM), set[int]()
    for n in range(10_000):
        there.add(n)
        there -= set(door.accepted(n, f"host {n % addresses}", 0.0))
    assert len(there) == door.crowd(0.0).waiting <= ROOM


def test_an_honest_address_keeps_its_place_however_many_another_sends() -> None:
    door = Door(ROOM)
    door.accepted(1, "honest", 0.0)
    cut = [fd for n in range(10, 10_000) for fd in door.accepted(n, "crowd", 0.0)]
    assert cut and 1 not in cut


def test_who_is_known_or_gone_waits_no_more() -> None:
    door = Door(ROOM)
    for n in range(3):
        door.accepted(n, "host", 0.0)
    door.heard(0)
    door.gone(1)
    door.gone(99)
    assert door.crowd(0.0).waiting == 1
    assert door.overdue(UNKNOWN_S) == []
    assert door.overdue(UNKNOWN_S + 0.1) == [2]
    assert door.crowd(0.0).waiting == 0


def test_a_descriptor_that_is_used_again_is_another_caller() -> None:
    door = Door(ROOM)
    door.accepted(5, "first", 0.0)
    door.accepted(5, "second", UNKNOWN_S)
    assert door.overdue(UNKNOWN_S + 0.1) == []


def test_half_of_those_who_wait_go_when_no_descriptor_is_left() -> None:
    door = Door(ROOM)
    for n in range(5):
        door.accepted(n, "host", float(n))
    assert door.starved(5.0) == [0, 1, 2]
    assert door.crowd(7.0).starved_ago_s == 2.0
    assert Door(ROOM).starved(0.0) == []


def test_a_key_makes_links_at_a_bounded_rate_and_others_are_not_touched() -> None:
    door = Door(ROOM)
    assert sum(door.admits("key", 0.0) for _ in range(1_000)) == LINKS_AT_ONCE
    assert door.admits("other", 0.0)
    later = 60.0
    assert sum(door.admits("key", later) for _ in range(1_000)) == int(later * LINKS_PER_S)
