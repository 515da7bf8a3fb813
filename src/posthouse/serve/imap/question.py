"""What a search asks of a mailbox, and which messages match (RFC 9051 §6.4.4).

Flags, numbers, sizes and dates are answered by the store as sets of uids. Texts are looked for only in the messages
that are left, headers before bodies (criteria.py), in a thread, so that others are served meanwhile; what is held in
memory at once is bounded.
"""

import asyncio
from collections.abc import Iterator, Sequence, Set
from datetime import date
from itertools import chain
from weakref import WeakKeyDictionary

from posthouse.mail.ids import Millis
from posthouse.mail.text import DAY
from posthouse.serve.imap.criteria import EPOCH, Facts, Test, decider
from posthouse.serve.imap.indexed import decide, look
from posthouse.serve.imap.spread import spread
from posthouse.serve.imap.uids import Uids
from posthouse.serve.imap.view import View, join
from posthouse.store import emails, mailboxes
from posthouse.store import search as rows
from posthouse.store.blobs import INLINE_SIZE, Blobs, rows_of
from posthouse.store.changed import uids_changed
from posthouse.store.emails import Column, Spans
from posthouse.store.mailboxes import Box
from posthouse.store.script import Row, Script
from posthouse.store.search import Flagged, Range
from posthouse.store.store import Store
from posthouse.transport.house import House
from posthouse.wire.imap.condstore import Modified
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.search import (
    And,
    BodyContains,
    Comparison,
    Fuzzy,
    HasFlags,
    HasKeyword,
    HeaderContains,
    Larger,
    Not,
    Nothing,
    Numbers,
    OfEmail,
    OfThread,
    Older,
    Or,
    Received,
    Saved,
    SearchKey,
    Sent,
    Smaller,
    TextContains,
    Younger,
)

HEADERS = 250  # header blocks held at once: 1 MiB each at most, 4 KiB usually
MESSAGES = 50  # messages held at once, and
OCTETS = 4 * 1024 * 1024  # octets of them; a large one comes alone,
LARGE_AT_ONCE = 1  # and so many of those at once in a worker: some 10 MiB, with what is made of a piece of text


_gates: "WeakKeyDictionary[Blobs, asyncio.Semaphore]" = WeakKeyDictionary()


class Question:
    """A mailbox that is searched, selected or not: its messages as `view` counts them, the spans that `$` stands for,
    and for each key the store can answer, the uids for which it is true.

    With `among` only these uids are looked at, whatever the mailbox holds: for messages that are new or changed.
    """

    def __init__(self, house: House, box: Box, view: View, saved: Spans = (), among: Set[int] | None = None) -> None:
        self.store = house.store
        self.now = house.clock()
        self.box = box
        self.view = view
        self.saved = saved
        uids = Uids(view.column) if among is None else among & Uids(view.column)
        self.everything: Set[int] = uids - view.held
        self.answered: dict[SearchKey, Set[int]] = {}
        self.marks: dict[SearchKey, dict[int, int]] = {}  # of texts of FUZZY, by uid; of those that the index knows
        self.unmarked: Set[int] = frozenset()  # the others

    async def answer(self, key: SearchKey) -> Set[int] | None:
        """The uids; None where a text must be looked for. Parts without text are answered all the same."""
        if key in self.answered:
            return self.answered[key]
        match key:
            case Not(inner):
                uids = await self.answer(inner)
                found = None if uids is None else self.everything - uids
            case Or(first, second):
                one, two = await self.answer(first), await self.answer(second)
                found = None if one is None or two is None else one | two
            case And(several):
                found = await self._all(several)
            case Fuzzy() | HeaderContains() | Sent() | BodyContains() | TextContains():
                return None
            case _:
                found = await self._ask(key) & self.everything
        if found is not None:
            self.answered[key] = found
        return found

    async def _all(self, several: Sequence[SearchKey]) -> Set[int] | None:
        found: Set[int] | None = self.everything
        for one in several:
            uids = await self.answer(one)
            found = None if found is None or uids is None else found & uids
        return found

    async def _ask(self, key: SearchKey) -> Set[int]:
        read, box = self.store.read, self.box
        match key:
            case Nothing():
                return frozenset()
            case HasFlags(bits):
                return frozenset(await read(rows.by_flags, box, Flagged(bits, 0)))
            case HasKeyword(keyword):
                return frozenset(await read(rows.by_keyword, box, keyword))
            case Larger(octets):
                return frozenset(await read(rows.by_size, box, Range(min(octets + 1, rows.LARGEST))))
            case Smaller(octets):
                return frozenset(await read(rows.by_size, box, Range(0, octets - 1)))
            case Received() | Saved() | Younger() | Older():
                by_date = rows.by_saved if isinstance(key, Saved) else rows.by_received
                return frozenset(await read(by_date, box, instants(key, self.now)))
            case OfEmail(number) | OfThread(number):
                by_id = rows.by_email if isinstance(key, OfEmail) else rows.by_thread
                return frozenset(await read(by_id, box, number or 0))
            case Numbers():
                return self._members(key)
            case Modified(modseq):
                return frozenset(await read(uids_changed, box, modseq - 1))
            case _:
                return self.everything

    def _members(self, key: Numbers) -> Set[int]:
        """The uids of a set. Numbers beyond the last message match nothing: in SEARCH they are no error."""
        view, numbers = self.view, key.numbers
        if key.uid:
            ranges = view.by_uid(numbers.resolve(view.last_uid))
        else:
            spans = numbers.resolve(view.total)
            ranges = join((first - 1, min(last, view.total)) for first, last in spans if 1 <= first <= view.total)
        if numbers.saved:
            ranges = join((*ranges, *view.by_uid(self.saved)))
        if ranges == ((0, len(view.column)),):
            return self.everything
        return frozenset(chain.from_iterable(view.column[start:stop] for start, stop in ranges))


