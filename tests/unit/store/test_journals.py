"""Journals on disk."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from dcfm_node.errors import Failed
from dcfm_node.records.entries import Entry, Withdraw
from dcfm_node.records.messages import Heartbeat
from dcfm_node.store.journals import SCHEMA_VERSION, Damaged, JournalStore
from dcfm_node.wire.envelope import Sealed, SealedHeartbeat, Signer, seal_entry, seal_heartbeat

RUN, OTHER_RUN = b"r" * 32, b"o" * 32
ANNA, BERT = sorted(
    (Signer.from_seed(bytes([n]) * 32) for n in (1, 2)), key=lambda signer: signer.key
)


def entry(author: Signer, seq: int, *, epoch: int = 0, run: bytes = RUN, why: str = "") -> Sealed:
    body = Withdraw(reason=why)
    record = Entry(
        run=run, author=author.key, epoch=epoch, seq=seq, prev=b"p" * 32, time_ms=0, body=body
    )
    return seal_entry(record, author)


def heartbeat(author: Signer, epoch: int) -> SealedHeartbeat:
    made = Heartbeat(
        run=RUN,
        author=author.key,
        counter=epoch,
        epoch=epoch,
        activity="idle",
        round=0,
        done=0,
        total=0,
        ready=True,
    )
    return seal_heartbeat(made, author)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[JournalStore]:
    opened = JournalStore(path)
    yield opened
    opened.close()


def test_entries_come_back_by_author_and_seq(store: JournalStore) -> None:
    for author, seq in ((BERT, 0), (ANNA, 0), (BERT, 1), (ANNA, 1)):
        store.append(RUN, author.key, seq, entry(author, seq).envelope)
    wanted = [entry(author, seq) for author in (ANNA, BERT) for seq in (0, 1)]
    assert store.load(RUN) == (wanted, [])


def test_it_says_whether_this_very_entry_is_on_the_disk(store: JournalStore) -> None:
    said, other = entry(ANNA, 0), entry(ANNA, 0, why="other")
    assert not store.holds(RUN, ANNA.key, 0, said.envelope)
    store.append(RUN, ANNA.key, 0, said.envelope)
    assert store.holds(RUN, ANNA.key, 0, said.envelope)
    assert not store.holds(RUN, ANNA.key, 0, other.envelope)
    assert not store.holds(OTHER_RUN, ANNA.key, 0, said.envelope)


def test_what_another_connection_reads_is_committed(store: JournalStore, path: Path) -> None:
    store.append(RUN, ANNA.key, 0, entry(ANNA, 0).envelope)
    other = JournalStore(path)
    assert other.load(RUN) == ([entry(ANNA, 0)], [])
    other.close()


def test_commits_are_synced_to_the_write_ahead_log(store: JournalStore) -> None:
    assert store._pragma("journal_mode") == "wal"
    assert store._pragma("synchronous") == 2


def test_a_higher_epoch_replaces_the_tail_of_its_author_alone(store: JournalStore) -> None:
    store.append_many(RUN, [(ANNA.key, seq, entry(ANNA, seq).envelope) for seq in range(4)])
    store.append_many(RUN, [(BERT.key, seq, entry(BERT, seq).envelope) for seq in range(3)])
    store.append(RUN, ANNA.key, 1, entry(ANNA, 1, epoch=1).envelope)
    wanted = [entry(ANNA, 0), entry(ANNA, 1, epoch=1), *(entry(BERT, s) for s in range(3))]
    assert store.load(RUN) == (wanted, [])


def test_runs_are_apart(store: JournalStore) -> None:
    store.append_many(RUN, [(ANNA.key, seq, entry(ANNA, seq).envelope) for seq in range(2)])
    store.append(OTHER_RUN, ANNA.key, 0, entry(ANNA, 0, run=OTHER_RUN).envelope)
    assert len(store.load(RUN)[0]) == 2
    assert store.load(OTHER_RUN) == ([entry(ANNA, 0, run=OTHER_RUN)], [])


def test_many_are_appended_all_or_none(store: JournalStore) -> None:
    def broken() -> Iterator[tuple[bytes, int, bytes]]:
        yield ANNA.key, 0, entry(ANNA, 0).envelope
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        store.append_many(RUN, broken())
    assert store.load(RUN) == ([], [])
    store.append(RUN, ANNA.key, 0, entry(ANNA, 0).envelope)
    assert store.load(RUN) == ([entry(ANNA, 0)], [])


def test_a_fork_keeps_its_proof_and_drops_the_rest(store: JournalStore) -> None:
    store.append_many(RUN, [(ANNA.key, seq, entry(ANNA, seq).envelope) for seq in range(3)])
    late = (entry(ANNA, 2), entry(ANNA, 2, why="x"))
    early = (entry(ANNA, 1), entry(ANNA, 1, why="x"))
    store.record_fork(RUN, ANNA.key, 2, *(said.envelope for said in late))
    assert store.load(RUN) == ([entry(ANNA, 0), entry(ANNA, 1)], [late])
    store.record_fork(RUN, ANNA.key, 1, *(said.envelope for said in early))
    assert store.load(RUN) == ([entry(ANNA, 0)], [early])


def test_the_last_heartbeat_of_each_author_is_kept_apart_by_run(
    store: JournalStore, path: Path
) -> None:
    store.keep_heartbeats(
        RUN, [(BERT.key, heartbeat(BERT, 5).envelope), (ANNA.key, heartbeat(ANNA, 3).envelope)]
    )
    store.keep_heartbeats(RUN, [(ANNA.key, heartbeat(ANNA, 4).envelope)])
    other = JournalStore(path)
    assert other.heartbeats(RUN) == [heartbeat(ANNA, 4), heartbeat(BERT, 5)]
    assert other.heartbeats(OTHER_RUN) == []
    other.close()


def test_a_heartbeat_that_is_not_its_authors_is_damage(store: JournalStore) -> None:
    store.keep_heartbeats(RUN, [(BERT.key, heartbeat(ANNA, 5).envelope)])
    with pytest.raises(Damaged, match="a heartbeat is in a wrong place"):
        store.heartbeats(RUN)
    store.keep_heartbeats(RUN, [(BERT.key, heartbeat(BERT, 5).envelope[:-1] + b"x")])
    with pytest.raises(Damaged, match="does not verify"):
        store.heartbeats(RUN)


def test_settings_survive_a_restart(store: JournalStore, path: Path) -> None:
    assert store.get("epoch") is None
    store.put("epoch", b"1")
    store.put("epoch", b"2")
    store.close()
    again = JournalStore(path)
    assert again.get("epoch") == b"2"
    again.close()


def test_who_only_reads_writes_nothing_and_makes_no_file(store: JournalStore, path: Path) -> None:
    store.enter(OTHER_RUN, b"earlier")
    store.enter(RUN, b"present")
    store.append(RUN, ANNA.key, 0, entry(ANNA, 0).envelope)

    def read(beside: int) -> None:
        assert len(list(path.parent.iterdir())) == beside
        reader = JournalStore(path, read_only=True)
        assert reader.load(RUN) == ([entry(ANNA, 0)], [])
        assert reader.manifests() == [b"present", b"earlier"]
        with pytest.raises(Failed, match="readonly"):
            reader.put("key", b"value")
        reader.close()
        assert len(list(path.parent.iterdir())) == beside

    read(3)  # with the log and its index, while somebody has it open
    store.close()
    read(1)


def test_the_file_is_private(store: JournalStore, path: Path) -> None:
    store.put("key", b"value")
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_an_unfinished_first_start_is_finished_by_the_next(path: Path) -> None:
    path.touch()
    store = JournalStore(path)
    assert store.load(RUN) == ([], [])
    store.close()


@pytest.mark.parametrize("offset", [0, 4096, 8192])
def test_damage_is_named_with_its_fix_and_loses_nothing(path: Path, offset: int) -> None:
    store = JournalStore(path)
    store.append_many(RUN, [(ANNA.key, seq, entry(ANNA, seq).envelope) for seq in range(200)])
    store.close()
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    with pytest.raises(Failed) as refused:
        JournalStore(path)
    assert str(path) in str(refused.value)
    assert "aside" in refused.value.fix
    assert path.read_bytes() == damaged


def test_a_bit_that_only_the_signature_sees_is_damage(path: Path) -> None:
    store = JournalStore(path)
    store.append(RUN, ANNA.key, 0, entry(ANNA, 0, why="the reason in clear text").envelope)
    store.close()
    path.write_bytes(path.read_bytes().replace(b"in clear text", b"in clear tex_"))
    store = JournalStore(path)
    with pytest.raises(Failed, match=r"damaged.*does not verify") as refused:
        store.load(RUN)
    assert "aside" in refused.value.fix
    store.close()


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_said_in_words_or_harmless(path: Path, seed: int) -> None:
    store = JournalStore(path)
    wanted = [entry(ANNA, seq) for seq in range(40)]
    store.append_many(RUN, [(ANNA.key, seq, said.envelope) for seq, said in enumerate(wanted)])
    store.close()
    rng, damaged = Random(seed), bytearray(path.read_bytes())
    for _ in range(8):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    path.write_bytes(damaged)
    try:
        store = JournalStore(path)
    except Failed:
        return
    try:
        # Bytes of a free page, or rows that no longer bear this run's name.
        assert all(said in wanted for said in store.load(RUN)[0])
        store.append(RUN, ANNA.key, 40, entry(ANNA, 40).envelope)
    except Failed as refused:
        assert str(path) in str(refused)
    finally:
        store.close()


def test_an_entry_in_a_wrong_place_is_damage(store: JournalStore) -> None:
    store.append(RUN, ANNA.key, 1, entry(ANNA, 0).envelope)
    with pytest.raises(Failed, match="wrong place"):
        store.load(RUN)


def test_a_newer_schema_is_refused_by_its_version(path: Path) -> None:
    JournalStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(Failed, match=f"schema version {SCHEMA_VERSION + 1}"):
        JournalStore(path)


def test_somebody_elses_database_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE entry (x)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(Failed, match="does not hold journals"):
        JournalStore(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="cannot be used") as refused:
        JournalStore(tmp_path / "nowhere" / "journals.sqlite")
    assert "nowhere" in refused.value.where


def test_a_full_disk_is_named_and_keeps_what_was_there(store: JournalStore) -> None:
    store.append(RUN, ANNA.key, 0, entry(ANNA, 0).envelope)
    store._db.execute("PRAGMA max_page_count = 8")
    with pytest.raises(Failed, match="full") as refused:
        store.append_many(
            RUN, [(BERT.key, s, entry(BERT, s, why="x" * 500).envelope) for s in range(99)]
        )
    assert "space" in refused.value.fix
    assert store.load(RUN) == ([entry(ANNA, 0)], [])
