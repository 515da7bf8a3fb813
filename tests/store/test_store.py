"""Group commit, hints, several processes, failures of the machine."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from posthouse.mail.ids import AccountId, ModSeq
from posthouse.store import accounts, emails, mailboxes
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.script import Changed, Exists, NotFound, Refused, Script, Unavailable, sql
from posthouse.store.sqlite import Call, Database, rewrite
from posthouse.store.store import Checkpoints, Store, open_sync
from store.fsck import consistency
from store_rig import CREDENTIAL, Rig, address, furnish, message, new_email


async def inbox(store: Store) -> Box:
    login = await store.read(accounts.find_login, address("anna@home.test"))
    assert login is not None
    row = await store.read(mailboxes.find, login.account, "INBOX")
    assert row is not None
    return row.box


async def eventually(condition: "Condition", seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.002)


class Condition:
    """Something that becomes true."""

    def __init__(self, question: object) -> None:
        self.question = question

    def __call__(self) -> bool:
        return bool(self.question())  # type: ignore[operator]  # a lambda of the test


def test_rewrite() -> None:
    assert rewrite("SELECT a FROM b WHERE c = $1 AND d = $12") == "SELECT a FROM b WHERE c = ?1 AND d = ?12"
    assert rewrite("SELECT 1 FOR UPDATE") == "SELECT 1"


async def test_many_callers_share_commits_and_get_their_own_uids(store: Store) -> None:
    box = await inbox(store)
    before = store._writer.connection.txn_state
    assert before is not None

    async def one(number: int) -> int:
        [uid] = await store.run(emails.deliver, [(box, new_email(store, message()))])
        return uid

    uids = await asyncio.gather(*(one(n) for n in range(200)))
    assert sorted(uids) == list(range(1, 201))


def failing(error: Exception) -> Script[None]:
    yield sql("UPDATE account SET modseq = modseq + 1000")
    yield Changed(AccountId(1), ModSeq(99))
    raise error


def breaking() -> Script[None]:
    yield sql("INSERT INTO account (id, domain, fold, local, modseq) SELECT id, domain, fold, local, 1 FROM account")


def wrong() -> Script[None]:
    yield sql("SELECT nonsense FROM nowhere")


def modseq(account: AccountId) -> Script[int]:
    [(now,)] = yield sql("SELECT modseq FROM account WHERE id = $1", account)
    return int(now)


async def test_a_script_that_fails_spoils_no_other(store: Store) -> None:
    box = await inbox(store)
    told: list[ModSeq] = []
    store.watch(box.account, told.append)
    start = await store.read(modseq, box.account)
    work = [
        store.run(emails.add, box, [new_email(store, message())]),
        store.run(failing, Exists("no")),
        store.run(emails.add, box, [new_email(store, message())]),
        store.run(breaking),
        store.run(failing, ValueError("bug")),
        store.run(wrong),
        store.run(emails.add, box, [new_email(store, message())]),
    ]
    found = await asyncio.gather(*work, return_exceptions=True)
    assert [type(one) for one in found] == [
        emails.Appended, Exists, emails.Appended, apsw.ConstraintError, ValueError, apsw.SQLError, emails.Appended,
    ]  # fmt: skip
    assert await store.read(modseq, box.account) == start + 3
    assert max(told) == start + 3
    with pytest.raises(NotFound):
        await store.read(failing, NotFound("reading scripts may refuse too"))


async def test_a_script_that_refuses_alone_leaves_nothing(store: Store) -> None:
    box = await inbox(store)

    def half() -> Script[None]:
        yield from emails.add(box, [new_email(store, message(1))])
        raise Refused("no")

    before, start = await store.read(mailboxes.get, box), await store.read(modseq, box.account)
    told: list[ModSeq] = []
    store.watch(box.account, told.append)
    with pytest.raises(Refused):
        await store.run(half)
    assert await store.read(mailboxes.get, box) == before
    assert await store.read(consistency) == []
    await store.run(emails.add, box, [new_email(store, message(1))])
    await asyncio.sleep(0)
    assert told == [start + 1]


async def test_who_waited_is_answered_before_other_workers_are_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await inbox(store)
    order: list[str] = []
    monkeypatch.setattr(store._bus, "publish", lambda hints: order.append("told"))
    await store.run(emails.add, box, [new_email(store, message(1))])
    order.append("answered")
    await asyncio.sleep(0)
    assert order == ["answered", "told"]


async def test_a_watcher_is_told_after_the_commit_and_not_after_unwatch(store: Store) -> None:
    box = await inbox(store)
    told: list[ModSeq] = []
    unwatch = store.watch(box.account, told.append)
    other: list[ModSeq] = []
    store.watch(AccountId(box.account + 1), other.append)
    appended = await store.run(emails.add, box, [new_email(store, message())])
    await asyncio.sleep(0)
    assert told == [appended.modseq]
    assert (await store.read(emails.changes, box, ModSeq(0), 1)).modseq == appended.modseq
    unwatch()
    unwatch()
    await store.run(emails.add, box, [new_email(store, message())])
    assert told == [appended.modseq]
    assert other == []


async def test_cancelling_the_caller_does_not_undo(store: Store) -> None:
    box = await inbox(store)
    task = asyncio.create_task(store.run(emails.add, box, [new_email(store, message())]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.run(emails.add, box, [new_email(store, message())])
    assert len(await store.read(emails.uids, box)) == 2


async def test_a_read_sees_one_moment(store: Store) -> None:
    box = await inbox(store)
    begun, go = threading.Event(), threading.Event()

    def twice() -> Script[tuple[int, int]]:
        [(first,)] = yield sql("SELECT count(*) FROM placement")
        begun.set()
        go.wait(60)
        [(second,)] = yield sql("SELECT count(*) FROM placement")
        return first, second

    reading = asyncio.create_task(store.read(twice))
    await asyncio.to_thread(begun.wait, 60)
    await store.run(emails.add, box, [new_email(store, message())])
    go.set()
    assert await reading == (0, 0)
    assert len(await store.read(emails.uids, box)) == 1


async def test_closing_finishes_what_is_queued(tmp_path: Path) -> None:
    with open_sync(tmp_path) as first:
        furnish(first)
    store = await Store.open(tmp_path)
    box = await inbox(store)
    work = [asyncio.create_task(store.run(emails.add, box, [new_email(store, message())])) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert [done.result().uids for done in work] == [(n,) for n in range(1, 21)]
    with pytest.raises(Unavailable, match="closing"):
        await store.run(emails.add, box, [])
    assert list((tmp_path / "run").iterdir()) == []
    with open_sync(tmp_path) as again:
        assert again.read(consistency) == []


async def test_the_command_line_tells_running_workers(store: Store) -> None:
    box = await inbox(store)
    told: list[ModSeq] = []
    store.watch(box.account, told.append)
    with open_sync(store.directory) as second:
        appended = second.run(emails.add, box, [new_email(second, message())])
    await eventually(Condition(lambda: told == [appended.modseq]))


def test_a_missing_store_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no Posthouse store"):
        open_sync(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match="data directory"):
        open_sync(tmp_path / "file" / "below")


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "posthouse.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        open_sync(tmp_path)


def test_durability_is_read_back_on_every_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_sync(tmp_path) as store:
        connection = store._database.connection
        for name, expected in (("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1)):
            assert connection.pragma(name) == expected
    monkeypatch.setattr("posthouse.store.sqlite.SYNCHRONOUS_FULL", 7)
    with pytest.raises(Unavailable, match="did not take synchronous"):
        open_sync(tmp_path)


def test_a_plan_is_kept_whatever_the_values_are(rig: Rig) -> None:
    """With `LIMIT $1` SQLite would else plan a statement anew at each execution."""
    assert rig.store._database.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1) == 1


def test_a_full_disk_refuses_and_recovers(rig: Rig) -> None:
    box = rig.box()
    connection = rig.store._database.connection
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages + 5)
    with pytest.raises(Unavailable, match="disk is full"):
        rig.run(emails.add, box, [rig.email(os.urandom(300_000))])
    assert list(rig.read(emails.uids, box)) == []
    connection.pragma("max_page_count", 1 << 30)
    assert rig.run(emails.add, box, [rig.email(os.urandom(300_000))]).uids == (1,)


def test_a_full_disk_fails_the_whole_transaction_and_nothing_else(rig: Rig) -> None:
    box = rig.box()
    database = rig.store._database
    connection = database.connection
    connection.pragma("max_page_count", connection.pragma("page_count") + 20)
    calls = [
        Call(emails.add, (box, [rig.email()]), {}),
        Call(emails.add, (box, [rig.email(os.urandom(500_000))]), {}),
    ]
    assert database.write(calls) == (2, {})
    assert [type(call.error) for call in calls] == [Unavailable, Unavailable]
    connection.pragma("max_page_count", 1 << 30)
    assert rig.run(emails.add, box, [rig.email()]).uids == (1,)


def test_a_read_only_database_is_unavailable(rig: Rig) -> None:
    box = rig.box()
    rig.store._database.connection.pragma("query_only", True)
    with pytest.raises(Unavailable, match="read-only"):
        rig.run(emails.add, box, [rig.email()])
    assert list(rig.read(emails.uids, box)) == []
    rig.store._database.connection.pragma("query_only", False)
    assert rig.run(emails.add, box, [rig.email()]).uids == (1,)


class FailingFile(apsw.VFSFile):
    """A file whose fsync fails when it is told to."""

    failing = False
    syncs = 0

    def xSync(self, flags: int) -> None:  # SQLite's name
        FailingFile.syncs += 1
        if FailingFile.failing:
            raise apsw.IOError("fsync failed")
        super().xSync(flags)


class FailingVFS(apsw.VFS):
    """Opens them."""

    def __init__(self) -> None:
        super().__init__("failing", "")

    def xOpen(self, name: object, flags: list[int]) -> FailingFile:  # SQLite's name
        return FailingFile("", name, flags)


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All connections opened from here on go through FailingFile."""
    vfs = FailingVFS()
    original = apsw.Connection
    monkeypatch.setattr(apsw, "Connection", lambda *args, **kwargs: original(*args, vfs="failing", **kwargs))
    yield
    FailingFile.failing = False
    vfs.unregister()


