"""The SQLite file at start, and what each fault of it is told as."""

import asyncio
import itertools
import os
import resource
import sqlite3
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gatekeeper.store import sqlite_file
from gatekeeper.store.base import StoreAway, StoreUnusable
from gatekeeper.store.lane import Job
from gatekeeper.store.schema import MIGRATIONS, VERSION
from gatekeeper.store.sqlite_file import Counting, Reading, Writing, prepare, sentence
from tests.support.closed import closed_to_us


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """No test waits for a lock that nobody will let go, and every look at the file is due."""
    monkeypatch.setattr(sqlite_file, "START_PATIENCE", 0.0)
    monkeypatch.setattr(sqlite_file, "PATIENCE", 0.0)
    monkeypatch.setattr(sqlite_file, "LOOK_EVERY", 0.0)


@contextmanager
def files_no_larger_than(octets: int) -> Iterator[None]:
    """Writing past that size fails, as with a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def pages_at_most(monkeypatch, pages: int) -> Iterator[None]:
    """New connections meet SQLITE_FULL past that size, as on a full disk."""
    connect = sqlite_file._connect

    def limited(path: Path, patience: float) -> sqlite3.Connection:
        connection = connect(path, patience)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_file, "_connect", limited)
        yield


def value(path: Path, name: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return int(found)


def job(call, *, within: float = 60.0) -> Job[sqlite3.Connection]:
    return Job(call, time.monotonic() + within, asyncio.Future(loop=_LOOP))


_LOOP = asyncio.new_event_loop()
INSERT = "INSERT INTO history VALUES (?, 1, 0, 0, 0)"


class TestAtStart:
    def test_the_file_is_made_and_others_cannot_read_it(self, path):
        before = os.umask(0o000)
        try:
            prepare(path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert value(path, "version") == VERSION

    def test_a_narrow_umask_does_not_keep_the_group_out(self, path):
        before = os.umask(0o077)
        try:
            prepare(path)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_an_existing_file_keeps_its_mode_and_contents(self, path):
        prepare(path)
        path.chmod(0o600)
        prepare(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert value(path, "opened") == 2

    def test_several_processes_may_start_at_once(self, path, monkeypatch):
        monkeypatch.setattr(sqlite_file, "START_PATIENCE", 30.0)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: prepare(path), range(6)))
        assert value(path, "opened") == 6

    def test_an_empty_file_is_taken_as_new(self, path):
        path.touch()
        prepare(path)
        assert value(path, "version") == VERSION

    def test_an_sqlite_that_is_too_old_is_told(self, path, monkeypatch):
        monkeypatch.setattr(sqlite_file, "OLDEST", (99, 1, 0))
        with pytest.raises(StoreUnusable, match=r"99\.1\.0 or newer"):
            prepare(path)

    def test_a_missing_directory_is_named(self, tmp_path):
        with pytest.raises(StoreUnusable, match=r"/nowhere is not a directory: make it"):
            prepare(tmp_path / "nowhere" / "state.db")

    def test_a_directory_that_is_closed_to_us_is_told(self, tmp_path, monkeypatch):
        closed_to_us(tmp_path / "closed", monkeypatch)
        with pytest.raises(StoreUnusable, match=r"state\.db cannot be written \(Permission denied\)"):
            prepare(tmp_path / "closed" / "of us" / "state.db")

    def test_a_directory_in_its_place_is_told(self, path):
        path.mkdir()
        with pytest.raises(StoreUnusable, match="cannot be written"):
            prepare(path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_directory_without_permission_is_told(self, tmp_path, path):
        tmp_path.chmod(0o500)
        with pytest.raises(StoreUnusable, match="must belong to the user"):
            prepare(path)

    def test_a_file_that_is_no_database_is_left_alone(self, path):
        path.write_text("precious notes\n" * 100)
        with pytest.raises(StoreUnusable, match="damaged or no SQLite database: move it away"):
            prepare(path)
        assert path.read_text().startswith("precious notes")

    def test_a_damaged_file_is_told(self, path):
        prepare(path)
        octets = bytearray(path.read_bytes())
        octets[4096:] = b"\xff" * (len(octets) - 4096)
        path.write_bytes(octets)
        with pytest.raises(StoreUnusable, match="damaged"):
            prepare(path)

    def test_another_programs_database_is_left_alone(self, path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE accounts (id)")
        with pytest.raises(StoreUnusable, match="another program's database"):
            prepare(path)

    def test_a_newer_version_is_not_touched(self, path):
        prepare(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE meta SET value = 999 WHERE name = 'version'")
            connection.commit()
        with pytest.raises(StoreUnusable, match=r"newer gatekeeper \(version 999"):
            prepare(path)

    def test_a_locked_file_is_told(self, path):
        prepare(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnusable, match="locked by another program: find it with `fuser"):
                prepare(path)

    def test_a_lock_that_sqlite_does_not_wait_for_is_tried_again(self, path, monkeypatch):
        begin, tried = sqlite_file._begin, []

        def busy_twice(path):
            tried.append(path)
            if len(tried) < 3:
                raise Fault("SQLITE_BUSY")
            begin(path)

        monkeypatch.setattr(sqlite_file, "_begin", busy_twice)
        monkeypatch.setattr(sqlite_file, "START_PATIENCE", 60.0)
        prepare(path)
        assert len(tried) == 3

    def test_a_full_disk_is_told(self, path, monkeypatch):
        with (
            pages_at_most(monkeypatch, 2),
            pytest.raises(StoreUnusable, match=r"disk that holds .* is full: make room"),
        ):
            prepare(path)
        prepare(path)

    def test_a_full_disk_is_told_though_the_tables_are_there(self, path):
        prepare(path)
        with files_no_larger_than(100), pytest.raises(StoreUnusable, match=r"quotas|full"):
            prepare(path)

    def test_an_older_version_is_brought_up_to_date(self, path, monkeypatch):
        prepare(path)
        monkeypatch.setattr(sqlite_file, "VERSION", VERSION + 1)
        monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS, ("ALTER TABLE history ADD COLUMN note TEXT",)))
        prepare(path)
        assert value(path, "version") == VERSION + 1
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT note FROM history")

    def test_whoever_finds_one_being_brought_up_to_date_waits_for_its_end(self, path, monkeypatch):
        prepare(path)
        monkeypatch.setattr(sqlite_file, "VERSION", VERSION + 1)
        monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS, ("ALTER TABLE history ADD COLUMN note TEXT",)))
        begin, tried = sqlite_file._begin, []

        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            def begun(path):
                tried.append(path)
                if len(tried) == 3:
                    other.execute("ROLLBACK")
                begin(path)

            monkeypatch.setattr(sqlite_file, "_begin", begun)
            prepare(path)  # START_PATIENCE is over at once here
        assert value(path, "version") == VERSION + 1

    def test_a_migration_that_fails_changes_nothing(self, path, monkeypatch):
        prepare(path)
        monkeypatch.setattr(sqlite_file, "VERSION", VERSION + 1)
        steps = ("ALTER TABLE history ADD COLUMN note TEXT", "ALTER TABLE no_such ADD COLUMN x")
        monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS, steps))
        with pytest.raises(StoreUnusable):
            prepare(path)
        assert value(path, "version") == VERSION
        with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.OperationalError):
            connection.execute("SELECT note FROM history")


class TestWriting:
    @pytest.fixture
    def writing(self, path) -> Iterator[Writing]:
        prepare(path)
        made = Writing(path)
        yield made
        made.close()

    def test_one_wrong_job_does_not_spoil_the_others(self, writing, path):
        outcomes = writing.serve(
            [
                job(lambda c: c.execute(INSERT, ("a",)).rowcount),
                job(lambda c: c.execute(INSERT, (None,))),
                job(lambda c: c.execute(INSERT, ("b",)).rowcount),
            ]
        )
        assert outcomes[0] == outcomes[2] == 1
        assert isinstance(outcomes[1], sqlite3.IntegrityError)

    def test_a_bug_stays_a_bug(self, writing):
        (outcome,) = writing.serve([job(lambda c: c.no_such_verb())])
        assert isinstance(outcome, AttributeError)

    def test_a_lock_is_waited_out(self, writing, path):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            (outcome,) = writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)])
            assert isinstance(outcome, StoreAway)
            assert "locked" in str(outcome)
        assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]

    def test_a_short_gap_between_the_transactions_of_others_is_found(self, writing, path, monkeypatch):
        """As with one that writes all the time: SQLite's own waiting would look every 0.1 s in the end."""
        waited: list[float] = []
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            def sleep(seconds: float) -> None:
                waited.append(seconds)
                if len(waited) == 100:
                    other.execute("COMMIT")

            monkeypatch.setattr(sqlite_file, "PATIENCE", 3600.0)
            monkeypatch.setattr(time, "sleep", sleep)
            assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]
        assert len(waited) == 100
        assert max(waited) <= 0.003

    def test_a_full_disk_fails_what_does_not_fit_and_goes_on_when_there_is_room(self, path, monkeypatch):
        prepare(path)
        with pages_at_most(monkeypatch, path.stat().st_size // 4096 + 2):
            writing = Writing(path)
            (outcome,) = writing.serve([job(lambda c: c.execute(INSERT, ("x" * 100_000,)).rowcount)])
            assert isinstance(outcome, StoreAway)
            assert "is full" in str(outcome)
            assert writing.serve([job(lambda c: c.execute(INSERT, ("small",)).rowcount)]) == [1]
        writing.close()

    def test_a_failing_disk_is_told_and_opened_again(self, writing):
        assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]
        with files_no_larger_than(1000):
            (outcome,) = writing.serve([job(lambda c: c.execute(INSERT, ("b",)).rowcount)])
        assert isinstance(outcome, StoreAway)
        assert writing.serve([job(lambda c: c.execute(INSERT, ("b",)).rowcount)]) == [1]

    def test_a_transaction_that_takes_too_long_is_ended(self, writing, monkeypatch):
        monkeypatch.setattr(sqlite_file, "DEADLINE", 0.0)
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
        (outcome,) = writing.serve([job(lambda c: c.execute(endless).fetchone())])
        assert isinstance(outcome, StoreAway)
        assert "too long" in str(outcome)

    def test_a_file_that_was_replaced_is_opened_anew(self, writing, path, tmp_path):
        assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]
        copy = tmp_path / "copy.db"
        prepare(copy)
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        copy.replace(path)
        assert writing.serve([job(lambda c: c.execute("SELECT count(*) FROM history").fetchone())]) == [(0,)]

    def test_a_file_that_was_removed_is_made_again(self, writing, path):
        assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]
        for beside in ("", "-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_a_damaged_file_is_away_until_it_is_moved(self, writing, path):
        writing.close()
        path.write_bytes(b"garbage" * 10_000)
        (outcome,) = writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)])
        assert isinstance(outcome, StoreAway)
        assert "move it away" in str(outcome)
        path.unlink()
        assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]

    def test_a_directory_that_went_is_away_until_it_is_back(self, writing, path, tmp_path):
        writing.close()
        path.unlink()
        path.mkdir()
        (outcome,) = writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)])
        assert isinstance(outcome, StoreAway)
        path.rmdir()
        assert writing.serve([job(lambda c: c.execute(INSERT, ("a",)).rowcount)]) == [1]

    def test_the_log_is_written_back_when_enough_has_gathered(self, writing, path, monkeypatch):
        monkeypatch.setattr(sqlite_file, "CHECKPOINT_AFTER", 10)
        before = path.stat().st_size
        writing.serve([job(lambda c: c.executemany(INSERT, [(f"{n}" * 900,) for n in range(9)]))])
        writing.checkpoint()
        assert path.stat().st_size == before
        writing.serve([job(lambda c: c.execute(INSERT, ("last",)))])
        writing.checkpoint()
        assert path.stat().st_size > before

    def test_a_log_that_others_write_to_meanwhile_is_begun_anew(self, writing, path, monkeypatch):
        """Written back as a whole it never is, as far as anybody sees; salts in its header change when it is begun."""
        monkeypatch.setattr(sqlite_file, "CHECKPOINT_AFTER", 0)
        monkeypatch.setattr(sqlite_file, "LOG_MOST", 30)
        log, large, names = path.with_name(path.name + "-wal"), "x" * 4_000, itertools.count()

        def written(rows: int) -> bytes:
            keys = [(f"{next(names)}{large}",) for _ in range(rows)]
            assert writing.serve([job(lambda c: c.executemany(INSERT, keys).rowcount)]) == [rows]
            return bytes(log.read_bytes()[16:24])

        written(1)
        writing._connection = Behind(writing._connection)
        before = written(1)
        writing.checkpoint()
        assert written(1) == before  # not too long yet
        written(20)
        writing.checkpoint()
        assert writing._connection.execute("PRAGMA busy_timeout").fetchone() == (0,)
        assert written(1) != before

    def test_one_that_is_being_read_is_begun_anew_later(self, writing, path, monkeypatch):
        monkeypatch.setattr(sqlite_file, "CHECKPOINT_AFTER", 0)
        monkeypatch.setattr(sqlite_file, "LOG_MOST", 0)
        monkeypatch.setattr(sqlite_file, "RESTART_PATIENCE", 1)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM bucket").fetchone()
            writing.serve([job(lambda c: c.execute(INSERT, ("a",)))])
            writing.checkpoint()
        assert writing.serve([job(lambda c: c.execute(INSERT, ("b",)).rowcount)]) == [1]
        writing.checkpoint()


