"""FETCH and UID FETCH (RFC 9051 §6.4.5): numbers to uids, items to columns, rows and sections to octets.

What a list of messages shows (ENVELOPE, BODYSTRUCTURE, sizes, dates, flags, the message's own header) is answered from
columns, a thousand rows at a time; the message itself is read only for BODY[…] and BINARY[…]. Of a large message only
the octets asked for are read, once its Part tree is known; the trees of the last few large messages are remembered.
They go out piece by piece, at the client's pace: a message of 50 MiB is never held whole for BODY[].
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from posthouse.mail import content, structure
from posthouse.mail.header import select_fields
from posthouse.mail.keyword import SEEN_BIT
from posthouse.mail.mime import Part, Span, parse
from posthouse.mail.structure import Section, SectionText, find_part
from posthouse.serve.imap import condstore, messagelimit, parts, preview, sheets
from posthouse.serve.imap.change import Order, alter_flags
from posthouse.serve.imap.fetch_rows import (
    COLUMNS,
    HEADER_TEXTS,
    ROWS,
    WITH_CONTENTS,
    Answered,
    name_keywords,
    numbers_of,
    of_own_header,
    of_rows,
    rows_only,
)
from posthouse.serve.imap.flag_fetch import fetch_flags
from posthouse.serve.imap.parts import PIECE
from posthouse.serve.imap.refusals import no_such_number
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import FlagRow, Ranges, chunks, count, some
from posthouse.store import emails
from posthouse.store.blobs import BlobKey, Blobs, rows_of
from posthouse.store.emails import Column, FlagChange, Mode, Spans
from posthouse.store.script import Row, StoreError, Unavailable
from posthouse.store.store import Store
from posthouse.wire.imap import code
from posthouse.wire.imap.fetch import Attribute, Binary, BinarySize, BodySection, ContentItem, Fetch, FetchItem, Partial
from posthouse.wire.imap.fetch_response import Column as Shown
from posthouse.wire.imap.fetch_response import Decoded, FetchPlan, Piece, Selected, plan, print_message, print_rows
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.response import StatusResponse, no, ok
from posthouse.wire.imap.uidonly import uid_plan

log = logging.getLogger("posthouse.imap")

LARGE = 256 * 1024  # octets; a larger message is read alone, parsed in a thread, and its tree remembered
LONG = 16 * 1024  # octets; after an item of a longer message, or of many items, others have their turn
MANY = 4  # items
TOGETHER = 1024 * 1024  # octets of small messages read at once

Content = bytes | Span | Decoded | Selected | int | None


async def fetch(session: Session, command: Fetch) -> StatusResponse:
    """RFC 9051 §6.4.5. \\Seen is set first, so that the answers show it."""
    ranges = await _wanted(session, command)
    if isinstance(ranges, StatusResponse):
        return ranges
    if command.modifiers.changed_since is not None:
        rows = await condstore.changed_since(session, ranges, command.modifiers.changed_since)
        if condstore.narrow(command.items):
            return await _changed(session, command, rows)
        ranges = session.selected.view.by_uid(runs([row[0] for row in rows]))
    items = command.items
    if command.sets_seen and ranges and session.selected.may("s") and await _set_seen(session, ranges):
        items = tuple(dict.fromkeys((*items, *_with_seen(session))))
    prepared = uid_plan(items) if session.uid_only else plan(items, command.uid)
    if (shown := await fetch_flags(session, prepared, ranges)) is not None:
        answered = Answered(shown, unknown_encoding=False)
    else:
        answered = await _answer_all(session, prepared, ranges)
    if answered.unknown_encoding:
        return no(command.tag, "The transfer encoding of a part is not known here.", code.UNKNOWN_CTE)
    if answered.messages < count(ranges) and not command.uid:
        return ok(command.tag, "FETCH completed; some messages were expunged meanwhile.", code.EXPUNGEISSUED)
    return ok(command.tag, "FETCH completed.")


async def _answer_all(session: Session, prepared: FetchPlan, ranges: Ranges) -> Answered:
    if of_rows(prepared) and Attribute.PREVIEW not in prepared.attributes:
        by_sheets = await sheets.answer(session, prepared, ranges, _with_contents)
        return by_sheets or await rows_only(session, prepared, ranges, _with_contents)
    if prepared.contents:
        return await _with_contents(session, prepared, ranges)
    return await _columns_only(session, prepared, ranges)


async def show_items(session: Session, uids: Sequence[int], items: tuple[FetchItem, ...]) -> None:
    """These items of messages, unasked: no flag is changed by it (RFC 5465 §5.2, RFC 7162 §3.2.4)."""
    view = await session.load()
    if session.condstore:
        items = tuple(dict.fromkeys((Attribute.UID, Attribute.MODSEQ, *items)))
    prepared = uid_plan(items) if session.uid_only else plan(items)
    await _answer_all(session, prepared, view.by_uid(runs(uids)))


async def _wanted(session: Session, command: Fetch) -> Ranges | StatusResponse:
    """The messages meant, by numbers and modifiers; or the refusal (RFC 7162 §3.1.4, §3.2.6, RFC 9394 §3.3)."""
    modifiers = command.modifiers
    if modifiers.vanished and "QRESYNC" not in session.enabled:
        return condstore.needs_enable(command.tag)
    if Attribute.MODSEQ in command.items:
        condstore.aware(session)
    if modifiers.vanished:
        await condstore.report_vanished(session, command)
    ranges = await session.resolve(command.numbers, uid=command.uid)
    if ranges is None:
        return no_such_number(command.tag)
    if modifiers.partial is not None:  # before CHANGEDSINCE (RFC 9394 §3.4)
        ranges = some(ranges, modifiers.partial.places(count(ranges)))
        return messagelimit.too_many(session, command.tag, ranges) or ranges
    return messagelimit.cut(session, ranges)


async def _changed(session: Session, command: Fetch, rows: Sequence[FlagRow]) -> StatusResponse:
    """What CHANGEDSINCE asks for usually is in the rows that were found already."""
    prepared = uid_plan(command.items) if session.uid_only else plan(command.items, command.uid)
    places = [condstore.NARROW[column] for column in prepared.columns]
    wanted = itemgetter(*places) if len(places) > 1 else None
    for start in range(0, len(rows), ROWS):
        piece = rows[start : start + ROWS]
        shown = [row[:1] for row in piece] if wanted is None else list(map(wanted, piece))
        name_keywords(session, prepared, shown)
        uids = [row[0] for row in piece]
        numbers = uids if session.uid_only else session.selected.view.numbers(uids)
        session.link.write(print_rows(prepared, numbers, shown))
        await session.link.flush()
    return ok(command.tag, "FETCH completed.")


def _with_seen(session: Session) -> tuple[Attribute, ...]:
    """What is shown of messages that FETCH set \\Seen of (RFC 9051 §6.4.5, RFC 7162 §3.2.4)."""
    if session.condstore:
        return (Attribute.FLAGS, Attribute.UID, Attribute.MODSEQ)
    return (Attribute.FLAGS,)


async def _set_seen(session: Session, ranges: Ranges) -> bool:
    """Set \\Seen where it is not set and the store can; whether it was so anywhere. EXPUNGE is not told here: the
    numbers of this command are in use."""
    selected = session.selected
    rows = await session.store.read(emails.flags, selected.box, selected.view.uid_spans(ranges))
    unseen = [row[0] for row in rows if not row[1] & SEEN_BIT]
    if not unseen:
        return False
    whole, news = len(unseen) == selected.view.total, bool(selected.updates)
    order = Order(runs(unseen), FlagChange(Mode.ADD, SEEN_BIT), whole, show=False, news=news)
    try:
        await alter_flags(session, order, expunge=False)
    except Unavailable as error:  # a full disk does not keep users from reading
        log.warning("messages are read without \\Seen: %s", error)
        return False
    return True


async def _columns_only(session: Session, prepared: FetchPlan, ranges: Ranges) -> Answered:
    selected = session.selected
    columns = [COLUMNS[column] for column in prepared.columns if column is not Shown.UID]
    shown = 0
    for piece in chunks(ranges, ROWS):
        spans = selected.view.uid_spans(piece)
        if Attribute.PREVIEW in prepared.attributes:
            await preview.make(session, spans)
        rows = await session.store.read(emails.fetch, selected.box, spans, columns, ROWS)
        name_keywords(session, prepared, rows)
        session.link.write(print_rows(prepared, numbers_of(session, piece, rows), rows))
        await session.link.flush()
        shown += len(rows)
    return Answered(shown, unknown_encoding=False)


# --- with contents


class Message(NamedTuple):
    """A message as far as FETCH has read it; `header` where the plan needs it, `octets` and their tree where they
    were read."""

    blob: BlobKey
    size: int
    header_size: int
    header: bytes | None
    octets: bytes | None
    tree: Part | None = None


async def _with_contents(session: Session, prepared: FetchPlan, ranges: Ranges) -> Answered:
    selected = session.selected
    columns = [COLUMNS[column] for column in prepared.columns if column is not Shown.UID]
    columns += [Column.BLOB, Column.SIZE, Column.HEADER_SIZE]
    if any(of_own_header(item) for item in prepared.contents):
        columns.append(Column.HEADER)
    # Of many ranges of a small message each would be a question to the store.
    few = len(prepared.contents) <= MANY
    whole = not all(of_own_header(item) or (few and _a_range(item)) for item in prepared.contents)
    shown, unknown = 0, False
    for piece in chunks(ranges, WITH_CONTENTS):
        spans: Spans = selected.view.uid_spans(piece)
        if Attribute.PREVIEW in prepared.attributes:
            await preview.make(session, spans)
        rows = await session.store.read(emails.fetch, selected.box, spans, columns, WITH_CONTENTS)
        name_keywords(session, prepared, rows)
        numbers = numbers_of(session, piece, rows)
        width = len(prepared.columns)
        async for row, read in _read(session.store.blobs, rows, width, whole=whole):
            message = _parsed(read, prepared.contents)
            answers = await _answers(session.store, message, prepared.contents)
            unknown = unknown or await _encoding_unknown(session.store, message, prepared.contents, answers)
            await write_pieces(session, message, print_message(prepared, next(numbers), row[:width], answers))
        shown += len(rows)
    return Answered(shown, unknown)


async def write_pieces(session: Session, message: Message, pieces: Sequence[Piece]) -> None:
    """Send what was printed of a message, the large ones of its parts at the client's pace."""
    link = session.link
    for piece in pieces:
        if isinstance(piece, Span | Decoded):
            await _stream(session, message.blob, piece)
            continue
        octets = _selected(message.header or b"", piece.item) if isinstance(piece, Selected) else piece
        if len(octets) > PIECE or isinstance(piece, Selected):
            for start in range(0, len(octets), PIECE):
                link.write(octets[start : start + PIECE])
                await link.flush()
            await asyncio.sleep(0)  # others have their turn
        else:
            link.write(octets)
    await link.flush()