async def unselected(house: House, box: Box) -> Question:
    """The question about a mailbox as it stands now, which nobody needs to have selected. Raises NotFound."""
    return Question(house, box, await house.store.read(_present, box))


def _present(box: Box) -> Script[View]:
    row = yield from mailboxes.get(box)
    view = View(row.total, row.uidnext, row.modseq)
    view.uids = yield from emails.uids(box)
    return view


async def matching(question: Question, key: SearchKey) -> Set[int]:
    """The uids that match. Raises StoreError."""
    key = spread(key)
    conjuncts = key.keys if isinstance(key, And) else (key,)
    found = question.everything
    texts = []
    for one in conjuncts:
        uids = await question.answer(one)
        if uids is None:
            texts.append(one)
        else:
            found = found & uids
    if not texts or not found:
        return found
    rest = And(tuple(texts))
    unread: Set[int] = found
    matched: Set[int] = frozenset()
    known = await look(question.store, question.box, rest, found)
    if known is not None:
        unread = found & known.unsure
        question.marks = known.marks
        matched = decide(rest, {**question.answered, **known.answered}, found - unread if unread else found)
    question.unmarked = unread
    if not unread:
        return matched
    test = await asyncio.to_thread(decider, rest, question.answered)
    return matched | await among(question.store, question.box, test, sorted(unread))


def instants(key: Received | Saved | Younger | Older, now: Millis) -> Range:
    match key:
        case Younger(seconds):  # to the second, as RFC 5032 §2 asks
            return Range((now // 1000 - seconds) * 1000)
        case Older(seconds):
            return Range(-rows.LARGEST, (now // 1000 - seconds) * 1000 + 999)
        case _:
            return _millis(key.comparison, key.day)


def _millis(comparison: Comparison, day: date) -> Range:
    """The instants of a day, of those before it, or of it and those after it, as INTERNALDATE is printed: in UTC."""
    start = (day.toordinal() - EPOCH) * DAY
    match comparison:
        case Comparison.BEFORE:
            return Range(-rows.LARGEST, start - 1)  # an APPEND may date a message before 1970
        case Comparison.ON:
            return Range(start, start + DAY - 1)
        case Comparison.SINCE:
            return Range(start, rows.LARGEST)


# --- texts


async def among(store: Store, box: Box, decide: Test, uids: Sequence[int]) -> Set[int]:
    """Those of the uids whose texts match: headers first, the message where they do not decide."""
    found: set[int] = set()
    undecided: list[int] = []
    for some in _pieces(uids, HEADERS):
        read = await store.read(emails.fetch, box, runs(some), [Column.HEADER], len(some))
        facts = [Facts(uid, header) for uid, header in read]
        answers = await asyncio.to_thread(_decide, decide, facts)
        found.update(fact.uid for fact, answer in zip(facts, answers, strict=True) if answer)
        undecided += [fact.uid for fact, answer in zip(facts, answers, strict=True) if answer is None]
    for some in _pieces(undecided, MESSAGES):
        columns = [Column.HEADER, Column.BLOB, Column.SIZE]
        read = await store.read(emails.fetch, box, runs(some), columns, len(some))
        for together in _bounded(read):
            if together[0][3] > INLINE_SIZE:
                found.update(await _large(store, decide, together[0]))
                continue
            blobs = await store.blobs.get_many([row[2] for row in together])
            facts = [Facts(row[0], row[1], octets) for row, octets in zip(together, blobs, strict=True)]
            answers = await asyncio.to_thread(_decide, decide, facts)
            found.update(fact.uid for fact, answer in zip(facts, answers, strict=True) if answer)
    return found


async def _large(store: Store, decide: Test, row: Row) -> Set[int]:
    """The uid of a large message, if it matches. It lies in a file, and only a piece of its text is in memory; others
    wait for their turn."""
    async with _gates.setdefault(store.blobs, asyncio.Semaphore(LARGE_AT_ONCE)):
        [kept] = await store.read(rows_of, (row[2],))
        matches = await asyncio.to_thread(_decide_large, store.blobs, decide, row, kept)
    return {row[0]} if matches else frozenset()


def _decide_large(blobs: Blobs, decide: Test, row: Row, kept: Row) -> bool | None:
    with blobs.mapped(kept) as octets:
        return decide(Facts(row[0], row[1], octets))


def _decide(decide: Test, facts: Sequence[Facts]) -> list[bool | None]:
    return [decide(fact) for fact in facts]


def _pieces(uids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), size):
        yield uids[start : start + size]


def _bounded(read: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows whose messages have at most OCTETS together; a large one comes alone."""
    together: list[Row] = []
    octets = 0
    for row in read:
        if together and (octets + row[3] > OCTETS or row[3] > INLINE_SIZE or together[-1][3] > INLINE_SIZE):
            yield together
            together, octets = [], 0
        together.append(row)
        octets += row[3]
    if together:
        yield together
