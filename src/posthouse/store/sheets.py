"""Sheets: what FETCH answered of a stretch of a mailbox, kept to be shown again (decision 0061).

A sheet has the messages of PLACE consecutive UIDs, all that are there, once no more can come. What an Email is never
changes, so a sheet stays true until one of its messages leaves; then `drop` removes it, in the same transaction. Its
text is opaque here. Sheets are derived: what is not kept, or is damaged, is read from the rows.
"""

import struct
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import zstandard

from posthouse.mail.ids import AccountId, MailboxId, ModSeq
from posthouse.store.script import Row, Script, sql

PLACE = 512  # UIDs of a sheet; step3.sql says so, too
FORMS = 3  # kept of a mailbox: as many programs list it in their own way; the one made first goes for a new one
LEVEL = 1  # zstd: texts of one kind, which the higher levels make hardly smaller


class Listed(NamedTuple):
    """A mailbox, and what is asked of its messages, as a number."""

    account: AccountId
    mailbox: MailboxId
    form: int


class Sheet(NamedTuple):
    """A stretch of a mailbox: rows (uid, flags, keywords) with the sheet's text; or, without text, whole rows."""

    rows: list[Row]
    text: bytes | None


class Stretch(NamedTuple):
    """UIDs from first to last; `place` where they are all that a sheet can hold."""

    first: int
    last: int
    place: int | None


class Packed(NamedTuple):
    """A sheet to be kept."""

    place: int
    messages: int
    octets: bytes


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def pack(place: int, uids: Sequence[int], text: bytes) -> Packed:
    """The sheet of these messages, compressed."""
    return Packed(place, len(uids), _contexts.compressor.compress(_numbers(uids) + text))


def _numbers(uids: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(uids)}I", *uids)


def read(
    of: Listed, stretches: Sequence[Stretch], otherwise: Callable[[Stretch], Script[list[Row]]]
) -> Script[list[Sheet]]:
    """The first of the stretches, as many as sheets are kept of; where there is none of the first, its rows as
    `otherwise` reads them, which also says that there is no such mailbox."""
    found: list[Sheet] = []
    for stretch in stretches:
        sheet = None if stretch.place is None else (yield from _kept(of, stretch))
        if sheet is None:
            break
        found.append(sheet)
    return found or [Sheet((yield from otherwise(stretches[0])), None)]


def _kept(of: Listed, stretch: Stretch) -> Script[Sheet | None]:
    kept = yield sql(
        "SELECT s.messages, s.packed FROM sheet s JOIN mailbox m ON m.id = s.mailbox"
        " WHERE s.mailbox = $1 AND s.place = $2 AND s.form = $3 AND m.account = $4 AND m.noselect = 0",
        of.mailbox, stretch.place, of.form, of.account,
    )  # fmt: skip
    if not kept:
        return None
    rows = yield sql(
        "SELECT uid, flags, keywords FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 ORDER BY uid",
        of.mailbox, stretch.first, stretch.last,
    )  # fmt: skip
    [(messages, packed)] = kept
    text = _unpacked(packed, _numbers([row[0] for row in rows])) if messages == len(rows) else None
    return None if text is None else Sheet(rows, text)


def _unpacked(packed: bytes, numbers: bytes) -> bytes | None:
    try:
        octets = _contexts.decompressor.decompress(packed)
    except zstandard.ZstdError:
        return None
    return octets[len(numbers) :] if octets.startswith(numbers) else None


def keep(of: Listed, sheets: Sequence[Packed]) -> Script[None]:
    """Keep sheets that still are true: UIDs can only have gone, or the whole mailbox."""
    yield from _make_room(of.mailbox, of.form)
    for sheet in sheets:
        first = sheet.place * PLACE
        [(messages,)] = yield sql(
            "SELECT count(*) FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3",
            of.mailbox, first, first + PLACE - 1,
        )  # fmt: skip
        if messages == sheet.messages:
            yield sql(
                "INSERT INTO sheet (mailbox, place, form, messages, packed) VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT (mailbox, place, form) DO UPDATE SET messages = $4, packed = $5",
                of.mailbox, sheet.place, of.form, sheet.messages, sheet.octets,
            )  # fmt: skip


def _make_room(mailbox: MailboxId, form: int) -> Script[None]:
    forms = yield sql("SELECT form FROM sheet WHERE mailbox = $1 GROUP BY form ORDER BY min(id)", mailbox)
    known = [row[0] for row in forms]
    if form not in known and len(known) >= FORMS:
        yield sql("DELETE FROM sheet WHERE mailbox = $1 AND form = $2", mailbox, known[0])


def drop(mailbox: MailboxId, modseq: ModSeq) -> Script[None]:
    """Messages left the mailbox with this ModSeq: what sheets say of them goes with them."""
    if not (yield sql("SELECT 1 FROM sheet WHERE mailbox = $1 LIMIT 1", mailbox)):
        return
    yield sql(
        "DELETE FROM sheet WHERE mailbox = $1 AND place IN"
        f" (SELECT uid / {PLACE} FROM expunged WHERE mailbox = $1 AND modseq = $2)",
        mailbox, modseq,
    )  # fmt: skip


def drop_all(mailbox: MailboxId, limit: int) -> Script[int]:
    """The mailbox is gone or empty: remove up to `limit` sheets; how many."""
    rows = yield sql(
        "DELETE FROM sheet WHERE id IN (SELECT id FROM sheet WHERE mailbox = $1 LIMIT $2) RETURNING id", mailbox, limit
    )
    return len(rows)
