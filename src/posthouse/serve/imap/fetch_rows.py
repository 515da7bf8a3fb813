"""FETCH answered from rows (RFC 9051 §6.4.5): columns, and selections of the messages' own headers, which is what lists
of messages are made of; or whole small messages. The rows of the next piece are read while those of the last are
printed.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from itertools import chain
from typing import NamedTuple

from posthouse.mail.fieldmap import Selection
from posthouse.mail.structure import Section, SectionText
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import Ranges, chunks, count
from posthouse.store import emails
from posthouse.store.emails import Column
from posthouse.store.script import Row
from posthouse.store.whole import fetch_whole
from posthouse.wire.imap.fetch import BodySection, FetchItem
from posthouse.wire.imap.fetch_response import Column as Shown
from posthouse.wire.imap.fetch_response import FetchPlan, print_rows

ROWS = 1_000  # rows of one question to the store: some 2 ms of printing, then others have their turn
HEADERS = 500  # the same with headers of at most emails.SHORT octets: 8 MiB, if all are as long as that
SELECTIONS = 4  # of a header, for which so many are read; for more it is fewer, so that what is printed stays small
WITH_CONTENTS = 100  # the same where headers or messages come along

COLUMNS: dict[Shown, Column] = {
    Shown.FLAGS: Column.FLAGS,
    Shown.KEYWORDS: Column.KEYWORDS,
    Shown.RECEIVED: Column.RECEIVED,
    Shown.SIZE: Column.SIZE,
    Shown.ENVELOPE: Column.ENVELOPE,
    Shown.STRUCTURE: Column.STRUCTURE,
    Shown.EMAIL: Column.EMAIL,
    Shown.THREAD: Column.THREAD,
    Shown.SAVED: Column.SAVED,
    Shown.PREVIEW: Column.PREVIEW,
    Shown.MODSEQ: Column.MODSEQ,
}
HEADER_TEXTS = (SectionText.HEADER, SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT)


class Answered(NamedTuple):
    """How many messages were shown, and whether a part's transfer encoding was unknown."""

    messages: int
    unknown_encoding: bool


#: What answers where a header or a message among the rows is too long to be read with the others.
OneByOne = Callable[[Session, FetchPlan, Ranges], Awaitable[Answered]]


def of_own_header(item: FetchItem) -> bool:
    """Whether the header column answers the item."""
    return isinstance(item, BodySection) and not item.section.part and item.section.text in HEADER_TEXTS


def is_whole(prepared: FetchPlan) -> bool:
    """Whether BODY[] is all that is asked of the messages themselves."""
    asked = [(item.section, item.partial) for item in prepared.contents if isinstance(item, BodySection)]
    return len(prepared.contents) == 1 and asked == [(Section((), SectionText.WHOLE, ()), None)]


def of_rows(prepared: FetchPlan) -> bool:
    """Whether rows answer everything, as long as headers and messages are small."""
    return is_whole(prepared) or all(of_own_header(item) for item in prepared.contents)


Reading = Callable[[Ranges], "asyncio.Future[list[Row]]"]


async def _ahead(ranges: Ranges, read: Reading, size: int) -> AsyncGenerator[tuple[Ranges, list[Row]], None]:
    """Rows of piece after piece; those of the next are read in the store's thread while these are printed."""
    pieces = iter(chunks(ranges, size))
    piece = next(pieces, None)
    reading = read(piece) if piece else None
    try:
        while piece is not None and reading is not None:
            rows, this = await reading, piece
            piece = next(pieces, None)
            reading = read(piece) if piece else None
            yield this, rows
    finally:
        if reading is not None:
            reading.cancel()


async def rows_only(session: Session, prepared: FetchPlan, ranges: Ranges, one_by_one: OneByOne) -> Answered:
    """Columns, and selections of the messages' own headers: what lists of messages are made of. Or whole messages."""
    columns = [COLUMNS[column] for column in prepared.columns if column is not Shown.UID]
    cutters = cutters_of(prepared)
    whole = is_whole(prepared)
    columns += [Column.SHORT_HEADER, Column.FIELDS] if cutters and not whole else []
    headers = HEADERS if len(cutters) <= SELECTIONS else max(1, HEADERS * SELECTIONS // len(cutters))
    size = WITH_CONTENTS if whole else headers if cutters else ROWS
    box, view = session.selected.box, session.selected.view
    verb = partial(fetch_whole, session.store.blobs.lately) if whole else emails.fetch

    def read(piece: Ranges) -> "asyncio.Future[list[Row]]":
        return session.store.reading(verb, box, view.uid_spans(piece), columns, size)

    shown = 0
    async with aclosing(_ahead(ranges, read, size)) as pieces:
        async for piece, rows in pieces:
            if cutters and any(row[-2] is None for row in rows):  # a long one is among them: one after the other
                shown += (await one_by_one(session, prepared, piece)).messages
                continue
            name_keywords(session, prepared, rows)
            contents = [[row[-1] for row in rows]] if whole else chosen_of(cutters, rows)
            session.link.write(print_rows(prepared, numbers_of(session, piece, rows), rows, contents))
            await session.link.flush()
            shown += len(rows)
    return Answered(shown, unknown_encoding=False)


Cutter = Callable[[Sequence[bytes], Sequence[bytes | None]], Sequence[bytes]]


def chosen_of(cutters: Sequence[Cutter], rows: Sequence[Row]) -> list[Sequence[bytes]]:
    """What each cuts out of rows that end with SHORT_HEADER and FIELDS."""
    if not cutters:
        return []
    blocks, maps = [row[-2] for row in rows], [row[-1] for row in rows]
    return [cutter(blocks, maps) for cutter in cutters]


def cutters_of(prepared: FetchPlan) -> list[Cutter]:
    """What cuts the contents of the plan, one for each."""
    return [_cutter(item) for item in prepared.contents if isinstance(item, BodySection)]


def _cutter(item: BodySection) -> Cutter:
    """What makes the item's contents of header blocks and their maps."""
    section, partial = item.section, item.partial
    names = frozenset(name.lower() for name in section.fields)
    whole = section.text is SectionText.HEADER
    selection = Selection(names, matching=section.text is SectionText.HEADER_FIELDS)

    def cut(blocks: Sequence[bytes], maps: Sequence[bytes | None]) -> Sequence[bytes]:
        chosen = blocks if whole else selection.cut_many(blocks, maps)
        return chosen if partial is None else [partial.cut(octets) for octets in chosen]

    return cut


def numbers_of(session: Session, piece: Ranges, rows: Sequence[Row]) -> Iterator[int]:
    """The message sequence numbers of rows: those of the piece, if none has gone. With UIDONLY the UIDs."""
    if session.uid_only:
        return iter([row[0] for row in rows])
    if len(rows) == count(piece):
        return chain.from_iterable(range(start + 1, stop + 1) for start, stop in piece)
    return iter(session.selected.view.numbers([row[0] for row in rows]))


def name_keywords(session: Session, prepared: FetchPlan, rows: Sequence[Row]) -> None:
    """Before rows are shown: the client knows their keywords, and the session the highest MODSEQ it shows."""
    if Shown.KEYWORDS in prepared.columns:
        place = prepared.columns.index(Shown.KEYWORDS)
        session.name_keywords(row[place] for row in rows if row[place])
    if Shown.MODSEQ in prepared.columns and rows:
        place = prepared.columns.index(Shown.MODSEQ)
        session.show(max(row[place] for row in rows))