async def _stream(session: Session, blob: BlobKey, asked: Span | Decoded) -> None:
    """Send a part of a message whose literal is begun. A fault ends the connection, because nothing else can be said
    inside a literal."""
    try:
        store = session.store
        found = pieces_of(store, blob, asked) if isinstance(asked, Span) else _decoded_pieces(store, blob, asked)
        async for octets in found:
            session.link.write(octets)
            await session.link.flush()
    except StoreError as error:
        log.error("a message breaks off in the middle of FETCH: %s", error)
        raise ConnectionAbortedError("the literal cannot be finished") from error


async def pieces_of(store: Store, blob: BlobKey, span: Span) -> AsyncIterator[bytes]:
    """A part of a message, PIECE octets at a time. Where it is the whole, its digest is verified before the last piece
    is given. Raises NotFound, Unavailable."""
    [row] = await store.read(rows_of, (blob,))
    digest = hashlib.sha256() if span == (0, row[1]) else None
    for start in range(span.start, span.stop, PIECE):
        stop = min(start + PIECE, span.stop)
        octets = await asyncio.to_thread(store.blobs.octets, row, start, stop)
        if digest is not None:
            await asyncio.to_thread(digest.update, octets)
        if digest is not None and stop == span.stop and digest.digest() != row[0]:
            raise Unavailable("the octets of a message are damaged: their digest is wrong")
        yield octets


