"""Journals on disk: SQLite, durable on return (SPEC 3).

An envelope is stored as it was signed; epoch and digest are read from it, so that no column can
contradict what its author said. A store belongs to the thread that opened it.
"""

import itertools
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dcfm_node.errors import DiskError, Failed, PeerError
from dcfm_node.wire.envelope import Sealed, SealedHeartbeat, open_entry, open_heartbeat

SCHEMA_VERSION = 2
APPLICATION_ID = 0x4443464D
"""Says `DCFM` in the file's header."""

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE entry (
    run BLOB NOT NULL, author BLOB NOT NULL, seq INTEGER NOT NULL, envelope BLOB NOT NULL,
    PRIMARY KEY (run, author, seq)
) STRICT;
CREATE TABLE fork (
    run BLOB NOT NULL, author BLOB NOT NULL, seq INTEGER NOT NULL,
    first BLOB NOT NULL, second BLOB NOT NULL,
    PRIMARY KEY (run, author)
) STRICT;
CREATE TABLE beat (
    run BLOB NOT NULL, author BLOB NOT NULL, envelope BLOB NOT NULL, PRIMARY KEY (run, author)
) STRICT;
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_REFUSED = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Damaged(Failed):
    """The journals' file is not what was written. Peers have what it held: see `set_aside`."""


