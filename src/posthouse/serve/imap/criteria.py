"""Whether a message matches a search key (RFC 9051 §6.4.4): keys made into functions over what is known of a message.

A search asks cheap columns first. A key whose columns were not read yet answers None, which means "not known": AND is
false as soon as one key is false, OR true as soon as one is true (Kleene's logic). Messages whose answer stays None
go to the next, dearer stage; nothing is read for those already decided.

Texts are compared without regard to case, on decoded text, as substrings (RFC 9051 §6.4.4, RFC 3501 §6.4.4).

What it does NOT do: it reads nothing, and it knows neither sequence numbers nor uids: the caller says which messages
a set of numbers means.
"""

import unicodedata
from collections.abc import Callable, Iterator
from datetime import date
from enum import IntEnum
from typing import NamedTuple

from posthouse.mail.content import text
from posthouse.mail.dates import parse_date
from posthouse.mail.header import decode_words, firsts, pairs
from posthouse.mail.mime import Part, parse
from posthouse.wire.imap import search as keys

DAY = 86_400_000  # milliseconds
EPOCH = date(1970, 1, 1).toordinal()


class Stage(IntEnum):
    """What must be read to decide a key, cheapest first."""

    NUMBERS = 0  # nothing
    FLAGS = 1  # the narrow row: flags and keywords
    ROW = 2  # the wide row: internal date and size
    HEADER = 3  # the header block
    OCTETS = 4  # the message


class Facts(NamedTuple):
    """What is known of one message; None where it was not read."""

    uid: int
    flags: int | None = None
    keywords: str = ""
    received: int | None = None
    size: int = 0
    header: bytes | None = None
    octets: bytes | None = None


Test = Callable[[Facts], bool | None]
#: Whether a message is in the set of a `Numbers` key, by its uid.
Membership = Callable[[keys.Numbers], Callable[[int], bool]]


def stages(key: keys.SearchKey) -> set[Stage]:
    """All stages the key may need."""
    match key:
        case keys.Not(inner):
            return stages(inner)
        case keys.Or(first, second):
            return stages(first) | stages(second)
        case keys.And(several):
            return set[Stage]().union(*map(stages, several))
        case keys.HasFlags() | keys.HasKeyword():
            return {Stage.FLAGS}
        case keys.Received() | keys.Larger() | keys.Smaller():
            return {Stage.ROW}
        case keys.HeaderContains() | keys.Sent():
            return {Stage.HEADER}
        case keys.BodyContains() | keys.TextContains():
            return {Stage.OCTETS}
        case _:
            return {Stage.NUMBERS}


def test(key: keys.SearchKey, members: Membership) -> Test:
    """The function that decides the key."""
    match key:
        case keys.Not(inner):
            return _not(test(inner, members))
        case keys.Or(first, second):
            return _or(test(first, members), test(second, members))
        case keys.And(several):
            return _and([test(one, members) for one in several])
        case keys.Numbers():
            inside = members(key)
            return lambda facts: inside(facts.uid)
        case keys.All():
            return lambda facts: True
        case keys.Nothing():
            return lambda facts: False
        case _:
            return _of_columns(key)


def _of_columns(key: keys.SearchKey) -> Test:
    match key:
        case keys.HasFlags(bits):
            return lambda facts: None if facts.flags is None else facts.flags & bits == bits
        case keys.HasKeyword(keyword):
            return lambda facts: None if facts.flags is None else keyword in facts.keywords.split()
        case keys.Larger(octets):
            return lambda facts: None if facts.received is None else facts.size > octets
        case keys.Smaller(octets):
            return lambda facts: None if facts.received is None else facts.size < octets
        case keys.Received(comparison, day):
            return _received(comparison, day)
        case keys.Sent(comparison, day):
            return _sent(comparison, day)
        case keys.HeaderContains(field, wanted):
            return _header(field, wanted)
        case keys.BodyContains(wanted):
            return _body(wanted, header=False)
        case keys.TextContains(wanted):
            return _body(wanted, header=True)
    raise TypeError(f"no search key: {key!r}")


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


def _compare(comparison: keys.Comparison, wanted: date) -> Callable[[int], bool]:
    """On days since 1970."""
    day = wanted.toordinal() - EPOCH
    match comparison:
        case keys.Comparison.BEFORE:
            return lambda number: number < day
        case keys.Comparison.ON:
            return lambda number: number == day
        case keys.Comparison.SINCE:
            return lambda number: number >= day


def _received(comparison: keys.Comparison, day: date) -> Test:
    """The day of the INTERNALDATE as FETCH prints it, which is in UTC."""
    fits = _compare(comparison, day)
    return lambda facts: None if facts.received is None else fits(facts.received // DAY)


def _sent(comparison: keys.Comparison, day: date) -> Test:
    """The day that stands in the Date field, whatever its zone; a message without one was sent on no day."""
    fits = _compare(comparison, day)

    def sent(facts: Facts) -> bool | None:
        if facts.header is None:
            return None
        value = firsts(facts.header).get(b"date")
        parsed = parse_date(value) if value is not None else None
        return parsed is not None and fits((parsed[0] + parsed[1] * 60_000) // DAY)

    return sent


def fold(words: str) -> str:
    """Text as it is compared: case folded, composed."""
    return words.casefold() if words.isascii() else unicodedata.normalize("NFC", words.casefold())


def _header(field: str, wanted: str) -> Test:
    name = field.encode("ascii", "replace").lower()
    needle = fold(wanted)

    def contains(facts: Facts) -> bool | None:
        if facts.header is None:
            return None
        return any(
            found.lower() == name and needle in fold(decode_words(value)) for found, value in pairs(facts.header)
        )

    return contains


def _body(wanted: str, *, header: bool) -> Test:
    needle = fold(wanted)

    def contains(facts: Facts) -> bool | None:
        if facts.octets is None:
            return None
        root = parse(facts.octets)
        return any(needle in fold(words) for words in texts(facts.octets, root, header=header))

    return contains


def texts(octets: bytes, part: Part, *, header: bool) -> Iterator[str]:
    """The texts of a part, decoded: its header when asked for, the bodies of text parts, and whatever is enclosed.

    Of an enclosed message the header counts as body of the outer one. Parts other than text and message are left
    out, as RFC 9051 §6.4.4 allows."""
    if header:
        yield _header_text(octets[part.header.start : part.header.stop])
    for child in part.children:
        yield from texts(octets, child, header=header)
    if part.message is not None:
        yield from texts(octets, part.message, header=True)
    elif part.type == "text":
        yield text(octets, part).value


def _header_text(block: bytes) -> str:
    return "\n".join(f"{name.decode('latin-1')}: {decode_words(value)}" for name, value in pairs(block))