@pytest.mark.usefixtures("failing_disk")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_after_a_failed_fsync_nothing_is_written_before_a_restart(tmp_path: Path) -> None:
    with open_sync(tmp_path) as store:
        rig = Rig(store)
        box = rig.box()
        rig.run(emails.add, box, [rig.email()])
        FailingFile.failing = True
        with pytest.raises(Unavailable):
            rig.run(emails.add, box, [rig.email()])
        FailingFile.failing = False
        syncs = FailingFile.syncs
        with pytest.raises(Unavailable, match="not written again before a restart"):
            rig.run(emails.add, box, [rig.email()])
        assert FailingFile.syncs == syncs, "the fsync was tried again"
        assert len(rig.read(emails.uids, box)) <= 2
    with open_sync(tmp_path) as store:
        store.run(emails.add, box, [new_email(store, message())])
        assert store.read(consistency) == []


async def test_the_log_is_moved_into_the_database_beside_the_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.store.store.CHECKPOINT_PAGES", 20)
    monkeypatch.setattr("posthouse.store.store.RESTART_PAGES", 60)
    with open_sync(tmp_path) as first:
        furnish(first)
    moved: list[int] = []
    original = Checkpoints._checkpoint

    def noted(self: Checkpoints) -> None:
        original(self)
        moved.append(1)

    monkeypatch.setattr(Checkpoints, "_checkpoint", noted)
    store = await Store.open(tmp_path)
    try:
        box = await inbox(store)
        for _ in range(100):
            await store.run(emails.add, box, [new_email(store, os.urandom(3000))])
        await eventually(Condition(lambda: moved))
        assert (tmp_path / "posthouse.db-wal").stat().st_size < 8 << 20
        assert await store.read(consistency) == []
    finally:
        await store.close()


