"""SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 4731, RFC 5182): which messages of the View match.

Keys are decided in stages, cheap columns first (criteria.py). Texts are compared in a thread, so that others are served
meanwhile; what is held in memory at once is bounded. Messages that are gone but not told of yet do not match.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from posthouse.serve.imap.criteria import Facts, Stage, Test, stages, test
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import View, join
from posthouse.store import emails
from posthouse.store.emails import Column
from posthouse.store.mailboxes import Box
from posthouse.store.script import Row
from posthouse.store.store import Store
from posthouse.wire.imap import code
from posthouse.wire.imap.number_set import NumberSet, runs
from posthouse.wire.imap.response import ExtendedSearchResult, SearchResult, StatusResponse, ok
from posthouse.wire.imap.search import Numbers, Search, SearchKey, SearchReturn

ROWS = 5_000  # wide rows asked for at once: size and date
HEADERS = 250  # header blocks held at once: 1 MiB each at most, 4 KiB usually
MESSAGES = 50  # messages held at once, and
OCTETS = 4 * 1024 * 1024  # octets of them, unless one alone is larger


async def search(session: Session, command: Search) -> StatusResponse:
    """RFC 9051 §6.4.4."""
    view = await session.load()
    found = await matching(session, command.key)
    numbers = found if command.uid else [number for uid in found if (number := view.number(uid)) is not None]
    returns = command.returns
    if returns is not None and SearchReturn.SAVE in returns:
        session.selected.saved = tuple(runs(_kept(found, returns)))
    if returns is None and not session.rev2:
        session.say(SearchResult(numbers))
    elif returns is None or returns != {SearchReturn.SAVE}:
        session.say(_extended(command, numbers))
    if view.held:
        return ok(command.tag, "SEARCH completed; some messages were expunged meanwhile.", code.EXPUNGEISSUED)
    return ok(command.tag, "SEARCH completed.")


def _kept(found: Sequence[int], returns: frozenset[SearchReturn]) -> Sequence[int]:
    """What SAVE keeps: all that was found, unless only MIN or MAX were asked for (RFC 9051 §6.4.4.1)."""
    ends = returns & {SearchReturn.MIN, SearchReturn.MAX}
    if not ends or returns & {SearchReturn.ALL, SearchReturn.COUNT} or not found:
        return found
    kept = {found[0]} if SearchReturn.MIN in ends else set()
    if SearchReturn.MAX in ends:
        kept.add(found[-1])
    return sorted(kept)


def _extended(command: Search, numbers: Sequence[int]) -> ExtendedSearchResult:
    """ESEARCH (RFC 9051 §7.3.4). Without RETURN an IMAP4rev2 client gets ALL."""
    returns = frozenset({SearchReturn.ALL}) if command.returns is None else command.returns
    return ExtendedSearchResult(
        command.tag,
        command.uid,
        numbers[0] if numbers and SearchReturn.MIN in returns else None,
        numbers[-1] if numbers and SearchReturn.MAX in returns else None,
        numbers if SearchReturn.ALL in returns else None,
        len(numbers) if SearchReturn.COUNT in returns else None,
    )


# --- deciding


async def matching(session: Session, key: SearchKey) -> list[int]:
    """The uids that match, ascending."""
    view = await session.load()
    decide = test(key, lambda numbers: _members(session, view, numbers))
    undecided = [Facts(uid) for uid in view.column if uid not in view.held]
    found: list[int] = []
    for stage in sorted(stages(key) | {Stage.NUMBERS}):
        remaining: list[Facts] = []
        async for facts in _read(session.store, session.selected.box, stage, undecided):
            # The dear stages compare texts, and the first ones are many: neither may keep the loop.
            answers = await asyncio.to_thread(_decide, decide, facts)
            found += [fact.uid for fact, answer in zip(facts, answers, strict=True) if answer]
            remaining += [_slim(fact) for fact, answer in zip(facts, answers, strict=True) if answer is None]
        undecided = remaining
        if not undecided:
            break
    return sorted(found)


def _decide(decide: Test, facts: Sequence[Facts]) -> list[bool | None]:
    return [decide(fact) for fact in facts]


def _slim(facts: Facts) -> Facts:
    """Without the header, which need not wait in memory for the next stage; it is read again with the message."""
    return facts if facts.header is None else facts._replace(header=None)


def _members(session: Session, view: View, key: Numbers) -> Callable[[int], bool]:
    """Whether a uid is in a set. Numbers beyond the last message match nothing: in SEARCH they are no error."""
    numbers: NumberSet = key.numbers
    if key.uid:
        ranges = view.by_uid(numbers.resolve(view.last_uid))
    else:
        spans = numbers.resolve(view.total)
        ranges = join((first - 1, min(last, view.total)) for first, last in spans if 1 <= first <= view.total)
    if numbers.saved:
        ranges = join((*ranges, *view.by_uid(session.selected.saved)))
    inside = view.uid_spans(ranges)
    starts = [first for first, _ in inside]

    def member(uid: int) -> bool:
        place = bisect_right(starts, uid) - 1
        return place >= 0 and uid <= inside[place][1]

    return member


async def _read(store: Store, box: Box, stage: Stage, facts: list[Facts]) -> AsyncIterator[list[Facts]]:
    """The facts, with what this stage adds, in pieces; messages that have gone are left out."""
    match stage:
        case Stage.NUMBERS:
            yield facts
        case Stage.FLAGS:
            rows = await store.read(emails.flags, box, runs([fact.uid for fact in facts]))
            known: dict[int, Row] = {row[0]: row for row in rows}
            yield [f._replace(flags=known[f.uid][1], keywords=known[f.uid][2]) for f in facts if f.uid in known]
        case Stage.ROW:
            for piece in _pieces(facts, ROWS):
                read = await _columns(store, box, piece, [Column.RECEIVED, Column.SIZE])
                yield [f._replace(received=read[f.uid][1], size=read[f.uid][2]) for f in piece if f.uid in read]
        case Stage.HEADER:
            for piece in _pieces(facts, HEADERS):
                read = await _columns(store, box, piece, [Column.HEADER])
                yield [f._replace(header=read[f.uid][1]) for f in piece if f.uid in read]
        case Stage.OCTETS:
            for piece in _pieces(facts, MESSAGES):
                async for some in _messages(store, box, piece):
                    yield some


async def _columns(store: Store, box: Box, facts: Sequence[Facts], columns: list[Column]) -> dict[int, Row]:
    spans = runs([fact.uid for fact in facts])
    rows = await store.read(emails.fetch, box, spans, columns, len(facts))
    return {row[0]: row for row in rows}


async def _messages(store: Store, box: Box, facts: Sequence[Facts]) -> AsyncIterator[list[Facts]]:
    """With header and octets; at most OCTETS of them at once."""
    read = await _columns(store, box, facts, [Column.BLOB, Column.SIZE, Column.HEADER])
    together: list[Facts] = []
    octets = 0
    for fact in facts:
        if fact.uid not in read:
            continue
        if together and octets + read[fact.uid][2] > OCTETS:
            yield await _with_octets(store, together, read)
            together, octets = [], 0
        together.append(fact)
        octets += read[fact.uid][2]
    if together:
        yield await _with_octets(store, together, read)


async def _with_octets(store: Store, facts: Sequence[Facts], read: dict[int, Row]) -> list[Facts]:
    blobs = await store.blobs.get_many([read[fact.uid][1] for fact in facts])
    return [f._replace(header=read[f.uid][3], octets=whole) for f, whole in zip(facts, blobs, strict=True)]


def _pieces(facts: list[Facts], size: int) -> Iterator[list[Facts]]:
    for start in range(0, len(facts), size):
        yield facts[start : start + size]
