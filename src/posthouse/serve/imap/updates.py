"""Updates: the contexts of one selected mailbox, and what must be told of them (RFC 5267 §4.3).

Only messages that changed are looked at, however large the mailbox is. Removals of expunged messages are told before
their numbers go, everything else after the EXISTS and FETCH responses that are its cause (RFC 5267 §4.3.3, §4.3.4,
RFC 5465 §5.1). Ages are looked at once in AGED, as RFC 5032 §2 allows.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from posthouse.serve.imap.context import Context, merged, places_of, without
from posthouse.serve.imap.order import ordered, terms
from posthouse.serve.imap.recheck import Message, Moment, aside, matches, messages
from posthouse.serve.imap.view import FlagRow, View
from posthouse.store import search as rows
from posthouse.store import sorting
from posthouse.store.mailboxes import Box
from posthouse.store.search import Range
from posthouse.transport.house import House
from posthouse.wire.imap.context import Edits
from posthouse.wire.imap.fetch import FetchItem
from posthouse.wire.imap.response import ResultChange

RESULTS = 500_000  # kept by the contexts of a session, when one more begins: four octets each, eight for SORT
PROGRAMS = 10_000  # keys, ranges and characters of all their programs: each is asked for every message that changes
AGED = 60_000  # milliseconds between two looks at OLDER and YOUNGER
HALVED = 500  # messages that each look up some 17 others for their place; for more the mailbox is sorted as a whole
EDITS = 1_000  # positions in one response

TOO_MANY = "So many searches are kept up to date already; end one with CANCELUPDATE."
TOO_LARGE = "This search program is too large to be kept up to date beside the others."
TOO_LONG = "The results of this search are too many to be kept up to date beside the others."

Show = Callable[[Sequence[int], tuple[FetchItem, ...]], Awaitable[None]]


class Found(NamedTuple):
    """What became of one context: what to say, and how many numbers that names."""

    responses: list[ResultChange]
    size: int


class Updates:
    """The contexts by tag, and the messages that changed since they were last brought up to date."""

    __slots__ = ("_box", "_changed", "_contexts", "_house", "_new", "_show")

    def __init__(self, house: House, box: Box, show: Show) -> None:
        self._house = house
        self._box = box
        self._show = show
        self._contexts: dict[bytes, Context] = {}
        self._changed: dict[int, FlagRow] = {}
        self._new: set[int] = set()

    def __contains__(self, tag: bytes) -> bool:
        return tag in self._contexts

    def __bool__(self) -> bool:
        return bool(self._contexts)

    def no_room(self, weight: int, results: int, most: int) -> str:
        """Why there cannot be one context more, "" where there can. A first one may have any results
        (RFC 5267 §4.3.1)."""
        contexts = self._contexts.values()
        if len(contexts) >= most:
            return TOO_MANY
        if sum(context.weight for context in contexts) + weight > PROGRAMS:
            return TOO_LARGE
        if contexts and sum(len(context.members) for context in contexts) + results > RESULTS:
            return TOO_LONG
        return ""

    def begin(self, context: Context) -> None:
        """Keep it up to date from now on."""
        self._contexts[context.wanted.tag] = context

    def end(self, tag: bytes) -> bool:
        """No further updates; whether there was such a context."""
        found = self._contexts.pop(tag, None) is not None
        if not self._contexts:
            self._changed.clear()
            self._new.clear()
        return found

    def numbered(self) -> list[bytes]:
        """The tags of those that are told by message sequence numbers."""
        return [tag for tag, context in self._contexts.items() if not context.wanted.uid]

    # --- what happened

    def note(self, changed: Iterable[FlagRow], arrived: Iterable[FlagRow] = ()) -> None:
        """The client is being told of these rows; `tell` says what they mean for the contexts."""
        if self._contexts:
            new = {int(row[0]): row for row in arrived}
            self._changed |= {int(row[0]): row for row in changed} | new
            self._new |= new.keys()

    def vanished(self, view: View, uids: Sequence[int]) -> Iterator[Found]:
        """These are gone; their numbers are still those of the view."""
        for uid in uids:
            self._changed.pop(uid, None)
            self._new.discard(uid)
        for context in self._contexts.values():
            yield Found(list(worded(context, view, context.remove(uids), ())), len(uids))

    async def changes(self, view: View) -> AsyncIterator[Found]:
        """What the messages noted, the last message and the time mean for each context in turn; a context that was
        given is up to date. Raises StoreError: what is left is found the next time."""
        at = Moment(self._house.clock(), view.last_uid)
        asked: dict[int, FlagRow | None] = dict.fromkeys(await self._others(at))
        asked |= self._changed

        def told() -> dict[int, FlagRow | None]:
            return {uid: row for uid, row in asked.items() if uid not in view.held and view.number(uid) is not None}

        counted = await aside(len(asked), told)
        if counted:
            programs = [context.wanted.key for context in self._contexts.values()]
            some = await messages(self._house.store, self._box, counted, programs)
            shown: dict[int, frozenset[FetchItem]] = {}
            for context in self._contexts.values():
                yield await self._one(context, some, at, (view, shown))
        for context in self._contexts.values():
            context.last = at.last
            context.checked = at.now if self._due(context, at) else context.checked
        self._changed.clear()
        self._new.clear()

    def _due(self, context: Context, at: Moment) -> bool:
        return bool(context.ages) and at.now - context.checked >= AGED

    async def _others(self, at: Moment) -> set[int]:
        """Messages that did not change, and yet may match now or match no more: those that have come to an age, and
        the last ones, which are what `*` means."""
        found: set[int] = set()
        spans = set()
        for context in self._contexts.values():
            if context.star and context.last != at.last:
                found |= {context.last, at.last}
            if self._due(context, at):
                spans |= {(context.checked // 1000 - age, at.now // 1000 - age) for age in context.ages}
        for first, last in sorted(spans):
            span = Range(first * 1000, last * 1000 + 999)
            found.update(await self._house.store.read(rows.by_received, self._box, span))
        return found

    async def _one(
        self, context: Context, some: Sequence[Message], at: Moment, told: tuple[View, dict[int, frozenset[FetchItem]]]
    ) -> Found:
        view, shown = told
        matched = await matches(self._house.store, self._box, context.wanted.key, some, at)

        def compare() -> tuple[list[int], list[int]]:
            gone = [message.uid for message in some if message.uid not in matched and message.uid in context]
            return gone, [uid for uid in sorted(matched) if uid not in context]

        gone, new = await aside(len(some), compare)
        items = frozenset(context.wanted.items)
        fresh = [uid for uid in new if uid in self._new and not items <= shown.get(uid, frozenset())]
        if fresh:
            await self._show(fresh, context.wanted.items)  # before the ADDTO (RFC 5465 §7)
            shown |= {uid: items | shown.get(uid, frozenset()) for uid in fresh}
        removed, added = await self._edit(context, gone, new)
        size = len(gone) + len(new)
        return Found(await aside(size, lambda: list(worded(context, view, removed, added))), size)

    async def _edit(self, context: Context, gone: Sequence[int], new: Sequence[int]) -> tuple[Edits, Edits]:
        """Take out and put in. Nothing is altered before all that must be read was read."""
        criteria = context.wanted.criteria
        size = len(gone) + len(new)
        if criteria is None or context.order is None or not new:
            return await aside(size, lambda: (context.remove(gone), context.add([(0, uid) for uid in new])))
        store = self._house.store
        if len(new) <= HALVED:
            order = without(context.order, places_of(context.order, gone))
            placed = await store.read(sorting.places_in_order, self._box, order, new, terms(criteria))
            return await aside(size, lambda: (context.remove(gone), context.add(placed)))
        wanted = (frozenset(context.members) - frozenset(gone)) | frozenset(new)
        whole = await ordered(store, self._box, wanted, criteria)
        return await asyncio.to_thread(rearranged, context, whole, frozenset(new))


def rearranged(context: Context, whole: Sequence[int], new: Set[int]) -> tuple[Edits, Edits]:
    """Make this the order of a context: what is not in it goes, the new come to their places."""
    present = frozenset(whole)
    removed = context.remove([uid for uid in context.members if uid not in present])
    placed = merged(context.order or (), whole, new)
    if placed is None:  # keys have changed, which they never do: begin anew
        removed = (*removed, *context.remove(context.members))
        placed = [(0, uid) for uid in whole]
    return removed, context.add(placed)


def worded(context: Context, view: View, removed: Edits, added: Edits) -> Iterator[ResultChange]:
    """The responses, in UIDs or message numbers as the command was (RFC 5267 §4.3.2)."""
    wanted = context.wanted
    if not wanted.uid:
        removed, added = numbers(view, removed), numbers(view, added)
    if not removed and not added:
        return
    if len(removed) + len(added) <= EDITS:
        yield ResultChange(wanted.tag, wanted.uid, removed, added, wanted.mailbox)
        return
    for start in range(0, len(removed), EDITS):
        yield ResultChange(wanted.tag, wanted.uid, removed[start : start + EDITS], (), wanted.mailbox)
    for start in range(0, len(added), EDITS):
        yield ResultChange(wanted.tag, wanted.uid, (), added[start : start + EDITS], wanted.mailbox)


def numbers(view: View, edits: Edits) -> Edits:
    """The same by message sequence numbers."""
    return [(position, [view.number(uid) or 0 for uid in uids]) for position, uids in edits]
