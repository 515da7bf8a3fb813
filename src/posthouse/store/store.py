"""The Store: where mail lives. One per worker; the command line opens one of its own (`open_sync`).

Threads: one writer (group commit: everything queued goes into one transaction), a few readers, one for checkpoints.
The event loop is woken once per transaction, after the commit: answers first, then hints (decision 0006, 0018).
"""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar, cast

import apsw

from posthouse.mail.ids import AccountId, ModSeq
from posthouse.store.blobs import BlobKey, Blobs, rows_of
from posthouse.store.bus import Bus
from posthouse.store.crashpoint import crashpoint
from posthouse.store.index import Index, belongs
from posthouse.store.migrate import behind, migrate
from posthouse.store.queue import NEW_WORK
from posthouse.store.readers import Readers
from posthouse.store.script import Row, Script, Unavailable
from posthouse.store.sqlite import DATABASE, Call, Database

P = ParamSpec("P")
T = TypeVar("T")

QUEUE = 10_000  # scripts waiting; beyond, Unavailable at once: better said than kept waiting
BATCH = 256  # scripts in one transaction
BATCH_SECONDS = 0.1  # after this a transaction takes no more scripts, so that the first one is not kept waiting
CHECKPOINT_PAGES = 2_000  # 8 MiB of log: move it into the database beside the writers
PASSES = 3  # times what was written meanwhile is moved beside the writers, before they are held for the rest
REST_PAGES = 200  # so few are moved in a moment: some ten commits
RESTART_PAGES = 16_000  # 64 MiB: readers and writers never left a gap; hold the writers and begin the log anew
RESTART_MILLISECONDS = 100  # how long that waits for readers, and so how long writers may be held
CLOSE_SECONDS = 30.0  # for what is queued at the end
# CPython gives the interpreter to another thread after 5 ms at most. A statement gives it away and wants it back:
# beside a busy event loop 2,000 rows took 0.19 s with 5 ms and 0.004 s with 0.5 ms.
SWITCH_SECONDS = 0.0005
SERVED = "the server that runs is of an older Posthouse, or is only starting: start it anew, then say this again"
COMMITS = 1_000  # how long the last transactions took is kept for whoever asks


@dataclass(slots=True, eq=False)
class _Job:
    call: Call
    waiter: "asyncio.Future[Any]"


