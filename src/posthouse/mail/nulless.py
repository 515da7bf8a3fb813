"""A message without NUL octets: parts that hold some are put into base64 (RFC 3516 §4.4, RFC 2045 §6.8).

BODY[] may not show NUL (RFC 9051 §4.3.1), so what comes as a literal8 is changed before it is kept: each leaf part
that holds NUL, and has no transfer encoding yet, gets one, and its field says so. No octet of content is lost. NUL
elsewhere, in a header, between parts, in a part that may not be encoded, cannot be helped.
"""

from collections.abc import Iterator
from mmap import mmap

from posthouse.mail.content import BASE64_LINE, ENCODING_FIELD, in_base64
from posthouse.mail.header import HEADER_VIEW
from posthouse.mail.mime import Part, Span, parse

_IDENTITIES = frozenset({"7bit", "8bit", "binary"})
_PIECE = 2_048 * BASE64_LINE  # octets encoded at once
_PLAIN_PIECE = 256 * 1024  # octets copied at once
_BASE64 = b"Content-Transfer-Encoding: base64"


def without_nul(octets: bytes | mmap) -> Iterator[bytes] | None:
    """The message in pieces, none of which holds NUL; None where that cannot be done. Slow: call it, and take each
    piece, in a thread when the message is large."""
    root = parse(octets)
    if root.cut:
        return None
    leaves = [part for part in root.walk() if not part.children and part.message is None]
    holding = [leaf for leaf in leaves if octets.find(b"\0", leaf.body.start, leaf.body.stop) >= 0]
    if not all(_encodable(leaf) for leaf in holding):
        return None
    at = 0
    for leaf in holding:
        if octets.find(b"\0", at, leaf.body.start) >= 0:
            return None
        at = leaf.body.stop
    return None if octets.find(b"\0", at, len(octets)) >= 0 else _pieces(octets, holding)


def _encodable(leaf: Part) -> bool:
    """Whether the part has a header that is read whole, no transfer encoding, and may have one (RFC 2046 §5.2)."""
    return 0 < leaf.header.size < HEADER_VIEW and leaf.encoding in _IDENTITIES and leaf.type != "message"


def _pieces(octets: bytes | mmap, leaves: list[Part]) -> Iterator[bytes]:
    at = 0
    for leaf in leaves:
        yield from _plain(octets, Span(at, leaf.header.start))
        yield _header(bytes(octets[leaf.header.start : leaf.header.stop]))
        yield from _encoded(octets, leaf.body)
        at = leaf.body.stop
    yield from _plain(octets, Span(at, len(octets)))


def _plain(octets: bytes | mmap, span: Span) -> Iterator[bytes]:
    for start in range(span.start, span.stop, _PLAIN_PIECE):
        yield octets[start : min(start + _PLAIN_PIECE, span.stop)]


def _header(block: bytes) -> bytes:
    end = b"\r\n" if block.endswith(b"\r\n") else b"\n"
    return ENCODING_FIELD.sub(b"", block.removesuffix(end)) + _BASE64 + end + end


def _encoded(octets: bytes | mmap, body: Span) -> Iterator[bytes]:
    """base64 in lines of 76, with a line end behind the last one only at the end of the message: between parts it
    would be a blank line more."""
    for start in range(body.start, body.stop, _PIECE):
        stop = min(start + _PIECE, body.stop)
        last = stop == body.stop and stop < len(octets)
        yield in_base64(octets[start:stop]) + (b"" if last else b"\r\n")
