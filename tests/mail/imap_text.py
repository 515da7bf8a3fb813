"""A strict reader of the IMAP text that ENVELOPE and BODYSTRUCTURE are made of (RFC 9051 §9), for tests only.

It accepts exactly what the grammar allows an IMAP4rev1 server to send, and raises AssertionError for the rest.
"""

import re

Value = None | int | bytes | list["Value"]

_TOKEN = re.compile(
    rb'(\()|(\))|(NIL)|(\d+)|"((?:[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]|\\["\\])*)"|\{(\d+)\}\r\n'
)


def read(text: bytes) -> list[Value]:
    """The parenthesized list that the text is: NIL as None, numbers as int, strings as bytes."""
    stack: list[list[Value]] = [[]]
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, f"not IMAP at {at}: {text[at : at + 40]!r}"
        opening, closing, nil, number, quoted, literal = match.groups()
        at = match.end()
        if opening:
            stack.append([])
        elif closing:
            stack[-2].append(stack.pop())
        elif literal is not None:
            stack[-1].append(text[at : at + int(literal)])
            assert len(text) - at >= int(literal)
            assert b"\0" not in text[at : at + int(literal)]
            at += int(literal)
        else:
            value: Value = None if nil else int(number) if number else re.sub(rb"\\(.)", rb"\1", quoted)
            stack[-1].append(value)
        at = _space(text, at, opening=bool(opening))
    assert len(stack) == 1
    assert len(stack[0]) == 1
    [whole] = stack[0]
    assert isinstance(whole, list)
    return whole


def _space(text: bytes, at: int, *, opening: bool) -> int:
    """One space between two values, none after ( or before ), and none between two lists."""
    following = text[at : at + 1]
    if following == b" ":
        assert not opening
        assert text[at + 1 : at + 2] not in (b" ", b")", b"")
        return at + 1
    assert opening or following in (b")", b"") or (following == b"(" and text[at - 1 : at] == b")")
    return at


def check_envelope(value: Value) -> None:
    """RFC 9051 §9: envelope = "(" env-date SP env-subject SP env-from ... SP env-message-id ")"."""
    assert isinstance(value, list)
    assert len(value) == 10
    for item in (value[0], value[1], value[8], value[9]):
        assert item is None or isinstance(item, bytes)
    for addresses in value[2:8]:
        assert addresses is None or (isinstance(addresses, list) and addresses)
        for address in addresses or []:
            assert isinstance(address, list)
            assert len(address) == 4
            assert all(item is None or isinstance(item, bytes) for item in address)


def check_body(value: Value, *, extended: bool) -> None:
    """RFC 9051 §9: body = "(" (body-type-1part / body-type-mpart) ")"."""
    assert isinstance(value, list)
    if isinstance(value[0], list):
        _check_multipart(value, extended=extended)
        return
    kind, subtype, parameters, identifier, description, encoding, octets, *rest = value
    assert isinstance(kind, bytes)
    assert isinstance(subtype, bytes)
    assert isinstance(encoding, bytes)
    assert isinstance(octets, int)
    assert identifier is None or isinstance(identifier, bytes)
    assert description is None or isinstance(description, bytes)
    _check_parameters(parameters)
    if kind.lower() == b"message" and subtype.lower() in (b"rfc822", b"global"):
        envelope, body, lines, *rest = rest
        check_envelope(envelope)
        check_body(body, extended=extended)
        assert isinstance(lines, int)
    elif kind.lower() == b"text":
        lines, *rest = rest
        assert isinstance(lines, int)
    if not extended:
        assert rest == []
        return
    md5, *rest = rest
    assert md5 is None or isinstance(md5, bytes)
    _check_extension(rest)


def plain(body: list[Value]) -> list[Value]:
    """A body structure without its extension data: what BODY is (RFC 9051 §7.5.2)."""
    count = next(index for index, item in enumerate(body) if not isinstance(item, list))
    if count:
        return [*(plain(child) for child in body[:count] if isinstance(child, list)), body[count]]
    kind, subtype = (word.lower() for word in body[:2] if isinstance(word, bytes))
    if (kind, subtype) in ((b"message", b"rfc822"), (b"message", b"global")):
        enclosed = body[8]
        assert isinstance(enclosed, list)
        return [*body[:8], plain(enclosed), body[9]]
    return body[:8] if kind == b"text" else body[:7]


def _check_multipart(value: list[Value], *, extended: bool) -> None:
    count = next(index for index, item in enumerate(value) if not isinstance(item, list))
    for child in value[:count]:
        check_body(child, extended=extended)
    assert isinstance(value[count], bytes)
    if not extended:
        assert len(value) == count + 1
        return
    _check_parameters(value[count + 1])
    _check_extension(value[count + 2 :])


def _check_parameters(value: Value) -> None:
    assert value is None or isinstance(value, list)
    assert value is None or (value and len(value) % 2 == 0 and all(isinstance(item, bytes) for item in value))


def _check_extension(rest: list[Value]) -> None:
    disposition, language, location = rest
    assert disposition is None or isinstance(disposition, list)
    if isinstance(disposition, list):
        kind, parameters = disposition
        assert isinstance(kind, bytes)
        _check_parameters(parameters)
    assert language is None or isinstance(language, bytes | list)
    assert location is None or isinstance(location, bytes)
