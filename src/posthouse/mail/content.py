"""The content of one part: transfer encodings undone, and base64 made; text read in its charset (RFC 2045 §6,
RFC 2046 §4.1).

Never raises for what a message contains. It does not change text: HTML stays HTML, line ends stay as they are but in
`text`, where CRLF becomes LF (RFC 8621 §4.1.4).
"""

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from posthouse.mail import charset as charsets
from posthouse.mail import parameters as parameterized
from posthouse.mail.header import BASE64_RUNS, Octets, decode_base64, searchable
from posthouse.mail.mime import Part

LONG_LINE = 1 << 20  # octets of a line after which a piece ends within it: bounds what decoded_pieces holds
_UNCERTAIN = 4_096  # octets at the end of such a piece in which a good place to end it is looked for
BASE64_LINE = 57  # octets before encoding that make a line of 76 (RFC 2045 §6.8)
HTML_HEAD = 1_024  # octets of HTML in which a charset declaration is looked for, as browsers do

# RFC 2045 §6.1   mechanism = "7bit" / "8bit" / "binary" / "quoted-printable" / "base64"; the rest is what people write
_IDENTITIES = frozenset({"7bit", "8bit", "binary", "7-bit", "8-bit", "7bits", "8bits", "none"})
_UUENCODES = frozenset({"x-uuencode", "uuencode", "x-uue", "uue"})
_HTML_CHARSET = re.compile(rb"""<meta[^>]{1,200}?charset[ \t]*=[ \t]*["']?([A-Za-z0-9._:-]{1,40})""", re.IGNORECASE)
# The field with the lines folded into it, as it stands in a header block.
ENCODING_FIELD = re.compile(
    rb"^content-transfer-encoding[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*+", re.IGNORECASE | re.MULTILINE
)
_NOT_LETTERS = re.compile(rb"[^A-Za-z0-9+/]+")
# What mailing lists put below a text in base64 without looking: a blank line, then a ruler. Read as base64, as RFC 2045
# §6.8 would have it, it would show as garbage.
_FOOTER = re.compile(rb"\n\r?\n[-_*#~]{4}")
_FOOTER_SIZE = 7  # octets at most
# RFC 2045 §6.7   where quoted-printable may be cut: no "=XX", soft line break or padding goes across
_PLAIN_PLACE = re.compile(rb"[^= \t\r]{3}")


class Text(NamedTuple):
    """The text of a part, and whether its charset or transfer encoding was unknown or wrong (RFC 8621 §4.1.4)."""

    value: str
    problem: bool


def decoded(octets: Octets, part: Part) -> bytes | None:
    """The body of a part with its transfer encoding undone (RFC 2045 §6), or None where that encoding is unknown.
    Multiparts and messages have none: their body is given as it stands."""
    body = searchable(octets)[part.body.start : part.body.stop]
    encoding = part.encoding
    if encoding in _IDENTITIES or part.multipart:
        return body
    if encoding == "base64":
        footer = _FOOTER.search(body)
        return decode_base64(body if footer is None else body[: footer.start()])
    if encoding == "quoted-printable":
        return _quoted_printable(body)
    if encoding in _UUENCODES:
        return _uuencoded(body)
    return None


def in_base64(octets: bytes) -> bytes:
    """Base64 in lines, without a line end behind the last (RFC 2045 §6.8)."""
    lines = (
        binascii.b2a_base64(octets[at : at + BASE64_LINE], newline=False) for at in range(0, len(octets), BASE64_LINE)
    )
    return b"\r\n".join(lines)


def decoded_pieces(pieces: Iterable[bytes], part: Part) -> Iterator[bytes] | None:
    """As `decoded` for a body that comes in pieces, of which never more than two and a LONG_LINE are held. Only of
    lines longer than that, which no mail program makes, may it give something else than `decoded`."""
    encoding = part.encoding
    if encoding in _IDENTITIES or part.multipart:
        return iter(pieces)
    if encoding == "base64":
        return _base64_pieces(pieces)
    if encoding == "quoted-printable":
        return map(_quoted_printable, _whole_lines(pieces))
    if encoding in _UUENCODES:
        return _uu_pieces(_whole_lines(pieces))
    return None


