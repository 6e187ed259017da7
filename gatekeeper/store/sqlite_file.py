"""The SQLite file itself: made and checked at start, opened by the two threads, checkpointed, opened again."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatekeeper.store.base import StoreAway, StoreUnusable
from gatekeeper.store.lane import DEADLINE, Job
from gatekeeper.store.schema import APPLICATION_ID, MIGRATIONS, VERSION

OLDEST = (3, 35, 0)
"""The first SQLite with RETURNING."""
START_PATIENCE = 5.0
"""Seconds that a start waits for a lock: another worker may be making the tables right now."""
PATIENCE = 0.7
"""Seconds that a transaction waits for a lock; below the deadline, so that its answer says why."""
TRY_EVERY = 0.002
"""Seconds between two tries at a lock, give or take half of it."""
LOOK_EVERY = 2.0
"""Seconds between looks whether the file at our path is still the one we have open."""
CHECKPOINT_AFTER = 2000
"""Changed rows after which the log is written back into the file."""
LOG_MOST = 16_384
"""Pages of the log (64 MiB) after which it is begun anew."""
RESTART_PATIENCE = 100
"""Milliseconds in which that waits for whoever reads or writes."""
STEPS = 20_000
"""Virtual machine steps between looks at the clock, about a millisecond."""
_OUTSIDE = (sqlite3.OperationalError, sqlite3.InternalError, OSError)

Connection = sqlite3.Connection


def prepare(path: Path) -> None:
    """Make the file and its tables, or bring them up to date, and prove that it can be written.

    Raises StoreUnusable.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StoreUnusable(f"Python here comes with SQLite {sqlite3.sqlite_version}: {oldest} or newer is needed")
    with _making:
        _make(path)
    end = time.monotonic() + START_PATIENCE
    while True:
        try:
            return _begin(path)
        except sqlite3.Error as failure:
            # Where another process is just turning the file into a WAL one, or closing it as the last, SQLite says
            # that it is locked at once, whatever patience was asked for.
            if not _locked(failure) or (time.monotonic() >= end and not _older(path)):
                raise StoreUnusable(sentence(failure, path)) from failure
        time.sleep(0.02)


def _begin(path: Path) -> None:
    connection = _connect(path, START_PATIENCE)
    try:
        _migrate(connection, path)
        _prove(connection)
    finally:
        connection.close()


def _older(path: Path) -> bool:
    """Whether the file still has older tables: who holds the lock is bringing millions of rows up to date, and whoever
    gave up now would end that too, for a start is refused as a whole. How long a start may take the supervisor says.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as reading:
            return 0 < _version(reading, path) < VERSION
    except (sqlite3.Error, StoreUnusable):
        return False


def _locked(failure: Exception) -> bool:
    return getattr(failure, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def sentence(failure: Exception, path: Path) -> str:
    """What is wrong with the file, and the mend."""
    name = getattr(failure, "sqlite_errorname", "") or type(failure).__name__
    if _locked(failure):
        return f"{path} is locked by another program: find it with `fuser {path}` and end it"
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return f"{path} is damaged or no SQLite database: move it away (a new one is made) or restore a copy"
    if name.startswith("SQLITE_FULL"):
        return f"the disk that holds {path} is full: make room, or point [store] url elsewhere"
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN", "SQLITE_AUTH")):
        return f"{path} and its directory must be writable by the user gatekeeper runs as ({failure})"
    if name.startswith("SQLITE_IOERR"):
        return f"reading or writing {path} failed ({name}): look for disk errors and quotas"
    if name.startswith("SQLITE_INTERRUPT"):
        return "it took too long"
    return f"{path} cannot be used ({name}: {failure}): move it away (a new one is made) or restore a copy"


_making = threading.Lock()


def _make(path: Path) -> None:
    """An empty file with the right mode, if there is none; its -wal and -shm take the mode over.

    A file that exists is never opened here: closing any descriptor of it would drop the locks that this process's
    connections hold on it, and whoever closes next would take itself for the last one and delete the log under us.
    """
    try:
        if not path.parent.is_dir():
            raise StoreUnusable(
                f"{path.parent} is not a directory: make it, owned by the user gatekeeper runs as, or change"
                " [store] url"
            )
        with contextlib.suppress(FileExistsError):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            os.fchmod(file, 0o640)  # whatever the umask
            os.close(file)
        if path.is_dir() or not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, "it is a directory" if path.is_dir() else "no permission")
    except OSError as failure:
        if failure.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreUnusable(f"the disk that holds {path} is full: make room") from failure
        raise StoreUnusable(
            f"{path} cannot be written ({failure.strerror}): it and its directory must belong to the user"
            " gatekeeper runs as; or change [store] url"
        ) from failure


def _connect(path: Path, patience: float) -> Connection:
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnusable(f"{path} cannot be shared (journal mode {mode}): keep it on a local disk")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        # Ours come after the answers have gone out; this one is for the day when ours do not get through.
        connection.execute("PRAGMA wal_autocheckpoint = 10000")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: Connection, path: Path) -> None:
    if _version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")  # of several starting workers one makes the tables, the others wait
    try:
        for step in MIGRATIONS[_version(connection, path) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'version'", (VERSION,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _prove(connection: Connection) -> None:
    """Touch every table and write something, so that a damaged file or a full disk shows now, not at the first mail."""
    for table in ("bucket", "history", "block", "record", "recipient", "sighting", "note", "tally"):
        connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608  # our own names
    connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'opened'")


def _version(connection: Connection, path: Path) -> int:
    """0 for a file that has no tables yet. Raises StoreUnusable for one that is not ours, or not yet."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not tables:
        return 0
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise StoreUnusable(f"{path} is another program's database: point [store] url to a file of our own")
    (version,) = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    if version > VERSION:
        raise StoreUnusable(
            f"{path} was written by a newer gatekeeper (version {version}, this one knows {VERSION}):"
            " upgrade, or point [store] url to another file"
        )
    return int(version)


