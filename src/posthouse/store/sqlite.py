"""The driver for SQLite by apsw: connections, transactions, turn-taking, errors (decisions 0006, 0007).

A Database is one connection and belongs to one thread at a time. Writers of all processes take turns by an exclusive
`flock` on DIR/posthouse.lock, because SQLite's own busy handler sleeps and is unfair. Several scripts go into one
transaction, each in a savepoint of its own, so that one that refuses does not spoil the others; one alone needs none.

Never open the same file with Python's own `sqlite3`: its library is older and can lose pages (decision 0007).
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from posthouse.mail.ids import AccountId, ModSeq
from posthouse.store.crashpoint import crashpoint
from posthouse.store.edition import Edition, alters
from posthouse.store.script import Changed, Script, StoreError, Unavailable

DATABASE = "posthouse.db"
LOCK = "posthouse.lock"
PRIVATE = 0o600

BUSY_MILLISECONDS = 10_000  # only recovery after a crash and the change to WAL ever wait for it
# Prepared statements kept by a connection; all scripts together have about 120 texts. But apsw keeps a ring that moves
# on with every execution: of 256 places a text is gone that was not among the last 256 executions, some 18 scripts.
STATEMENTS = 512  # the most that apsw keeps
CACHE_KIB = 16_384  # pages a connection keeps; below, updates of 100,000 rows spill in the middle
MMAP_BYTES = 0  # no memory map: an I/O error must be an error code, not SIGBUS
SYNCHRONOUS_FULL = 2

_PARAMETER = re.compile(r"\$(\d+)")
_FOR_UPDATE = " FOR UPDATE"

# After these the file or the disk cannot be trusted by this process any more. A failed fsync is never tried again:
# the kernel has thrown the pages away and would answer success (durability.md).
_BROKEN = (apsw.IOError, apsw.CorruptError, apsw.NotADBError)
# These are states of the machine, not faults of one script: the whole transaction is given up.
_MACHINE = (*_BROKEN, apsw.FullError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.BusyError, apsw.NoMemError)


@dataclass(slots=True)
class Call:
    """A verb with its arguments, and after the transaction what came of it: a value or an error."""

    verb: Callable[..., Script[Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Any = None
    error: Exception | None = None


class Written(NamedTuple):
    """What came of a transaction: how many of the calls, from the first, were run, and what others are told."""

    done: int
    hints: dict[AccountId, ModSeq]


def always() -> bool:
    """As `more` of Database.write: take all calls."""
    return True


@lru_cache(1024)
def rewrite(text: str) -> str:
    """The text as SQLite spells it: `$1` is `?1`, and there are no row locks, because there is one writer."""
    return _PARAMETER.sub(r"?\1", text.removesuffix(_FOR_UPDATE))


class Database:
    """One connection to the file, with everything set and read back that durability depends on."""

    def __init__(self, directory: Path) -> None:
        """Open, creating the file if need be. Raises Unavailable."""
        self.directory = directory
        self.failed: str | None = None
        try:
            self._lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"the lock file cannot be opened: {error.strerror}") from error
        self.edition = Edition(self._lock)
        try:
            _keep_private(directory)
        except OSError as error:
            os.close(self._lock)
            raise Unavailable(f"the database cannot be opened: {error.strerror}") from error
        try:
            self.connection = apsw.Connection(str(directory / DATABASE), statementcachesize=STATEMENTS)
            self._prepare()
        except apsw.Error as error:
            os.close(self._lock)
            raise unavailable(error) from error

    def _prepare(self) -> None:
        self.connection.set_busy_timeout(BUSY_MILLISECONDS)
        self._pragma("synchronous", "FULL", SYNCHRONOUS_FULL)
        self._pragma("foreign_keys", "ON", 1)
        self._pragma("cache_size", f"-{CACHE_KIB}", -CACHE_KIB)
        self._pragma("mmap_size", str(MMAP_BYTES), MMAP_BYTES)
        self._pragma("temp_store", "MEMORY", 2)
        # A statement keeps its plan. Otherwise some, as one with LIMIT $1, are planned anew at each execution, because
        # a value might matter: 0.03 ms for nothing, as nobody here runs ANALYZE (decision 0071).
        self._config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, wanted=1)
        with self.turn():  # two processes changing to WAL at once would wait for each other
            self._pragma("journal_mode", "WAL", "wal")
            self.edition.mend()
        self._pragma("wal_autocheckpoint", "0", 0)  # checkpoints are Checkpoints' business, not a commit's

    def _pragma(self, name: str, value: str, expected: object) -> None:
        self.connection.execute(f"PRAGMA {name} = {value}").fetchall()
        [(found,)] = self.connection.execute(f"PRAGMA {name}").fetchall() or [(None,)]
        if found != expected:
            raise Unavailable(f"SQLite did not take {name} = {value}: it is {found}")

    def _config(self, option: int, *, wanted: int) -> None:
        if self.connection.config(option, wanted) != wanted:
            raise Unavailable(f"SQLite did not take option {option}")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only writer of all processes."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def write(self, calls: Sequence[Call], more: Callable[[], bool] = always) -> Written:
        """Run the scripts in one durable transaction; each call has its value or its error afterwards. When `more`
        says no, the rest is left to the next transaction.

        Where the transaction as a whole fails, every call has Unavailable and nothing was changed."""
        if self.failed is not None:
            return _fail(calls, Unavailable(self.failed))
        crashpoint("store.before_begin")
        try:
            with self.turn():
                try:
                    written = self._transact(calls, more)
                finally:
                    self.edition.settle()
        except apsw.Error as error:
            self._give_up(error)
            return _fail(calls, unavailable(error))
        except OSError as error:
            return _fail(calls, Unavailable(f"the lock file cannot be locked: {error.strerror}"))
        except Exception as error:  # a bug of this driver: callers must not wait for ever for a dead thread
            self._give_up(error)
            self.failed = f"the driver of the database failed ({error!r})"
            return _fail(calls, Unavailable(self.failed))
        crashpoint("store.after_commit")
        return written

    def _transact(self, calls: Sequence[Call], more: Callable[[], bool]) -> Written:
        if len(calls) == 1:
            return self._transact_alone(calls[0])
        execute = self.connection.execute
        hints: dict[AccountId, ModSeq] = {}
        done = 0
        execute("BEGIN IMMEDIATE")
        for call in calls:
            told: dict[AccountId, ModSeq] = {}
            execute("SAVEPOINT script")
            self._attempt(call, told)
            if call.error is not None:
                execute("ROLLBACK TO script")
            else:
                hints.update(told)
            execute("RELEASE script")
            done += 1
            if not more():
                break
        crashpoint("store.before_commit")
        execute("COMMIT")
        return Written(done, hints)

    def _transact_alone(self, call: Call) -> Written:
        """One script needs no savepoint: where it refuses, nothing is left of the transaction."""
        hints: dict[AccountId, ModSeq] = {}
        self.connection.execute("BEGIN IMMEDIATE")
        self._attempt(call, hints)
        if call.error is not None:
            self.connection.execute("ROLLBACK")
            return Written(1, {})
        crashpoint("store.before_commit")
        self.connection.execute("COMMIT")
        return Written(1, hints)

    def _attempt(self, call: Call, told: dict[AccountId, ModSeq]) -> None:
        try:
            call.value = self._drive(call, told)
        except _MACHINE:
            raise
        except Exception as error:  # a refusal, or a bug of the script: the caller's, and nobody else's
            if not self.connection.in_transaction:
                raise
            call.value, call.error = None, error

    def _drive(self, call: Call, told: dict[AccountId, ModSeq]) -> Any:
        execute = self.connection.execute
        script = call.verb(*call.args, **call.kwargs)
        rows: list[tuple[Any, ...]] = []
        try:
            step = next(script)
            while True:
                if isinstance(step, Changed):
                    told[step.account] = step.modseq
                    step = script.send([])
                    continue
                if alters(step.text):
                    self._begin_edition()
                rows = execute(rewrite(step.text), step.args).fetchall()
                step = script.send(rows)
        except StopIteration as end:
            return end.value

    def _begin_edition(self) -> None:
        """From now on nobody keeps what is read of who is who."""
        try:
            self.edition.begin()
        except OSError as error:
            raise Unavailable(f"the lock file cannot be written: {error.strerror}") from error

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, _BROKEN):
            self.failed = f"the database failed ({error}) and is not written again before a restart"
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except apsw.Error as second:
            self.failed = f"the database could not be rolled back ({second})"

    def read(self, call: Call) -> None:
        """Run a reading script on one snapshot; the call has its value or its error afterwards."""
        execute = self.connection.execute
        try:
            execute("BEGIN")
            try:
                call.value = self._drive(call, {})
            finally:
                if self.connection.in_transaction:
                    execute("ROLLBACK")
        except _MACHINE as error:
            call.error = unavailable(error)
        except Exception as error:
            call.error = error

    def close(self) -> None:
        """Close; the last connection of all processes moves the log into the database."""
        self.connection.close()
        os.close(self._lock)


def _keep_private(directory: Path) -> None:
    """The database holds passwords' hashes and mail: only its owner may read it, whatever the folder allows.

    SQLite gives its -wal and -shm the mode of the database. The file is never opened here when it exists: closing it
    would drop the locks that SQLite holds in this process."""
    path = directory / DATABASE
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
    for suffix in ("", "-wal", "-shm"):
        file = directory / f"{DATABASE}{suffix}"
        with contextlib.suppress(OSError):  # not there yet, somebody else's, or on a disk that cannot be written
            if file.stat().st_mode & 0o077:
                file.chmod(PRIVATE)


def _fail(calls: Sequence[Call], error: StoreError) -> Written:
    for call in calls:
        call.value, call.error = None, error
    return Written(len(calls), {})


def unavailable(error: apsw.Error) -> Unavailable:
    """The error of the driver as a sentence."""
    words: dict[type[apsw.Error], str] = {
        apsw.FullError: "the disk is full",
        apsw.ReadOnlyError: "the database is read-only",
        apsw.CantOpenError: "the database cannot be opened",
        apsw.BusyError: "the database is busy",
        apsw.NoMemError: "there is not enough memory",
        apsw.CorruptError: "the database is damaged",
        apsw.NotADBError: "the file is not a database",
        apsw.IOError: "the disk reports an error",
    }
    return Unavailable(f"{words.get(type(error), 'the database cannot answer')} ({error})")
