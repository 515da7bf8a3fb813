"""The indexer: keeps the search index just behind the arrival of mail (decision 0034).

Every worker runs it, and a lock on DIR/search.lock lets one of them at work; when that one ends, another takes over.
It follows the ids of Emails, which are given in the order of the commits, in small pieces in a thread of its own, is at
work half the time at most, and waits a while when mail comes in at full speed.
"""

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw
import zstandard

from posthouse.mail.header import Octets, body_start, firsts, searchable
from posthouse.mail.ids import AccountId, EmailId
from posthouse.mail.text import sent_day, texts
from posthouse.store.blobs import INLINE_SIZE, BlobKey, Blobs, rows_of
from posthouse.store.index import Writer, belongs
from posthouse.store.pages import THUMB, Entry, entry, unread
from posthouse.store.script import NotFound, Row, Script, StoreError, Unavailable, sql
from posthouse.store.store import Store

LOCK = "search.lock"
AT_ONCE = 64  # Emails in one piece
OCTETS = 4 << 20  # of messages in one piece, unless one alone is larger
IN_A_GO = 16 << 10  # octets of messages that the thread reads in a go: a millisecond in which others wait for it
CHARACTERS = 256 << 10  # of a message's text that are kept; longer ones are read again where nothing was found
POLL_SECONDS = 0.5  # between two looks for new mail
PAUSE_SECONDS = 0.1  # between two pieces that were not full: what comes meanwhile is taken up together
RETRY_SECONDS = 30.0  # after an error, and between two attempts to get the lock
BUSY = 200  # messages a second at which the indexer waits,
WAIT_SECONDS = 30.0  # but not longer than this
SWEEP_SECONDS = 3_600.0  # between two looks through all blocks for Emails that are gone
SWEEP_BLOCKS = 8  # of them in one piece

T = TypeVar("T")

log = logging.getLogger(__name__)


def behind(mark: int, most: int) -> Script[list[Row]]:
    """(email, account, blob, size, digest) of the Emails after the mark, ascending."""
    return (
        yield sql(
            "SELECT e.id, e.account, e.blob, e.size, b.digest FROM email e JOIN blob b ON b.id = e.blob"
            " WHERE e.id > $1 ORDER BY e.id LIMIT $2",
            mark, most,
        )
    )  # fmt: skip


def newest() -> Script[int]:
    """The highest id of an Email."""
    rows = yield sql("SELECT max(id) FROM email")
    return rows[0][0] or 0


def gone(emails: list[int]) -> Script[set[int]]:
    """Those of the Emails that are no more."""
    missing = set()
    for email in emails:
        if not (yield sql("SELECT 1 FROM email WHERE id = $1", email)):
            missing.add(email)
    return missing


def left_of(blobs: Sequence[BlobKey]) -> Script[dict[BlobKey, Row]]:
    """The rows of rows_of of those that are there."""
    found: dict[BlobKey, Row] = {}
    for blob in blobs:  # inside one script
        with suppress(NotFound):
            [found[blob]] = yield from rows_of((blob,))
    return found