class Store:
    """The asynchronous door. All methods are called on the event loop that opened it; use `Store.open`."""

    def __init__(self, directory: Path, writer: Database, readers: list[Database]) -> None:
        self.directory = directory
        self.spool = directory / "spool"
        self.blobs = Blobs(directory, self._read_rows)
        self.index = Index(directory, lambda sample: self.read(belongs, sample))
        #: When transactions ended, by time.monotonic(), and how many seconds they took. The reader takes them away.
        self.commits: deque[tuple[float, float]] = deque(maxlen=COMMITS)
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._writes: SimpleQueue[_Job | None] = SimpleQueue()
        self._reads: Readers[_Job] = Readers()
        self._watchers: dict[AccountId, dict[object, Callable[[ModSeq], None]]] = {}
        self._bus = Bus(directory / "run", self._hint)
        self._closing = False
        self._checkpoints = Checkpoints(directory)
        writer.connection.set_wal_hook(self._checkpoints.grown)
        # Daemons: a worker that ends without close() must end, and what it had answered is durable already.
        self._threads = [threading.Thread(target=self._write, name="store-writer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._serve, args=(reader,), name="store-reader", daemon=True) for reader in readers
        ]

    @classmethod
    async def open(cls, directory: Path, readers: int = 2) -> "Store":
        """Open (and create or migrate) the store in this directory. Raises Unavailable with the reason."""
        writer, *others = await asyncio.to_thread(_open_databases, directory, 1 + readers)
        store = cls(directory, writer, others)
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        store._bus.open()
        store._checkpoints.start()
        for thread in store._threads:
            thread.start()
        return store

    @property
    def failed(self) -> str | None:
        """Why nothing is written any more: the disk failed, and only a restart of the process may try again."""
        return self._writer.failed

    @property
    def edition(self) -> int | None:
        """Of who is who, to be taken before the question whose answer shall be kept (edition.py). None: keep none."""
        return self._writer.edition.settled

    async def run(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a writing script; durable when this returns. Cancelling the caller does not undo the script.

        Raises what the script raises, and Unavailable."""
        if self._writes.qsize() >= QUEUE:
            raise Unavailable("the store is overloaded")
        return cast(T, await self._submit(self._writes.put, Call(verb, args, kwargs)))

    async def read(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading script on one consistent snapshot, newer than every commit already answered."""
        return cast(T, await self.reading(verb, *args, **kwargs))

    def reading(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        """The same, begun at once: the next rows are read while the last ones are printed. Await it, or cancel it."""
        if self._reads.waiting >= QUEUE:
            raise Unavailable("the store is overloaded")
        return self._submit(self._reads.put, Call(verb, args, kwargs))

    def _submit(self, put: Callable[[_Job], None], call: Call) -> "asyncio.Future[Any]":
        if self._closing:
            raise Unavailable("the store is closing")
        waiter: asyncio.Future[Any] = self._loop.create_future()
        put(_Job(call, waiter))
        return waiter

    def shorten_log(self) -> None:
        """Soon give back to the disk what the write-ahead log takes: for a disk that is nearly full."""
        self._checkpoints.shorten()

    def _read_rows(self, blobs: Sequence[BlobKey]) -> "asyncio.Future[list[Row]]":
        return self._submit(self._reads.put, Call(rows_of, (blobs,), {}))

    def watch(self, account: AccountId, callback: Callable[[ModSeq], None]) -> Callable[[], None]:
        """Call back on the loop after any commit of any process that changed the account. Gives the un-watch.

        A hint, not a message: it may come late, twice, or for nothing; look at the database, also once a minute."""
        token = object()
        if account not in self._watchers:
            self._watchers[account] = {}
            self._bus.watch(account)
        self._watchers[account][token] = callback

        def unwatch() -> None:
            watchers = self._watchers.get(account, {})
            if watchers.pop(token, None) is not None and not watchers:
                del self._watchers[account]
                self._bus.unwatch(account)

        return unwatch

    def pass_on(self, account: AccountId) -> None:
        """Tell the other workers to look."""
        self._bus.publish({account: ModSeq(0)})

    def _hint(self, account: AccountId, modseq: ModSeq) -> None:
        for callback in tuple(self._watchers.get(account, {}).values()):
            callback(modseq)

    # The writer thread.

    def _write(self) -> None:
        left: deque[_Job] = deque()
        while True:
            batch = self._take(left)
            if not batch:
                return
            begun = time.monotonic()

            def more(begun: float = begun) -> bool:
                return time.monotonic() - begun < BATCH_SECONDS

            done, hints = self._writer.write([job.call for job in batch], more)
            ended = time.monotonic()
            self.commits.append((ended, ended - begun))
            left.extend(batch[done:])
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._committed, batch[:done], hints)

    def _take(self, left: deque[_Job]) -> list[_Job]:
        """Everything queued, at least one; nothing at the end."""
        batch = list(left)
        left.clear()
        if not batch:
            job = self._writes.get()
            if job is None:
                return []
            batch.append(job)
        with suppress(Empty):
            while len(batch) < BATCH:
                job = self._writes.get_nowait()
                if job is None:
                    self._writes.put(None)  # finish these first, then find it again
                    break
                batch.append(job)
        return batch

    def _committed(self, jobs: list[_Job], hints: dict[AccountId, ModSeq]) -> None:
        for job in jobs:
            _answer(job)
        if not hints:
            return
        for account, modseq in hints.items():
            self._hint(account, modseq)
        hints.pop(NEW_WORK, None)  # this worker looks first; when it has no room it says so itself
        if hints:
            self._loop.call_soon(self._publish, hints)  # behind those who have waited: they give their answers first

    def _publish(self, hints: dict[AccountId, ModSeq]) -> None:
        self._bus.publish(hints)
        crashpoint("store.published")

    # The reader threads.

    def _serve(self, database: Database) -> None:
        def work(job: _Job) -> None:
            database.read(job.call)
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_answer, job)

        self._reads.serve(work)
        database.close()

    async def close(self) -> None:
        """Finish what is queued, then close."""
        if self._closing:
            return
        self._closing = True
        self._writes.put(None)
        self._reads.end()
        await asyncio.to_thread(self._join)
        await asyncio.to_thread(self.index.close)
        await asyncio.sleep(0)  # the last answers
        self._bus.close()

    def _join(self) -> None:
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._checkpoints.stop()
        self._writer.close()


def _answer(job: _Job) -> None:
    if job.waiter.done():  # its task was cancelled
        return
    if job.call.error is None:
        job.waiter.set_result(job.call.value)
    else:
        job.waiter.set_exception(job.call.error)


class Checkpoints:
    """Moves the write-ahead log into the database, in a thread and on a connection of its own."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory)
        self._pages = 0
        self._due = CHECKPOINT_PAGES  # in the log: time for the next
        self._shorten = False
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="store-checkpoints", daemon=True)

    def grown(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """The writer's hook after each commit: so many pages are in the log."""
        if pages < self._pages:  # it has begun anew
            self._due = CHECKPOINT_PAGES
        self._pages = pages
        if pages >= self._due:
            self._due = pages + CHECKPOINT_PAGES
            self._wake.set()
        return apsw.SQLITE_OK

    def shorten(self) -> None:
        """Move all of the log and cut its file to nothing, where readers leave a gap."""
        self._shorten = True
        self._wake.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its connection."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._database.close()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            if self._stopped:
                return
            self._wake.clear()
            with suppress(apsw.Error):  # another process is at it, or the disk is full: the log keeps everything
                self._checkpoint()

    def _checkpoint(self) -> None:
        crashpoint("store.before_checkpoint")
        connection = self._database.connection
        before = 0
        for _ in range(PASSES):
            pages, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)  # those that there were
            if pages - before <= REST_PAGES:
                break
            before = pages
        shorten, self._shorten = self._shorten, False
        if shorten or self._pages >= RESTART_PAGES:
            connection.set_busy_timeout(RESTART_MILLISECONDS)
            with self._database.turn():
                mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if shorten else apsw.SQLITE_CHECKPOINT_RESTART
                connection.wal_checkpoint(mode=mode)
        else:
            # The log begins anew only where nothing is left of it, and beside busy writers something always is
            # (decision 0116).
            with self._database.turn():
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        crashpoint("store.after_checkpoint")


