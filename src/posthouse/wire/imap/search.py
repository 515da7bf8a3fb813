"""SEARCH: its program as a tree of frozen keys (RFC 9051 §6.4.4, RFC 3501 §6.4.4). Its return options are in
search_return.py.

Keys that say the same are one value: UNSEEN is Not(HasFlags(SEEN_BIT)), FROM x is HeaderContains("from", x), several
keys side by side are And. RECENT, NEW and OLD of RFC 3501 are answered for a server without \\Recent: no message is
recent. It does not know messages. SORT and THREAD are in sort.py.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum

from posthouse.mail.charset import codec
from posthouse.mail.ids import EMAIL_LETTER, THREAD_LETTER, parse_object_id
from posthouse.mail.keyword import ANSWERED_BIT, DELETED_BIT, DRAFT_BIT, FLAGGED_BIT, SEEN_BIT, Keyword
from posthouse.wire.imap.condition import Condition, Fault, over_limit
from posthouse.wire.imap.condstore import Modified, search_modseq
from posthouse.wire.imap.grammar import OPEN, Scanner, flag_set
from posthouse.wire.imap.number_set import LARGEST, NumberSet
from posthouse.wire.imap.search_return import SearchReturns, parse_returns

# RFC 9051 §6.4.4 asks for the first two; the others are those of mail that is still about. All that Python decodes
# are taken (mail/charset.py).
_USUAL = b"US-ASCII UTF-8 ISO-8859-1 ISO-8859-2 ISO-8859-15 WINDOWS-1251 WINDOWS-1252 KOI8-R"
_USUAL += b" ISO-2022-JP SHIFT_JIS EUC-JP GB18030 BIG5 EUC-KR"
BADCHARSET = b"BADCHARSET (" + _USUAL + b")"
UNKNOWN_CHARSET = "Search texts cannot be in this charset; use UTF-8."


class Comparison(Enum):
    """How a date key compares: the message's day is before, on, or not before the day named (RFC 9051 §6.4.4)."""

    BEFORE = "before"
    ON = "on"
    SINCE = "since"


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No message: RECENT and NEW of RFC 3501 §6.4.4, where nothing is \\Recent."""


@dataclass(frozen=True, slots=True)
class HasFlags:
    """All these bits of mail/keyword.py are set."""

    bits: int


@dataclass(frozen=True, slots=True)
class HasKeyword:
    """The keyword is set."""

    keyword: Keyword


@dataclass(frozen=True, slots=True)
class Numbers:
    """The message is in the set: of UIDs (UID key), or of message sequence numbers."""

    numbers: NumberSet
    uid: bool


@dataclass(frozen=True, slots=True)
class Received:
    """BEFORE, ON, SINCE: the internal date's day, disregarding time and zone."""

    comparison: Comparison
    day: date


@dataclass(frozen=True, slots=True)
class Sent:
    """SENTBEFORE, SENTON, SENTSINCE: the day in the Date field, disregarding time and zone."""

    comparison: Comparison
    day: date


@dataclass(frozen=True, slots=True)
class Saved:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE: the save date's day, disregarding time and zone (RFC 8514 §4.3)."""

    comparison: Comparison
    day: date


@dataclass(frozen=True, slots=True)
class OfEmail:
    """EMAILID (RFC 8474 §6); None: an id that no Email has."""

    email: int | None


@dataclass(frozen=True, slots=True)
class OfFilter:
    """The search program that is kept under this name (RFC 5466 §3.1); it is put in its place before the search."""

    name: str


@dataclass(frozen=True, slots=True)
class OfThread:
    """THREADID (RFC 8474 §6); None: an id that no thread has."""

    thread: int | None


@dataclass(frozen=True, slots=True)
class Larger:
    """The RFC822.SIZE is greater."""

    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """The RFC822.SIZE is less."""

    octets: int


@dataclass(frozen=True, slots=True)
class HeaderContains:
    """A header field of this name (lower case) exists and holds the text, in any case; "" asks only that it
    exists."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class BodyContains:
    """The text stands in the body."""

    text: str


@dataclass(frozen=True, slots=True)
class TextContains:
    """The text stands in the header or the body."""

    text: str


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """The key matches, or nearly (RFC 6203 §3): where that means nothing, as the key itself (RFC 6203 §5)."""

    key: "SearchKey"


@dataclass(frozen=True, slots=True)
class Not:
    """The key does not match."""

    key: "SearchKey"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of both matches."""

    first: "SearchKey"
    second: "SearchKey"


@dataclass(frozen=True, slots=True)
class And:
    """All keys match."""

    keys: tuple["SearchKey", ...]


@dataclass(frozen=True, slots=True)
class Younger:
    """The INTERNALDATE is at most so many seconds ago (RFC 5032 §2)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Older:
    """The INTERNALDATE is at least so many seconds ago (RFC 5032 §2)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class UnknownCharset:
    """The whole program, where its charset cannot be decoded: answered with NO, after RFC 9051 §6.4.4.1 was obeyed."""


