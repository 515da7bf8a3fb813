"""LIST with its selection and return options, LSUB, and the matching of names to patterns (RFC 9051 §6.3.9, RFC 5258,
RFC 5819, RFC 6154 §5, RFC 9590, RFC 3501 §6.3.9).

It does not know which mailboxes there are. Vendor options and the remaining extensions of LIST are refused with BAD.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import OPEN, Scanner
from posthouse.wire.imap.metadata import parse_entries

PATTERNS = 100  # patterns of one LIST; each costs a pass over all names
PATTERN_LENGTH = 1_000  # characters of one pattern: more than any name has, and it bounds the bit sets below
DELIMITER = "/"  # between the levels of a mailbox name


class StatusItem(Enum):
    """status-att (RFC 9051 §6.3.11); SIZE is RFC 8438's too, MAILBOXID is RFC 8474 §4.3's,
    APPENDLIMIT RFC 7889 §3.1's, RECENT is RFC 3501 §6.3.10's and always 0 here."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    DELETED = b"DELETED"
    DELETED_STORAGE = b"DELETED-STORAGE"  # RFC 9208 §4.1.4
    SIZE = b"SIZE"
    MAILBOXID = b"MAILBOXID"
    APPENDLIMIT = b"APPENDLIMIT"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"  # RFC 7162 §3.1.7


class ListSelection(Enum):
    """list-select-opt (RFC 9051 §6.3.9.1, RFC 6154 §5.2)."""

    SUBSCRIBED = b"SUBSCRIBED"
    REMOTE = b"REMOTE"
    RECURSIVEMATCH = b"RECURSIVEMATCH"
    SPECIAL_USE = b"SPECIAL-USE"


class ListReturn(Enum):
    """list-return-opt (RFC 9051 §6.3.9.2, RFC 6154 §5.1, RFC 5819 §2, RFC 8440 §5). STATUS and METADATA bring along
    what they ask for in `List`; CHILDREN asks for what every answer has (RFC 3348 §3)."""

    SUBSCRIBED = b"SUBSCRIBED"
    CHILDREN = b"CHILDREN"
    SPECIAL_USE = b"SPECIAL-USE"
    STATUS = b"STATUS"
    METADATA = b"METADATA"  # RFC 9590 §3
    MYRIGHTS = b"MYRIGHTS"


@dataclass(frozen=True, slots=True)
class List:
    """LIST (RFC 9051 §6.3.9). `extended`: at least one of the option lists or a parenthesized pattern was given, so an
    empty pattern does not ask for the hierarchy delimiter (RFC 5258 §3)."""

    tag: bytes
    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[ListSelection] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    extended: bool = False
    metadata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lsub:
    """LSUB (RFC 3501 §6.3.9)."""

    tag: bytes
    reference: str
    pattern: str


def parse_list(tag: bytes, scanner: Scanner) -> List:
    """What follows `LIST` (RFC 9051 §9)."""
    scanner.space()
    selection: frozenset[ListSelection] = frozenset()
    extended = scanner.peek() == OPEN
    if extended:
        selection = _selection(scanner)
        scanner.space()
    reference = scanner.mailbox_text(scanner.astring())
    scanner.space()
    if scanner.peek() == OPEN:
        extended = True
        patterns = scanner.parenthesized(_pattern)
    else:
        patterns = [_pattern(scanner)]
    if len(patterns) > PATTERNS:
        raise over_limit(f"LIST takes at most {PATTERNS} patterns.")
    if scanner.ended:
        return List(tag, reference, tuple(patterns), selection, extended=extended)
    scanner.mark(b" RETURN ")
    options = scanner.parenthesized(_return_option, empty=True)
    status = next((asked for asked in options if isinstance(asked, _Status)), _Status()).items
    entries = next((asked for asked in options if isinstance(asked, _Metadata)), _Metadata()).entries
    returns = frozenset(option if isinstance(option, ListReturn) else option.option for option in options)
    return List(tag, reference, tuple(patterns), selection, returns, status, extended=True, metadata=entries)


def parse_lsub(tag: bytes, scanner: Scanner) -> Lsub:
    """What follows `LSUB` (RFC 3501 §6.3.9)."""
    scanner.space()
    reference = scanner.mailbox_text(scanner.astring())
    scanner.space()
    return Lsub(tag, reference, _pattern(scanner))


