"""BODY from BODYSTRUCTURE: the same body structure without its extension data (RFC 9051 §7.5.2, §9 body).

The store keeps the wire text of BODYSTRUCTURE, and BODY is made of pieces of it, so no message is read or parsed again
for it. It knows only what mail/structure.py prints: one space between items, none between the parts of a multipart.

It is no parser of BODYSTRUCTURE in general, and checks nothing.
"""

import re

# RFC 9051 §9   quoted = DQUOTE *QUOTED-CHAR DQUOTE ; literal = "{" number64 "}" CRLF *CHAR8 ; NIL and numbers are atoms
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ITEM = re.compile(rf"(?s:{_QUOTED}|\((?:{_QUOTED}|NIL| )*+\)|[A-Z0-9]++|\{{(?P<size>[0-9]++)\}}\r\n)".encode())
_TEXT = re.compile(rb'\("text"', re.IGNORECASE)
_BASIC = 7  # type, subtype, parameters, id, description, encoding, octets

_OPEN, _CLOSE, _SPACE = b"() "


def without_extension(structure: bytes) -> bytes:
    """BODY from the wire text of a BODYSTRUCTURE as mail/structure.py prints it. Linear; as deep as the message."""
    return b"".join(_body(structure, 0)[0])


def _body(text: bytes, start: int) -> tuple[list[bytes], int]:
    """The pieces of the body that begins here, and where it ends in the text."""
    return _multipart(text, start) if text[start + 1] == _OPEN else _part(text, start)


def _multipart(text: bytes, start: int) -> tuple[list[bytes], int]:
    pieces = [b"("]
    at = start + 1
    while text[at] == _OPEN:
        inner, at = _body(text, at)
        pieces += inner
    subtype = _item(text, at + 1)
    pieces += [text[at:subtype], b")"]
    return pieces, _end(text, subtype)


def _part(text: bytes, start: int) -> tuple[list[bytes], int]:
    at = start
    for _ in range(_BASIC):
        at = _item(text, at + 1)  # behind "(", then behind each space
    if text[at + 1] == _OPEN:  # an enclosed message: its envelope, its body and lines; elsewhere the MD5 stands here
        inner = _item(text, at + 1) + 1
        pieces, stop = _body(text, inner)
        lines = _item(text, stop + 1)
        return [text[start:inner], *pieces, text[stop:lines], b")"], _end(text, lines)
    if _TEXT.match(text, start):
        at = _item(text, at + 1)
    return [text[start:at], b")"], _end(text, at)


def _item(text: bytes, start: int) -> int:
    """Behind the item that begins here."""
    found = _ITEM.match(text, start)
    if found is None:  # a list that holds lists or literals
        return _end(text, start + 1)
    return found.end() + int(found["size"] or 0)


def _end(text: bytes, start: int) -> int:
    """Behind the list in which this place is."""
    at = start
    while text[at] != _CLOSE:
        at = at + 1 if text[at] == _SPACE else _item(text, at)
    return at + 1