class _Open:
    """One thread's connection, made when it is needed and made anew after a fault."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._look_at = 0.0
        self._until = 0.0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _current(self) -> Connection:
        """A connection to the file that is at our path now: a restored copy counts from its first moment on."""
        now = time.monotonic()
        if self._connection is not None and now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            if self._file != _identity(self._path):
                self.close()
        if self._connection is None:
            with _making:  # no other thread may have connected between a file's making and its closing
                _make(self._path)
            connection = _connect(self._path, PATIENCE)
            try:
                _migrate(connection, self._path)
                self._opened(connection)
            except BaseException:
                connection.close()
                raise
            connection.set_progress_handler(self._late, STEPS)
            self._connection = connection
            self._file = _identity(self._path)
            self._look_at = now + LOOK_EVERY
        return self._connection

    def _opened(self, connection: Connection) -> None:
        """What is special about this kind of connection."""

    def _late(self) -> bool:
        return time.monotonic() > self._until

    def _away(self, failure: Exception) -> StoreAway:
        """The fault as the callers see it. Unless waiting is all it takes, the next batch opens the file again."""
        name = getattr(failure, "sqlite_errorname", "")
        if not name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_INTERRUPT")):
            self._drop()
        return StoreAway(str(failure) if isinstance(failure, StoreUnusable) else sentence(failure, self._path))

    def _drop(self) -> None:
        try:
            self.close()
        except sqlite3.Error:
            self._connection = None


class Writing(_Open):
    """The only writer of this process: each batch is one transaction."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._changes = 0  # of this connection, at the last checkpoint

    def serve(self, jobs: Sequence[Job[Connection]]) -> Sequence[Any]:
        outcomes = self._together(jobs)
        if outcomes is None:
            # One of them is wrong in itself; the others must not suffer for it.
            outcomes = [outcome for job in jobs for outcome in self._together([job]) or ()]
        return outcomes

    def checkpoint(self) -> None:
        """Write the log back into the file when enough has gathered; up to 0.2 s, with nobody's answer held back.

        SQLite begins a log anew only when all of it stands in the file at the moment somebody writes. Where processes
        write all the time that moment never comes by itself, for each writes while another one's log is written back:
        beyond LOG_MOST writers wait until it has come.
        """
        connection = self._connection
        if connection is None or connection.total_changes - self._changes < CHECKPOINT_AFTER:
            return
        self._changes = connection.total_changes
        self._until = float("inf")
        try:
            _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages > LOG_MOST:
                connection.execute(f"PRAGMA busy_timeout = {RESTART_PATIENCE}")
                connection.execute("PRAGMA wal_checkpoint(RESTART)")  # in vain while somebody reads: then the next time
                connection.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error:
            self._drop()  # the next transaction meets the same fault, and says so

    def _opened(self, connection: Connection) -> None:
        self._changes = connection.total_changes
        connection.execute("PRAGMA busy_timeout = 0")  # `_begin_writing` waits, and better

    def _together(self, jobs: Sequence[Job[Connection]]) -> Sequence[Any] | None:
        """The outcomes of one transaction; None when a job of several was at fault, and nothing was done."""
        self._until = time.monotonic() + DEADLINE
        try:
            connection = self._current()
            _begin_writing(connection)
            results = [job.call(connection) for job in jobs]
            connection.execute("COMMIT")
            return results
        except Exception as failure:  # noqa: BLE001  # the border of the thread: each caller gets what went wrong
            self._undo()
            if _outside(failure):
                away = self._away(failure)
                return [StoreAway(*away.args) for _ in jobs]
            return [failure] if len(jobs) == 1 else None

    def _undo(self) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            self._until = float("inf")
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._drop()


class Reading(_Open):
    """Reads one question after the other, each from the state of the moment."""

    def serve(self, jobs: Sequence[Job[Connection]]) -> Sequence[Any]:
        return [self._one(job) for job in jobs]

    def _opened(self, connection: Connection) -> None:
        connection.execute("PRAGMA query_only = ON")

    def _one(self, job: Job[Connection]) -> Any:
        self._until = job.until
        try:
            return job.call(self._current())
        except Exception as failure:  # noqa: BLE001  # the border of the thread: the caller gets what went wrong
            return self._away(failure) if _outside(failure) else failure


class Counting(Reading):
    """Reads whole indexes now and then, each page once: pages kept for the next time would only take memory."""

    def _opened(self, connection: Connection) -> None:
        super()._opened(connection)
        connection.execute("PRAGMA cache_size = -64")  # KiB


def _begin_writing(connection: Connection) -> None:
    """Begin a transaction that writes, within PATIENCE.

    SQLite itself looks less and less often, in the end every 0.1 s. Where other processes write all the time, with
    gaps of a few milliseconds, it may meet with none of them, and would call a store locked that many are using.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as failure:
            if not _locked(failure) or time.monotonic() >= until:
                raise
        else:
            return
        time.sleep(TRY_EVERY * random.uniform(0.5, 1.5))  # noqa: S311  # only so that two do not keep in step


def _outside(failure: Exception) -> bool:
    """A fault of the disk, the file or another process, not a bug of ours.

    sqlite3 raises the bare DatabaseError for a damaged file, and subclasses of it for wrong statements and values.
    """
    return isinstance(failure, (*_OUTSIDE, StoreUnusable)) or type(failure) is sqlite3.DatabaseError


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
