"""GETMETADATA and SETMETADATA: annotations of mailboxes and of the server (RFC 5464 §5).

An entry is a path of ASCII characters whose first component says whose it is: /private or /shared. Names are compared
without regard to case and kept as they were spelled. What an entry means is not known here.
"""

import re
from dataclasses import dataclass

from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.grammar import OPEN, Scanner

ENTRY_LENGTH = 255  # characters of one entry
ENTRIES = 100  # entries of one command
INFINITY = 1_000  # DEPTH infinity: more components than any entry has
MOST = 2**32 - 1  # MAXSIZE: a number of RFC 3501 §9

# RFC 5464 §3.2: no two slashes together, none at the end, no "*", "%", control or non-ASCII characters
_ENTRY = re.compile(r"(?:/[^/*%\x00-\x19\x7f-\U0010ffff]+)+")
_SCOPES = ("/private", "/shared")
_VENDOR = "/vendor"
_OPTIONS = re.compile(rb"\((?:MAXSIZE|DEPTH) ", re.IGNORECASE)
_DEPTHS = {b"0": 0, b"1": 1, b"INFINITY": INFINITY}


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """GETMETADATA (RFC 5464 §4.2); the mailbox "" is the server. `depth`: how many components below each entry are
    wanted too; `most`: octets of a value, None where any will do."""

    tag: bytes
    mailbox: str
    entries: tuple[str, ...]
    depth: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class SetMetadata:
    """SETMETADATA (RFC 5464 §4.3): entries and their values, None to remove."""

    tag: bytes
    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]


def parse_get_metadata(tag: bytes, scanner: Scanner) -> GetMetadata:
    """What follows `GETMETADATA`. The options stand before the mailbox in the grammar of RFC 5464 §5 and behind it in
    its examples (§4.2.1): both are read."""
    scanner.space()
    depth, most = 0, None
    if scanner.peek() == OPEN:
        depth, most = _options(scanner)
        scanner.space()
    mailbox = scanner.mailbox()
    scanner.space()
    if _OPTIONS.match(scanner.octets, scanner.position):
        depth, most = _options(scanner)
        scanner.space()
    return GetMetadata(tag, mailbox, parse_entries(scanner), depth, most)


def parse_entries(scanner: Scanner) -> tuple[str, ...]:
    """entries (RFC 5464 §5); without parentheses there may be several to the end of the command, as in the example
    of §4.4.1."""
    if scanner.peek() == OPEN:
        entries = scanner.parenthesized(_entry)
    else:
        entries = [_entry(scanner)]
        while not scanner.ended:
            scanner.space()
            entries.append(_entry(scanner))
    if len(entries) > ENTRIES:
        raise over_limit(f"At most {ENTRIES} entries can be asked for at once.")
    return tuple({entry.lower(): entry for entry in entries}.values())


def parse_set_metadata(tag: bytes, scanner: Scanner) -> SetMetadata:
    """What follows `SETMETADATA` (RFC 5464 §5)."""
    scanner.space()
    mailbox = scanner.mailbox()
    scanner.space()
    values = scanner.parenthesized(_entry_value)
    if len(values) > ENTRIES:
        raise over_limit(f"At most {ENTRIES} entries can be set at once.")
    return SetMetadata(tag, mailbox, tuple(values))


def _entry_value(scanner: Scanner) -> tuple[str, bytes | None]:
    entry = _entry(scanner)
    components = entry.count("/")
    if components < 2 or (entry.lower().partition(_VENDOR + "/")[0] in _SCOPES and components < 4):
        raise Fault("The name of the entry is too short: a vendor's has four components, any other two.")
    scanner.space()
    value = scanner.literal8() if scanner.peek() == ord("~") else scanner.nstring()
    return entry, value


def _entry(scanner: Scanner) -> str:
    entry = scanner.text("ascii")
    if len(entry) > ENTRY_LENGTH:
        raise over_limit(f"The name of an entry may have at most {ENTRY_LENGTH} characters.")
    if not _ENTRY.fullmatch(entry) or not (entry + "/").lower().startswith(("/private/", "/shared/")):
        raise Fault('The name of an entry begins with /private or /shared and has no "*", "%", "//" or "/" at its end.')
    return entry


def _options(scanner: Scanner) -> tuple[int, int | None]:
    depth, most = 0, None
    for name, value in scanner.parenthesized(_option):
        if name == b"DEPTH":
            depth = value
        else:
            most = value
    return depth, most


def _option(scanner: Scanner) -> tuple[bytes, int]:
    name = scanner.word()
    scanner.space()
    if name == b"MAXSIZE":
        return name, scanner.number(MOST)
    if name != b"DEPTH":
        raise Fault("GETMETADATA knows the options MAXSIZE and DEPTH.")
    depth = _DEPTHS.get(scanner.word())
    if depth is None:
        raise Fault("DEPTH is 0, 1 or infinity.")
    return name, depth