async def _decoded_pieces(store: Store, blob: BlobKey, asked: Decoded) -> AsyncIterator[bytes]:
    """The same of a decoded body. Raises NotFound, Unavailable."""
    [row] = await store.read(rows_of, (blob,))
    pieces = parts.decoded(store.blobs, row, asked.part, asked.span)
    while (octets := await asyncio.to_thread(next, pieces, None)) is not None:
        yield octets


def _a_range(item: FetchItem) -> bool:
    """Whether the item is a range of octets known without the Part tree."""
    return isinstance(item, BodySection) and not item.section.part and item.partial is not None


def _message(blob: Row) -> Message:
    return Message(blob[0], blob[1], blob[2], blob[3] if len(blob) > 3 else None, None)


async def _read(blobs: Blobs, rows: list[Row], width: int, *, whole: bool) -> AsyncIterator[tuple[Row, Message]]:
    """Rows with their messages; small messages needed whole are read together, TOGETHER octets at a time."""
    messages = [_message(row[width:]) for row in rows]
    if not whole:
        for row, message in zip(rows, messages, strict=True):
            yield row, message
        return
    start = 0
    while start < len(rows):
        stop, octets = start, 0
        while (
            stop < len(rows) and (octets := octets + messages[stop].size) <= TOGETHER and messages[stop].size <= LARGE
        ):
            stop += 1
        if stop == start:
            yield rows[start], messages[start]
            start += 1
            continue
        found = await blobs.get_many([message.blob for message in messages[start:stop]])
        for row, message, read in zip(rows[start:stop], messages[start:stop], found, strict=True):
            yield row, message._replace(octets=read)
        start = stop