def parse_status_items(scanner: Scanner) -> tuple[StatusItem, ...]:
    """ "(" status-att *(SP status-att) ")" (RFC 9051 §9), each item once, in the order asked for."""
    return tuple(dict.fromkeys(scanner.parenthesized(_status_item)))


def _status_item(scanner: Scanner) -> StatusItem:
    word = scanner.word()
    try:
        return StatusItem(word)
    except ValueError:
        raise Fault(f"STATUS knows no item {word.decode('ascii')}.") from None


def _pattern(scanner: Scanner) -> str:
    pattern = scanner.list_mailbox()
    if len(pattern) > PATTERN_LENGTH:
        raise over_limit(f"A LIST pattern may have at most {PATTERN_LENGTH} characters.")
    return pattern


def _selection(scanner: Scanner) -> frozenset[ListSelection]:
    options = frozenset(scanner.parenthesized(_selection_option, empty=True))
    bases = {ListSelection.SUBSCRIBED, ListSelection.SPECIAL_USE}
    if ListSelection.RECURSIVEMATCH in options and not options & bases:
        raise Fault("RECURSIVEMATCH needs another selection option such as SUBSCRIBED.")
    return options


def _selection_option(scanner: Scanner) -> ListSelection:
    word = scanner.word()
    try:
        return ListSelection(word)
    except ValueError:
        raise Fault(f"LIST knows no selection option {word.decode('ascii')}.") from None


@dataclass(frozen=True, slots=True)
class _Status:
    items: tuple[StatusItem, ...] = ()
    option: ListReturn = ListReturn.STATUS


@dataclass(frozen=True, slots=True)
class _Metadata:
    entries: tuple[str, ...] = ()
    option: ListReturn = ListReturn.METADATA


def _return_option(scanner: Scanner) -> ListReturn | _Status | _Metadata:
    word = scanner.word()
    try:
        option = ListReturn(word)
    except ValueError:
        raise Fault(f"LIST knows no return option {word.decode('ascii')}.") from None
    if option is ListReturn.METADATA:
        scanner.space()
        if scanner.peek() != OPEN:
            raise Fault("METADATA asks for entries in parentheses.")
        return _Metadata(parse_entries(scanner))
    if option is ListReturn.STATUS:
        scanner.space()
        return _Status(parse_status_items(scanner))
    return option


@dataclass(frozen=True, slots=True)
class Pattern:
    """A list pattern as a machine of one state a character: bit i of a state set says that the first i characters of
    the pattern are used up. One step a character of the name, so matching never takes longer than their product."""

    letters: dict[str, int]
    star: int
    percent: int
    final: int

    def matches(self, name: str) -> bool:
        """Whether the whole name matches (RFC 9051 §6.3.9)."""
        wild = self.star | self.percent
        active = 1 | (1 & wild) << 1
        for letter in name:
            stay = active & (self.star if letter == DELIMITER else wild)
            active = (active & self.letters.get(letter, 0)) << 1 | stay
            active |= (active & wild) << 1
            if not active:
                return False
        return bool(active & self.final)


@lru_cache(64)  # a hostile pattern costs 200 KB
def compile_pattern(text: str) -> Pattern:
    """A Pattern from a canonical pattern: `*` matches anything, `%` anything but the delimiter (RFC 9051 §6.3.9)."""
    letters: dict[str, int] = {}
    star = percent = length = 0
    previous = ""
    for letter in text:
        if letter in "*%" and previous and previous in "*%":
            if letter == "*" and previous == "%":  # `%*` means `*`; neighbours are one wildcard
                star, percent, previous = star | 1 << length - 1, percent & ~(1 << length - 1), "*"
            continue
        bit = 1 << length
        if letter == "*":
            star |= bit
        elif letter == "%":
            percent |= bit
        else:
            letters[letter] = letters.get(letter, 0) | bit
        previous = letter
        length += 1
    return Pattern(letters, star, percent, 1 << length)


def matches(pattern: str, name: str) -> bool:
    """Whether a mailbox name matches a pattern; INBOX does in any case of letters, as itself and as the first level
    of a name (RFC 9051 §5.1, §6.3.9)."""
    if name == "INBOX":
        return compile_pattern(pattern.upper()).matches(name)
    if pattern[:6].upper() == "INBOX/":
        pattern = "INBOX/" + pattern[6:]
    return compile_pattern(pattern).matches(name)
