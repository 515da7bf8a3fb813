"""Contexts of SEARCH and SORT: CANCELUPDATE, and the responses that tell how results change (RFC 5267 §4.3, §5).

The return options UPDATE and CONTEXT are read in search_return.py. It does not know messages: serve/imap/context.py
says what is added and removed, and where.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from posthouse.wire.imap.condition import over_limit
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.number_set import print_in_order

TAGS = 100  # named by one CANCELUPDATE; a session has fewer contexts

#: Context positions, each with the numbers that are put in, or taken out, from there on (RFC 5267 §4.3.3, §4.3.4).
Edits = Sequence[tuple[int, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class CancelUpdate:
    """CANCELUPDATE (RFC 5267 §4.3.5): the tags of searching commands whose updates are to end."""

    tag: bytes
    tags: tuple[bytes, ...]


def parse_cancel_update(tag: bytes, scanner: Scanner) -> CancelUpdate:
    """ "CANCELUPDATE" 1*(SP quoted) (RFC 5267 §5)."""
    tags: list[bytes] = []
    while not scanner.ended or not tags:
        scanner.space()
        tags.append(scanner.quoted())
        if len(tags) > TAGS:
            raise over_limit(f"CANCELUPDATE takes at most {TAGS} tags.")
    return CancelUpdate(tag, tuple(tags))


def print_edits(edits: Iterable[tuple[int, Sequence[int]]]) -> bytes:
    """*(SP context-position SP sequence-set) in parentheses (RFC 5267 §5)."""
    return b"(%b)" % b" ".join([b"%d %b" % (position, print_in_order(numbers)) for position, numbers in edits])