SearchKey = (
    All
    | Nothing
    | HasFlags
    | HasKeyword
    | Numbers
    | Received
    | Sent
    | Saved
    | OfEmail
    | OfThread
    | Larger
    | Smaller
    | Younger
    | Older
    | HeaderContains
    | BodyContains
    | TextContains
    | Modified
    | OfFilter
    | Fuzzy
    | Not
    | Or
    | And
    | UnknownCharset
)


def leaves(key: SearchKey) -> Iterator[SearchKey]:
    """The keys that are not made of others, from left to right. What FUZZY stands before is one with it."""
    match key:
        case Not(inner):
            yield from leaves(inner)
        case Or(first, second):
            yield from leaves(first)
            yield from leaves(second)
        case And(several):
            for one in several:
                yield from leaves(one)
        case _:
            yield key


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH and UID SEARCH (RFC 9051 §6.4.4, §6.4.9). `returns` is None without RETURN: an IMAP4rev1 client then
    gets the old SEARCH response, an IMAP4rev2 client ESEARCH with ALL. `labelled`: it names a charset."""

    tag: bytes
    key: SearchKey
    returns: SearchReturns | None = None
    uid: bool = False
    labelled: bool = False


def parse_search(tag: bytes, scanner: Scanner, uid: bool) -> Search:
    """What follows `SEARCH` (RFC 9051 §9)."""
    returns = parse_returns(scanner)
    scanner.space()
    charset: str | None = "utf-8"
    labelled = scanner.take(b"CHARSET ")
    if labelled:
        charset = codec(scanner.astring().decode("ascii", "replace"))
        scanner.space()
    if charset is None:
        scanner.skip()
        return Search(tag, UnknownCharset(), returns, uid, labelled)
    return Search(tag, parse_program(scanner, charset), returns, uid, labelled)


def parse_program(scanner: Scanner, charset: str) -> SearchKey:
    """search-key *(SP search-key), to the end of the command (RFC 9051 §9)."""
    program = _Program(scanner, charset)
    keys = [program.key(0)]
    while not scanner.ended:
        scanner.space()
        keys.append(program.key(0))
    return _both(keys)


def parse_charset(scanner: Scanner) -> str:
    """The name of a charset, as Python's codec (RFC 9051 §6.4.4)."""
    found = codec(scanner.astring().decode("ascii", "replace"))
    if found is None:
        raise Fault(UNKNOWN_CHARSET, BADCHARSET, Condition.NO)
    return found


def _both(keys: list[SearchKey]) -> SearchKey:
    return keys[0] if len(keys) == 1 else And(tuple(keys))


# Keys without an argument (RFC 9051 §6.4.4; NEW, OLD and RECENT: RFC 3501 §6.4.4).
_PLAIN: dict[bytes, SearchKey] = {
    b"ALL": All(),
    b"ANSWERED": HasFlags(ANSWERED_BIT),
    b"DELETED": HasFlags(DELETED_BIT),
    b"DRAFT": HasFlags(DRAFT_BIT),
    b"FLAGGED": HasFlags(FLAGGED_BIT),
    b"NEW": Nothing(),
    b"OLD": All(),
    b"RECENT": Nothing(),
    b"SAVEDATESUPPORTED": All(),  # RFC 8514 §4.3: every mailbox does
    b"SEEN": HasFlags(SEEN_BIT),
    b"UNANSWERED": Not(HasFlags(ANSWERED_BIT)),
    b"UNDELETED": Not(HasFlags(DELETED_BIT)),
    b"UNDRAFT": Not(HasFlags(DRAFT_BIT)),
    b"UNFLAGGED": Not(HasFlags(FLAGGED_BIT)),
    b"UNSEEN": Not(HasFlags(SEEN_BIT)),
}
_SET_START = frozenset(b"0123456789*$")
_HEADERS: dict[bytes, str] = {b"BCC": "bcc", b"CC": "cc", b"FROM": "from", b"SUBJECT": "subject", b"TO": "to"}


