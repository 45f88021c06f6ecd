"""The bulk plane over real sockets on the loopback (SPEC 5)."""

import errno
from pathlib import Path
from threading import Barrier

import pytest

from dcfm_node.net.bulk import (
    BadPeer,
    Crashed,
    FetchFailed,
    FetchProgressed,
)
from dcfm_node.net.peers import Faulted
from dcfm_node.swarm.chunks import CHUNK_BYTES
from tests.integration.bulking import GatedFiles, MemoryFiles, Node, make, nodes


def test_a_node_that_only_dials_out_fetches_and_serves() -> None:
    ours, our_snapshot = make(3 * CHUNK_BYTES + 17, seed=1)
    theirs, their_snapshot = make(CHUNK_BYTES - 1, seed=2)
    server, silo = Node("server", MemoryFiles(theirs)), Node("silo", MemoryFiles(ours))
    with nodes(server, silo):
        address = server.start(silo.peer())
        silo.start(server.peer(address), listen=None)
        server.fetch(our_snapshot)
        silo.fetch(their_snapshot)
        server.until_fetched(our_snapshot)
        silo.until_fetched(their_snapshot)
        assert server.bulk and silo.bulk
        assert server.bulk.stats()[silo.id][1] > len(ours)
        assert silo.bulk.stats()[server.id][1] > len(theirs)
        # The author of a snapshot holds it: fetching it again ends at once.
        silo.fetch(our_snapshot)
        silo.until_fetched(our_snapshot)
    assert server.files.held[our_snapshot.digest] == ours
    assert silo.files.held[their_snapshot.digest] == theirs


def test_twenty_megabytes_from_two_holders_of_which_one_tampers() -> None:
    data, snapshot = make(20_000_000)
    gate, reader = Barrier(2), Node("reader")
    honest = Node("honest", GatedFiles(data, gate))
    tampering = Node("tampering", GatedFiles(data, gate, tampers=True))
    with nodes(honest, tampering, reader):
        addresses = [node.start(reader.peer()) for node in (honest, tampering)]
        reader.start(honest.peer(addresses[0]), tampering.peer(addresses[1]))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    assert reader.files.held[snapshot.digest] == data
    bad = [event for event in reader.events if isinstance(event, BadPeer)]
    assert [(event.peer_id, event.digest) for event in bad] == [(tampering.id, snapshot.digest)]
    assert "chunk" in bad[0].reason
    assert FetchProgressed(snapshot.digest, snapshot.size, snapshot.size) in reader.events


def test_two_honest_holders_share_the_load() -> None:
    data, snapshot = make(24 * CHUNK_BYTES)
    gate, reader = Barrier(2), Node("reader")
    holders = [Node(name, GatedFiles(data, gate)) for name in ("first", "second")]
    with nodes(reader, *holders):
        address = reader.start(*(holder.peer() for holder in holders))
        for holder in holders:
            holder.start(reader.peer(address), listen=None)
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
        assert reader.bulk
        received = [reader.bulk.stats()[holder.id][1] for holder in holders]
    assert sorted(reader.files.written) == list(range(24))
    assert min(received) >= CHUNK_BYTES


def test_a_half_written_partial_is_resumed() -> None:
    data, snapshot = make(10 * CHUNK_BYTES + 5)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    kept = bytearray(data[: 6 * CHUNK_BYTES].ljust(len(data), b"\0"))
    kept[2 * CHUNK_BYTES] ^= 1  # a torn write
    reader.files.partial[snapshot.digest] = kept
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    assert sorted(reader.files.written) == [2, 6, 7, 8, 9, 10]
    assert reader.files.held[snapshot.digest] == data


