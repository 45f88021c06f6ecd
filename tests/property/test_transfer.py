"""Whatever holders do, a download stores each right chunk once, and ends if one is honest."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.records.entries import Snapshot
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hashes, snapshot_of
from dcfm_node.swarm.transfer import (
    WINDOW,
    Ask,
    Blame,
    Check,
    Complete,
    Effect,
    Store,
    Transfers,
    Want,
)

CHUNKS = 24
DATA = b"".join(bytes([index + 1]) * CHUNK_BYTES for index in range(CHUNKS - 1)) + b"tail"
HASHES = chunk_hashes(DATA)
SNAPSHOT = snapshot_of(DATA)
DIGEST = SNAPSHOT.digest
HONEST = b"H" * 32


class World:
    """Holders that answer, lie, stay silent or vanish, and what the download did about it."""

    def __init__(self, seed: int, faulty: int) -> None:
        self.rng = Random(seed)
        self.transfers = Transfers(self.rng)
        self.faulty = [bytes([index]) * 32 for index in range(faulty)]
        self.inbox: list[Ask | Want] = []
        self.owed: dict[bytes, set[int]] = {}
        self.stored: dict[int, bytes] = {}
        self.blamed: set[bytes] = set()
        self.complete = False
        self.now = 0.0

    def apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Ask() | Want():
                    assert effect.peer not in self.blamed
                    self.inbox.append(effect)
                    if isinstance(effect, Want):
                        self.owed.setdefault(effect.peer, set()).add(effect.index)
                case Check(Snapshot(digest=digest)):
                    on_disk = [index for index in range(CHUNKS) if self.rng.random() < 0.2]
                    self.stored.update((index, piece(index)) for index in on_disk)
                    self.apply(self.transfers.resumed(digest, on_disk, self.now))
                case Store(_, index, data):
                    assert index not in self.stored
                    self.stored[index] = data
                case Blame(peer):
                    assert peer != HONEST
                    self.blamed.add(peer)
                case Complete():
                    assert not self.complete
                    self.complete = True

    def answer(self) -> None:
        request = self.inbox.pop(self.rng.randrange(len(self.inbox)))
        peer, transfers, now = request.peer, self.transfers, self.now
        roll = 1.0 if peer == HONEST else self.rng.random()
        index = request.index if isinstance(request, Want) else -1
        self.owed.get(peer, set()).discard(index)
        if roll < 0.2:
            return
        if roll < 0.3:
            self.owed.pop(peer, None)
            self.apply(transfers.peer_down(peer, now))
            self.apply(transfers.peer_up(peer, now))
        elif roll < 0.4:
            self.apply(transfers.lacks(peer, DIGEST, now))
        elif isinstance(request, Ask):
            hashes = HASHES if roll > 0.5 else HASHES[32:]
            self.apply(transfers.holds(peer, DIGEST, hashes, b"", now))
        else:
            data = piece(index) if roll > 0.45 else b"not this"
            self.apply(transfers.chunk(peer, DIGEST, index, data, now))


def piece(index: int) -> bytes:
    return DATA[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]


@given(seed=st.integers(0, 2**32), faulty=st.integers(0, 4))
def test_one_honest_holder_is_enough(seed: int, faulty: int) -> None:
    world = World(seed, faulty)
    for peer in [*world.faulty, HONEST]:
        world.apply(world.transfers.peer_up(peer, 0.0))
    world.apply(world.transfers.fetch(SNAPSHOT, 0.0))
    for _ in range(2_000):
        if world.complete:
            break
        world.now += world.rng.choice((0.0, 0.1, 8.0))
        world.apply(world.transfers.tick(world.now))
        if world.inbox:
            world.answer()
        assert len(world.owed.get(HONEST, ())) <= WINDOW
    assert world.complete
    assert world.stored == {index: piece(index) for index in range(CHUNKS)}