def _base64_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    letters = b""
    runs = 0
    for piece in _without_footer(pieces):
        *ended, last = piece.split(b"=", BASE64_RUNS - runs)
        runs += len(ended)
        for run in ended:
            yield decode_base64(letters + run)
            letters = b""
        letters += _NOT_LETTERS.sub(b"", last)
        whole = len(letters) // 4 * 4
        yield binascii.a2b_base64(letters[:whole])
        letters = letters[whole:]
    yield decode_base64(letters)


def _without_footer(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        rest += piece
        footer = _FOOTER.search(rest)
        if footer is not None:
            yield rest[: footer.start()]
            return
        ready = max(len(rest) - _FOOTER_SIZE, 0)
        yield rest[:ready]
        rest = rest[ready:]
    yield rest


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets in pieces that end with a line, or within one longer than LONG_LINE."""
    rest = b""
    for piece in pieces:
        stop = piece.rfind(b"\n") + 1
        if stop:
            yield rest + piece[:stop]
            rest = piece[stop:]
            continue
        rest += piece
        if len(rest) > LONG_LINE:
            place = _PLAIN_PLACE.search(rest, len(rest) - _UNCERTAIN)
            stop = len(rest) if place is None else place.end()
            yield rest[:stop]
            rest = rest[stop:]
    yield rest


def octets_of(octets: Octets, part: Part) -> bytes:
    """As `decoded`, with an unknown transfer encoding treated as none (RFC 8621 §4.1.4, blobId)."""
    body = decoded(octets, part)
    return searchable(octets)[part.body.start : part.body.stop] if body is None else body


def text(octets: Octets, part: Part) -> Text:
    """The text of a part, in the charset it names or, if that fails, the one it most likely has; CRLF becomes LF
    (RFC 8621 §4.1.4, EmailBodyValue)."""
    body = decoded(octets, part)
    unknown = body is None
    raw = octets_of(octets, part) if body is None else body
    name = charset_of(part, raw)
    value, problem = charsets.decode(raw, name)
    value = value.removeprefix("\ufeff")
    return Text(value.replace("\r\n", "\n").replace("\0", ""), problem or unknown)


def charset_of(part: Part, body: bytes = b"") -> str:
    """The charset parameter, or what the HTML itself says where there is none, or US-ASCII (RFC 2046 §4.1.2)."""
    named = parameterized.text(part.parameters, b"charset")
    if named:
        return named
    if part.subtype == "html":
        match = _HTML_CHARSET.search(body, 0, HTML_HEAD)
        if match is not None:
            return match[1].decode("ascii")
    return "us-ascii"


def _quoted_printable(body: bytes) -> bytes:
    """RFC 2045 §6.7. White space at a line's end was added on the way (rule 3); a `=` that is not followed by two
    hexadecimal digits stays."""
    if b" \r" in body or b" \n" in body or b"\t\r" in body or b"\t\n" in body or body[-1:] in (b" ", b"\t"):
        body = b"\n".join([_without_padding(line) for line in body.split(b"\n")])
    return binascii.a2b_qp(body)


def _without_padding(line: bytes) -> bytes:
    """A line without the white space before its line end, of which the LF is cut off already."""
    return line[:-1].rstrip(b" \t") + b"\r" if line.endswith(b"\r") else line.rstrip(b" \t")


def _uuencoded(body: bytes) -> bytes:
    """Lines between `begin` and `end`; a line that cannot be read is passed over."""
    return b"".join(_uu_pieces((body,)))


def _uu_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inside = False
    for piece in pieces:
        out: list[bytes] = []
        for line in piece.splitlines():
            if not inside:
                inside = line.startswith(b"begin ")
            elif line == b"end":
                inside = False
            elif line.strip():
                out.append(_uu_line(line))
        yield b"".join(out)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        pass
    # Some encoders pad the line with too much: take as many octets as its length says.
    try:
        return binascii.a2b_uu(line[: (((line[0] - 32) & 63) * 4 + 5) // 3])
    except binascii.Error:
        return b""
