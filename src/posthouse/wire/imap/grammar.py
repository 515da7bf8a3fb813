"""The productions that IMAP's commands are made of, read from the octets of one whole command (RFC 9051 §9).

The assembler has put each literal in place as `{n}`, CRLF and n octets (`~{n}` for literal8), so a Scanner never meets
an incomplete command. Every method reads one production at the scanner's position, moves behind it and returns a
value, or raises Fault. It does not know which command it reads, and sends nothing.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from posthouse.mail.keyword import BIT_OF_FLAG, KEYWORD_LENGTH, KEYWORDS_PER_EMAIL, SYSTEM_BITS, Keyword
from posthouse.wire.imap.condition import Condition, Fault, over_limit
from posthouse.wire.imap.number_set import ELEMENTS, SEQUENCE_SET, NumberSet, number_set
from posthouse.wire.imap.utf7 import decode_utf7

NUMBER32 = 0xFFFF_FFFF
NUMBER64 = 0x7FFF_FFFF_FFFF_FFFF  # number64 is an unsigned 63-bit integer (RFC 9051 §9)
SEARCH_DEPTH = 50  # parentheses, NOT and OR inside each other (limits.md)
SEARCH_KEYS = 1_000  # keys of one program (limits.md)
LIST_LENGTH = 1_000  # members of one parenthesized list; FETCH items and header names of real clients stay below 100

# RFC 9051 §9   ATOM-CHAR = <any CHAR except atom-specials>
_ATOM_CHAR = rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]"
# RFC 9051 §9   ASTRING-CHAR = ATOM-CHAR / resp-specials ;  list-char = ATOM-CHAR / list-wildcards / resp-specials
_ASTRING_CHAR = rb"[^\x00-\x20(){%*\"\\\x7f-\xff]"
_LIST_CHAR = rb"[^\x00-\x20(){\"\\\x7f-\xff]"
ATOM = re.compile(_ATOM_CHAR + rb"+")
ASTRING_CHARS = re.compile(_ASTRING_CHAR + rb"+")
_LIST_CHARS = re.compile(_LIST_CHAR + rb"+")
# RFC 9051 §9   tag = 1*<any ASTRING-CHAR except "+">
TAG = re.compile(rb"[^\x00-\x20(){%*\"\\+\x7f-\xff]+")
# RFC 9051 §9   quoted = DQUOTE *QUOTED-CHAR DQUOTE ; octets above 0x7f are UTF-8, checked when they become text
_QUOTED = re.compile(rb"\"([^\"\\\x00\r\n]*(?:\\[\"\\][^\"\\\x00\r\n]*)*)\"")
_QUOTED_PAIR = re.compile(rb"\\([\"\\])")
# RFC 9051 §9   literal = "{" number64 ["+"] "}" CRLF *CHAR8
_LITERAL = re.compile(rb"\{([0-9]{1,19})\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,20}")  # one digit more than the largest has: too large is said of it
# RFC 9051 §9   date-text = date-day "-" date-month "-" date-year
_DATE = re.compile(rb"(\"?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1")
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
# RFC 9051 §9   date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
_DATE_TIME = re.compile(rb"\"[ 0-9][0-9]-[A-Za-z]{3}-[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}\"")
# RFC 9051 §9   flag = "\Answered" / … / flag-keyword / flag-extension
_FLAG = re.compile(rb"\\?" + _ATOM_CHAR + rb"+")

# RFC 5198 §2: what Net-Unicode, and so a mailbox name (RFC 9051 §5.1), does not hold; NUL above all
_NOT_UTF7 = "A mailbox name with 8-bit octets must be in modified UTF-7, unless IMAP4rev2 is enabled."
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

SPACE, OPEN, QUOTE = b' ("'

Member = TypeVar("Member")


@dataclass(frozen=True, slots=True)
class FlagSet:
    """A flag-list (RFC 9051 §9): `bits` of mail/keyword.py for the system flags, \\Deleted too, and the keywords in
    canonical form, sorted, without the four that have a bit."""

    bits: int = 0
    keywords: tuple[Keyword, ...] = ()


@dataclass(frozen=True, slots=True)
class GrammarLimits:
    """How deep and how numerous what one command asks for may be."""

    search_depth: int = SEARCH_DEPTH
    search_keys: int = SEARCH_KEYS
    number_ranges: int = ELEMENTS


USUAL = GrammarLimits()


class Scanner:
    """A position in the octets of one command. `utf8`: mailbox names come as UTF-8, because the client enabled
    IMAP4rev2 (RFC 9051 §5.1); otherwise as modified UTF-7 (RFC 3501 §5.1.3)."""

    __slots__ = ("limits", "octets", "position", "utf8")

    def __init__(self, octets: bytes, position: int = 0, utf8: bool = False, limits: GrammarLimits = USUAL) -> None:
        self.limits = limits
        self.octets = octets
        self.position = position
        self.utf8 = utf8

    # --- marks

    @property
    def ended(self) -> bool:
        """Whether everything has been read."""
        return self.position >= len(self.octets)

    def end(self) -> None:
        """Nothing may follow."""
        if self.position != len(self.octets):
            raise Fault("There is more behind the command than belongs to it.")

    def peek(self) -> int:
        """The next octet, or -1 at the end."""
        return self.octets[self.position] if self.position < len(self.octets) else -1

    def take(self, mark: bytes) -> bool:
        """Move behind `mark` if it stands here, in any case of letters."""
        stop = self.position + len(mark)
        if self.octets[self.position : stop].upper() != mark:
            return False
        self.position = stop
        return True

    def space(self) -> None:
        """Exactly one SP (RFC 9051 §9, rule 2)."""
        if self.peek() != SPACE:
            raise Fault("An argument is missing, or two are not separated by exactly one space.")
        self.position += 1

    def mark(self, mark: bytes) -> None:
        """Exactly these octets, letters in any case."""
        if not self.take(mark):
            raise Fault(f"Expected {mark.decode('ascii')!r} in the command.")

    def match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        """What the pattern finds here; `what` names it in the refusal."""
        found = pattern.match(self.octets, self.position)
        if found is None:
            raise Fault(f"Expected {what} in the command.")
        self.position = found.end()
        return found

    # --- strings

    def atom(self) -> bytes:
        """atom (RFC 9051 §9)."""
        return self.match(ATOM, "an atom")[0]

    def word(self) -> bytes:
        """An atom in upper case: the name of an option, item or key."""
        return self.match(ATOM, "a keyword")[0].upper()

    def quoted(self) -> bytes:
        """quoted, without its quotes and backslashes (RFC 9051 §9)."""
        text = self.match(_QUOTED, "a quoted string")[1]
        return _QUOTED_PAIR.sub(rb"\1", text) if b"\\" in text else text

    def literal(self) -> bytes:
        """literal, without NUL (RFC 9051 §9)."""
        octets = self._literal()
        if b"\0" in octets:
            raise Fault("A literal may not hold NUL octets.")
        return octets

    def literal8(self) -> bytes:
        """literal8 with any octets, where RFC 5464 §5 allows it; APPEND's are read by the engine."""
        self.mark(b"~")
        return self._literal()

    def _literal(self) -> bytes:
        found = self.match(_LITERAL, "a string")
        stop = self.position + int(found[1])
        octets = self.octets[self.position : stop]
        self.position = stop
        return octets

    def string(self) -> bytes:
        """string = quoted / literal (RFC 9051 §9)."""
        return self.quoted() if self.peek() == QUOTE else self.literal()

    def astring(self) -> bytes:
        """astring = 1*ASTRING-CHAR / string (RFC 9051 §9)."""
        found = ASTRING_CHARS.match(self.octets, self.position)
        if found is None:
            return self.string()
        self.position = found.end()
        return found[0]

    def nstring(self) -> bytes | None:
        """nstring = string / nil (RFC 9051 §9)."""
        return None if self.take(b"NIL") else self.string()

    def text(self, charset: str = "utf-8") -> str:
        """An astring as text in a charset."""
        try:
            return self.astring().decode(charset)
        except UnicodeDecodeError:
            raise Fault(f"A string is not {charset.upper()} text.") from None

    def skip(self) -> None:
        """Leave the rest unread."""
        self.position = len(self.octets)

    # --- numbers and dates

    def number(self, limit: int = NUMBER64) -> int:
        """number, or number64 (RFC 9051 §9)."""
        number = int(self.match(_NUMBER, "a number")[0])
        if number > limit:
            raise Fault(f"A number may be at most {limit} here.")
        return number

    def interval(self) -> int:
        """nz-number: of seconds, for OLDER and YOUNGER (RFC 5032 §3)."""
        number = self.number(NUMBER32)
        if number == 0:
            raise Fault("The number must be at least 1.")
        return number

    def sequence_set(self) -> NumberSet:
        """sequence-set (RFC 9051 §9)."""
        return number_set(self.match(SEQUENCE_SET, "a set of message numbers")[0], self.limits.number_ranges)

    def date(self) -> date:
        """date = date-text / DQUOTE date-text DQUOTE (RFC 9051 §9)."""
        found = self.match(_DATE, "a date such as 1-Feb-1994")
        month = found[3].lower()
        if month not in _MONTHS:
            raise Fault("A month is one of Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec.")
        try:
            return date(int(found[4]), _MONTHS.index(month) + 1, int(found[2]))
        except ValueError:
            raise Fault("There is no such day in the calendar.") from None

    def date_time(self) -> bytes:
        """date-time with its quotes; what it says is for `mail.dates.parse_internaldate` (RFC 9051 §9)."""
        return self.match(_DATE_TIME, 'a date and time such as "17-Jul-1996 02:44:25 -0700"')[0]

    # --- mailboxes and flags

    def mailbox(self) -> str:
        """mailbox = "INBOX" / astring (RFC 9051 §9): the name, INBOX in upper case whatever the client wrote."""
        return canonical_mailbox(self.mailbox_text(self.astring()))

    def list_mailbox(self) -> str:
        """list-mailbox = 1*list-char / string (RFC 9051 §9): a name or pattern, as text."""
        found = _LIST_CHARS.match(self.octets, self.position)
        if found is None:
            return self.mailbox_text(self.string())
        self.position = found.end()
        return self.mailbox_text(found[0])

    def mailbox_text(self, octets: bytes) -> str:
        """The text of a mailbox name in the spelling that is in force (RFC 9051 §5.1, RFC 3501 §5.1.3)."""
        name = self._decoded(octets)
        if _CONTROL.search(name):
            raise Fault("A mailbox name may not hold control characters.", b"CANNOT", Condition.NO)
        return name

    def _decoded(self, octets: bytes) -> str:
        if not self.utf8:
            if not octets.isascii():  # RFC 3501 §5.1.3; taken as UTF-8, mbsync would make a second mailbox of it
                raise Fault(_NOT_UTF7, b"CANNOT", Condition.NO)
            name = decode_utf7(octets)
            if name is None:
                raise Fault("The mailbox name is not valid modified UTF-7.", b"CANNOT", Condition.NO)
            return name
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise Fault("The mailbox name is not valid UTF-8.") from None  # BAD: RFC 9755 §3

    def flag(self) -> bytes:
        """flag (RFC 9051 §9), as it was spelled."""
        return self.match(_FLAG, "a flag")[0]

    def flag_list(self) -> FlagSet:
        """flag-list = "(" [flag *(SP flag)] ")" (RFC 9051 §9)."""
        return flag_set(self.parenthesized(Scanner.flag, empty=True))

    def parenthesized(self, member: Callable[["Scanner"], Member], *, empty: bool = False) -> list[Member]:
        """ "(" member *(SP member) ")", or "()" where `empty` allows it."""
        self.mark(b"(")
        if empty and self.take(b")"):
            return []
        members = [member(self)]
        while not self.take(b")"):
            self.space()
            members.append(member(self))
            if len(members) > LIST_LENGTH:
                raise over_limit(f"A list may have at most {LIST_LENGTH} members.")
        return members