async def _encoding_unknown(
    store: Store, message: Message, items: Sequence[FetchItem], answers: Sequence[Content]
) -> bool:
    """Whether a part is there that cannot be decoded: RFC 3516 §4.3 asks for a NO then."""
    for item, answer in zip(items, answers, strict=True):
        if answer is None and isinstance(item, Binary | BinarySize) and await _is_there(store, message, item.part):
            return True
    return False


async def _is_there(store: Store, message: Message, part: tuple[int, ...]) -> bool:
    return find_part(await tree_of_message(store, message), part) is not None


async def _answers(store: Store, message: Message, items: Sequence[ContentItem]) -> list[Content]:
    """The contents of the items. They hold PIECE octets; the rest is read, or cut out of the header, when sent."""
    answers: list[Content] = []
    room = PIECE
    patient = message.size > LONG or len(items) > MANY
    if patient:
        await asyncio.sleep(0)  # others have their turn
    for item in items:
        answer: Content = _held(message, item, room)
        if answer is None:
            if patient:
                await asyncio.sleep(0)
            answer = await content_of(store, message, item, room)
        room -= len(answer) if isinstance(answer, bytes) else 0
        answers.append(answer)
    return answers


def _held(message: Message, item: ContentItem, room: int) -> bytes | None:
    """The content of an item that is a range of octets in memory; None where it is something else, or larger."""
    if message.octets is None or not isinstance(item, BodySection) or item.section.part:
        return None
    if item.section.text in HEADER_TEXTS:
        return None
    start = message.header_size if item.section.text is SectionText.TEXT else 0
    span = Span(start, message.size) if item.partial is None else _cut(Span(start, message.size), item.partial)
    return message.octets[span.start : span.stop] if span.size <= room else None


