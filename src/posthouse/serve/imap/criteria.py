"""Whether a message matches the texts of a search (RFC 9051 §6.4.4): keys made into functions over header and octets.

A search asks for header blocks first. A key whose octets were not read yet answers None, which means "not known": AND
is false as soon as one key is false, OR true as soon as one is true (Kleene's logic). Messages whose answer stays
None are read whole; nothing is read for those already decided.

Texts are compared as substrings (RFC 9051 §6.4.4, RFC 3501 §6.4.4); which texts and how: mail/text.py.

What it does NOT do: it reads nothing, and flags, numbers, sizes and dates are no business of this file: the caller
hands in the uids for which such keys are true.
"""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import NamedTuple

from posthouse.mail.fuzzy import enough, query
from posthouse.mail.header import Octets, firsts, searchable
from posthouse.mail.mime import parse
from posthouse.mail.text import LONG, Texts, below, bodies, comparable, everything, fields, sent_day, texts, values
from posthouse.store.marks import OVERLAP, all_marks, alone, marks_of
from posthouse.store.pages import KINDS, Kind, Wanted, kind_of
from posthouse.wire.imap import search as keys

MOST_CHARACTERS = 100  # of text that one octet of a message can come to, and more: nothing is left out
EPOCH = date(1970, 1, 1).toordinal()


class Facts(NamedTuple):
    """What is known of one message; None where it was not read."""

    uid: int
    header: bytes | None = None
    octets: Octets | None = None


Test = Callable[[Facts], bool | None]
#: Keys that were answered by the store, each with the uids for which it is true.
Answered = Mapping[keys.SearchKey, AbstractSet[int]]


def decider(key: keys.SearchKey, answered: Answered) -> Test:
    """The function that decides the key."""
    uids = answered.get(key)
    if uids is not None:
        return lambda facts: facts.uid in uids
    match key:
        case keys.Not(inner):
            return _not(decider(inner, answered))
        case keys.Or(first, second):
            return _or(decider(first, answered), decider(second, answered))
        case keys.And(several):
            return _and([decider(one, answered) for one in several])
        case keys.Fuzzy(inner):
            return _nearly(decider(inner, {}), marker(inner))
        case keys.Sent(comparison, day):
            return _sent(comparison, day)
        case keys.HeaderContains(field, wanted):
            return _header(field, wanted)
        case keys.BodyContains(wanted):
            return _within(wanted, bodies)
        case keys.TextContains(wanted):
            return _within(wanted, everything)
    raise TypeError(f"the store answers this key: {key!r}")


def _not(inner: Test) -> Test:
    def negation(facts: Facts) -> bool | None:
        answer = inner(facts)
        return None if answer is None else not answer

    return negation


def _or(first: Test, second: Test) -> Test:
    def either(facts: Facts) -> bool | None:
        one = first(facts)
        if one:
            return True
        two = second(facts)
        return True if two else (None if one is None or two is None else False)

    return either


def _and(tests: list[Test]) -> Test:
    def every(facts: Facts) -> bool | None:
        known = True
        for one in tests:
            answer = one(facts)
            if answer is None:
                known = False
            elif not answer:
                return False
        return True if known else None

    return every


def _nearly(exact: Test, marked: Callable[[Facts], int | None]) -> Test:
    """FUZZY finds all that is found without it, and what has enough of the words (RFC 6203 §3)."""

    def enough(facts: Facts) -> bool | None:
        mark = marked(facts)
        return None if mark is None else mark > 0

    return _or(exact, enough)


def marker(key: keys.SearchKey) -> Callable[[Facts], int | None]:
    """The function that marks the words of a text key in a message (mail/fuzzy.py); None: not known."""
    wanted = words_of(key)
    if wanted is None:
        return lambda _: 0
    header_alone = wanted.name is not None

    def marked(facts: Facts) -> int | None:
        if header_alone:
            if facts.header is None:
                return None
            found = Texts(fields(facts.header), [], [], True)
        elif facts.octets is None:
            return None
        elif len(facts.octets) > LONG:
            return _long_mark(wanted, facts.octets)
        else:
            found = texts(facts.octets, len(facts.octets) * MOST_CHARACTERS)
        return marks_of(wanted, alone(found)).get(0, 0)

    return marked


def _long_mark(wanted: Wanted, octets: Octets) -> int:
    """The mark of a long message, of which only a piece is in memory. A word that a piece cuts is whole in the next."""
    root = parse(octets)
    header = searchable(octets)[root.header.start : root.header.stop]
    mark = all_marks(wanted, alone(Texts(fields(header), [], [], True))).get(0, 0)
    for body, found in below(octets, root, OVERLAP):
        mark |= all_marks(wanted, alone(Texts([], [] if body else [found], [found] if body else [], True))).get(0, 0)
    return mark if wanted.query is not None and enough(mark, wanted.query) else 0


def words_of(key: keys.SearchKey) -> Wanted | None:
    """The words of a text key and where they are looked for; None where it has no words."""
    match key:
        case keys.HeaderContains(field, text):
            name: str | None = comparable(field)
            kinds: tuple[Kind, ...] = (kind_of(comparable(field)),)
        case keys.BodyContains(text):
            name, kinds = None, (Kind.BODY,)
        case keys.TextContains(text):
            name, kinds = None, KINDS
        case _:
            return None
    looked = query(text)
    return None if looked is None else Wanted(kinds, name=name, query=looked)


def compared(comparison: keys.Comparison, wanted: date) -> Callable[[int], bool]:
    """On days since 1970."""
    day = wanted.toordinal() - EPOCH
    match comparison:
        case keys.Comparison.BEFORE:
            return lambda number: number < day
        case keys.Comparison.ON:
            return lambda number: number == day
        case keys.Comparison.SINCE:
            return lambda number: number >= day


def _sent(comparison: keys.Comparison, day: date) -> Test:
    """The day that stands in the Date field, whatever its zone; a message without one was sent on no day."""
    fits = compared(comparison, day)

    def sent(facts: Facts) -> bool | None:
        if facts.header is None:
            return None
        found = sent_day(firsts(facts.header).get(b"date"))
        return found is not None and fits(found)

    return sent


def _header(field: str, wanted: str) -> Test:
    name, needle = comparable(field), comparable(wanted)

    def contains(facts: Facts) -> bool | None:
        if facts.header is None:
            return None
        return any(needle in value for value in values(facts.header, name))

    return contains


def _within(wanted: str, texts: Callable[[Octets, int], Iterator[str]]) -> Test:
    """Whether one of the texts contains what is wanted; every message contains the empty text."""
    needle = comparable(wanted)

    def contains(facts: Facts) -> bool | None:
        if not needle:
            return True
        return None if facts.octets is None else any(needle in one for one in texts(facts.octets, len(needle) - 1))

    return contains