def canonical_mailbox(name: str) -> str:
    """INBOX in upper case, every other name as it is (RFC 9051 §5.1)."""
    return "INBOX" if name.upper() == "INBOX" else name


def flag_set(flags: Iterable[bytes]) -> FlagSet:
    """The FlagSet of flags as they were spelled (RFC 9051 §2.3.2). Raises Fault."""
    bits = 0
    keywords: set[Keyword] = set()
    for flag in flags:
        name = flag.lower()
        if name.startswith(b"\\"):
            bits |= _system_bit(name)
            continue
        if len(name) > KEYWORD_LENGTH:
            raise over_limit(f"A keyword may have at most {KEYWORD_LENGTH} characters.")
        keyword = Keyword(name.decode("ascii"))
        bit = SYSTEM_BITS.get(keyword, 0)
        bits |= bit
        if not bit:
            keywords.add(keyword)
    if len(keywords) > KEYWORDS_PER_EMAIL:
        raise over_limit(f"A message may have at most {KEYWORDS_PER_EMAIL} keywords.")
    return FlagSet(bits, tuple(sorted(keywords)))


def _system_bit(name: bytes) -> int:
    if name == b"\\recent":
        return 0  # RFC 9051 §2.3.2 dropped it and nobody could ever set it; clients that copy flags still send it
    bit = BIT_OF_FLAG.get(name)
    if bit is None:
        raise Fault(f"There is no flag {name.decode('ascii')}; own flags are spelled without the backslash.")
    return bit
