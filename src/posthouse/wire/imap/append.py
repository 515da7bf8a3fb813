"""The pieces of an APPEND or REPLACE between its literals (RFC 9051 §6.3.12, RFC 3502, RFC 8508 §5).

Messages stream past the parser, so APPEND is never one whole command: there is a head before the first message,
something before each further one (MULTIAPPEND), and an end. A message may come as `UTF8 (~{n} … )`, which RFC 6855 §4
asks of clients and RFC 9755 has dropped: Thunderbird writes every message so once UTF8=ACCEPT is enabled. CATENATE and
the other forms of append data are absent.
"""

import re
from dataclasses import dataclass

from posthouse.mail.dates import parse_internaldate
from posthouse.mail.ids import Millis
from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.grammar import OPEN, QUOTE, TAG, FlagSet, Scanner
from posthouse.wire.imap.number_set import NumberSet, number_set

MESSAGES = 1_000  # messages of one APPEND (limits.md); their octets have a bound of their own
_ONE = re.compile(rb"[0-9]{1,20}|\*")


@dataclass(frozen=True, slots=True)
class Replaced:
    """The message that REPLACE, or UID REPLACE where `uid`, removes (RFC 8508 §5)."""

    number: NumberSet
    uid: bool


@dataclass(frozen=True, slots=True)
class MessageHead:
    """What stands before a message: its flags and date, and `utf8` where `UTF8 (` opens, so that `)` must follow."""

    flags: FlagSet
    date: Millis | None
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class AppendHead:
    """Everything before the first message: tag, mailbox, what is said of that message, and what it replaces."""

    tag: bytes
    mailbox: str
    message: MessageHead
    replaced: Replaced | None = None


def parse_append_head(octets: bytes, utf8: bool) -> AppendHead:
    """`tag APPEND mailbox [SP flag-list] [SP date-time] SP ["UTF8" SP "("]`, the literal's `{n}` cut off (RFC 9051 §9,
    RFC 6855 §4). Raises Fault."""
    scanner = Scanner(octets, 0, utf8)
    tag = scanner.match(TAG, "a tag")[0]
    replaced = None if scanner.take(b" APPEND ") else _replaced(scanner)
    mailbox = scanner.mailbox()
    return AppendHead(tag, mailbox, parse_append_next(scanner), replaced)


def _replaced(scanner: Scanner) -> Replaced:
    uid = scanner.take(b" UID")
    scanner.mark(b" REPLACE ")
    number = number_set(scanner.match(_ONE, "the number of one message")[0])
    scanner.space()
    return Replaced(number, uid)


def parse_append_next(scanner: Scanner) -> MessageHead:
    """`[SP flag-list] [SP date-time] SP ["UTF8" SP "("]` before a message (RFC 9051 §9, RFC 6855 §4). Raises Fault."""
    flags = FlagSet()
    date: Millis | None = None
    scanner.space()
    if scanner.peek() == OPEN:
        flags = scanner.flag_list()
        scanner.space()
    if scanner.peek() == QUOTE:
        date = parse_internaldate(scanner.date_time())
        if date is None:
            raise Fault("There is no such date and time.")
        scanner.space()
    utf8 = scanner.take(b"UTF8 (")
    scanner.end()
    return MessageHead(flags, date, utf8)
