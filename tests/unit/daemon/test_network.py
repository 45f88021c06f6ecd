"""What the daemon makes of knocks at its door and of handshakes that fail."""

from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from dcfm_node.config.peers import Peer
from dcfm_node.daemon.disk import Disk
from dcfm_node.daemon.network import MAX_PENDING, Network
from dcfm_node.net.links import Misframed, Refused
from dcfm_node.net.peers import Faulted
from dcfm_node.swarm.effects import Event, Misbehaved
from dcfm_node.wire.canonical import pack

EAST = Peer.model_construct(name="east", sign_key=b"e" * 32, link_key="k" * 40)


NO_DOWNLOADS: Any = None


def network(put: Callable[[Event], None] = lambda event: None) -> Network:
    async def pause() -> None:
        raise AssertionError("nothing is written here")

    return Network(
        [EAST],
        put=put,
        broken=lambda: None,
        disk=Disk(pause),
    )


def knock(made: Network, number: int) -> None:
    made._on_link(Refused(None, f"key {number}", f"192.0.2.{number % 256}", "not approved"))


def test_a_message_too_large_or_of_many_frames_is_told_and_held_against_its_sender() -> None:
    """SPEC 4.1.2 and 1.3."""
    events: list[Event] = []
    made = network(events.append)
    with capture_logs() as logs:
        made._on_link(Misframed(EAST.sign_key, 1, 2_000_000))
        made._on_link(Misframed(EAST.sign_key, 3, 12))
    assert [(line["event"], line["peer"]) for line in logs] == [("misbehaved", "east")] * 2
    assert [(e.peer, e.cause) for e in events if isinstance(e, Misbehaved)] == [
        (EAST.sign_key, "malformed")
    ] * 2


def test_an_unknown_key_is_logged_once_and_kept() -> None:
    made = network()
    with capture_logs() as logs:
        for number in (1, 2, 1, 1):
            knock(made, number)
    assert [(line["event"], line["key"]) for line in logs] == [
        ("unknown_key", "key 1"),
        ("unknown_key", "key 2"),
    ]
    assert list(made.pending) == ["key 1", "key 2"]
    assert not made.crowded


def test_any_number_of_keys_is_bounded_in_memory_and_in_the_log() -> None:
    made = network()
    with capture_logs() as logs:
        for number in range(10 * MAX_PENDING):
            knock(made, number)
    assert len(made.pending) == MAX_PENDING
    assert made.crowded
    assert len(logs) == MAX_PENDING + 1
    assert logs[-1]["event"] == "unknown_keys"


def test_a_dial_that_fails_is_logged_with_its_plane_address_and_count() -> None:
    made = network()
    address = "tcp://192.0.2.1:7401"
    with capture_logs() as logs:
        made._on_bulk(
            NO_DOWNLOADS, Refused("east", EAST.link_key, address, "refused the connection", 4)
        )
        made._on_bulk(NO_DOWNLOADS, Refused("east", EAST.link_key, address, ""))
    told = {"peer": "east", "plane": "bulk", "address": address}
    assert [{key: line.get(key) for key in told} for line in logs] == [told, told]
    assert [line["event"] for line in logs] == ["cannot_link", "links_again"]
    assert (logs[0]["why"], logs[0]["times"]) == ("refused the connection", 4)


def test_dials_are_warned_of_only_once_they_have_failed_for_a_while() -> None:
    """Nodes start one after the other: each sees the first dials to the later ones fail."""
    made = network()
    with capture_logs() as logs:
        for times in (1, 2, 4, 8, 16):
            told = Refused("east", EAST.link_key, "tcp://192.0.2.1:7401", "refused", times)
            made._on_link(told)
    assert [line["log_level"] for line in logs] == [*["info"] * 3, *["warning"] * 2]


def test_a_fault_of_ours_is_logged_ever_more_seldom() -> None:
    made = network()
    with capture_logs() as logs:
        for times in range(1, 1_001):
            made._on_bulk(NO_DOWNLOADS, Faulted("MemoryError: ", times))
            made._on_link(Faulted("ZMQError: no", times))
    assert len(logs) == 2 * 10
    assert {line["plane"] for line in logs} == {"bulk", "control"}


def test_a_member_that_breaks_the_rules_of_links_is_named_and_no_stranger() -> None:
    events: list[Event] = []
    made = network(events.append)
    made._on_bulk(
        NO_DOWNLOADS, Refused(None, EAST.link_key, "192.0.2.1", "it makes more links than it may")
    )
    why = "it makes more links than it may, at the bulk port"
    assert events == [Misbehaved(EAST.sign_key, "malformed", why)]
    assert made.refusals == {"east": why}
    assert made.pending == {}


def test_who_breaks_the_rules_with_every_message_is_told_of_ever_more_seldom() -> None:
    said: list[Event] = []
    made = network(said.append)
    with capture_logs() as logs:
        for _ in range(1_000):
            made._on_message(EAST.sign_key, b"\xc1")
    assert [line["times"] for line in logs] == [2**power for power in range(10)]
    assert len(said) == 10 and {type(event) for event in said} == {Misbehaved}


def test_a_peers_own_words_are_cut_short() -> None:
    made = network()
    fields = {"kind": "sync", "protocol": 1, "x" * 500_000: 1}
    for words in (fields, {"kind": "y" * 500_000, "protocol": 1}):
        made._on_message(EAST.sign_key, pack(words))
        assert len(made.refusals["east"]) < 500