def test_a_log_that_could_not_begin_anew_is_not_moved_again_at_each_commit(tmp_path: Path) -> None:
    with open_sync(tmp_path) as store:
        checkpoints = Checkpoints(tmp_path)
        connection = store._database.connection
        due = []
        for pages in (1_999, 2_000, 2_001, 3_999, 4_000, 4_001, 10, 1_999, 2_000):
            checkpoints.grown(connection, "main", pages)
            due.append(checkpoints._wake.is_set())
            checkpoints._wake.clear()
        assert due == [False, True, False, False, True, False, False, False, True]
        checkpoints.stop()


def test_what_came_during_a_checkpoint_does_not_keep_the_log_from_beginning_anew(tmp_path: Path) -> None:
    with open_sync(tmp_path) as store:
        anna, _ = furnish(store)
        row = store.read(mailboxes.find, anna, "INBOX")
        assert row is not None
        box = row.box
        checkpoints = Checkpoints(tmp_path)
        log: list[int] = []
        store._database.connection.set_wal_hook(lambda _connection, _name, pages: log.append(pages) or 0)
        reader = apsw.Connection(str(tmp_path / "posthouse.db"))
        turn = checkpoints._database.turn

        @contextmanager
        def held() -> Iterator[None]:
            reader.execute("COMMIT")  # until here a checkpoint finds the log as it was when it began
            with turn():
                yield

        checkpoints._database.turn = held  # type: ignore[method-assign]
        for _ in range(20):
            store.run(emails.add, box, [new_email(store, message())])
        reader.execute("BEGIN; SELECT count(*) FROM email").fetchall()
        store.run(emails.add, box, [new_email(store, message())])
        before = log[-1]
        checkpoints._checkpoint()
        store.run(emails.add, box, [new_email(store, message())])
        assert log[-1] < 20 < before
        assert store.read(consistency) == []
        reader.close()
        checkpoints.stop()


