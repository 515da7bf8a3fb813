"""Blocks of the search index: the comparable texts of up to BLOCK_EMAILS Emails of one account, kind by kind,
compressed, and the search for a text in them (decision 0033). Pure: rows are read and written by index.py.

A page is one kind of text of all Emails of a block: where each Email's text begins, then the texts. Every line of a
header and every text of a body begins with NUL, which neither they nor what is searched for contain; so nothing is
found across two of them.
"""

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import zstandard

from posthouse.mail.fuzzy import Query
from posthouse.mail.text import Texts, lines

BLOCK_EMAILS = 128  # Emails of a full block
BLOCK_OCTETS = 1 << 20  # octets of texts beyond which nothing is added to a block
NO_DAY = -(1 << 31)  # of a message without a Date
THUMB = 8  # octets of a blob's digest that are kept, to know its Email again
WHOLE, CUT, UNREAD = 0, 1, 2  # flaws: none; of the bodies some is missing; nothing of it can be relied on
END = b"\0"
LEVEL = 3  # zstd
START = 4  # octets of a number that says where a text begins


class _Contexts(threading.local):
    """One decompressor a thread."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


class Kind(IntEnum):
    """What a page holds."""

    SUBJECT = 0
    SENDER = 1  # From
    PEOPLE = 2  # To, Cc, Bcc, Reply-To, Sender
    IDS = 3  # Message-ID, In-Reply-To, References
    REST = 4  # the other fields of the header
    MIME = 5  # fields of the parts' headers
    BODY = 6


KINDS = tuple(Kind)
CARDS = len(KINDS)  # the page that says whose texts these are
_KIND_OF = {
    "SUBJECT": Kind.SUBJECT,
    "FROM": Kind.SENDER,
    **dict.fromkeys(("TO", "CC", "BCC", "REPLY-TO", "SENDER"), Kind.PEOPLE),
    **dict.fromkeys(("MESSAGE-ID", "IN-REPLY-TO", "REFERENCES"), Kind.IDS),
}
_ALONE = frozenset({Kind.SUBJECT, Kind.SENDER})  # pages on which all fields have one name


class Entry(NamedTuple):
    """What the index keeps of one Email."""

    email: int
    thumb: bytes
    day: int
    flaw: int
    texts: tuple[bytes, ...]  # one for each Kind


class Page(NamedTuple):
    """One kind of text of so many Emails, unpacked: where the text of each begins, then the texts. It is one piece of
    octets, because to cut the texts out would cost nearly what it costs to search them."""

    octets: bytes
    emails: int

    @property
    def begin(self) -> int:
        """Where the texts begin."""
        return self.emails * START

    @property
    def starts(self) -> "array[int]":
        """Where each text begins, counted from `begin`. It is made anew each time."""
        return array("I", self.octets[: self.begin])


class Cards(NamedTuple):
    """Whose texts a block holds."""

    emails: "array[int]"
    days: "array[int]"
    thumbs: bytes
    flaws: bytes


class Wanted(NamedTuple):
    """What is looked for: a text, or words (RFC 6203), on these pages, of the fields of one name where there is one; or
    days."""

    kinds: tuple[Kind, ...]
    needle: bytes = b""
    name: str | None = None
    fits: Callable[[int], bool] | None = None
    query: Query | None = None


def kind_of(name: str) -> Kind:
    """On which page the fields of a name are; the name is comparable."""
    return _KIND_OF.get(name, Kind.REST)


def entry(email: int, thumb: bytes, day: int | None, texts: Texts) -> Entry:
    """The entry of an Email."""
    sorted_lines: list[list[str]] = [[] for _ in KINDS]
    for field in texts.fields:
        sorted_lines[kind_of(field[0])] += lines((field,))
    sorted_lines[Kind.MIME] = texts.mime
    sorted_lines[Kind.BODY] = texts.bodies
    try:
        joined = tuple(b"".join([END + one.encode() for one in several]) for several in sorted_lines)
    except UnicodeEncodeError:
        return unread(email, thumb)
    if sum(page.count(END) for page in joined) != sum(map(len, sorted_lines)):  # a text holds NUL itself
        return unread(email, thumb)
    return Entry(email, thumb, NO_DAY if day is None else day, WHOLE if texts.whole else CUT, joined)


def unread(email: int, thumb: bytes) -> Entry:
    """The entry of an Email that has to be read when something is looked for."""
    return Entry(email, thumb, NO_DAY, UNREAD, (b"",) * len(KINDS))


def pack(entries: Sequence[Entry]) -> list[bytes]:
    """The pages of a block, that of the cards last."""
    pages = [page_with([one.texts[kind] for one in entries]).octets for kind in KINDS]
    emails, days = array("q", [one.email for one in entries]), array("i", [one.day for one in entries])
    thumbs, flaws = b"".join([one.thumb for one in entries]), bytes([one.flaw for one in entries])
    pages.append(emails.tobytes() + days.tobytes() + thumbs + flaws)
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    return [compressor.compress(page) for page in pages]


def page_with(texts: Sequence[bytes]) -> Page:
    """The page of these texts."""
    starts = array("I", [0, *accumulate(map(len, texts))][:-1])
    return Page(b"".join([starts.tobytes(), *texts]), len(texts))


def unpack(packed: bytes) -> bytes:
    """A page as it was before it was compressed."""
    return _contexts.decompressor.decompress(packed)


def page_of(packed: bytes, count: int) -> Page:
    """The page of a block with so many Emails."""
    return Page(unpack(packed), count)


def cards_of(packed: bytes, count: int) -> Cards:
    """The cards of a block with so many Emails."""
    return cards_in(unpack(packed), count)


def cards_in(octets: bytes, count: int) -> Cards:
    """The same, unpacked."""
    emails, days = array("q"), array("i")
    emails.frombytes(octets[: count * 8])
    days.frombytes(octets[count * 8 : count * 12])
    return Cards(emails, days, octets[count * 12 : count * (12 + THUMB)], octets[count * (12 + THUMB) :])


def entries_of(cards: Cards, pages: Sequence[Page]) -> list[Entry]:
    """The entries a block was made of."""
    cut = [[page.octets[start:stop] for start, stop in ranges(page)] for page in pages]
    return [
        Entry(email, cards.thumbs[place * THUMB : (place + 1) * THUMB], day, flaw, tuple(one[place] for one in cut))
        for place, (email, day, flaw) in enumerate(zip(cards.emails, cards.days, cards.flaws, strict=True))
    ]


def ranges(page: Page) -> Iterable[tuple[int, int]]:
    """Where each Email's text begins and ends in the octets of the page."""
    ends = [page.begin + start for start in page.starts]
    ends.append(len(page.octets))
    return pairwise(ends)