def test_a_fetch_waits_for_a_holder_to_appear() -> None:
    data, snapshot = make(2 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    with nodes(holder, reader):
        address = reader.start(holder.peer())
        reader.fetch(snapshot)
        holder.start(reader.peer(address), listen=None)
        reader.until_fetched(snapshot)
    assert reader.files.held[snapshot.digest] == data


def test_a_full_disk_is_reported_and_the_fetch_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dcfm_node.net.carrier.RETRY_S", 0.2)
    data, snapshot = make(4 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    reader.files.failures = 1
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    failed = [event for event in reader.events if isinstance(event, FetchFailed)]
    assert len(failed) == 1 and "No space left" in failed[0].reason


def test_a_fault_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data, snapshot = make(3)
    reader, holder = Node("reader"), Node("holder", MemoryFiles(data))
    whole, bad = reader.files.hashes, make(1, seed=1)[1]

    def broken(digest: bytes) -> bytes | None:
        if digest == bad.digest:
            raise RuntimeError("a defect")
        return whole(digest)

    monkeypatch.setattr(reader.files, "hashes", broken)
    with nodes(reader, holder):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(bad)
        reader.until(lambda events: Faulted("RuntimeError: a defect", 1) in events)
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
        assert not any(isinstance(event, Crashed) for event in reader.events)


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), MemoryError(), OSError(errno.EIO, "")]
)
@pytest.mark.parametrize("call", ["begin", "write", "finish"])
def test_what_the_machine_refuses_is_told_and_tried_again(
    call: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcfm_node.net.carrier.RETRY_S", 0.2)
    data, snapshot = make(2 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader")
    done, left = getattr(reader.files, call), [1]

    def refusing(*arguments: object) -> None:
        if left:
            left.pop()
            raise error
        done(*arguments)

    monkeypatch.setattr(reader.files, call, refusing)
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
    failed = [event for event in reader.events if isinstance(event, FetchFailed)]
    assert [type(error).__name__ in event.reason for event in failed] == [True]


def peak_kib() -> int:
    """The most memory that this process held at once since it was reset, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_memory_does_not_grow_with_the_snapshot() -> None:
    data, snapshot = make(100 * CHUNK_BYTES)
    holder, reader = Node("holder", MemoryFiles(data)), Node("reader", MemoryFiles())
    reader.files.begin(snapshot)
    reader.files.partial[snapshot.digest][:] = b"\1" * len(data)  # resident before we measure
    with nodes(holder, reader):
        reader.start(holder.peer(holder.start(reader.peer())))
        # The copy that the files below make at the end is not ours to count.
        reader.files.finish = lambda digest, hashes: None  # type: ignore[method-assign]
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_kib()
        reader.fetch(snapshot)
        reader.until_fetched(snapshot)
        assert peak_kib() - before < 48 << 10


def test_a_cancelled_fetch_leaves_nothing_behind() -> None:
    _, snapshot = make(CHUNK_BYTES)
    _, marker = make(1, seed=3)
    reader = Node("reader", MemoryFiles(make(1, seed=3)[0]))
    with nodes(reader):
        reader.start()
        reader.fetch(snapshot)
        assert reader.bulk
        reader.bulk.cancel(snapshot.digest)
        reader.fetch(marker)  # commands keep their order
        reader.until_fetched(marker)
        assert snapshot.digest not in reader.files.partial


def test_a_holder_on_a_slow_line_is_helped_by_those_who_fetch_from_it() -> None:
    """SPEC 5.3.5: what was verified is given on while the rest still comes."""
    data, snapshot = make(48 * CHUNK_BYTES)
    author = Node("author", MemoryFiles(data), upload=16 * CHUNK_BYTES)
    readers = [Node("first"), Node("second")]
    everyone = [author, *readers]
    with nodes(*everyone):
        addresses: list[str] = []
        for index, node in enumerate(everyone):
            before = zip(everyone[:index], addresses, strict=True)
            later = everyone[index + 1 :]
            peers = [peer.peer(address) for peer, address in before]
            addresses.append(node.start(*peers, *(peer.peer() for peer in later)))
        for reader in readers:
            reader.fetch(snapshot)
        for reader in readers:
            reader.until_fetched(snapshot)
        assert author.bulk
        given = sum(author.bulk.stats()[reader.id][0] for reader in readers)
    assert all(reader.files.held[snapshot.digest] == data for reader in readers)
    assert given < 80 * CHUNK_BYTES  # without help it is 96