class _Program:
    """The keys of one search-program, counted (RFC 9051 §9)."""

    __slots__ = ("charset", "count", "scanner")

    def __init__(self, scanner: Scanner, charset: str) -> None:
        self.scanner = scanner
        self.charset = charset
        self.count = 0

    def key(self, depth: int) -> SearchKey:
        """search-key (RFC 9051 §9)."""
        self.count += 1
        scanner = self.scanner
        limits = scanner.limits
        if depth > limits.search_depth:
            raise over_limit(f"Search keys may be nested at most {limits.search_depth} deep.")
        if self.count > limits.search_keys:
            raise over_limit(f"A search may have at most {limits.search_keys} keys.")
        first = scanner.peek()
        if first == OPEN:
            return _both(scanner.parenthesized(lambda _: self.key(depth + 1)))
        if first in _SET_START:
            return Numbers(scanner.sequence_set(), uid=False)
        word = scanner.word()
        plain = _PLAIN.get(word)
        if plain is not None:
            return plain
        return self._with_argument(word, depth)

    def _with_argument(self, word: bytes, depth: int) -> SearchKey:
        scanner = self.scanner
        if word == b"NOT":
            scanner.space()
            return Not(self.key(depth + 1))
        if word == b"FUZZY":
            scanner.space()
            inner = self.key(depth + 1)
            return inner if isinstance(inner, Fuzzy) else Fuzzy(inner)
        if word == b"OR":
            scanner.space()
            first = self.key(depth + 1)
            scanner.space()
            return Or(first, self.key(depth + 1))
        if word in _HEADERS:
            scanner.space()
            return HeaderContains(_HEADERS[word], scanner.text(self.charset))
        parse = _ARGUMENTS.get(word)
        if parse is None:
            raise Fault(f"SEARCH knows no key {word.decode('ascii')}.")
        scanner.space()
        return parse(scanner, self.charset)


def _header(scanner: Scanner, charset: str) -> SearchKey:
    field = scanner.text("ascii").lower()
    scanner.space()
    return HeaderContains(field, scanner.text(charset))


# RFC 8474 §7   objectid = 1*255(ALPHA / DIGIT / "_" / "-")
_OBJECTID = re.compile(rb"[A-Za-z0-9_-]{1,255}")


# RFC 5466 §4   filter-name = 1*<any ATOM-CHAR except "/">
_FILTER_NAME = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]/]{1,200}")


def _filter(scanner: Scanner, charset: str) -> SearchKey:
    if charset not in ("utf-8", "ascii"):  # RFC 5466 §3.1
        raise Fault("With FILTER the charset is UTF-8.", BADCHARSET)
    return OfFilter(scanner.match(_FILTER_NAME, "the name of a filter")[0].decode("ascii"))


def _object_id(scanner: Scanner, letter: str) -> int | None:
    return parse_object_id(scanner.match(_OBJECTID, "an object id")[0].decode("ascii"), letter)


def _keyword(scanner: Scanner, charset: str) -> SearchKey:
    flags = flag_set([scanner.atom()])
    return HasFlags(flags.bits) if flags.bits else HasKeyword(flags.keywords[0])


def _uid(scanner: Scanner) -> int:
    uid = scanner.number(LARGEST)
    if not uid:
        raise Fault("UIDs begin with 1.")
    return uid


def _uids_between(first: int, last: int) -> SearchKey:
    return Numbers(NumberSet(((first, last),)), uid=True) if first <= last else Nothing()


# Keys with arguments other than keys, behind their space.
_ARGUMENTS: dict[bytes, Callable[[Scanner, str], SearchKey]] = {
    b"BEFORE": lambda scanner, _: Received(Comparison.BEFORE, scanner.date()),
    b"BODY": lambda scanner, charset: BodyContains(scanner.text(charset)),
    b"EMAILID": lambda scanner, _: OfEmail(_object_id(scanner, EMAIL_LETTER)),
    b"FILTER": _filter,
    b"HEADER": _header,
    b"KEYWORD": _keyword,
    b"MODSEQ": lambda scanner, _: search_modseq(scanner),
    b"LARGER": lambda scanner, _: Larger(scanner.number()),
    b"OLDER": lambda scanner, _: Older(scanner.interval()),
    b"ON": lambda scanner, _: Received(Comparison.ON, scanner.date()),
    b"SAVEDBEFORE": lambda scanner, _: Saved(Comparison.BEFORE, scanner.date()),
    b"SAVEDON": lambda scanner, _: Saved(Comparison.ON, scanner.date()),
    b"SAVEDSINCE": lambda scanner, _: Saved(Comparison.SINCE, scanner.date()),
    b"SENTBEFORE": lambda scanner, _: Sent(Comparison.BEFORE, scanner.date()),
    b"SENTON": lambda scanner, _: Sent(Comparison.ON, scanner.date()),
    b"SENTSINCE": lambda scanner, _: Sent(Comparison.SINCE, scanner.date()),
    b"SINCE": lambda scanner, _: Received(Comparison.SINCE, scanner.date()),
    b"SMALLER": lambda scanner, _: Smaller(scanner.number()),
    b"TEXT": lambda scanner, charset: TextContains(scanner.text(charset)),
    b"THREADID": lambda scanner, _: OfThread(_object_id(scanner, THREAD_LETTER)),
    b"UID": lambda scanner, _: Numbers(scanner.sequence_set(), uid=True),
    b"UIDAFTER": lambda scanner, _: _uids_between(_uid(scanner) + 1, LARGEST),  # RFC 9738 §3.2
    b"UIDBEFORE": lambda scanner, _: _uids_between(1, _uid(scanner) - 1),
    b"UNKEYWORD": lambda scanner, charset: Not(_keyword(scanner, charset)),
    b"YOUNGER": lambda scanner, _: Younger(scanner.interval()),
}