def _parsed(message: Message, items: Sequence[ContentItem]) -> Message:
    """The message with its tree, made once for all items that name parts."""
    if message.octets is None or not any(not isinstance(item, BodySection) or item.section.part for item in items):
        return message
    return message._replace(tree=parse(message.octets))


async def content_of(store: Store, message: Message, item: ContentItem, room: int) -> Content:
    """The content of one item, its partial cut; octets when they are no more than `room`."""
    match item:
        case BodySection():
            return await _section(store, message, item, room)
        case Binary(part, partial):
            body = await _decoded(store, message, part, room)
            if body is None or partial is None:
                return body
            return partial.cut(body) if isinstance(body, bytes) else replace(body, span=_cut(body.span, partial))
        case BinarySize(part):
            body = await _decoded(store, message, part, room)
            if body is None:
                return None if await _is_there(store, message, part) else 0
            return len(body) if isinstance(body, bytes) else body.span.size


def _cut(span: Span, partial: Partial) -> Span:
    """RFC 9051 §6.4.5: what begins behind the end is empty."""
    start = min(span.stop, span.start + partial.offset)
    return Span(start, min(span.stop, start + partial.length))


async def _section(store: Store, message: Message, item: BodySection, room: int) -> bytes | Span | Selected | None:
    blobs = store.blobs
    section, partial = item.section, item.partial
    if message.header is not None and of_own_header(item):
        octets = _selected(message.header, item)
        return octets if len(octets) <= room else Selected(item, len(octets))
    if not section.part:
        start = message.header_size if section.text is SectionText.TEXT else 0
        stop = message.header_size if section.text in HEADER_TEXTS else message.size
    else:
        span = structure.span(await tree_of_message(store, message), message.size, section)
        if span is None:
            return None
        start, stop = span.start, span.stop
    if section.text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        octets = _of_header(await _octets(blobs, message, start, stop), section)
        return octets if partial is None else partial.cut(octets)
    if partial is not None:
        start, stop = _cut(Span(start, stop), partial)
    if stop - start > room:
        return Span(start, stop)
    return await _octets(blobs, message, start, stop)


def _selected(header: bytes, item: BodySection) -> bytes:
    octets = _of_header(header, item.section)
    return octets if item.partial is None else item.partial.cut(octets)


def _of_header(block: bytes, section: Section) -> bytes:
    if section.text is SectionText.HEADER:
        return block
    names = frozenset(name.lower() for name in section.fields)
    return select_fields(block, names, matching=section.text is SectionText.HEADER_FIELDS)


async def _octets(blobs: Blobs, message: Message, start: int, stop: int) -> bytes:
    if message.octets is not None:
        whole = start == 0 and stop == len(message.octets)
        return message.octets if whole else message.octets[start:stop]
    if start >= stop:
        return b""
    if start == 0 and stop == message.size:
        return await blobs.get(message.blob)  # whole, so its digest is verified
    return await blobs.get(message.blob, start, stop)


async def _decoded(store: Store, message: Message, part: tuple[int, ...], room: int) -> bytes | Decoded | None:
    """BINARY[part] (RFC 9051 §6.4.5); octets of small messages as long as they have room. None where there is no such
    part, as RFC 9051 §4.5 has NIL for what does not exist, and where it cannot be decoded."""
    tree = await tree_of_message(store, message)
    # BINARY[] is the message as it stands.
    found = tree._replace(body=Span(0, message.size), fields={}) if not part else find_part(tree, part)
    if found is None:
        return None
    if message.octets is not None:
        octets = content.decoded(message.octets, found)
        if octets is None or len(octets) <= room:
            return octets
    found = found._replace(children=(), message=None)  # not the whole tree as long as the client reads
    measured = await parts.measure(store, message.blob, found)
    return measured and Decoded(found, Span(0, measured.size), measured.nul)


async def tree_of_message(store: Store, message: Message) -> Part:
    """The Part tree of a message, remembered where it is large. Raises NotFound, Unavailable."""
    if message.tree is not None:
        return message.tree
    return await parts.tree_of(store, message.blob) if message.octets is None else parse(message.octets)