class JournalStore:
    """Entries by (run, author, seq); fork proofs and heartbeats by (run, author); named settings.

    Args:
        path: the database; made, with mode 0600, if it is not there.
        read_only: neither writes nor makes a file nor waits for who does: to read beside a daemon
            that runs, or what a dead one left.

    Raises:
        Failed: from any method, when the file is not ours or cannot be used; `Damaged` when it was
            ours, `DiskError` when the disk took nothing. The file is left as it is.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        with self._explained():
            if not read_only:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            uri = f"{path.absolute().as_uri()}?{_reading(path) if read_only else 'mode=rw'}"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None)
            try:
                self._prepare(read_only)
            except BaseException:
                self._db.close()
                raise

    def load(self, run: bytes) -> tuple[list[Sealed], list[tuple[Sealed, Sealed]]]:
        """Entries in (author, seq) order, and the pairs that prove forks in author order.

        Every signature is verified, since a disk can change a bit where SQLite does not look; each
        once, one row after the other.
        """
        with self._explained():
            rows = self._db.execute(
                "SELECT author, seq, envelope FROM entry WHERE run = ? ORDER BY author, seq", (run,)
            )
            entries = [self._opened(run, *row) for row in rows]
            pairs = self._db.execute(
                "SELECT author, seq, first, second FROM fork WHERE run = ? ORDER BY author", (run,)
            )
            forks = [self._conflicting(run, *row) for row in pairs]
        return entries, forks

    def holds(self, run: bytes, author: bytes, seq: int, envelope: bytes) -> bool:
        """Whether this very entry is on the disk."""
        of = (run, author, seq)
        with self._explained():
            found = "SELECT envelope FROM entry WHERE run = ? AND author = ? AND seq = ?"
            return bool(self._db.execute(found, of).fetchone() == (envelope,))

    def heartbeats(self, run: bytes) -> list[SealedHeartbeat]:
        """The heartbeats kept, in author order, verified."""
        found = []
        with self._explained():
            rows = self._db.execute(
                "SELECT author, envelope FROM beat WHERE run = ? ORDER BY author", (run,)
            )
            for author, envelope in rows:
                try:
                    sealed = open_heartbeat(envelope)
                except PeerError as error:
                    raise self._damaged(error) from error
                if (sealed.heartbeat.run, sealed.heartbeat.author) != (run, author):
                    raise self._damaged("a heartbeat is in a wrong place")
                found.append(sealed)
        return found

    def keep_heartbeats(self, run: bytes, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep each (author, envelope) in place of the author's one before, all or none."""
        with self._transaction() as db:
            rows = ((run, author, envelope) for author, envelope in items)
            db.executemany("INSERT OR REPLACE INTO beat VALUES (?, ?, ?)", rows)

    def append(self, run: bytes, author: bytes, seq: int, envelope: bytes) -> None:
        """Put an entry at `seq`, in place of the author's tail from there on."""
        self.append_many(run, [(author, seq, envelope)])

    def append_many(self, run: bytes, items: Iterable[tuple[bytes, int, bytes]]) -> None:
        """`append` for each (author, seq, envelope), all or none."""
        with self._transaction() as db:
            for author, seq, envelope in items:
                _cut(db, run, author, seq)
                db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (run, author, seq, envelope))

    def record_fork(self, run: bytes, author: bytes, seq: int, first: bytes, second: bytes) -> None:
        """Keep two conflicting envelopes and drop the author's entries from `seq` on."""
        with self._transaction() as db:
            _cut(db, run, author, seq)
            row = (run, author, seq, first, second)
            db.execute("INSERT OR REPLACE INTO fork VALUES (?, ?, ?, ?, ?)", row)

    def get(self, key: str) -> bytes | None:
        """The value put under a name, None when there is none."""
        with self._explained():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, key: str, value: bytes) -> None:
        """Keep a value under a name, in place of the one before."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def enter(self, run: bytes, manifest: bytes) -> None:
        """Keep a run's manifest, and that this run is the node's present one."""
        self.put(f"manifest/{run.hex()}", manifest)
        self.put("run", run)

    def manifest(self, run: bytes | None = None) -> bytes | None:
        """The manifest of a run this node took part in, of the present one by default."""
        run = self.get("run") if run is None else run
        return None if run is None else self.get(f"manifest/{run.hex()}")

    def manifests(self) -> list[bytes]:
        """Of every run this node took part in, the one that it entered last first."""
        with self._explained():
            rows: list[tuple[bytes]] = self._db.execute(
                "SELECT value FROM meta WHERE key LIKE 'manifest/%' ORDER BY rowid DESC"
            ).fetchall()
        return [value for (value,) in rows]

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it. Harmless when repeated."""
        with self._explained():
            self._db.close()

    def _prepare(self, read_only: bool) -> None:
        fresh = (
            not read_only and not self._db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        )
        version = SCHEMA_VERSION if fresh else self._pragma("user_version")
        if not fresh and self._pragma("application_id") != APPLICATION_ID:
            raise self._failed("this SQLite file does not hold journals of dcfm-node", _MOVE)
        if version != SCHEMA_VERSION:
            raise self._failed(
                f"the journals have schema version {version}, this program reads {SCHEMA_VERSION}",
                "run the version of dcfm-node that wrote them",
            )
        if not read_only:
            self._db.execute("PRAGMA journal_mode = WAL")
            # FULL syncs the log at every commit: what was told to peers survives a power cut.
            self._db.execute("PRAGMA synchronous = FULL")
        found = self._pragma("quick_check")
        if found != "ok":
            raise self._damaged(found)
        if fresh:
            self._db.executescript(_SCHEMA)

    def _pragma(self, name: str) -> object:
        value: object = self._db.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                yield self._db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Faults of the file and the disk, in words; a misuse of ours keeps its traceback."""
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _DAMAGE:  # the low byte is the primary code
                raise self._damaged(error) from error
            if error.sqlite_errorcode & 0xFF in _REFUSED:
                raise DiskError(str(error), where=str(self._path), fix=_DISK) from error
            raise self._failed(f"the journals cannot be used: {error}", _DISK) from error
        except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its message
            raise self._damaged("text is not UTF-8") from error
        except OSError as error:
            raise self._failed(f"the journals cannot be used: {error.strerror}", _DISK) from error

    def _opened(self, run: bytes, author: bytes, seq: int, envelope: bytes) -> Sealed:
        sealed = self._verified(run, author, envelope)
        if sealed.entry.seq != seq:
            raise self._damaged("an entry is in a wrong place")
        return sealed

    def _conflicting(
        self, run: bytes, author: bytes, seq: int, *envelopes: bytes
    ) -> tuple[Sealed, Sealed]:
        """The proof of a fork. Its entries need not be of one number: the chain ends before the
        lower."""
        first, second = (self._verified(run, author, envelope) for envelope in envelopes)
        if min(first.entry.seq, second.entry.seq) != seq:
            raise self._damaged("a fork is in a wrong place")
        return first, second

    def _verified(self, run: bytes, author: bytes, envelope: bytes) -> Sealed:
        try:
            sealed = open_entry(envelope)
        except PeerError as error:
            raise self._damaged(error) from error
        if (sealed.entry.run, sealed.entry.author) != (run, author):
            raise self._damaged("an entry is in a wrong place")
        return sealed

    def _damaged(self, how: object) -> Damaged:
        return Damaged(f"the journals are damaged: {how}", where=str(self._path), fix=_MOVE)

    def _failed(self, what: str, fix: str) -> Failed:
        return Failed(what, where=str(self._path), fix=fix)


_MOVE = (
    "stop the node, move the file (and those named like it with -wal and -shm) aside and start "
    "again: the node catches up from its peers"
)
_DISK = "check the disk's free space and that the file belongs to the user that runs the node"


def _reading(path: Path) -> str:
    """How SQLite opens a database without a write, which it would do beside it even to read: the
    index of a write-ahead log that is there is taken as it is, and none is made where no log is."""
    log, index = (path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-shm"))
    if index:
        return "mode=ro&readonly_shm=1"
    # A log without its index is a copy of what somebody has, or had: SQLite has to make the index.
    return "mode=ro" if log else "immutable=1"


def set_aside(path: Path) -> Path:
    """Move a damaged database away, with what SQLite keeps beside it, for whoever wants to look.

    Returns: the new name of the file, its old one with the first free number.
    """
    numbered = (path.with_name(f"{path.name}.damaged-{n}") for n in itertools.count(1))
    target = next(name for name in numbered if not name.exists())
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    return target


def _cut(db: sqlite3.Connection, run: bytes, author: bytes, seq: int) -> None:
    where = (run, author, seq)
    db.execute("DELETE FROM entry WHERE run = ? AND author = ? AND seq >= ?", where)
