"""Which of a few messages match a search program, by their rows and not by the mailbox (RFC 5267 §4.3, appendix B).

The flags are those that the client is told of; what never changes is read only where a program asks for it, and texts
only where nothing else decides: by the search index where they are many, in a thread otherwise (question.py).
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple, TypeVar

from posthouse.mail.ids import Millis
from posthouse.serve.imap.context import TEXTS, resolved
from posthouse.serve.imap.criteria import Facts, decider
from posthouse.serve.imap.indexed import decide, look
from posthouse.serve.imap.question import among, instants
from posthouse.serve.imap.view import FlagRow
from posthouse.store import emails
from posthouse.store.emails import Column
from posthouse.store.mailboxes import Box
from posthouse.store.store import Store
from posthouse.wire.imap.condstore import Modified
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.search import (
    All,
    HasFlags,
    HasKeyword,
    Larger,
    Nothing,
    Numbers,
    OfEmail,
    OfThread,
    Older,
    Received,
    Saved,
    SearchKey,
    Smaller,
    Younger,
    leaves,
)

PIECE = 500  # rows read at once
ON_LOOP = 10_000  # keys times messages that are looked at without a thread: some 5 ms

Result = TypeVar("Result")

_NARROW = (All, Nothing, HasFlags, HasKeyword, Numbers, Modified, *TEXTS)
_WIDE = [Column.SIZE, Column.RECEIVED, Column.SAVED, Column.EMAIL, Column.THREAD]


class Moment(NamedTuple):
    """What some keys depend on besides the message: the time, and what `*` means."""

    now: Millis
    last: int


class Message(NamedTuple):
    """The columns that keys without text look at."""

    uid: int
    flags: int
    keywords: str
    modseq: int
    size: int = 0
    received: int = 0
    saved: int = 0
    email: int = 0
    thread: int = 0


async def aside(size: int, work: Callable[[], Result]) -> Result:
    """What is large is done in a thread."""
    return work() if size <= ON_LOOP else await asyncio.to_thread(work)


async def messages(
    store: Store, box: Box, rows: Mapping[int, FlagRow | None], keys: Iterable[SearchKey]
) -> list[Message]:
    """The messages as these programs must see them, ascending. Of those whose row is None it is read; those that are
    gone are left out. Raises StoreError."""
    known = {uid: row for uid, row in rows.items() if row is not None}
    unknown = sorted(rows.keys() - known.keys())
    if unknown:
        known |= {row[0]: row for row in await store.read(emails.flags, box, runs(unknown))}
    if all(isinstance(leaf, _NARROW) for key in keys for leaf in leaves(key)):
        return await aside(len(known), lambda: [Message(*known[uid]) for uid in sorted(known)])
    uids = sorted(known)
    found = []
    for start in range(0, len(uids), PIECE):
        some = uids[start : start + PIECE]
        read = await store.read(emails.fetch, box, runs(some), _WIDE, len(some))
        found += [Message(*known[row[0]], *row[1:]) for row in read]
    return found


async def matches(store: Store, box: Box, key: SearchKey, some: Sequence[Message], at: Moment) -> Set[int]:
    """The uids of those that match. Raises StoreError."""
    plain = [leaf for leaf in dict.fromkeys(leaves(key)) if not isinstance(leaf, TEXTS)]

    def by_rows() -> tuple[dict[SearchKey, Set[int]], list[int], list[int]]:
        answered: dict[SearchKey, Set[int]] = {}
        for leaf in plain:
            test = _true_of(leaf, at)
            answered[leaf] = frozenset(message.uid for message in some if test(message))
        decision = decider(key, answered)
        known = [(message.uid, decision(Facts(message.uid))) for message in some]
        return answered, [uid for uid, yes in known if yes], [uid for uid, yes in known if yes is None]

    answered, matched, undecided = await aside((len(plain) + 1) * len(some), by_rows)
    found = frozenset(matched)
    if not undecided:
        return found
    unread = frozenset(undecided)
    known = await look(store, box, key, unread)
    if known is not None:
        sure, unread = unread - known.unsure, unread & known.unsure
        found |= decide(key, {**answered, **known.answered}, sure)
    return found | await among(store, box, decider(key, answered), sorted(unread)) if unread else found


def _true_of(key: SearchKey, at: Moment) -> Callable[[Message], bool]:
    """The key as a function over the row of a message, as store/search.py finds it in a mailbox."""
    match key:
        case HasFlags(bits):
            return lambda message: message.flags & bits == bits
        case HasKeyword(keyword):
            word = keyword.lower()
            return lambda message: word in message.keywords.split(" ")
        case Modified(modseq):
            return lambda message: message.modseq >= modseq
        case All() | Nothing():
            return lambda _: isinstance(key, All)
        case _:
            return _by_what_stays(key, at)


def _by_what_stays(key: SearchKey, at: Moment) -> Callable[[Message], bool]:
    """The same of what a message always has."""
    match key:
        case Numbers():
            return _member(resolved(key.numbers, at.last))
        case Larger(octets):
            return lambda message: message.size > octets
        case Smaller(octets):
            return lambda message: message.size < octets
        case OfEmail(number):
            return lambda message: message.email == number
        case OfThread(number):
            return lambda message: message.thread == number
        case Received() | Younger() | Older():
            span = instants(key, at.now)
            return lambda message: span.least <= message.received <= span.most
        case Saved():
            kept = instants(key, at.now)
            return lambda message: kept.least <= message.saved <= kept.most
    raise TypeError(f"nobody looks at this key: {key!r}")


def _member(spans: Sequence[tuple[int, int]]) -> Callable[[Message], bool]:
    starts = [first for first, _ in spans]

    def inside(message: Message) -> bool:
        place = bisect_right(starts, message.uid) - 1
        return place >= 0 and message.uid <= spans[place][1]

    return inside