async def keep_index(store: Store) -> None:
    """Keep the index until cancelled, whenever no other worker does."""
    lock = os.open(store.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    indexer = Indexer(store)
    try:
        while True:
            if not _locked(lock):  # nobody is told when the other one ends
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                await indexer.follow()
            except (StoreError, apsw.Error, zstandard.ZstdError, OSError, ValueError) as error:
                log.warning("the search index is not kept: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        indexer.close()
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Indexer:
    """The runner: one writer of the index and its thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._executor = ThreadPoolExecutor(1, "indexer")
        self._writer: Writer | None = None
        self._waited = 0.0
        self._newest = 0
        self._looked = 0.0
        self._swept = 0.0  # when
        self._block = -1  # up to where

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args))

    async def follow(self) -> None:
        """Follow the mail for ever. Raises StoreError, apsw.Error and OSError."""
        writer = await self.begin()
        while await self._run(writer.there):
            begun = time.monotonic()
            if await self._flooded():
                await asyncio.sleep(1.0)
                continue
            done = await self.step(writer)
            signed = await self._run(writer.sign)  # as many blocks as come, so that it keeps up
            if not done and not signed:
                await self._sweep(writer)
            await asyncio.sleep(_rest(done, signed=signed, worked=time.monotonic() - begun))

    async def begin(self) -> Writer:
        """The writer of an index that is of this house's mail."""
        self._stop()
        try:
            writer = self._writer = await self._run(Writer, self._store.directory)
            known = await self._run(writer.sample)
        except (apsw.CorruptError, apsw.NotADBError, zstandard.ZstdError, ValueError) as error:
            log.warning("the search index is made anew: %s", error)
            self._stop()
            remove(self._store.directory)
            writer = self._writer = await self._run(Writer, self._store.directory)
            known = await self._run(writer.sample)
        if not await self._store.read(belongs, known):
            log.warning("the search index is not of this mail and is made anew")
            await self._run(writer.clear)
        self._swept = time.monotonic()
        return writer

    async def _flooded(self) -> bool:
        """Whether mail comes so fast that it should have the machine."""
        now, highest = time.monotonic(), await self._store.read(newest)
        seconds, came = now - self._looked, highest - self._newest
        fast = self._looked > 0 and came > BUSY * seconds
        self._looked, self._newest = now, highest
        self._waited = self._waited + seconds if fast else 0.0
        return 0 < self._waited <= WAIT_SECONDS

    async def step(self, writer: Writer) -> int:
        """Take up the next Emails; how many."""
        rows = _bounded(await self._store.read(behind, await self._run(writer.mark), AT_ONCE), OCTETS)
        if not rows:
            return 0
        places = await self._places([BlobKey(row[2]) for row in rows])
        several: dict[AccountId, list[Entry]] = {}
        left = rows
        while left:  # others have the interpreter in between
            some = _bounded(left, IN_A_GO)
            left = left[len(some) :]
            for account, one in await self._run(_read_some, self._store.blobs, some, places):
                several.setdefault(account, []).append(one)
        await self._run(writer.add, several, EmailId(rows[-1][0]))
        return len(rows)

    async def _places(self, blobs: list[BlobKey]) -> dict[BlobKey, Row]:
        """Their rows of rows_of, without those that were removed meanwhile."""
        try:
            return dict(zip(blobs, await self._store.read(rows_of, blobs), strict=True))
        except NotFound:
            return await self._store.read(left_of, blobs)

    async def _sweep(self, writer: Writer) -> None:
        """Once an hour, in pieces: what was removed from the mail goes out of the index."""
        if self._block < 0 and time.monotonic() - self._swept < SWEEP_SECONDS:
            return
        blocks = await self._run(writer.blocks, max(self._block, 0), SWEEP_BLOCKS)
        for block, emails in blocks:
            if missing := await self._store.read(gone, emails):
                await self._run(writer.forget, block, missing)
        self._block = blocks[-1][0] if blocks else -1
        if not blocks:
            self._swept = time.monotonic()

    def _stop(self) -> None:
        if self._writer is not None:
            self._executor.submit(self._writer.close).result()
            self._writer = None

    def close(self) -> None:
        """Finish the piece that is at work, and close."""
        self._stop()
        self._executor.shutdown()


def remove(directory: Path) -> None:
    """Remove the index with its companions."""
    for name in ("search.db", "search.db-wal", "search.db-shm"):
        (directory / name).unlink(missing_ok=True)


def _rest(done: int, *, signed: bool, worked: float) -> float:
    """Seconds until the next piece: at work half the time at most."""
    if not done and not signed:
        return POLL_SECONDS
    return max(0.01 if signed or done == AT_ONCE else PAUSE_SECONDS, worked)


def _bounded(rows: list[Row], most: int) -> list[Row]:
    """The first of them, at most so many octets together, at least one."""
    octets = 0
    for place, row in enumerate(rows):
        octets += row[3]
        if octets > most and place:
            return rows[:place]
    return rows


def _read_some(blobs: Blobs, rows: list[Row], places: dict[BlobKey, Row]) -> list[tuple[AccountId, Entry]]:
    """What is kept of each, with its account."""
    entries = []
    for email, account, blob, size, digest in rows:
        place = places.get(BlobKey(blob))
        if place is None:
            continue  # removed meanwhile
        try:
            if size > INLINE_SIZE:
                one = _read_large(blobs, email, place)
            else:
                one = _read(email, digest[:THUMB], blobs.octets(place))
        except Unavailable:
            one = unread(email, digest[:THUMB])
        entries.append((account, one))
    return entries


def _read_large(blobs: Blobs, email: int, row: Row) -> Entry:
    """Of a file: a large message is never whole in memory. Raises Unavailable."""
    with blobs.mapped(row) as octets:
        return _read(email, row[0][:THUMB], octets)


def _read(email: int, thumb: bytes, octets: Octets) -> Entry:
    found = texts(octets, CHARACTERS)
    days = [value for name, value in found.fields if name == "DATE"]
    day = sent_day(firsts(searchable(octets)[: body_start(octets)]).get(b"date")) if days else None
    return entry(email, thumb, day, found)
