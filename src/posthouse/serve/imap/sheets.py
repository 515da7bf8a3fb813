"""FETCH of what a list of messages shows, answered from sheets (decision 0061): what was answered once, of a stretch of
the mailbox, is kept in the store, and only numbers and flags are filled in for who asks the same again.

Sheets are made when a client asks for much of a mailbox, stretch by stretch, and written beside the answer. What they
do not hold, the newest messages and single ones, is read from rows (fetch_rows.py).
"""

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from posthouse.serve.imap.fetch_rows import (
    COLUMNS,
    Answered,
    Cutter,
    OneByOne,
    chosen_of,
    cutters_of,
    name_keywords,
    numbers_of,
)
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import Ranges, View, count
from posthouse.store import emails, sheets
from posthouse.store.emails import Column
from posthouse.store.script import Row, Script, StoreError
from posthouse.store.sheets import PLACE, Listed, Packed, Sheet, Stretch
from posthouse.store.store import Store
from posthouse.wire.imap.fetch_response import Column as Shown
from posthouse.wire.imap.fetch_response import FetchPlan
from posthouse.wire.imap.sheet import draw, fill_in, form_of

log = logging.getLogger("posthouse.imap")

MANY = 1_000  # messages: of fewer, their rows are read
FEW = 64  # messages of a stretch, on average, below which sheets are no gain
AT_ONCE = 4  # sheets of one question to the store: some 2,000 messages, 1 MiB, 2 ms of printing
SELECTIONS = 2  # of a header, with which a list of messages is asked for; of more than that no sheet is made
LONGEST = 2 << 20  # octets of a text that is kept; AT_ONCE of them are 8 MiB
WRITTEN = 1 << 20  # packed octets written with one script: some 20 to 40 sheets, 5 ms of the writer


class Piece(NamedTuple):
    """Places of the view whose messages are in one stretch of UIDs."""

    start: int
    stop: int
    stretch: Stretch


class _Asked(NamedTuple):
    """What one FETCH asks."""

    session: Session
    plan: FetchPlan
    of: Listed
    columns: tuple[Column, ...]
    cutters: tuple[Cutter, ...]
    one_by_one: OneByOne


async def answer(session: Session, plan: FetchPlan, ranges: Ranges, one_by_one: OneByOne) -> Answered | None:
    """Answer this FETCH. None, and nothing is said, where sheets are no gain."""
    form = form_of(plan) if len(plan.contents) <= SELECTIONS else None
    if form is None or count(ranges) < max(MANY, FEW * len(ranges)):
        return None
    pieces = cut(session.selected.view, ranges, count(ranges) // FEW)
    if pieces is None:
        return None
    columns = [COLUMNS[column] for column in plan.columns if column is not Shown.UID]
    cutters = tuple(cutters_of(plan))
    columns += [Column.SHORT_HEADER, Column.FIELDS] if cutters else []
    asked = _Asked(session, plan, Listed(*session.selected.box, form), tuple(columns), cutters, one_by_one)
    keeping = _Keeping(session.store, asked.of)
    try:
        shown = await _show_all(asked, pieces, keeping)
        await keeping.finish()
    finally:
        keeping.give_up()
    return Answered(shown, unknown_encoding=False)


def cut(view: View, ranges: Ranges, most: int) -> list[Piece] | None:
    """The messages meant, stretch by stretch; None where there are more than `most`. A stretch has a place where all
    its messages are meant, and no more can come."""
    uids = view.column
    pieces: list[Piece] = []
    for start, end in ranges:
        while start < end:
            place = uids[start] // PLACE
            stop = bisect_left(uids, (place + 1) * PLACE, start, end)
            whole = (start == 0 or uids[start - 1] < place * PLACE) and (
                stop == len(uids) or uids[stop] >= (place + 1) * PLACE
            )
            full = whole and view.uidnext >= (place + 1) * PLACE
            if len(pieces) == most:
                return None
            pieces.append(Piece(start, stop, Stretch(uids[start], uids[stop - 1], place if full else None)))
            start = stop
    return pieces


async def _show_all(asked: _Asked, pieces: Sequence[Piece], keeping: "_Keeping") -> int:
    """Show the pieces; those that follow are read in the store's thread while these are printed."""
    shown, at = 0, 0
    reading = _begin(asked, pieces[:AT_ONCE])
    try:
        while at < len(pieces):
            found, begun = await reading, at
            at += len(found)
            reading = _begin(asked, pieces[at : at + AT_ONCE]) if at < len(pieces) else reading
            for piece, sheet in zip(pieces[begun:at], found, strict=True):
                shown += await _show(asked, piece, sheet, keeping)
            await asked.session.link.flush()
    finally:
        reading.cancel()
    return shown


def _begin(asked: _Asked, pieces: Sequence[Piece]) -> "asyncio.Future[list[Sheet]]":
    session, box = asked.session, asked.session.selected.box

    def rows(stretch: Stretch) -> Script[list[Row]]:
        return emails.fetch(box, ((stretch.first, stretch.last),), asked.columns, PLACE)

    return session.store.reading(sheets.read, asked.of, [piece.stretch for piece in pieces], rows)


async def _show(asked: _Asked, piece: Piece, sheet: Sheet, keeping: "_Keeping") -> int:
    """Show one piece, from its sheet or from its rows, of which a sheet is drawn then; how many messages."""
    session, plan, rows = asked.session, asked.plan, sheet.rows
    places = ((piece.start, piece.stop),)
    if not rows:
        return 0
    if sheet.text is None and asked.cutters and any(row[-2] is None for row in rows):  # a long header is among them
        return (await asked.one_by_one(session, plan, places)).messages
    name_keywords(session, plan, rows)
    text = draw(plan, rows, chosen_of(asked.cutters, rows)) if sheet.text is None else sheet.text
    flags = [row[1:3] for row in rows]  # and keywords: they come first in rows of both kinds, where they are shown
    session.link.write(fill_in(plan, text, numbers_of(session, places, rows), flags))
    if sheet.text is None and piece.stretch.place is not None:
        await keeping.add(piece.stretch.place, [row[0] for row in rows], text)
    return len(rows)


class _Keeping:
    """Sheets on their way into the store, beside the answer: packed one after the other, written WRITTEN together."""

    def __init__(self, store: Store, of: Listed) -> None:
        self._store, self._of = store, of
        self._packed: list[Packed] = []
        self._octets = 0
        self._working: asyncio.Task[None] | None = None

    async def add(self, place: int, uids: list[int], text: bytes) -> None:
        """Keep this sheet, soon."""
        if len(text) > LONGEST:
            return
        await self._done()
        self._working = asyncio.create_task(self._keep(place, uids, text))

    async def _keep(self, place: int, uids: list[int], text: bytes) -> None:
        self._packed.append(await asyncio.to_thread(sheets.pack, place, uids, text))
        self._octets += len(self._packed[-1].octets)
        if self._octets >= WRITTEN:
            await self._write()

    async def _write(self) -> None:
        packed, self._packed, self._octets = self._packed, [], 0
        try:
            await self._store.run(sheets.keep, self._of, packed)
        except StoreError as error:  # the answer does not need them
            log.warning("answers could not be kept: %s", error)

    async def _done(self) -> None:
        if self._working is not None:
            await self._working

    async def finish(self) -> None:
        """Wait until all are written."""
        await self._done()
        if self._packed:
            await self._write()

    def give_up(self) -> None:
        """What is not written yet is not needed any more."""
        if self._working is not None:
            self._working.cancel()
