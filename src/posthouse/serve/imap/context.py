"""Context: the results of one searching command that are kept up to date (RFC 5267 §4.3).

It holds uids as its client knows them, in the order of the command, and says what is added or removed and at which
position. Which messages match is found by recheck.py; when it is told is the session's matter (contexts.py).
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import groupby
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.serve.imap.view import View
from posthouse.wire.imap.condstore import Modified
from posthouse.wire.imap.context import Edits
from posthouse.wire.imap.fetch import FetchItem
from posthouse.wire.imap.number_set import NumberSet, merge
from posthouse.wire.imap.search import (
    All,
    And,
    BodyContains,
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
    leaves,
)
from posthouse.wire.imap.sort import SortCriterion

LOOKED_UP = 20  # uids found one by one in the order of a context; for more it is walked once

TEXTS = (HeaderContains, Sent, BodyContains, TextContains)
AGES = (Younger, Older)
#: Keys whose truth changes only with the message, with time, or with the last uid: others cannot be kept up to date.
KEPT = (
    *(All, Nothing, HasFlags, HasKeyword, Numbers, Received, Saved, OfEmail, OfThread, Larger, Smaller, Modified),
    *AGES,
    *TEXTS,
)


class Wanted(NamedTuple):
    """What a searching command asked to be kept up to date. `criteria`: of SORT; `mailbox`: as ESEARCH names it
    (RFC 7377 §2.1); `items`: shown of new messages (RFC 5465 §7); `since`: when the search began."""

    tag: bytes
    key: SearchKey
    uid: bool
    since: Millis
    criteria: tuple[SortCriterion, ...] | None = None
    items: tuple[FetchItem, ...] = ()
    mailbox: tuple[str, int] | None = None


class Context:
    """The results: `members` ascending, and in `order` where it is another. `checked`: up to when ages were looked at;
    `last`: what `*` meant."""

    __slots__ = ("ages", "checked", "last", "members", "order", "star", "wanted", "weight")

    def __init__(self, wanted: Wanted, found: Sequence[int], last: int) -> None:
        self.wanted = wanted
        self.members = array("I", found if wanted.criteria is None else sorted(found))
        self.order = None if wanted.criteria is None else array("I", found)
        keys = list(leaves(wanted.key))
        self.ages = frozenset(key.seconds for key in keys if isinstance(key, Younger | Older))
        self.star = any(isinstance(key, Numbers) and key.numbers.star for key in keys)
        self.weight = weight(wanted.key)
        self.checked = wanted.since
        self.last = last

    def __contains__(self, uid: int) -> bool:
        place = bisect_left(self.members, uid)
        return place < len(self.members) and self.members[place] == uid

    def remove(self, uids: Iterable[int]) -> Edits:
        """Take these out where they are in; what the client must be told. Of a SEARCH the position is 0
        (RFC 5267 §4.3.4); of a SORT the last go first, so each position is right as it stands."""
        gone = [uid for uid in sorted(set(uids)) if uid in self]
        if not gone:
            return ()
        self.members = without(self.members, [bisect_left(self.members, uid) for uid in gone])
        if self.order is None:
            return ((0, gone),)
        places = places_of(self.order, gone)
        edits = [(first + 1, self.order[first : last + 1]) for first, last in reversed(list(neighbours(places)))]
        self.order = without(self.order, places)
        return edits

    def add(self, placed: Sequence[tuple[int, int]]) -> Edits:
        """Put in (place in the order as it is, uid), by place and among those of one place in their order; what the
        client must be told. Of a SEARCH the places do not matter (RFC 5267 §4.3.3)."""
        new = sorted(uid for _, uid in placed)
        if not new:
            return ()
        joined = self.members + array("I", new)
        self.members = joined if not self.members or self.members[-1] < new[0] else array("I", sorted(joined))
        if self.order is None:
            return ((0, new),)
        edits: list[tuple[int, Sequence[int]]] = []
        order, start, put = array("I"), 0, 0
        for place, several in groupby(placed, lambda one: one[0]):
            uids = array("I", [uid for _, uid in several])
            edits.append((place + put + 1, uids))
            order += self.order[start:place] + uids
            start, put = place, put + len(uids)
        self.order = order + self.order[start:]
        return edits


def without(uids: "array[int]", places: Sequence[int]) -> "array[int]":
    """The array less what stands at these ascending places."""
    kept, start = array("I"), 0
    for place in places:
        kept += uids[start:place]
        start = place + 1
    return kept + uids[start:]


def places_of(order: "array[int]", uids: Sequence[int]) -> list[int]:
    """The places of these uids, ascending."""
    if len(uids) > LOOKED_UP:
        wanted = frozenset(uids)
        return [place for place, uid in enumerate(order) if uid in wanted]
    octets = order.tobytes()
    return sorted(_place(octets, uid) for uid in uids)


def _place(octets: bytes, uid: int) -> int:
    """By a search of octets, which is some twenty times as fast as one of numbers."""
    needle = array("I", (uid,)).tobytes()
    at = octets.index(needle)
    while at % len(needle):  # these octets stood across two numbers
        at = octets.index(needle, at + 1)
    return at // len(needle)


def neighbours(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of ascending places: first and last."""
    for _, run in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        several = [place for _, place in run]
        yield several[0], several[-1]


def merged(old: Sequence[int], new: Sequence[int], added: Set[int]) -> list[tuple[int, int]] | None:
    """Where the added stand in the new order, as `Context.add` takes it; None where the others have changed places."""
    placed = []
    place = 0
    for uid in new:
        if uid in added:
            placed.append((place, uid))
        elif place < len(old) and old[place] == uid:
            place += 1
        else:
            return None
    return placed if place == len(old) else None


# --- programs


def weight(key: SearchKey) -> int:
    """What it takes to keep and to ask a program: keys, ranges of numbers, and the characters of texts."""
    total = 0
    for one in leaves(key):
        total += 1
        match one:
            case Numbers():
                total += len(one.numbers.spans)
            case HeaderContains(field, text):
                total += len(field) + len(text)
            case BodyContains(text) | TextContains(text):
                total += len(text)
    return total


def can_be_kept(key: SearchKey) -> bool:
    """Whether the results of this program can be kept up to date."""
    return all(isinstance(one, KEPT) for one in leaves(key))


def frozen(key: SearchKey, view: View, saved: Iterable[tuple[int, int]]) -> SearchKey:
    """The program with message sequence numbers and `$` as what they mean now (RFC 5267 §4.3): uids."""

    def uids(one: Numbers) -> SearchKey:
        spans = list(one.numbers.spans)
        if not one.uid:
            numbers = one.numbers.resolve(view.total)
            known = [(first, min(last, view.total)) for first, last in numbers if 1 <= first <= view.total]
            spans = list(view.uid_spans(view.by_number(known) or ()))
        return Numbers(NumberSet(merge((*spans, *(saved if one.numbers.saved else ())))), uid=True)

    return replaced(key, uids)


def replaced(key: SearchKey, numbers: Callable[[Numbers], SearchKey]) -> SearchKey:
    """The program with its sets of numbers put through a function."""
    match key:
        case Numbers():
            return numbers(key)
        case Not(inner):
            return Not(replaced(inner, numbers))
        case Or(first, second):
            return Or(replaced(first, numbers), replaced(second, numbers))
        case And(several):
            return And(tuple(replaced(one, numbers) for one in several))
    return key


def resolved(numbers: NumberSet, last: int) -> Sequence[tuple[int, int]]:
    """The spans of a set of uids when `last` is the highest uid."""
    return numbers.resolve(last) if numbers.star else numbers.spans
