"""What is removed later: rows of deleted mailboxes, octets nobody names, files of a crash.

The scripts are of bounded length; `collect_garbage` calls them all: the duty of one worker, once an hour.
A blob without reference goes a day after it was first seen so (durability.md): a backup that copies the
database first and the files afterwards has that long. On a disk that is too full it goes at once (`make_room`).
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from posthouse.mail.ids import AccountId, MailboxId, Millis, ModSeq
from posthouse.store import removed, sheets, threads
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import Count, bury
from posthouse.store.mailboxes import next_modseq
from posthouse.store.script import Script, sql
from posthouse.store.settlement import forget_destinations
from posthouse.store.store import Store, SyncStore

PURGE_CHUNK = 1_000  # placements in one script: about 20 ms of the writer
COLLECT_CHUNK = 500  # blobs in one script
SHEETS_CHUNK = 50  # sheets in one script, of some 50 KB
NAMES_CHUNK = 500  # files asked about in one script
HOUR_MILLIS = 3_600_000
HOURS = 24  # in how many hours the keys of all accounts are looked through
FIRST_KEY = -(1 << 63)
KEEP_MILLIS = 24 * 3_600_000  # a blob without reference
ORPHAN_SECONDS = 36 * 3_600  # a file no row names: longer than any transaction could still want to name it
ROOM_SECONDS = 2.0  # make_room ends after this, so that the disk is measured again; its caller comes back
ALWAYS = Millis(1 << 62)  # later than any blob was released
SPOOL_SECONDS = 3_600  # a spool file of a dead worker; a living one is done long before


class Swept(NamedTuple):
    """What collect_garbage removed."""

    placements: int
    blobs: int
    files: int
    spool: int
    threads: int = 0  # keys of threads


def purge(limit: int = PURGE_CHUNK) -> Script[int]:
    """Remove up to `limit` rows of discarded mailboxes; 0: nothing is left to do."""
    rows = yield sql("SELECT mailbox, account, removal FROM discarded ORDER BY mailbox LIMIT 1")
    if not rows:
        return 0
    mailbox, account = MailboxId(rows[0][0]), AccountId(rows[0][1])
    act = removed.Act(rows[0][2], mailbox) if rows[0][2] else None
    found = yield sql("SELECT uid FROM placement WHERE mailbox = $1 ORDER BY uid LIMIT $2", mailbox, limit)
    if not found:
        return (yield from _forget(mailbox, act, limit))
    last = found[-1][0]
    spans = ((found[0][0], last),)
    modseq = yield from _modseq(account, mailbox)
    [(shared,)] = yield sql("SELECT sum(shared) FROM placement WHERE mailbox = $1 AND uid <= $2", mailbox, last)
    if act is not None:
        yield from removed.keep(act, spans, shared=shared > 0)
    yield sql(
        "INSERT INTO expunged (mailbox, modseq, uid, email) SELECT mailbox, $3, uid, email FROM placement"
        " WHERE mailbox = $1 AND uid <= $2",
        mailbox, last, modseq,
    )  # fmt: skip
    yield sql("DELETE FROM placement WHERE mailbox = $1 AND uid <= $2", mailbox, last)
    crashpoint("store.inside_purge")
    yield from bury(mailbox, modseq, Count(len(found), shared=shared), act)
    if act is not None and shared:
        yield from removed.settle(act, spans)
    yield sql("DELETE FROM expunged WHERE mailbox = $1 AND modseq = $2", mailbox, modseq)
    return len(found)


def _modseq(account: AccountId, mailbox: MailboxId) -> Script[ModSeq]:
    """The account's next; an account that is gone has nobody to tell, and any number above its tombstones does."""
    if (yield sql("SELECT 1 FROM account WHERE id = $1", account)):
        return (yield from next_modseq(account))
    [(modseq,)] = yield sql("SELECT coalesce(max(modseq), 0) + 1 FROM expunged WHERE mailbox = $1", mailbox)
    return ModSeq(modseq)


def _forget(mailbox: MailboxId, act: removed.Act | None, limit: int) -> Script[int]:
    """The tombstones of a mailbox that has no placement left, and then the mailbox."""
    rows = yield sql(
        "SELECT modseq, uid FROM expunged WHERE mailbox = $1 ORDER BY modseq, uid LIMIT $2", mailbox, limit
    )
    if rows:
        modseq, uid = rows[-1]
        yield sql(
            "DELETE FROM expunged WHERE mailbox = $1 AND (modseq < $2 OR (modseq = $2 AND uid <= $3))",
            mailbox, modseq, uid,
        )  # fmt: skip
        return len(rows)
    if gone := (yield from sheets.drop_all(mailbox, SHEETS_CHUNK)):
        return gone
    yield sql("DELETE FROM discarded WHERE mailbox = $1", mailbox)
    if act is not None:
        yield from removed.close_if_empty(act.id)
    return 1