class Behind:
    """A connection that finds a log of which a part has not been written back, however often it was."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str):
        return getattr(self._connection, name)

    def execute(self, sql: str, *values):
        if "PASSIVE" in sql:
            pages = Path(f"{self._connection.execute('PRAGMA database_list').fetchone()[2]}-wal").stat().st_size // 4096
            return self._connection.execute(f"SELECT 0, {pages}, {pages}")
        return self._connection.execute(sql, *values)


class TestReading:
    @pytest.fixture
    def reading(self, path) -> Iterator[Reading]:
        prepare(path)
        made = Reading(path)
        yield made
        made.close()

    def test_each_question_has_its_own_answer(self, reading):
        good, bad = reading.serve([job(lambda c: c.execute("SELECT 1").fetchone()), job(lambda c: c.execute("SELEKT"))])
        assert good == (1,)
        assert isinstance(bad, StoreAway)

    def test_it_cannot_write(self, reading):
        (outcome,) = reading.serve([job(lambda c: c.execute(INSERT, ("a",)))])
        assert isinstance(outcome, StoreAway)

    def test_a_question_that_takes_too_long_is_given_up(self, reading):
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
        (outcome,) = reading.serve([job(lambda c: c.execute(endless).fetchone(), within=0.01)])
        assert isinstance(outcome, StoreAway)

    def test_a_lock_of_a_writer_does_not_matter(self, reading, path):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert reading.serve([job(lambda c: c.execute("SELECT 1").fetchone())]) == [(1,)]


def test_counting_keeps_few_pages(path):
    prepare(path)
    with closing(Counting(path)) as counting:
        (outcome,) = counting.serve([job(lambda c: c.execute("PRAGMA cache_size").fetchone())])
    assert outcome == (-64,)


class Fault(sqlite3.DatabaseError):
    def __init__(self, name: str) -> None:
        super().__init__("what SQLite says")
        self.sqlite_errorname = name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SQLITE_BUSY", "locked"),
        ("SQLITE_BUSY_SNAPSHOT", "locked"),
        ("SQLITE_LOCKED", "locked"),
        ("SQLITE_NOTADB", "damaged"),
        ("SQLITE_CORRUPT_VTAB", "damaged"),
        ("SQLITE_FULL", "full"),
        ("SQLITE_READONLY_DIRECTORY", "writable"),
        ("SQLITE_CANTOPEN_ISDIR", "writable"),
        ("SQLITE_IOERR_WRITE", "quotas"),
        ("SQLITE_INTERRUPT", "too long"),
        ("SQLITE_SOMETHING_NEW", "cannot be used"),
    ],
)
def test_every_fault_has_its_sentence(name, said, path):
    assert said in sentence(Fault(name), path)
