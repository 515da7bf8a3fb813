"""The texts of a message that a search looks at, and how they are compared: said here and nowhere else.

* Header fields: unfolded, encoded-words decoded (RFC 2047), at most as many as `header.pairs` gives. HEADER looks into
  the values of the fields of one name, each by itself; TEXT also at their names, as `Name: value`.
* Bodies: every text part, its transfer encoding undone and read in its charset (content.py); of HTML what the reader
  sees (html.py). The header of an enclosed message, and whatever is in it, counts as body of the outer one. Parts
  other than text and message are left out, as RFC 9051 §6.4.4 allows.
* MIME header fields of the parts: for TEXT alone (RFC 9051 §6.4.4).

Both what is searched and what is searched for are compared by `comparable`: i;unicode-casemap (RFC 5051), as
RFC 5255 §4.2, §4.6 asks. A text whose charset is wrong has been read in the one it most likely has; what still could
not be read is U+FFFD. The same functions feed the index and the scan (serve/imap/criteria.py), so both give one answer.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from posthouse.mail.casemap import casemap
from posthouse.mail.content import text
from posthouse.mail.dates import parse_date
from posthouse.mail.header import Octets, decode_words, pairs, searchable
from posthouse.mail.html import visible
from posthouse.mail.longtext import readable_pieces, windows
from posthouse.mail.mime import Part, parse

# Scripts whose words are not separated by spaces: Thai to Khmer, then kana and CJK. Hangul is separated.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Signs within words that Python counts as none of them: Hebrew and Arabic points, vowels of the scripts of India.
_SIGNS = r"\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:[^\W_{_UNSPACED}]|[{_SIGNS}])+")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")

LONG = 1 << 20  # octets of a text part that is looked at in pieces, so that it is never whole in memory
DAY = 86_400_000  # milliseconds
WORD = 40  # characters of a word that FUZZY knows: the rest is disregarded
IDEOGRAPHS, LETTERS = 2, 4  # characters of a piece of text without spaces: of CJK and kana; of Thai to Khmer


Shown = Callable[[Octets, Part], Iterator[str]]


class Texts(NamedTuple):
    """What an index keeps of a message, all of it comparable. `whole` says that nothing was cut off."""

    fields: list[tuple[str, str]]  # of the message's own header: name, value
    mime: list[str]  # of its parts' headers, as `Name: value`
    bodies: list[str]
    whole: bool


def comparable(words: str) -> str:
    """Text as it is compared; line ends as in the texts of bodies."""
    return casemap(words.replace("\r\n", "\n"))


def fields(block: bytes) -> list[tuple[str, str]]:
    """Names and values of a header, comparable."""
    return [(casemap(name.decode("latin-1")), casemap(decode_words(value))) for name, value in pairs(block)]


def values(block: bytes, name: str) -> Iterator[str]:
    """The values of the fields of one name, comparable; the name must be so, too."""
    for found, value in pairs(block):
        if casemap(found.decode("latin-1")) == name:
            yield casemap(decode_words(value))


def lines(several: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Fields as TEXT sees them."""
    return (f"{name}: {value}" for name, value in several)


def bodies(octets: Octets, overlap: int = 0) -> Iterator[str]:
    """The texts of the body, comparable."""
    return (found for kept, found in below(octets, parse(octets), overlap) if kept)


def everything(octets: Octets, overlap: int = 0) -> Iterator[str]:
    """The texts of header and body, comparable: what TEXT looks at."""
    root = parse(octets)
    yield from lines(fields(searchable(octets)[root.header.start : root.header.stop]))
    for _, found in below(octets, root, overlap):
        yield found


def below(octets: Octets, root: Part, overlap: int) -> Iterator[tuple[bool, str]]:
    """The texts below the header of the message, comparable, and whether they count as body. One of more than LONG
    octets comes in pieces, each with so many characters of what came before it."""
    found = _inner(octets, root, enclosed=False, shown=lambda octets, part: _pieces_of(octets, part, overlap))
    return ((kept, casemap(text)) for kept, text in found)


def _pieces_of(octets: Octets, part: Part, overlap: int) -> Iterator[str]:
    if part.body.size <= LONG:
        return iter((readable(octets, part),))
    return windows(readable_pieces(octets, part), overlap)


def texts(octets: Octets, limit: int) -> Texts:
    """All of it, for an index; when the bodies have more than `limit` characters, or a single part more than as many
    octets, the rest is left out and the texts are not whole."""
    root = parse(octets)
    mime: list[str] = []
    body: list[str] = []
    left, whole = limit, True

    def short(octets: Octets, part: Part) -> Iterator[str]:
        return iter((readable(octets, part),) if part.body.size <= limit else ())

    for kept, found in _inner(octets, root, enclosed=False, shown=short):
        left -= len(found)
        if left < 0:
            whole = False
            break
        (body if kept else mime).append(casemap(found))
    whole = whole and not _larger(root, limit)
    return Texts(fields(searchable(octets)[root.header.start : root.header.stop]), mime, body, whole)


def _larger(root: Part, most: int) -> bool:
    return any(part.type == "text" and part.body.size > most for part in root.walk())


def _inner(octets: Octets, part: Part, *, enclosed: bool, shown: Shown) -> Iterator[tuple[bool, str]]:
    """The texts below the header of a part, and whether they count as body; of text parts what is `shown`."""
    for child in part.children:
        for line in _lines(octets, child):
            yield enclosed, line
        yield from _inner(octets, child, enclosed=enclosed, shown=shown)
    if part.message is not None:
        for line in _lines(octets, part.message):
            yield True, line
        yield from _inner(octets, part.message, enclosed=True, shown=shown)
    elif part.type == "text":
        for found in shown(octets, part):
            yield True, found


def _lines(octets: Octets, part: Part) -> Iterator[str]:
    block = searchable(octets)[part.header.start : part.header.stop]
    return (f"{name.decode('latin-1')}: {decode_words(value)}" for name, value in pairs(block))


def readable(octets: Octets, part: Part) -> str:
    """The text of a text part as a person reads it."""
    value = text(octets, part).value
    return visible(value) if part.subtype == "html" else value


def words(wanted: str, most: int) -> list[str]:
    """The words of what somebody looks for, each once, at most so many. Of scripts that do not separate their words
    overlapping pieces, so that a word is found by its pieces."""
    found: dict[str, None] = {}
    for run in _WORD.finditer(wanted):
        for word in _pieces(run[0]) if unspaced(run[0]) else (run[0][:WORD],):
            found[word] = None
            if len(found) == most:
                return list(found)
    return list(found)


def unspaced(word: str) -> bool:
    """Whether this is of a script that does not separate its words."""
    return not word.isascii() and _UNSPACED_RUN.fullmatch(word) is not None


def _pieces(run: str) -> Iterator[str]:
    size = IDEOGRAPHS if run >= "\u3040" else LETTERS
    return (run[place : place + size] for place in range(max(len(run) - size, 0) + 1))


def sent_day(value: bytes | None) -> int | None:
    """The day that stands in a Date field, in days since 1970, disregarding its time and zone (RFC 9051 §6.4.4,
    SENTON); None where there is none."""
    parsed = parse_date(value) if value is not None else None
    return None if parsed is None else (parsed[0] + parsed[1] * 60_000) // DAY
