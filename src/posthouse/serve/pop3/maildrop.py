"""The maildrop of one POP3 session: INBOX as it was at the login (RFC 1939 §5), and the reading of its messages.

Nothing is locked. IMAP and other POP3 sessions go on beside it; a message that they removed cannot be read any more,
and keeps its number to the end of the session. The UIDs are shared with the IMAP sessions of this worker.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from posthouse.mail.ids import UID, AccountId, MailboxId, ModSeq
from posthouse.mail.mime import Span
from posthouse.serve.imap.columns import columns_of
from posthouse.serve.imap.fetch import pieces_of
from posthouse.serve.imap.parts import PIECE
from posthouse.store import emails, mailboxes
from posthouse.store.blobs import BlobKey
from posthouse.store.emails import Column
from posthouse.store.mailboxes import Box, MailboxRow
from posthouse.store.removed import Removal
from posthouse.store.script import NotFound, Row, Script, StoreError, Unavailable
from posthouse.store.store import Store
from posthouse.store.whole import fetch_next
from posthouse.wire.imap.number_set import runs

# What is read at once for a client which takes one small message (64 KiB at most) after the other: a look into the
# store costs as much as five of them. A session holds at most twice as much: the next are read while these are sent.
AHEAD = 64  # messages
AHEAD_OCTETS = 256 << 10
RUNS_AT_ONCE = 1_000  # runs of UIDs removed in one transaction: nobody else waits longer than some 20 ms for it


class Message(NamedTuple):
    """A message that can be read: `octets` where it is here whole."""

    blob: BlobKey
    size: int
    header: int  # octets of its header, with the empty line
    octets: bytes | None


class Coming(NamedTuple):
    """Messages that are being read."""

    numbers: range
    changes: int  # how often the account had changed when it began
    rows: "asyncio.Future[list[Row]]"


@dataclass(slots=True)
class Maildrop:
    """What this session was shown. Numbers begin with 1."""

    store: Store
    box: Box
    uidvalidity: int
    uids: "array[int]"
    size: int  # octets of all, at the login
    marked: set[int] = field(default_factory=set)  # numbers of messages that QUIT removes
    sizes: "array[int] | None" = None  # -1 where the message was gone when they were read
    _batch: int = field(init=False)  # how many messages are read at once
    _ahead: dict[int, Message] = field(default_factory=dict)
    _coming: Coming | None = None  # what will be ahead next
    _last: int = 0  # the number that was read last
    _changes: int = 0  # how often the account has changed since
    _unwatch: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._batch = max(1, min(AHEAD, AHEAD_OCTETS * len(self.uids) // max(1, self.size)))

    def has(self, number: int) -> bool:
        """Whether there is such a message, not marked as deleted."""
        return 0 < number <= len(self.uids) and number not in self.marked

    def uidl(self, number: int) -> str:
        """Its unique-id (RFC 1939 §7), which is never used twice and never changes."""
        return f"{self.uidvalidity}.{self.uids[number - 1]}"

    def left(self) -> Sequence[int]:
        """The numbers that are not marked, ascending."""
        everything = range(1, len(self.uids) + 1)
        return [number for number in everything if number not in self.marked] if self.marked else everything

    async def octets_left(self) -> int:
        """The octets of what is not marked. Raises NotFound, Unavailable."""
        if not self.marked:
            return self.size
        sizes = await self.measured()
        return self.size - sum(max(0, sizes[number - 1]) for number in self.marked)

    async def measured(self) -> "array[int]":
        """The sizes of all messages, read when they are first asked for. Raises NotFound, Unavailable."""
        if self.sizes is None:
            rows: list[Row] = []
            if self.uids:
                spans = ((self.uids[0], self.uids[-1]),)
                rows = await self.store.read(emails.fetch, self.box, spans, (Column.SIZE,), 1 << 32)
            found: dict[int, int] = {uid: size for uid, size in rows}
            self.sizes = array("q", [found.get(uid, -1) for uid in self.uids])
        return self.sizes

    async def message(self, number: int) -> Message:
        """A message to be read. Where the client takes one after the other, those behind it are read with it, and the
        next of them while these are sent.

        Raises NotFound when it is gone, Unavailable."""
        following = number == self._last + 1 and number > 1
        self._last = number
        if number not in self._ahead and self._coming is not None:
            await self._come(self._coming, number)
        found = self._ahead.pop(number, None) or await self._read(number, self._batch if following else 1)
        if following and self._coming is None and 2 * len(self._ahead) < self._batch:
            self._look_ahead(max(self._ahead, default=number) + 1)
        return found

    def _look_ahead(self, first: int) -> None:
        if first > len(self.uids):
            return
        with suppress(StoreError):  # whoever asks for these messages will hear of it
            self._coming = self._begin(first, self._batch)
            self._coming.rows.add_done_callback(_heard)

    def _begin(self, number: int, count: int) -> Coming:
        numbers = range(number, min(number + count, len(self.uids) + 1))
        span = (self.uids[numbers[0] - 1], self.uids[numbers[-1] - 1])
        verb = partial(fetch_next, self.store.blobs.lately)
        rows = self.store.reading(verb, self.box, (span,), len(numbers), AHEAD_OCTETS)
        return Coming(numbers, self._changes, rows)

    async def _read(self, number: int, count: int) -> Message:
        """This message, as of now, and others with it. Raises NotFound, Unavailable."""
        self._ahead.clear()
        coming = self._begin(number, count)
        try:
            found = self._messages(coming, await coming.rows)
        except Unavailable:  # one of them may be damaged, which is nothing to the others
            if count == 1:
                raise
            return await self._read(number, 1)
        message = found.pop(number, None)
        if message is None:
            raise NotFound("the message was removed meanwhile")
        if coming.changes == self._changes:  # else others may be gone by now
            self._ahead = found
        return message

    async def _come(self, coming: Coming, number: int) -> None:
        """Take what was asked for ahead, if it is what is wanted now."""
        self._coming = None
        if number not in coming.numbers:
            coming.rows.cancel()
            return
        with suppress(StoreError):  # then it is asked for once more
            found = self._messages(coming, await coming.rows)
            if coming.changes == self._changes:
                self._ahead = found

    def _messages(self, coming: Coming, rows: list[Row]) -> dict[int, Message]:
        numbers = {self.uids[number - 1]: number for number in coming.numbers}
        return {numbers[uid]: Message(blob, size, header, octets) for uid, blob, size, header, octets in rows}

    async def pieces(self, message: Message) -> AsyncIterator[bytes]:
        """Its octets. A large message is never whole in memory. Raises NotFound, Unavailable."""
        if message.octets is not None:
            yield message.octets
        elif message.size <= PIECE:
            yield await self.store.blobs.get(message.blob)
        else:
            async for piece in pieces_of(self.store, message.blob, Span(0, message.size)):
                yield piece

    async def remove_marked(self, kept: Removal | None) -> list[UID]:
        """Remove what is marked and still there (RFC 1939 §6); `kept`: it may come back (store/removed.py).

        Raises StoreError; what is gone by then is gone."""
        uids = [self.uids[number - 1] for number in sorted(self.marked)]
        spans = runs(uids)
        gone: list[UID] = []
        # One transaction for nearly everybody; the writer is not held for who has marked every second of 100,000.
        for first in range(0, len(spans), RUNS_AT_ONCE):
            some = spans[first : first + RUNS_AT_ONCE]
            gone += (await self.store.run(emails.expunge, self.box, some, marked=False, kept=kept)).uids
        return gone

    def leave(self) -> None:
        """The session is over."""
        if self._unwatch is not None:
            self._unwatch()
        self._forget()

    def watch(self) -> None:
        """Forget what was read ahead as soon as the account changes."""
        self._unwatch = self.store.watch(self.box.account, self._changed)

    def _changed(self, _modseq: ModSeq) -> None:
        self._changes += 1
        self._forget()

    def _forget(self) -> None:
        self._ahead.clear()
        if self._coming is not None:
            self._coming.rows.cancel()
            self._coming = None


def _heard(rows: "asyncio.Future[list[Row]]") -> None:
    """Nobody may ask for them, so that asyncio would report what went wrong."""
    if not rows.cancelled():
        rows.exception()


async def open_maildrop(store: Store, account: AccountId) -> Maildrop:
    """INBOX as it is now. Raises NotFound, Unavailable."""
    columns = columns_of(store)
    row, uids = await store.read(_look, account, columns.get)
    columns.put(row.id, row.modseq, uids)
    maildrop = Maildrop(store, row.box, row.uidvalidity, uids, row.size)
    maildrop.watch()
    return maildrop


def _look(
    account: AccountId, known: "Callable[[MailboxId, ModSeq], array[int] | None]"
) -> "Script[tuple[MailboxRow, array[int]]]":
    """The row of INBOX and its UIDs, as of one moment."""
    row = yield from mailboxes.find(account, "INBOX")
    if row is None or row.noselect:
        raise NotFound("there is no INBOX")
    uids = known(row.id, row.modseq)
    if uids is None:
        uids = yield from emails.uids(row.box)
    return row, uids
