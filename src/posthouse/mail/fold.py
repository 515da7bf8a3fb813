"""Lines of a header that are too long for mail servers, broken where the words allow it (RFC 5322 §2.1.1, §2.2.3).

A CRLF goes in before a blank, so that the field is unfolded to what it was. Fields that list addresses or Message-IDs
may also be broken where a list goes on without a blank; one is added there, which means nothing in them. Shorter lines
stay as they are.

It does NOT break words, nor encode them: a line that has no such place has no remedy here.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from mmap import mmap

from posthouse.mail.header import Field

LINE = 998  # octets of a line without its CRLF, RFC 5322 §2.1.1
FOLD_AT = 78  # octets that a line should have at most, RFC 5322 §2.1.1

#: A span that is replaced, and by what: a fold is an empty span.
Change = tuple[int, int, bytes]

_LISTS = frozenset(
    b"from sender reply-to to cc bcc resent-from resent-sender resent-to resent-cc resent-bcc in-reply-to references"
    b" disposition-notification-to".split()
)
# Those at the end of a line are none: nothing but blanks may not be a line (RFC 5322 §3.2.2).
_BLANKS = re.compile(rb"[ \t]++")
# The same outside quoted strings, or where the next address or Message-ID begins. A quotation mark that is never
# closed reaches to the end, so that nothing is looked at twice.
_LIST = re.compile(
    rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|,(?=[^ \t\r\n])|>(?=<)|[ \t]++',
    re.DOTALL,
)
_BEGINNING = re.compile(rb"[ \t]*+(?:[!-9;-~\x80-\xff]++[ \t]*+:[ \t]*+)?+")


def folded(octets: bytes | mmap, fields: Iterable[Field]) -> list[Change] | Field:
    """What breaks every line of these fields that is too long; or the first field that has one without a place for
    it."""
    changes: list[Change] = []
    for field in fields:
        if field.stop - field.start <= LINE:
            continue
        found = _of_field(octets[field.start : field.stop], lists=field.name.lower() in _LISTS)
        if found is None:
            return field
        changes += [(field.start + place, field.start + place, new) for place, new in found]
    return changes


def _of_field(octets: bytes, *, lists: bool) -> list[tuple[int, bytes]] | None:
    """Where a field is broken, and by what; None where it has a line that cannot be."""
    broken: list[tuple[int, bytes]] = []
    at = 0
    for line in octets.split(b"\n"):
        text = line.removesuffix(b"\r")
        found = _of_line(text, lists=lists) if len(text) > LINE else []
        if found is None:
            return None
        broken += [(at + place, new) for place, new in found]
        at += len(line) + 1
    return broken


def _of_line(line: bytes, *, lists: bool) -> list[tuple[int, bytes]] | None:
    """Where this line is broken, and by what; None where some piece would still be too long."""
    for pattern in (_LIST, _BLANKS) if lists else (_BLANKS,):
        chosen = _chosen(len(line), _places(line, pattern))
        ends = [0, *(place for place, _ in chosen), len(line)]
        if all(stop - start < LINE for start, stop in pairwise(ends)):  # one octet may be added
            return chosen
    return None


def _places(line: bytes, pattern: re.Pattern[bytes]) -> Iterable[tuple[int, bytes]]:
    """Where the line may be broken: not before its first word, which would leave an empty line."""
    begun = _BEGINNING.match(line)
    for match in pattern.finditer(line, begun.end() if begun else 0):
        mark = match[0]
        if mark in (b",", b">"):
            yield match.end(), b"\r\n "
        elif mark[:1] != b'"' and match.end() < len(line):
            yield match.start(), b"\r\n"


def _chosen(length: int, places: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Of these places those that leave lines of at most FOLD_AT octets, as far as there are such."""
    chosen: list[tuple[int, bytes]] = []
    start, last = 0, None
    for place in (*places, (length, b"")):
        if last is not None and place[0] - start > FOLD_AT:
            chosen.append(last)
            start = last[0] - len(last[1].removeprefix(b"\r\n"))
        last = place
    return chosen