async def test_a_bug_of_the_driver_is_said_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await Store.open(tmp_path)

    def broken(*arguments: object) -> None:
        raise AttributeError("a bug")

    assert store.failed is None
    monkeypatch.setattr(Database, "_transact", broken)
    for _ in range(2):
        with pytest.raises(Unavailable, match="a bug"):
            await asyncio.wait_for(store.run(accounts.list_domains), 60)
    assert store.failed is not None
    assert await store.read(accounts.list_domains) == []
    await store.close()


async def test_overload_is_said_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.store.store.QUEUE", 0)
    with pytest.raises(Unavailable, match="overloaded"):
        await store.run(accounts.list_domains)
    with pytest.raises(Unavailable, match="overloaded"):
        await store.read(accounts.list_domains)


WRITER = """
import asyncio, sys
from pathlib import Path
from store_rig import message, new_email
from posthouse.store import emails
from posthouse.store.mailboxes import Box
from posthouse.store.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]))
    box = Box(int(sys.argv[2]), int(sys.argv[3]))
    told = []
    store.watch(box.account, told.append)
    uids = []
    async def caller():
        for _ in range(50):
            octets = message().replace(b"number", sys.argv[4].encode())
            uids.extend(await store.run(emails.deliver, [(box, new_email(store, octets))]))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(caller() for _ in range(10)))
    print(*uids, flush=True)
    last = int(await asyncio.to_thread(sys.stdin.readline))
    while max(told) < last:
        await asyncio.sleep(0.01)
    print(len(told), max(told), flush=True)
    await store.close()

asyncio.run(main())
"""


def test_two_processes_give_no_uid_twice_and_hear_of_each_other(rig: Rig) -> None:
    box = rig.box()
    arguments = [str(rig.store.directory), str(box.account), str(box.mailbox)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    try:
        for worker in workers:
            assert hear(worker) == "ready\n"
        for worker in workers:
            tell(worker)
        lines = [hear(worker) for worker in workers]
        uids = sorted(int(uid) for line in lines for uid in line.split())
        assert uids == list(range(1, 1001))
        last = rig.run(emails.store_flags, box, ((1, 1),), FlagChange(Mode.ADD, 1)).modseq
        for worker in workers:
            tell(worker, last)
            hints, newest = map(int, hear(worker).split())
            assert newest == last
            assert hints > 1
        for worker in workers:
            assert worker.wait(60) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    row = rig.read(mailboxes.get, box)
    assert (row.total, row.unseen, row.uidnext) == (1000, 999, 1001)
    assert len(rig.read(emails.fetch, box, ALL, [Column.BLOB], 2000)) == 1000


def tell(worker: "subprocess.Popen[str]", number: int = 0) -> None:
    """Let it go on."""
    assert worker.stdin is not None
    worker.stdin.write(f"{number}\n")
    worker.stdin.flush()


def hear(worker: "subprocess.Popen[str]") -> str:
    """Its next line."""
    assert worker.stdout is not None
    return worker.stdout.readline()


def test_a_database_opens_where_its_lock_can(tmp_path: Path) -> None:
    (tmp_path / "posthouse.lock").mkdir()
    with pytest.raises(Unavailable, match="lock file"):
        Database(tmp_path)


def test_refusals_are_sentences(rig: Rig) -> None:
    with pytest.raises(Refused) as refused:
        rig.run(accounts.remove_domain, address("x@home.test").domain)
    assert str(refused.value).startswith("the domain home.test still has 2 users")
    with pytest.raises(Exists):
        rig.run(accounts.add_account, address("anna@home.test"), CREDENTIAL)


def test_only_the_owner_may_read_the_database(tmp_path: Path) -> None:
    """Also in a folder that is open to everybody, and where an older version had made it readable."""
    tmp_path.chmod(0o755)
    with open_sync(tmp_path):
        pass
    (tmp_path / "posthouse.db").chmod(0o644)
    with open_sync(tmp_path) as store:
        store.run(accounts.list_domains)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("posthouse.db*")}
    assert modes == {"posthouse.db": 0o600, "posthouse.db-wal": 0o600, "posthouse.db-shm": 0o600}