class SyncStore:
    """The same for the command line: `with open_sync(directory) as store: store.run(accounts.add_domain, name)`."""

    def __init__(self, directory: Path, database: Database) -> None:
        self.directory = directory
        self._database = database
        self._bus = Bus(directory / "run", lambda account, modseq: None)
        self.blobs = Blobs(directory, _no_loop)

    def octets(self, blob: BlobKey) -> bytes:
        """The octets of a blob, verified. Raises NotFound, Unavailable."""
        [row] = self.read(rows_of, (blob,))
        return self.blobs.octets(row)

    def run(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a writing script; durable when this returns; running workers are told."""
        call = Call(verb, args, kwargs)
        _, hints = self._database.write([call])
        if hints:
            self._bus.publish(hints)
        return cast(T, _value(call))

    def read(self, verb: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a reading script."""
        call = Call(verb, args, kwargs)
        self._database.read(call)
        return cast(T, _value(call))

    def close(self) -> None:
        """Close the connection."""
        self._bus.close()
        self._database.close()

    def __enter__(self) -> "SyncStore":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _no_loop(blobs: Sequence[BlobKey]) -> "asyncio.Future[list[Row]]":
    raise RuntimeError("a SyncStore has no event loop: use its octets()")


def _value(call: Call) -> Any:
    if call.error is not None:
        raise call.error
    return call.value


def _open_databases(directory: Path, count: int, *, served: bool = False) -> list[Database]:
    databases: list[Database] = []
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "run").mkdir(mode=0o700, exist_ok=True)
        for _ in range(count):
            databases.append(Database(directory))
        if served and behind(databases[0]):
            raise Unavailable(SERVED)
        migrate(databases[0])
    except (OSError, Unavailable) as error:
        for database in databases:
            database.close()
        if isinstance(error, Unavailable):
            raise
        raise Unavailable(f"the data directory cannot be used: {error.strerror}") from error
    return databases


def open_sync(directory: Path, *, create: bool = True, served: bool = False) -> SyncStore:
    """Open the store for one command. With create=False a missing database is Unavailable, not made. Where a server
    runs (`served`) one of an older version is Unavailable: that server could start no worker on what we make of it."""
    if not create and not (directory / DATABASE).exists():
        raise Unavailable(f"there is no Posthouse store in {directory}")
    [database] = _open_databases(directory, 1, served=served)
    return SyncStore(directory, database)