# --- searching


def places(page: Page, wanted: Wanted) -> list[int]:
    """The places of the Emails in whose text on this page stands what is wanted."""
    if wanted.name is None:
        return _holding(page, wanted.needle)
    return [] if ":" in wanted.name else _with_field(page, wanted.name, wanted.needle)


def _holding(page: Page, needle: bytes) -> list[int]:
    octets, begin = page.octets, page.begin
    at = octets.find(needle, begin)
    if at < 0:
        return []
    starts = page.starts
    found: list[int] = []
    while at >= 0:
        place = bisect_right(starts, at - begin)
        found.append(place - 1)
        if place == len(starts):
            break
        at = octets.find(needle, begin + starts[place])
    return found


def _with_field(page: Page, name: str, needle: bytes) -> list[int]:
    head = END + f"{name}: ".encode()
    if not needle:
        return _holding(page, head)
    if kind_of(name) in _ALONE and not _touches(head, needle):
        return _holding(page, needle)
    octets = page.octets
    if octets.find(needle, page.begin) < 0:
        return []
    starts = page.starts
    found: list[int] = []
    at = octets.find(head, page.begin)
    while at >= 0:
        value = at + len(head)
        stop = octets.find(END, value)
        if octets.find(needle, value, stop if stop >= 0 else len(octets)) >= 0:
            found.append(bisect_right(starts, at - page.begin) - 1)
        at = octets.find(head, value)
    return found


@lru_cache(64)
def _touches(head: bytes, needle: bytes) -> bool:
    """Whether the needle could be found in a line without standing in the value alone."""
    return needle in head or any(needle.startswith(head[place:]) for place in range(len(head)))
