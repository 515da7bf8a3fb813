"""The text of a long part piece by piece, so that it is never whole in memory: the same text, in order, as `readable`
of text.py has it, for whoever looks for something in it.

Each step of `content.text` and `html.visible` is here once more for text that comes in pieces; tests hold the two
against each other. What no step can take apart is held until it has ended, HELD characters of it at most: only for a
line or tag longer than that, which no mail program makes, may something else come out.
"""

import codecs
import html
import re
from collections.abc import Iterator

from posthouse.mail import charset as charsets
from posthouse.mail import html as visible
from posthouse.mail.content import HTML_HEAD, charset_of, decoded_pieces
from posthouse.mail.header import Octets, searchable
from posthouse.mail.mime import Part

PIECE = 64 * 1024  # octets that are read at once: what is done with them keeps others waiting for 2 ms
HELD = 1 << 20  # characters that are held because they may belong to what comes
REFERENCE = 40  # characters of a character reference that has a name, and more

_PAIRED = re.compile("[\r\ud800-\udbff]")
_NUMERIC = re.compile("&#[xX]?[0-9a-fA-F]*")


def readable_pieces(octets: Octets, part: Part) -> Iterator[str]:
    """The text of a text part as a person reads it."""

    def source() -> Iterator[str]:
        return _text(octets, part)

    if part.subtype != "html":
        return source()
    marked = any("<" in piece for piece in source())
    seen = _tagless(source()) if marked else source()
    return _tidied(_unescaped(seen))


def windows(pieces: Iterator[str], overlap: int) -> Iterator[str]:
    """The same text, each piece with so many characters of what came before it: nothing that is at most one character
    longer than that stands in none of them."""
    before = ""
    for piece in pieces:
        window = before + piece
        yield window
        before = window[-overlap:] if overlap else ""


# --- octets to text (content.py, charset.py)


def _octets(octets: Octets, part: Part) -> Iterator[bytes]:
    body = searchable(octets)
    start, stop = part.body

    def raw() -> Iterator[bytes]:
        return (body[at : min(at + PIECE, stop)] for at in range(start, stop, PIECE))

    found = decoded_pieces(raw(), part)
    return raw() if found is None else found


def _text(octets: Octets, part: Part) -> Iterator[str]:
    head = b""
    for some in _octets(octets, part):
        head += some
        if len(head) >= HTML_HEAD:
            break
    name, errors = charsets.reading(charset_of(part, head), lambda: _octets(octets, part))
    begun, rest = False, ""
    for made, last in _decoded(codecs.getincrementaldecoder(name)(errors), _octets(octets, part)):
        piece = rest + made
        if piece and not begun:
            piece, begun = piece.removeprefix("\ufeff"), True
        # A CR may have its LF in the next piece, and one half of a pair of surrogates the other.
        rest = "" if last or _PAIRED.match(piece[-1:]) is None else piece[-1:]
        yield charsets.whole(piece.removesuffix(rest)).replace("\r\n", "\n").replace("\0", "")


def _decoded(decoder: codecs.IncrementalDecoder, pieces: Iterator[bytes]) -> Iterator[tuple[str, bool]]:
    """Pieces, and whether each is the last."""
    for piece in pieces:
        yield decoder.decode(piece), False
    yield decoder.decode(b"", True), True


# --- HTML to text (html.py)


def _tagless(source: Iterator[str]) -> Iterator[str]:
    pieces = _spaced(_without_unseen(source))
    for pattern, put in ((visible.BREAK, "\n"), (visible.ALTERNATIVE, r"\1\2")):
        pieces = _replaced(pieces, pattern, put)
    return _replaced(pieces, visible.CLOSED_TAG, "", visible.TAG)


def _without_unseen(source: Iterator[str]) -> Iterator[str]:
    """Without comments and elements whose content nobody sees."""
    rest = ""
    end: re.Pattern[str] | None = None  # of what is not seen at the moment
    for piece in source:
        rest += piece
        while (found := (end or visible.UNSEEN_BEGINS).search(rest)) is not None:
            if end is None and found.end() == len(rest):
                break  # its name may be longer
            if end is None:
                yield rest[: found.start()]
            end = visible.UNSEEN_ENDS[(found[1] or "").lower()] if end is None else None
            rest = rest[found.end() :]
        stop = _unclosed(rest)
        if end is None:
            yield rest[:stop]
        rest = rest[stop if end is None else min(stop, max(len(rest) - 2, 0)) :]
    if end is None:
        found = visible.UNSEEN_BEGINS.search(rest)
        yield rest if found is None else rest[: found.start()]


def _unclosed(text: str) -> int:
    """Where the last < begins that has no > yet; the end of the text where there is none, or a very long one."""
    begun = text.rfind("<")
    if begun < 0 or len(text) - begun > HELD or text.find(">", begun) >= 0:
        return len(text)
    return begun


def _spaced(source: Iterator[str]) -> Iterator[str]:
    """With one space for each run of white space."""
    space = False
    for piece in source:
        made = visible.SPACE.sub(" ", piece)
        if space and made.startswith(" "):
            made = made[1:]
        if made:
            space = made.endswith(" ")
        elif piece:
            space = True
        yield made


def _replaced(
    source: Iterator[str], pattern: re.Pattern[str], put: str, last: re.Pattern[str] | None = None
) -> Iterator[str]:
    """With what the pattern finds replaced, which begins with < and goes to the next > at most; `last`: the pattern for
    the end of the text."""
    rest = ""
    for piece in source:
        rest += piece
        stop = _unclosed(rest)
        yield pattern.sub(put, rest[:stop])
        rest = rest[stop:]
    yield (last or pattern).sub(put, rest)


def _unescaped(source: Iterator[str]) -> Iterator[str]:
    """With character references read."""
    rest = ""
    for piece in source:
        rest += piece
        begun = rest.rfind("&")
        stop = len(rest) if begun < 0 or not _goes_on(rest, begun) else begun
        yield html.unescape(rest[:stop]).replace("\0", "")
        rest = rest[stop:]
    yield html.unescape(rest).replace("\0", "")


def _goes_on(text: str, begun: int) -> bool:
    """Whether a character reference may not be whole yet."""
    numeric = _NUMERIC.fullmatch(text, begun)
    return len(text) - begun <= (REFERENCE if numeric is None else HELD)


def _tidied(source: Iterator[str]) -> Iterator[str]:
    """With single line ends, and without space at both ends."""
    rest, begun = "", False
    for piece in source:
        rest += piece
        ready = rest.rstrip(" \n")
        rest = visible.BREAKS.sub("\n", rest[len(ready) :])[:HELD] if begun or ready else ""
        if ready:
            made = visible.BREAKS.sub("\n", ready)
            yield made if begun else made.lstrip(" \n")
            begun = True
