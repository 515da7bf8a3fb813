"""A message made fit for a server that takes less: 8-bit parts and long lines encoded anew (RFC 6152 §3, RFC 2045 §6).

Only the bodies of parts are encoded, quoted-printable or base64, with their Content-Transfer-Encoding; multiparts keep
their structure, and every octet outside those parts stays as it was (RFC 2045 §6.4). What cannot be done without
changing what the message says is refused with a reason:
  * inside multipart/signed and multipart/encrypted nothing may change, the transfer encoding neither (RFC 1847 §2.1);
  * octets above 127, or lines that are too long, in a header, a preamble or an epilogue have no encoding;
  * parts below the depth and beyond the number that `mime.py` shows are not understood.

It does NOT fold lines (fold.py does, for users), nor encode header fields. A DKIM signature over the body does not
survive it (RFC 6376 §5.3): what we sign ourselves is made fit before.
"""

import re
from binascii import b2a_qp
from collections.abc import Iterator
from enum import Enum
from itertools import zip_longest
from typing import NamedTuple

from posthouse.mail import content
from posthouse.mail.mime import Part, parse

LINE = 998  # octets of a line without its CRLF, RFC 5322 §2.1.1

_SEALED = frozenset({"signed", "encrypted"})  # RFC 1847
# With its CR, which stands before every LF. From the beginning of a line, so that none is looked at twice.
_LONG = re.compile(rb"\n[^\n]{%d}" % (LINE + 2))
_HIGH = re.compile(rb"[\x80-\xff]")


class Unfit(Enum):
    """Why a message cannot be made fit, in words for its sender."""

    SIGNED = "a signed or encrypted part of the message has letters or lines that not every server takes"
    LONG = "a line of the header, or between the parts, of the message has more than 998 octets and cannot be encoded"
    EIGHT_BIT = "the header, or what stands between the parts, of the message has characters outside ASCII"
    UNKNOWN = "a part of the message has letters or lines that not every server takes, and cannot be encoded anew"


class _Edit(NamedTuple):
    start: int
    stop: int
    octets: bytes


def fit(octets: bytes, *, eight_bit: bool) -> bytes | Unfit:
    """The message with no line longer than LINE and, unless `eight_bit`, no octet above 127. Lines end with CRLF.

    What was made is read again: its parts must hold what they held."""
    done = _encoded_anew(octets, eight_bit=eight_bit)
    return done if isinstance(done, Unfit) or _alike(done, octets) else Unfit.UNKNOWN


def _alike(one: bytes, other: bytes) -> bool:
    """Whether type and content are the same of all that `_encoded` may encode."""
    pairs = zip_longest(_leaves(parse(one)), _leaves(parse(other)))
    return all(first and second and _same(one, first, other, second) for first, second in pairs)


def _same(one: bytes, first: Part, other: bytes, second: Part) -> bool:
    if (first.type, first.subtype) != (second.type, second.subtype):
        return False
    raw = memoryview(one)[first.body.start : first.body.stop]
    if first.encoding == second.encoding and raw == memoryview(other)[second.body.start : second.body.stop]:
        return True
    return _plain(one, first) == _plain(other, second)


def _plain(octets: bytes, part: Part) -> bytes | None:
    """The last CRLF of a message stands inside or behind base64."""
    plain = content.decoded(octets, part)
    return plain and plain.removesuffix(b"\r\n")


def _leaves(part: Part) -> Iterator[Part]:
    below = part.children if part.message is None else (part.message,)
    if not below or part.subtype == "global":
        yield part
        return
    for child in below:
        yield from _leaves(child)


def _encoded_anew(octets: bytes, *, eight_bit: bool) -> bytes | Unfit:
    edits: list[_Edit] = []
    root = parse(octets)
    for edit in _edits(octets, root, eight_bit=eight_bit):
        if isinstance(edit, Unfit):
            return edit
        edits.append(edit)
    if edits and b"mime-version" not in root.fields:
        edits.insert(0, _made_mime(octets, root))  # in front of a label for a header that had no fields
    done = _apply(octets, edits)
    if _has_long(done):
        return Unfit.LONG
    return Unfit.EIGHT_BIT if needs(done, eight_bit=eight_bit) else done


def needs(octets: bytes, *, eight_bit: bool) -> bool:
    """Whether there are lines longer than LINE or, unless `eight_bit`, octets above 127."""
    return (not eight_bit and not octets.isascii()) or _has_long(octets)


def _has_long(octets: bytes) -> bool:
    first = octets.find(b"\n", 0, LINE + 2)
    return (first < 0 and len(octets) >= LINE + 2) or _LONG.search(octets) is not None


