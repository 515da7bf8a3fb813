"""SORT and THREAD, read (RFC 5256 §5, RFC 5957 §5, RFC 5267 §5, draft-ietf-morg-inthread-01 section 4).

Their searching criteria are those of search.py, with the charset in front, which is no option here. It does not sort:
serve/imap/sort.py and serve/imap/thread.py do.
"""

from dataclasses import dataclass
from enum import Enum

from posthouse.mail.thread import ThreadAlgorithm
from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.search import SearchKey, parse_charset, parse_program
from posthouse.wire.imap.search_return import SearchReturns, parse_returns


class SortKey(Enum):
    """sort-key (RFC 5256 §5, RFC 5957 §5, RFC 6203 §7)."""

    ARRIVAL = b"ARRIVAL"
    CC = b"CC"
    DATE = b"DATE"
    DISPLAYFROM = b"DISPLAYFROM"
    DISPLAYTO = b"DISPLAYTO"
    FROM = b"FROM"
    RELEVANCY = b"RELEVANCY"
    SIZE = b"SIZE"
    SUBJECT = b"SUBJECT"
    TO = b"TO"


@dataclass(frozen=True, slots=True)
class SortCriterion:
    """sort-criterion: a key, with REVERSE or without."""

    key: SortKey
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT and UID SORT. A criterion whose key stood before says nothing and is left out. `charset`: Python's codec."""

    tag: bytes
    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    returns: SearchReturns | None = None
    uid: bool = False
    charset: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD and UID THREAD."""

    tag: bytes
    algorithm: ThreadAlgorithm
    key: SearchKey
    uid: bool = False
    charset: str = "utf-8"


def parse_sort(tag: bytes, scanner: Scanner, uid: bool) -> Sort:
    """What follows `SORT` (RFC 5256 §5, RFC 5267 §5)."""
    returns = parse_returns(scanner)
    scanner.space()
    criteria: dict[SortKey, SortCriterion] = {}
    for criterion in scanner.parenthesized(_criterion):
        criteria.setdefault(criterion.key, criterion)
    charset, key = _search_criteria(scanner)
    return Sort(tag, tuple(criteria.values()), key, returns, uid, charset)


def _criterion(scanner: Scanner) -> SortCriterion:
    word = scanner.word()
    reverse = word == b"REVERSE"
    if reverse:
        scanner.space()
        word = scanner.word()
    try:
        return SortCriterion(SortKey(word), reverse)
    except ValueError:
        raise Fault(f"SORT knows no criterion {word.decode('ascii')}.") from None


def parse_thread(tag: bytes, scanner: Scanner, uid: bool) -> Thread:
    """What follows `THREAD` (RFC 5256 §5)."""
    scanner.space()
    word = scanner.word()
    try:
        algorithm = ThreadAlgorithm(word)
    except ValueError:
        raise Fault(f"THREAD knows no algorithm {word.decode('ascii')}.") from None
    charset, key = _search_criteria(scanner)
    return Thread(tag, algorithm, key, uid, charset)


def _search_criteria(scanner: Scanner) -> tuple[str, SearchKey]:
    """SP charset 1*(SP search-key)."""
    scanner.space()
    charset = parse_charset(scanner)
    scanner.space()
    return charset, parse_program(scanner, charset)
