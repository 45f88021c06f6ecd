"""Readers of one author, who give on what they verified (SPEC 5.3.5), in any order of messages."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hashes, snapshot_of
from dcfm_node.swarm.transfer import Ask, Blame, Check, Complete, Effect, Offer, Transfers, Want

CHUNKS = 40
DATA = b"".join(bytes([index]) * CHUNK_BYTES for index in range(CHUNKS - 1)) + b"tail"
HASHES, SNAPSHOT = chunk_hashes(DATA), snapshot_of(DATA)
DIGEST = SNAPSHOT.digest
AUTHOR = b"A" * 32


class World:
    """An author and readers; messages wait in a bag and are taken out at random."""

    def __init__(self, seed: int, readers: int) -> None:
        self.rng = Random(seed)
        self.readers = {bytes([index]) * 32: Transfers(self.rng) for index in range(readers)}
        self.whole = {AUTHOR}
        self.bag: list[tuple[bytes, bytes, Effect]] = []
        self.given = dict.fromkeys([AUTHOR, *self.readers], 0)
        self.disk: dict[bytes, list[int]] = {}
        self.now = 0.0

    def start(self) -> None:
        for name, reader in self.readers.items():
            for peer in (AUTHOR, *self.readers):
                if peer != name:
                    reader.peer_up(peer, self.now)
            self.apply(name, reader.fetch(SNAPSHOT, self.now))

    def restart(self, name: bytes) -> None:
        """Its process was killed: what it had verified is on its disk, nothing else is known."""
        old = self.readers[name]
        # Killed again before it knew the hash list, it could give nothing and has it all the same.
        verified = {index for index in range(CHUNKS) if old.can_give(DIGEST, index)}
        self.disk[name] = sorted(verified.union(self.disk.get(name, [])))
        self.bag = [message for message in self.bag if name not in message[:2]]
        for peer, reader in self.readers.items():
            if peer != name:
                self.apply(peer, reader.peer_down(name, self.now))
                self.apply(peer, reader.peer_up(name, self.now))
        self.readers[name] = fresh = Transfers(self.rng)
        for peer in (AUTHOR, *self.readers):
            if peer != name:
                fresh.peer_up(peer, self.now)
        self.apply(name, fresh.fetch(SNAPSHOT, self.now))

    def apply(self, name: bytes, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Ask(peer) | Want(peer) | Offer(peer):
                    self.bag.append((name, peer, effect))
                case Check():
                    reader = self.readers[name]
                    self.apply(name, reader.resumed(DIGEST, self.disk.get(name, []), self.now))
                case Complete():
                    self.whole.add(name)
                case Blame():
                    raise AssertionError("everybody is honest")

    def deliver(self) -> None:
        sender, peer, message = self.bag.pop(self.rng.randrange(len(self.bag)))
        reader, now = self.readers.get(sender), self.now
        match message:
            case Offer(_, _, hashes, have) if peer in self.readers:
                said = self.readers[peer].holds if hashes else self.readers[peer].has
                arguments = (hashes, have) if hashes else (have,)
                self.apply(peer, said(sender, DIGEST, *arguments, now))
            case Ask() if reader is not None and peer in self.whole:
                self.apply(sender, reader.holds(peer, DIGEST, HASHES, b"", now))
            case Ask() if DIGEST in self.readers[peer]:
                self.apply(peer, self.readers[peer].asked(sender, DIGEST))
            case Want(_, _, index) if reader is not None:
                assert peer in self.whole or self.readers[peer].can_give(DIGEST, index)
                self.given[peer] += 1
                data = DATA[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
                self.apply(sender, reader.chunk(peer, DIGEST, index, data, now))


@given(seed=st.integers(0, 2**32), readers=st.integers(1, 5), kills=st.integers(0, 3))
def test_everyone_gets_all_and_each_chunk_once(seed: int, readers: int, kills: int) -> None:
    world = World(seed, readers)
    world.start()
    while len(world.whole) <= readers:
        if kills and world.rng.random() < 0.05:
            reading = [name for name in world.readers if name not in world.whole]
            world.restart(world.rng.choice(reading))
            kills -= 1
        elif world.bag and world.rng.random() < 0.98:
            world.deliver()
        else:
            world.now += 0.0001 if world.bag else 0.1  # nobody is ever late
            for name, reader in world.readers.items():
                world.apply(name, reader.tick(world.now))
        assert world.now < 100
    # What was on its way when a process was killed is lost; all else is given once.
    assert sum(world.given.values()) == readers * CHUNKS
