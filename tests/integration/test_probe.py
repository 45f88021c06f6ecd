"""`check` of a stopped node dials peers that are real, on the loopback."""

import asyncio
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.peers import Peer
from dcfm_node.net.peers import Up
from dcfm_node.preflight.probe import Answer, Prober, port_taken, unresolved
from dcfm_node.records.messages import Message, Mismatch, Sync
from dcfm_node.wire.envelope import encode_message, manifest_bytes, run_id
from tests.integration.linking import Node, closing, new_keys
from tests.unit.swarm.builders import Run

MINE, OTHER = Run(3).manifest, Run(3, participation="tolerant").manifest


def caller() -> tuple[NodeKeys, Node]:
    """A stopped node: its keys, and what a peer's allow list has of it."""
    node = Node("caller")
    public, secret = node.keys
    return NodeKeys(Ed25519PrivateKey.generate(), secret, public), node


def listed(node: Node, address: str, link_key: str = "") -> Peer:
    return Peer(
        name=node.name, sign_key=node.id, link_key=link_key or node.keys[0], control=address
    )


def sync(run: bytes, ahead_s: float = 0.0) -> Sync:
    now_ms = time.time_ns() // 1_000_000
    return Sync(
        run=run,
        version="9.9",
        heads={},
        beats={},
        reply=True,
        time_ms=now_ms + int(1_000 * ahead_s),
    )


async def probed(says: list[Message], *, known: bool = True, link_key: str = "") -> Answer:
    """What a stopped node finds of a peer that says this once it is linked."""
    keys, me = caller()
    east = Node("east")
    async with closing(east):
        address = await east.start(*([me.peer()] if known else []))
        prober = Prober(keys, [listed(east, address, link_key)], MINE)
        asked = asyncio.create_task(asyncio.to_thread(prober.run))
        if known and not link_key:
            await east.until(Up(me.id))
            assert east.links is not None
            for message in says:
                assert east.links.send(me.id, encode_message(message))
        return (await asked)["east"]


def test_a_peer_that_answers_tells_its_version_and_its_clock() -> None:
    found = asyncio.run(probed([sync(run_id(MINE), ahead_s=420.0)]))
    assert found.control is not None
    assert (found.control.via, found.control.dialled, found.control.accepted) == (
        "own",
        True,
        False,
    )
    assert found.control.rtt_s is not None
    assert (found.bulk, found.version, found.trouble) == (None, "9.9", "")
    assert found.clock_ahead_s is not None
    assert 390.0 < found.clock_ahead_s <= 420.0


def test_a_peer_in_another_run_is_asked_for_its_manifest_and_the_field_is_named() -> None:
    manifest = manifest_bytes(OTHER)
    mismatch = Mismatch(run=run_id(OTHER), version="9.9", manifest=manifest, reason="another")
    found = asyncio.run(probed([sync(run_id(OTHER)), mismatch]))
    assert found.asked
    assert "policy" in found.trouble


def test_a_peer_that_does_not_know_the_caller_says_so() -> None:
    found = asyncio.run(probed([], known=False))
    assert found.control is not None
    assert not found.control.via
    assert "it does not know our link key" in found.control.failures[0].reason


def test_a_wrong_key_of_the_peer_is_the_likely_cause() -> None:
    found = asyncio.run(probed([], link_key=new_keys()[0]))
    assert found.control is not None
    assert "check that its link key here is right" in found.control.failures[0].reason


def test_ports_that_are_taken_and_names_without_an_address_are_found() -> None:
    async def scenario() -> tuple[str, str]:
        node = Node("east")
        async with closing(node):
            address = await node.start()
            return address, port_taken(address)

    address, taken = asyncio.run(scenario())
    assert taken == "address already in use"
    found = unresolved([address, "tcp://no-such-host.invalid:7400"])
    assert found[address] == ""
    assert found["tcp://no-such-host.invalid:7400"]
