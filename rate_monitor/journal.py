"""The journal: what came in, what was decided and what was published, in SQLite, append-only.

An *entry* is one thing that came in (a start, a record, a faulty line, an override, a confirmation)
with all that was made of it: the decision, the place in the input to go on from and, every so many
entries, the state after it (between two of those it follows from the inputs). It is one row, so it is
there whole or not at all; it is on disk (WAL, ``synchronous=FULL``) before `append` returns, and only then
may a threshold be published. A *publication* says what became of an entry's thresholds at the sink. An
*alarm* row says that an alarm was raised or cleared. Triggers refuse to change or delete any row, and a
lumi section can be decided once only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axo.errors import UserError

FORMAT = 1
CHECKPOINT_PAGES = 2000

SCHEMA = """
CREATE TABLE entries (
    number INTEGER PRIMARY KEY,
    time_s REAL NOT NULL,             -- wall clock, Unix seconds, when it was taken in
    kind TEXT NOT NULL,               -- start, record, fault, override, confirmation
    input BLOB NOT NULL,              -- deflated text: the line as it came, or JSON (see engine.py)
    place TEXT NOT NULL,              -- where it came from, for a person
    position TEXT NOT NULL,           -- JSON: the input goes on from here after a restart
    run INTEGER,                      -- of a decided lumi section
    lumi_section INTEGER,
    output TEXT NOT NULL,             -- JSON: thresholds, reasons and alarms
    state BLOB,                       -- deflated JSON: state after this entry; NULL: re-derive it
    controller TEXT NOT NULL,         -- name and version
    network TEXT NOT NULL             -- digest of the network the scores come from
);
CREATE UNIQUE INDEX decided_once ON entries (run, lumi_section) WHERE lumi_section IS NOT NULL;
CREATE TABLE publications (
    number INTEGER PRIMARY KEY,
    time_s REAL NOT NULL,
    entry INTEGER NOT NULL REFERENCES entries (number),
    outcome TEXT NOT NULL,            -- published, failed, superseded, proposed
    detail TEXT NOT NULL
);
CREATE INDEX publication_of ON publications (entry);
CREATE TABLE alarms (
    number INTEGER PRIMARY KEY,
    time_s REAL NOT NULL,
    name TEXT NOT NULL,
    seed TEXT NOT NULL,               -- '' when it concerns them all
    active INTEGER NOT NULL,
    text TEXT NOT NULL
);
"""
COLUMNS = "time_s, kind, input, place, position, run, lumi_section, output, state, controller, network"
TABLES = ("entries", "publications", "alarms")


@dataclass(frozen=True)
class Entry:
    """One row of `entries`; `position`, `output` and `state` are JSON values.

    `number` is 0 until it is appended. `state` is None where it was not written.
    """

    time_s: float
    kind: str
    input: str
    place: str
    position: Any
    run: int | None
    lumi_section: int | None
    output: dict[str, Any]
    state: dict[str, Any] | None
    controller: str
    network: str
    number: int = 0


@dataclass(frozen=True)
class AlarmRow:
    """One row of `alarms`."""

    time_s: float
    name: str
    seed: str
    active: bool
    text: str


class JournalUnwritable(Exception):
    """The journal could not take an entry just now (disk full, I/O error): publish nothing."""


class Journal:
    """The journal in the file `path`; one writer at a time, any number of readers.

    Raises UserError when the file is not a journal, is damaged, or another service writes to it.
    """

    def __init__(self, path: str | os.PathLike[str], *, writable: bool = True) -> None:
        self.path = Path(path)
        self._lock: int | None = None
        if writable:
            self._take_lock()
        elif not self.path.is_file():
            raise UserError(f"{path}: there is no journal here")
        try:
            self._database = self._open(writable)
        except sqlite3.Error as error:
            self._drop_lock()
            raise UserError(
                f"{path}: is not a usable journal ({error}); keep it, and name another file"
            ) from error
        except UserError:
            self._drop_lock()
            raise

    def append(self, entry: Entry, alarms: tuple[AlarmRow, ...] = ()) -> int:
        """Write `entry` and the alarms that changed with it, to disk; returns the entry's number.

        Raises JournalUnwritable, nothing being written, when the disk does not take it.
        """
        values = (
            entry.time_s,
            entry.kind,
            zlib.compress(entry.input.encode(), 1),
            entry.place,
            _json(entry.position),
            entry.run,
            entry.lumi_section,
            _json(entry.output),
            None if entry.state is None else zlib.compress(_json(entry.state).encode(), 1),
            entry.controller,
            entry.network,
        )
        statement = f"INSERT INTO entries ({COLUMNS}) VALUES ({', '.join('?' * len(values))})"
        with self._transaction() as database:
            number = database.execute(statement, values).lastrowid
            assert number is not None
            _insert_alarms(database, alarms)
        return number

    def publication(self, entry: int, time_s: float, outcome: str, detail: str) -> None:
        """Write what became of the thresholds of entry number `entry`.

        It need not outlive a power cut: what is not on record as published is published again.
        """
        with self._transaction(durable=False) as database:
            database.execute(
                "INSERT INTO publications (time_s, entry, outcome, detail) VALUES (?, ?, ?, ?)",
                (time_s, entry, outcome, detail),
            )

    def alarms(self, alarms: tuple[AlarmRow, ...]) -> None:
        """Write alarms that changed without an entry (the watchdog's)."""
        with self._transaction(durable=False) as database:
            _insert_alarms(database, alarms)

    def last(self) -> Entry | None:
        """The last entry, or None in a new journal."""
        return next(self.entries("ORDER BY number DESC LIMIT 1"), None)

    def entries(self, clause: str = "ORDER BY number", values: tuple[Any, ...] = ()) -> Iterator[Entry]:
        """Entries in order, or as the SQL `clause` says."""
        for row in self._database.execute(f"SELECT {COLUMNS}, number FROM entries {clause}", values):
            yield _entry(row)

    def unpublished(self) -> Entry | None:
        """The last entry that decided thresholds, unless a publication of it is on record."""
        found = next(
            self.entries("WHERE json_extract(output, '$.publish') ORDER BY number DESC LIMIT 1"), None
        )
        if found is None:
            return None
        outcome = self._database.execute(
            "SELECT 1 FROM publications WHERE entry = ? AND outcome IN ('published', 'proposed')",
            (found.number,),
        )
        return None if outcome.fetchone() else found

    def outcomes(self) -> dict[int, str]:
        """Entry number -> the last outcome of publishing it."""
        return dict(self._database.execute("SELECT entry, outcome FROM publications ORDER BY number"))

    def alarm_rows(self, limit: int) -> list[AlarmRow]:
        """The last `limit` changes of alarms, oldest first."""
        rows = self._database.execute(
            "SELECT time_s, name, seed, active, text FROM alarms ORDER BY number DESC LIMIT ?", (limit,)
        ).fetchall()
        return [
            AlarmRow(time, name, seed, bool(active), text) for time, name, seed, active, text in rows[::-1]
        ]

    def bytes_waiting(self) -> int:
        """Bytes in the write-ahead log, not yet moved into the main file."""
        wal = self.path.with_name(self.path.name + "-wal")
        return wal.stat().st_size if wal.exists() else 0

    def close(self) -> None:
        """Close the file; what was appended is on disk already."""
        self._database.close()
        self._drop_lock()

    @contextlib.contextmanager
    def _transaction(self, durable: bool = True) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
        except sqlite3.IntegrityError:
            self._roll_back()
            raise
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise JournalUnwritable(f"{self.path}: {error}") from error

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.OperationalError):
            self._database.execute("ROLLBACK")

    def _open(self, writable: bool) -> sqlite3.Connection:
        uri = f"file:{_quoted(self.path)}?mode={'rwc' if writable else 'ro'}"
        database = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10, check_same_thread=False)
        try:
            if writable:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            if writable and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _create(database)
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version != FORMAT:
                raise UserError(f"{self.path}: is not a journal of this version of axo (format {version})")
            fault = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if fault != "ok":
                raise UserError(f"{self.path}: is damaged ({fault}); keep it, and name another file")
        except BaseException:
            database.close()
            raise
        return database

    def _take_lock(self) -> None:
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._drop_lock()
            raise UserError(f"{self.path}: another service is writing this journal; stop it first") from error
        except OSError as error:
            self._drop_lock()
            raise UserError(f"{lock}: cannot be written ({error.strerror})") from error

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _create(database: sqlite3.Connection) -> None:
    triggers = "".join(
        f"CREATE TRIGGER no_{verb.lower()}_{table} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;\n"
        for table in TABLES
        for verb in ("UPDATE", "DELETE")
    )
    database.executescript(f"BEGIN IMMEDIATE;\n{SCHEMA}{triggers}PRAGMA user_version={FORMAT};\nCOMMIT;")


def _insert_alarms(database: sqlite3.Connection, alarms: tuple[AlarmRow, ...]) -> None:
    database.executemany(
        "INSERT INTO alarms (time_s, name, seed, active, text) VALUES (?, ?, ?, ?, ?)",
        [(alarm.time_s, alarm.name, alarm.seed, int(alarm.active), alarm.text) for alarm in alarms],
    )


def _entry(row: tuple[Any, ...]) -> Entry:
    time_s, kind, text, place, position, run, section, output, state, controller, network, number = row
    return Entry(
        time_s,
        kind,
        zlib.decompress(text).decode(),
        place,
        json.loads(position),
        run,
        section,
        json.loads(output),
        None if state is None else json.loads(zlib.decompress(state)),
        controller,
        network,
        number,
    )


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))
