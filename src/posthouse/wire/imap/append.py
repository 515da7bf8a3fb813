"""The pieces of an APPEND or REPLACE between its literals (RFC 9051 §6.3.12, RFC 3502, RFC 8508 §5, RFC 4469 §5).

Messages stream past the parser, so APPEND is never one whole command: there is a piece before the first literal that is
a message or a TEXT of CATENATE, one before each further, and one behind the last. URLs of CATENATE stand within the
pieces, also those that come as literals. A message may come as `UTF8 (~{n} … )`, which RFC 6855 §4 asks of clients and
RFC 9755 has dropped: Thunderbird writes every message so once UTF8=ACCEPT is enabled. Other forms of append data than
these are absent. What a URL names is not looked at here.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from posthouse.mail.dates import parse_internaldate
from posthouse.mail.ids import Millis
from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import OPEN, QUOTE, TAG, FlagSet, Scanner
from posthouse.wire.imap.number_set import NumberSet, number_set

MESSAGES = 1_000  # messages of one APPEND (limits.md); their octets have a bound of their own
CAT_PARTS = 1_000  # parts of all its messages that CATENATE makes: each URL costs a look into the store

_ONE = re.compile(rb"[0-9]{1,20}|\*")
#: What every APPEND and REPLACE begins with, up to its mailbox.
COMMAND = re.compile(rb"%b (?:APPEND|(?:UID )?REPLACE [0-9*]{1,20}) " % TAG.pattern, re.IGNORECASE)
_CATENATE = re.compile(rb" CATENATE \(", re.IGNORECASE)
# RFC 4469 §5   url = "URL" SP astring
_URL = b"URL "


@dataclass(frozen=True, slots=True)
class Replaced:
    """The message that REPLACE, or UID REPLACE where `uid`, removes (RFC 8508 §5)."""

    number: NumberSet
    uid: bool


class OpenAppend(NamedTuple):
    """An APPEND as far as it was read: how many messages and parts it has, and what must follow the literal that was
    read last: the `)` of UTF8, more parts and the `)` of CATENATE."""

    tag: bytes
    mailbox: str
    replaced: Replaced | None = None
    messages: int = 0
    parts: int = 0
    utf8: bool = False
    catenating: bool = False


class MessageHead(NamedTuple):
    """What stands before a message: its flags and date. `catenate`: its parts follow (RFC 4469 §3)."""

    flags: FlagSet
    date: Millis | None
    catenate: bool = False


class Url(NamedTuple):
    """A part that a URL names (RFC 4469 §3)."""

    octets: bytes


class LiteralNext(NamedTuple):
    """Here the literal stands: the message whose head came last, or a part of it. `utf8`: within `UTF8 (…)`."""

    utf8: bool


Step = MessageHead | Url | LiteralNext

_PLAIN: list[Step] = [MessageHead(FlagSet(), None), LiteralNext(utf8=False)]


def begin_append(octets: bytes, utf8: bool) -> tuple[OpenAppend, Scanner]:
    """`tag APPEND mailbox`; the scanner stands behind it (RFC 9051 §9, RFC 8508 §5). Raises Fault."""
    scanner = Scanner(octets, 0, utf8)
    tag = scanner.match(TAG, "a tag")[0]
    replaced = None if scanner.take(b" APPEND ") else _replaced(scanner)
    return OpenAppend(tag, scanner.mailbox(), replaced), scanner


def _replaced(scanner: Scanner) -> Replaced:
    uid = scanner.take(b" UID")
    scanner.mark(b" REPLACE ")
    number = number_set(scanner.match(_ONE, "the number of one message")[0])
    scanner.space()
    return Replaced(number, uid)


def is_catenate(octets: bytes) -> bool:
    """Whether a whole command may be an APPEND whose messages are made of URLs alone, so that no literal stands in
    it."""
    return COMMAND.match(octets) is not None and _CATENATE.search(octets) is not None


def is_url(line: bytes) -> bool:
    """Whether a literal behind this line is the URL of a part, and so a short string, not a message."""
    if line[-len(_URL) :].upper() != _URL or line[-len(_URL) - 1 : -len(_URL)] not in (b" ", b"("):
        return False
    head = COMMAND.match(line)
    return head is None or head.end() + len(_URL) < len(line)  # APPEND to a mailbox of the name URL


def check_end(command: OpenAppend, octets: bytes) -> None:
    """Say what is wrong with an end that holds no further message. Raises Fault."""
    if command.utf8 and not octets.startswith(b")"):
        raise Fault("The parenthesis of UTF8 is not closed behind the message.")
    if not command.catenating and octets[command.utf8 :] and not _CATENATE.search(octets):
        raise Fault("There is more behind the message than belongs to the command.")


def read_append(command: OpenAppend, scanner: Scanner, most: int) -> tuple[list[Step], OpenAppend]:
    """What a piece says, `most` messages at most: LiteralNext is the last step where a literal must stand behind it
    (RFC 9051 §9, RFC 3502 §6.3.11, RFC 4469 §5, RFC 6855 §4). Raises Fault."""
    if scanner.octets == b" " and not (command.utf8 or command.catenating):  # between hundreds of messages
        if command.replaced is not None or command.messages >= most:
            return _PLAIN, _counted(command, _PLAIN, False, most)
        return _PLAIN, OpenAppend(command.tag, command.mailbox, None, command.messages + 1, command.parts)
    if scanner.ended and command.messages and not (command.utf8 or command.catenating):  # behind the last one
        return [], command
    steps: list[Step] = []
    if command.utf8:
        scanner.mark(b")")
    inside, first = command.catenating, False
    while True:
        if inside:
            steps += _cat_parts(scanner, first=first)
        if steps and isinstance(steps[-1], LiteralNext):
            break
        if scanner.ended and (steps or command.messages):
            break
        head = _head(scanner)
        steps.append(head)
        inside = first = head.catenate
        if not inside:
            steps.append(_literal(scanner, utf8=scanner.take(b"UTF8 (")))
    return steps, _counted(command, steps, inside, most)


def _head(scanner: Scanner) -> MessageHead:
    """`[SP flag-list] [SP date-time] SP ["CATENATE" SP "("]` before a message (RFC 9051 §9, RFC 4469 §5)."""
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
    return MessageHead(flags, date, scanner.take(b"CATENATE ("))


def _cat_parts(scanner: Scanner, *, first: bool) -> list[Step]:
    """`cat-part *(SP cat-part) ")"`, up to its end or to the literal of a part (RFC 4469 §5, RFC 6855 §4)."""
    parts: list[Step] = []
    while first or not scanner.take(b")"):
        if not first:
            scanner.space()
        first = False
        parts.append(_cat_part(scanner))
        if isinstance(parts[-1], LiteralNext):
            break
    return parts


def _cat_part(scanner: Scanner) -> Step:
    if scanner.take(b"URL "):
        return Url(scanner.astring())
    if scanner.take(b"TEXT "):
        return _literal(scanner, utf8=False)
    if scanner.take(b"UTF8 ("):
        return _literal(scanner, utf8=True)
    raise Fault("The parts of CATENATE are URL and TEXT.")


def _literal(scanner: Scanner, *, utf8: bool) -> LiteralNext:
    scanner.end()
    return LiteralNext(utf8)


def _counted(command: OpenAppend, steps: list[Step], inside: bool, most: int) -> OpenAppend:
    """The command behind these steps, if it has not too many messages and parts."""
    last = steps[-1] if steps else None
    literal = isinstance(last, LiteralNext)
    messages = command.messages + sum([isinstance(step, MessageHead) for step in steps])
    parts = command.parts + sum([isinstance(step, Url) for step in steps]) + (inside and literal)
    if command.replaced is not None and messages > 1:
        raise Fault("REPLACE takes one message.")
    if messages > most:
        raise over_limit(f"APPEND takes at most {most} messages.")
    if parts > CAT_PARTS:
        raise over_limit(f"APPEND takes at most {CAT_PARTS} parts of CATENATE.")
    utf8 = isinstance(last, LiteralNext) and last.utf8
    return OpenAppend(command.tag, command.mailbox, command.replaced, messages, parts, utf8, inside and literal)
