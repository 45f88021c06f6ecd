"""The egress ledger on disk: what this node sent, to whom and when. SQLite, durable on return.

Lines are only ever added. Those of a past hour, and then of a past day, are added up: one line for
each peer, plane, kind and digest. So no byte is forgotten, and the file stays small. Each use opens
the file anew: the daemon and a command may use it in turn.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dcfm_node.errors import DiskError, Failed
from dcfm_node.store.journals import set_aside
from dcfm_node.swarm.egress import UNSORTED, Plane, Sum, What

LEDGER = "egress.sqlite"
APPLICATION_ID = 0x44434645
"""Spells `DCFE` in the file's header."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MAX_LINES = 200_000
"""Beyond so many lines, those of this hour are added up too; if that is not enough, the oldest,
without digests and days. About 40 MB."""
WAIT_S = 5.0
"""How long one process waits for the other to finish its use of the file."""
_WHAT = "run, peer, name, plane, kind, author, digest"
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE sent (
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, run BLOB NOT NULL, peer BLOB NOT NULL,
    name TEXT NOT NULL, plane TEXT NOT NULL, kind TEXT NOT NULL, author BLOB NOT NULL,
    digest BLOB NOT NULL, items INTEGER NOT NULL, bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE span (
    opened_ms INTEGER PRIMARY KEY, written_ms INTEGER NOT NULL, closed INTEGER NOT NULL
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger.

    Attributes:
        run: id of the run in which it was sent.
        name: the peer's name in this site's peers.toml.
    """

    run: bytes
    name: str
    what: What
    sum: Sum


@dataclass(frozen=True, slots=True)
class Span:
    """From one start of the node to its end. Times are Unix milliseconds.

    Attributes:
        written_ms: when the ledger was last written.
        closed: whether it was written at the end. If not, the node was killed, or runs now.
    """

    opened_ms: int
    written_ms: int
    closed: bool


class Ledger:
    """The ledger of one state folder.

    Raises:
        Failed: from any method, if the file is not a ledger or cannot be used; `DiskError` if the
            disk refused a write.
    """

    def __init__(self, state: Path) -> None:
        self.path = state / LEDGER

    def begin(self, now_ms: int) -> Path | None:
        """Note a start of the node. A damaged file is moved aside, and a new ledger begins.

        Returns: where a damaged file is now; None if it was sound.
        """
        try:
            self._begin(now_ms)
        except DiskError:
            raise
        except Failed:
            kept = set_aside(self.path)
            self._begin(now_ms)
            return kept
        return None

    def write(
        self,
        run: bytes,
        names: Iterable[tuple[bytes, str]],
        lines: Iterable[tuple[What, Sum]],
        now_ms: int,
        *,
        opened_ms: int | None = None,
        closed: bool = False,
    ) -> None:
        """Add lines; they are on the disk when this returns, all or none.

        Args:
            names: the name of each peer, by key.
            opened_ms: of the daemon's span; None for a command.
            closed: whether the span ends with these lines.
        """
        named = dict(names)
        rows = [
            (
                of.first_ms,
                of.last_ms,
                run,
                what.peer,
                named.get(what.peer, ""),
                what.plane,
                what.kind,
                what.author,
                what.digest,
                of.items,
                of.size,
            )
            for what, of in lines
        ]
        with self._writing() as db:
            db.executemany(f"INSERT INTO sent VALUES ({', '.join('?' * 11)})", rows)  # noqa: S608
            if opened_ms is not None:
                told = (opened_ms, now_ms, closed)
                db.execute("INSERT OR REPLACE INTO span VALUES (?, ?, ?)", told)

    def compact(self, now_ms: int, most: int = MAX_LINES) -> None:
        """Add up the lines of past hours and days, as this module says."""
        with self._writing() as db:
            _add_up(db, now_ms // HOUR_MS * HOUR_MS, HOUR_MS)
            _add_up(db, now_ms // DAY_MS * DAY_MS, DAY_MS)
            if _count(db) > most:
                _add_up(db, now_ms + 1, HOUR_MS)
            if (count := _count(db)) > most:
                at = "SELECT last_ms FROM sent ORDER BY last_ms LIMIT 1 OFFSET ?"
                (until,) = db.execute(at, (count // 2,)).fetchone()
                db.execute("UPDATE sent SET digest = x'' WHERE last_ms <= ?", (until,))
                _add_up(db, until + 1, max(DAY_MS, until + 1))

    def lines(self, since_ms: int = 0) -> list[Line]:
        """The lines whose last message is not before a time, the oldest first. Empty without a
        ledger."""
        query = f"SELECT first_ms, last_ms, {_WHAT}, items, bytes FROM sent"  # noqa: S608
        query += " WHERE last_ms >= ? ORDER BY first_ms, rowid"
        with self._reading() as db:
            rows = db.execute(query, (since_ms,)).fetchall() if db is not None else []
        return [_line(row) for row in rows]

    def spans(self) -> list[Span]:
        """Every start of the node that the ledger knows, the first one first."""
        query = "SELECT opened_ms, written_ms, closed FROM span ORDER BY opened_ms"
        with self._reading() as db:
            rows = db.execute(query).fetchall() if db is not None else []
        return [Span(opened, written, bool(closed)) for opened, written, closed in rows]

    def _begin(self, now_ms: int) -> None:
        with self._writing() as db:
            if (found := db.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
                raise Failed(f"the egress ledger is damaged: {found}", where=str(self.path))
            db.execute("INSERT OR REPLACE INTO span VALUES (?, ?, 0)", (now_ms, now_ms))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with self._connected("rw") as db:
                db.execute("PRAGMA synchronous = FULL")
                if not db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
                    db.executescript(_SCHEMA)
                self._check(db)
                db.execute("BEGIN IMMEDIATE")
                with db:
                    yield db

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self.path.is_file():
            yield None
            return
        with self._explained(), self._connected("ro") as db:
            self._check(db)
            yield db

    @contextmanager
    def _connected(self, mode: str) -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=WAIT_S)
        try:
            yield db
        finally:
            with suppress(sqlite3.Error):
                db.close()

    def _check(self, db: sqlite3.Connection) -> None:
        found = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in _MARKS]
        if found != list(_MARKS.values()):
            raise Failed(
                "this file is not an egress ledger of this version",
                where=str(self.path),
                fix="move it aside, or use the version of dcfm-node that wrote it",
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        fix = "check the disk's free space and that the file belongs to the user of the node"
        try:
            yield
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.DatabaseError as error:
            what = f"the egress ledger cannot be used: {error}"
            kind = DiskError if error.sqlite_errorcode & 0xFF in _REFUSED else Failed
            raise kind(what, where=str(self.path), fix=fix) from error
        except OSError as error:
            what = f"the egress ledger cannot be used: {error.strerror}"
            raise DiskError(what, where=str(self.path), fix=fix) from error


_MARKS = {"application_id": APPLICATION_ID, "user_version": 1}
_REFUSED = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
)


def _count(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT count(*) FROM sent").fetchone()[0]
    return found


def _add_up(db: sqlite3.Connection, before_ms: int, span_ms: int) -> None:
    """Add up the lines that end before a time and begin in one span of time."""
    where = f"last_ms < {before_ms}"
    db.execute(
        f"CREATE TEMP TABLE added AS SELECT min(first_ms), max(last_ms), {_WHAT}, sum(items),"  # noqa: S608
        f" sum(bytes) FROM sent WHERE {where} GROUP BY first_ms / {span_ms}, {_WHAT}"
    )
    db.execute(f"DELETE FROM sent WHERE {where}")  # noqa: S608
    db.execute("INSERT INTO sent SELECT * FROM added")
    db.execute("DROP TABLE added")


def _line(row: tuple[int, int, bytes, bytes, str, Plane, str, bytes, bytes, int, int]) -> Line:
    first, last, run, peer, name, plane, kind, author, digest, items, size = row
    what = What(peer, plane, kind or UNSORTED, author, digest)
    return Line(run, name, what, Sum(first, last, items, size))
