"""A download that was killed, whatever the kill or the disk left of its file (SPEC 5.3.4)."""

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.net.carrier import BulkEvent, Carrier, Fetched
from dcfm_node.net.frames import Ask, Buffer, Chunk, Frames, Holds, Want, decode, encode
from dcfm_node.store.snapshots import SnapshotStore
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_count, chunk_hashes, snapshot_of

DATA = Random(3).randbytes(5 * CHUNK_BYTES + 4_321)
SNAPSHOT, HASHES = snapshot_of(DATA), chunk_hashes(DATA)
HOLDER = b"H" * 32
OFFSETS = st.integers(0, len(DATA) - 1)


class Life:
    """One process: it fetches from an honest holder until it is killed or done."""

    def __init__(self, state: Path) -> None:
        self.store = SnapshotStore(state)
        self.sent: list[Frames] = []
        self.events: list[BulkEvent] = []
        self.wanted: list[int] = []
        self.carrier = Carrier(self.store, self.send, self.events.append, Random(0))
        self.carrier.linked(HOLDER, True, 0.0)
        self.carrier.fetch(SNAPSHOT, 0.0)

    def send(self, peer: bytes, frames: list[Buffer]) -> bool:
        self.sent.append(decode(frames))
        return True

    def run(self, chunks: int) -> None:
        """Take so many chunks at most."""
        while self.sent or self.carrier.due(0.0) <= 0.0:
            self.carrier.step(0.0)
            messages, self.sent = self.sent, []
            for message in messages:
                if isinstance(message, Ask):
                    self.receive(Holds(SNAPSHOT.digest, b"", HASHES))
                elif isinstance(message, Want) and chunks > 0:
                    chunks -= 1
                    self.wanted.append(message.index)
                    start = message.index * CHUNK_BYTES
                    data = DATA[start : start + CHUNK_BYTES]
                    self.receive(Chunk(SNAPSHOT.digest, message.index, data))

    def receive(self, message: Frames) -> None:
        self.carrier.received(HOLDER, encode(message), 0.0)


@given(
    taken=st.integers(0, chunk_count(len(DATA)) - 1),
    cut=st.one_of(st.none(), st.integers(0, len(DATA))),
    torn=st.lists(
        st.tuples(st.integers(0, len(DATA) - 1), st.integers(1, CHUNK_BYTES)), max_size=3
    ),
    noise=st.booleans(),
)
def test_a_download_killed_at_any_byte_ends_with_the_same_file(
    taken: int, cut: int | None, torn: list[tuple[int, int]], noise: bool
) -> None:
    with TemporaryDirectory() as folder:
        first = Life(Path(folder))
        first.run(taken)
        partial = Path(folder) / "partial" / SNAPSHOT.digest.hex()
        left = bytearray(partial.read_bytes())
        for start, length in torn:  # writes that reached the disk in part, or not at all
            stop = min(len(left), start + length)
            left[start:stop] = (
                Random(start).randbytes(stop - start) if noise else bytes(stop - start)
            )
        partial.write_bytes(left[:cut])

        second = Life(Path(folder))
        second.run(len(DATA))
        assert Fetched(SNAPSHOT.digest) in second.events
        path = second.store.path(SNAPSHOT.digest)
        assert path is not None and path.read_bytes() == DATA
        # What was whole on disk was not fetched again.
        kept = left[:cut].ljust(len(DATA), b"\0")
        whole = [i for i in first.wanted if same(kept, i)]
        assert sorted(second.wanted) == sorted(set(range(chunk_count(len(DATA)))) - set(whole))


def same(kept: bytearray, index: int) -> bool:
    span = slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
    return kept[span] == DATA[span]