def mark(now: Millis) -> Script[None]:
    """Note when blobs were first seen without reference."""
    yield sql("UPDATE blob SET released = $1 WHERE refs = 0 AND released IS NULL", now)


def collect(before: Millis, limit: int = COLLECT_CHUNK) -> Script[tuple[int, list[str]]]:
    """Remove up to `limit` blobs without reference since `before`; how many, and the files that can go now."""
    rows = yield sql(
        "SELECT id, file FROM blob WHERE refs = 0 AND released < $1 ORDER BY released LIMIT $2", before, limit
    )
    for blob, _ in rows:  # inside one script, in the writer's thread
        yield sql("DELETE FROM octets WHERE blob = $1", blob)
        yield sql("DELETE FROM blob WHERE id = $1", blob)
    return len(rows), [file for _, file in rows if file is not None]


def unnamed(files: Sequence[str]) -> Script[list[str]]:
    """Those of the files under DIR/blobs that no row names. The name of a file is never used for other octets, so
    what is unnamed after ORPHAN_SECONDS stays so."""
    found: list[str] = []
    for file in files:
        digest = yield sql("SELECT 1 FROM blob WHERE file = $1", file)
        if not digest:
            found.append(file)
    return found


async def collect_garbage(store: Store, now: Millis) -> Swept:
    """All of it, in pieces between which others write. Raises Unavailable."""
    placements = 0
    while count := await store.run(purge):
        placements += count
    await store.run(mark, now)
    await store.run(forget_destinations, now)
    blobs = 0
    while True:
        count, files = await store.run(collect, Millis(now - KEEP_MILLIS))
        await asyncio.to_thread(store.blobs.remove, files)
        blobs += count
        if count < COLLECT_CHUNK:
            break
    orphans = await _sweep(store, now)
    spool = await asyncio.to_thread(store.blobs.sweep_spool, now / 1000 - SPOOL_SECONDS)
    return Swept(placements, blobs, orphans, spool, await _sweep_threads(store, now))


async def make_room(store: Store, now: Millis) -> int:
    """On a disk that is too full: the octets no Email names go without a day's wait; how many blobs. Raises
    Unavailable. Files no row names keep their time: a message on its way to the writer may be in one."""
    deadline, blobs, purged, count = time.monotonic() + ROOM_SECONDS, 0, 1, COLLECT_CHUNK
    while (purged or count == COLLECT_CHUNK) and time.monotonic() < deadline:
        purged = await store.run(purge)
        await store.run(mark, now)
        count, files = await store.run(collect, ALWAYS)
        await asyncio.to_thread(store.blobs.remove, files)
        blobs += count
    return blobs


def reusable() -> Script[int]:
    """Octets of the free pages inside the database: mail is written there before the file grows."""
    [(pages,)] = yield sql("PRAGMA freelist_count")
    [(size,)] = yield sql("PRAGMA page_size")
    return int(pages * size)


async def _sweep(store: Store, now: Millis) -> int:
    old = await asyncio.to_thread(lambda: list(store.blobs.files_older_than(now / 1000 - ORPHAN_SECONDS)))
    removed = 0
    for names in _chunks(old):
        orphans = await store.read(unnamed, names)
        await asyncio.to_thread(store.blobs.remove, orphans)
        removed += len(orphans)
    return removed


async def _sweep_threads(store: Store, now: Millis) -> int:
    """The keys of threads that are gone, of one account in HOURS: which, says the hour, so that each has its turn once
    a day without anything being kept about it."""
    removed, account = 0, await store.read(threads.next_account, 0)
    while account is not None:
        if account % HOURS == now // HOUR_MILLIS % HOURS:
            removed += await _sweep_account(store, account)
        account = await store.read(threads.next_account, account)
    return removed


async def _sweep_account(store: Store, account: AccountId) -> int:
    removed, after = 0, FIRST_KEY
    while (last := await store.read(threads.next_key, account, after)) is not None:
        if await store.read(threads.dead, account, after, last):
            removed += await store.run(threads.forget, account, after, last)
        after = last
    return removed


def _chunks(names: Sequence[str]) -> Iterator[list[str]]:
    left = iter(names)
    while chunk := list(islice(left, NAMES_CHUNK)):
        yield chunk


def purge_all(store: SyncStore) -> int:
    """For the command line: after `user remove`, nothing of the mail is left when this returns."""
    placements = 0
    while count := store.run(purge):
        placements += count
    while store.run(removed.end, Millis(removed.FORGOTTEN + 1)).more:
        pass  # others write in between
    return placements


def collect_now(store: SyncStore, now: Millis) -> None:
    """For the command line: octets that no Email names go at once, as after something was to be forgotten."""
    count = COLLECT_CHUNK
    store.run(mark, now)
    while count == COLLECT_CHUNK:
        count, files = store.run(collect, ALWAYS)
        store.blobs.remove(files)
