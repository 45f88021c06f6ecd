"""Journals on disk: SQLite, durable on return (SPEC 3).

Envelopes are stored as they were signed. Epoch and digest are read from them, so that no column can
contradict the author. Only the thread that opened a store may use it.
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
"""Spells `DCFM` in the file's header."""

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
    """The journals' file was altered or damaged. Peers hold its records: see `set_aside`."""


class JournalStore:
    """Entries by (run, author, seq); fork proofs and heartbeats by (run, author); named settings.

    Args:
        path: the database; it is made with mode 0600 if it does not exist.
        read_only: writes nothing, makes no file and waits for no writer, so that it can read
            beside a running daemon, or what a dead one left.

    Raises:
        Failed: from any method, if the file is not ours or cannot be used; `Damaged` if it was
            ours; `DiskError` if the disk refused a write. The file stays as it is.
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

        Every signature is verified once, row by row, because a disk can change a bit that SQLite
        does not check.
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
        """Whether exactly this envelope is on the disk."""
        of = (run, author, seq)
        with self._explained():
            found = "SELECT envelope FROM entry WHERE run = ? AND author = ? AND seq = ?"
            return bool(self._db.execute(found, of).fetchone() == (envelope,))

    def heartbeats(self, run: bytes) -> list[SealedHeartbeat]:
        """The stored heartbeats in author order, verified."""
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
        """Store each (author, envelope) in place of that author's previous one, all or none."""
        with self._transaction() as db:
            rows = ((run, author, envelope) for author, envelope in items)
            db.executemany("INSERT OR REPLACE INTO beat VALUES (?, ?, ?)", rows)

    def append(self, run: bytes, author: bytes, seq: int, envelope: bytes) -> None:
        """Store an entry at `seq`, in place of the author's entries from `seq` on."""
        self.append_many(run, [(author, seq, envelope)])

    def append_many(self, run: bytes, items: Iterable[tuple[bytes, int, bytes]]) -> None:
        """`append` for each (author, seq, envelope), all or none."""
        with self._transaction() as db:
            for author, seq, envelope in items:
                _cut(db, run, author, seq)
                db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (run, author, seq, envelope))

    def record_fork(self, run: bytes, author: bytes, seq: int, first: bytes, second: bytes) -> None:
        """Store two conflicting envelopes, and delete the author's entries from `seq` on."""
        with self._transaction() as db:
            _cut(db, run, author, seq)
            row = (run, author, seq, first, second)
            db.execute("INSERT OR REPLACE INTO fork VALUES (?, ?, ?, ?, ?)", row)

    def get(self, key: str) -> bytes | None:
        """The value stored under a name; None if there is none."""
        with self._explained():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, key: str, value: bytes) -> None:
        """Store a value under a name, in place of the previous one."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def enter(self, run: bytes, manifest: bytes) -> None:
        """Store a run's manifest, and make that run the present one."""
        self.put(f"manifest/{run.hex()}", manifest)
        self.put("run", run)

    def manifest(self, run: bytes | None = None) -> bytes | None:
        """The manifest of a run that this node took part in; by default, of the present run."""
        run = self.get("run") if run is None else run
        return None if run is None else self.get(f"manifest/{run.hex()}")

    def manifests(self) -> list[bytes]:
        """The manifest of every run that this node took part in, the latest first."""
        with self._explained():
            rows: list[tuple[bytes]] = self._db.execute(
                "SELECT value FROM meta WHERE key LIKE 'manifest/%' ORDER BY rowid DESC"
            ).fetchall()
        return [value for (value,) in rows]

    def close(self) -> None:
        """Write the log into the file and close it. It may be called again."""
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
            # FULL syncs the log at every commit: what peers were told survives a power cut.
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
        """Explain errors of the file and the disk; a bug of ours keeps its traceback."""
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
        """The proof of a fork. Its entries may have different numbers: the chain ends before the
        lower one."""
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
    "stop the node, move the file (with those of the same name and -wal and -shm) aside, and "
    "start it again: the node catches up from its peers"
)
_DISK = "check the disk's free space and that the file belongs to the user that runs the node"


def _reading(path: Path) -> str:
    """URI parameters to open a database without any write. By default SQLite writes even to read:
    an existing index of a write-ahead log is used as it is, and without a log none is made."""
    log, index = (path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-shm"))
    if index:
        return "mode=ro&readonly_shm=1"
    # A log without its index is a copied database: SQLite has to make the index.
    return "mode=ro" if log else "immutable=1"


def set_aside(path: Path) -> Path:
    """Move a damaged database and SQLite's files beside it away, for later inspection.

    Returns: the new path: the old one with the first free number.
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
