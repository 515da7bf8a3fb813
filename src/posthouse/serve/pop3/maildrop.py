"""The maildrop of one POP3 session: INBOX as it was at the login (RFC 1939 §5), and the reading of its messages.

Nothing is locked. IMAP and other POP3 sessions go on beside it; a message that they removed cannot be read any more,
and keeps its number to the end of the session. The UIDs are shared with the IMAP sessions of this worker.
"""

from array import array
from collections.abc import AsyncIterator, Callable, Sequence
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
from posthouse.store.script import NotFound, Row, Script
from posthouse.store.store import Store
from posthouse.store.whole import fetch_whole
from posthouse.wire.imap.number_set import runs

AHEAD = 16  # small messages (64 KiB at most) that are read at once for a client which takes one after the other
RUNS_AT_ONCE = 1_000  # runs of UIDs removed in one transaction: nobody else waits longer than some 20 ms for it

_COLUMNS = (Column.BLOB, Column.SIZE, Column.HEADER_SIZE)


class Message(NamedTuple):
    """A message that can be read: `octets` where it is here whole."""

    blob: BlobKey
    size: int
    header: int  # octets of its header, with the empty line
    octets: bytes | None


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
    _ahead: dict[int, Message] = field(default_factory=dict)
    _last: int = 0  # the number that was read last
    _changes: int = 0  # how often the account has changed since
    _unwatch: Callable[[], None] | None = None

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
        """A message to be read. Where the client takes one after the other, those behind it are read with it.

        Raises NotFound when it is gone, Unavailable."""
        if number not in self._ahead:
            await self._read(number, AHEAD if number == self._last + 1 and number > 1 else 1)
        self._last = number
        found = self._ahead.pop(number, None)
        if found is None:
            raise NotFound("the message was removed meanwhile")
        return found

    async def _read(self, number: int, count: int) -> None:
        before = self._changes
        uids = self.uids[number - 1 : number - 1 + count]
        verb = partial(fetch_whole, self.store.blobs.lately)
        rows = await self.store.read(verb, self.box, ((uids[0], uids[-1]),), _COLUMNS, count)
        numbers = {uid: number + at for at, uid in enumerate(uids)}
        whole = all(row[-2] is not None for row in rows)
        found: dict[int, Message] = {}
        for uid, blob, size, header, *_, octets in rows:
            found[numbers[uid]] = Message(blob, size, header, octets if whole else None)
        if before == self._changes:
            self._ahead = found
        else:  # others may be gone by now
            self._ahead = {number: found[number]} if number in found else {}

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
        self._ahead.clear()

    def watch(self) -> None:
        """Forget what was read ahead as soon as the account changes."""
        self._unwatch = self.store.watch(self.box.account, self._changed)

    def _changed(self, _modseq: ModSeq) -> None:
        self._changes += 1
        self._ahead.clear()


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