def _edits(octets: bytes, part: Part, *, eight_bit: bool) -> Iterator[_Edit | Unfit]:
    """What must change in this part and those below it."""
    body = octets[part.body.start : part.body.stop]
    if not needs(body, eight_bit=eight_bit):
        return
    below = part.children if part.message is None else (part.message,)
    # What mime.py shows because nothing better is known: it has no header of its own in which a label could stand.
    opaque = not part.header.size and (part.type, part.subtype) == ("application", "octet-stream")
    opaque = opaque or any(not child.header.size and child.body == part.body for child in below)
    if part.multipart and part.subtype in _SEALED:
        yield Unfit.SIGNED
    elif opaque or (part.type == "message" and not below):
        yield Unfit.UNKNOWN  # RFC 2046 §5.2: of these types none may be encoded
    elif below and part.subtype != "global":  # RFC 6532 §3.7: message/global may be encoded as a whole
        for child in below:
            yield from _edits(octets, child, eight_bit=eight_bit)
        if not eight_bit and part.encoding in ("8bit", "binary"):
            yield _relabelled(octets, part, b"7bit")
    else:
        yield from _encoded(octets, part)


def _encoded(octets: bytes, part: Part) -> Iterator[_Edit | Unfit]:
    """A part without parts, encoded: as it was if it was, else as is shorter; what is no text in base64."""
    plain = content.decoded(octets, part)
    if plain is None:
        yield Unfit.UNKNOWN
        return
    encoding = part.encoding
    if encoding not in ("quoted-printable", "base64"):
        text = part.type == "text" and len(_HIGH.findall(plain)) * 6 < len(plain)
        encoding = "quoted-printable" if text else "base64"
    encoded = _quoted(plain) if encoding == "quoted-printable" else b""
    # RFC 2046 §5.1.1: a soft line break must not put "--" at the start of a line, which might be a boundary.
    if encoding == "base64" or _dashes(encoded) > _dashes(plain):
        encoding, encoded = "base64", content.in_base64(plain)
    yield _relabelled(octets, part, encoding.encode("ascii"))
    # The end of the message keeps its CRLF; before a boundary the CRLF is none of the part's.
    last = part.body.stop == len(octets) and octets.endswith(b"\r\n")
    yield _Edit(part.body.start, part.body.stop, encoded + (b"\r\n" if last and not encoded.endswith(b"\r\n") else b""))


def _dashes(octets: bytes) -> int:
    """How many lines begin with them."""
    return octets.count(b"\n--") + octets.startswith(b"--")


def _quoted(plain: bytes) -> bytes:
    """Quoted-printable (RFC 2045 §6.7). The CRLF makes b2a_qp break lines with CRLF and encode a blank at the end."""
    return b2a_qp(plain + b"\r\n", quotetabs=False, istext=True, header=False)[:-2]


def _relabelled(octets: bytes, part: Part, encoding: bytes) -> _Edit:
    """The header with this Content-Transfer-Encoding and no other, in the place of the old one or at its end."""
    start, stop = part.header
    header = octets[start:stop]
    label = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    old = content.ENCODING_FIELD.search(header)
    if old is not None:
        rest = content.ENCODING_FIELD.sub(b"", header[old.end() :])
        return _Edit(start, stop, header[: old.start()] + label + rest)
    if not header:
        return _Edit(start, start, label + b"\r\n")
    blank = header.endswith((b"\n\r\n", b"\n\n")) or header in (b"\r\n", b"\n")
    at = stop - (2 if header.endswith(b"\r\n") else 1) if blank else stop
    return _Edit(at, stop, label + (octets[at:stop] if blank else b"\r\n"))


def _made_mime(octets: bytes, root: Part) -> _Edit:
    """Fields that make a message of the time before MIME one (RFC 2045 §4, RFC 1428 §3)."""
    fields = b"MIME-Version: 1.0\r\n"
    if b"content-type" not in root.fields:
        charset = b"us-ascii" if octets[root.body.start :].isascii() else b"unknown-8bit"
        fields += b"Content-Type: text/plain; charset=" + charset + b"\r\n"
    return _Edit(root.header.start, root.header.start, fields)


def _apply(octets: bytes, edits: list[_Edit]) -> bytes:
    pieces, at = [], 0
    for start, stop, new in sorted(edits, key=lambda edit: (edit.start, edit.stop)):
        pieces += [octets[at:start], new]
        at = stop
    return b"".join([*pieces, octets[at:]])
