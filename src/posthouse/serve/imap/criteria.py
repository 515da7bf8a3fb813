"""Whether a message matches the texts of a search (RFC 9051 §6.4.4): keys made into functions over header and octets.

A search asks for header blocks first. A key whose octets were not read yet answers None, which means "not known": AND
is false as soon as one key is false, OR true as soon as one is true (Kleene's logic). Messages whose answer stays
None are read whole; nothing is read for those already decided.

Texts are compared without regard to case, on decoded text, as substrings (RFC 9051 §6.4.4, RFC 3501 §6.4.4).

What it does NOT do: it reads nothing, and flags, numbers, sizes and dates are no business of this file: the caller
hands in the uids for which such keys are true.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import NamedTuple

from posthouse.mail.content import text
from posthouse.mail.dates import parse_date
from posthouse.mail.header import decode_words, firsts, pairs
from posthouse.mail.mime import Part, parse
from posthouse.wire.imap import search as keys

DAY = 86_400_000  # milliseconds
EPOCH = date(1970, 1, 1).toordinal()


class Facts(NamedTuple):
    """What is known of one message; None where it was not read."""

    uid: int
    header: bytes | None = None
    octets: bytes | None = None


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
        case keys.Sent(comparison, day):
            return _sent(comparison, day)
        case keys.HeaderContains(field, wanted):
            return _header(field, wanted)
        case keys.BodyContains(wanted):
            return _body(wanted, header=False)
        case keys.TextContains(wanted):
            return _body(wanted, header=True)
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
    # RFC 5322 §2.2, §4.5: the name at the start of a line, blanks, the colon, and the value with its folded lines.
    name = re.escape(field.encode("ascii", "replace"))
    values = re.compile(rb"^%b[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)" % name, re.MULTILINE | re.IGNORECASE)
    needle = fold(wanted)

    def contains(facts: Facts) -> bool | None:
        if facts.header is None:
            return None
        return any(needle in fold(decode_words(value)) for value in values.findall(facts.header))

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
