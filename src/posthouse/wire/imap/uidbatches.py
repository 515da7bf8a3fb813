"""UIDBATCHES: the command that asks for a mailbox in pieces, and its response (RFC 10022 §3.1, §4).

It does not know messages.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from posthouse.wire.imap.condition import Condition, Fault
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.number_set import LARGEST

TOOFEW = b"TOOFEW"
CLIENTBUG = b"CLIENTBUG"


@dataclass(frozen=True, slots=True)
class UidBatches:
    """UIDBATCHES (RFC 10022 §3.1): batches of `size` messages, the first is that of the newest; `wanted`: only from
    this one to that one."""

    tag: bytes
    size: int
    wanted: tuple[int, int] | None = None


def parse_uidbatches(tag: bytes, scanner: Scanner) -> UidBatches:
    """message-batches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number] (RFC 10022 §4)."""
    scanner.space()
    size = _positive(scanner)
    if scanner.ended:
        return UidBatches(tag, size)
    scanner.space()
    first = _positive(scanner)
    scanner.mark(b":")
    last = _positive(scanner)
    if last < first:
        raise Fault("The first number of a range of batches is the lower one.", CLIENTBUG, Condition.BAD)
    return UidBatches(tag, size, (first, last))


def _positive(scanner: Scanner) -> int:
    number = scanner.number(LARGEST)
    if not number:
        raise Fault("Batches are counted from 1, and have messages.")
    return number


def print_uidbatches(tag: bytes, ranges: Iterable[tuple[int, int]]) -> bytes:
    """uidbatches-response: (highest, lowest) UIDs, descending (RFC 10022 §3.1.2, §4). A tag needs no escape."""
    listed = b",".join([b"%d:%d" % pair for pair in ranges])
    return b'* UIDBATCHES (TAG "%b")%b\r\n' % (tag, b" " + listed if listed else b"")
