"""Parameterized header values: Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183 §2, RFC 2231).

The pieces of a parameter in sections (RFC 2231 §3) are joined here. A parameter with charset and language keeps its
`*` and its percent-encoding (RFC 2231 §4), so that IMAP can show it as it is; `text` decodes it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from urllib.parse import quote_from_bytes, unquote_to_bytes

from posthouse.mail import charset as charsets
from posthouse.mail.header import decode_words, unfold

PARAMETERS = 128  # of one field; the sections of RFC 2231 count one each
VALUE_LENGTH = 65_536  # octets of the field that are looked at: 128 parameters of any sensible length
_CACHED_LENGTH = 256  # octets; longer values are unlikely to be seen twice
_CACHED = 1_024

Parameters = Mapping[bytes, bytes]

# RFC 2045 §5.1   token = 1*<any CHAR except SPACE, CTLs, or tspecials>; octets above 127 are let through.
_TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~\x80-\xff]++"
_TYPE = re.compile(rb"[ \t]*+(%b)[ \t]*+/[ \t]*+(%b)" % (_TOKEN, _TOKEN))
_VALUE = re.compile(rb"[ \t]*+(%b)" % _TOKEN)
# RFC 2045 §5.1   parameter = attribute "=" value. The semicolon may be missing, an unquoted value may have
# spaces, and a quoted one may lack its closing quote.
_PARAMETER = re.compile(
    rb"""[; \t]([!#$%&'*+\-.0-9A-Z^_`a-z{|}~\x80-\xff]++)[ \t]*+=[ \t]*+"""
    rb"""(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|"?([^;"]*+))""",
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT_OR_QUOTED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\([^()\\]*+(?:\\.[^()\\]*+)*+\)', re.DOTALL)
# RFC 2231 §3, §4   section := initial-section / other-sections; a final "*" marks an extended value
_SECTION = re.compile(rb"([^*]+)\*(\d{1,3})(\*?)\Z")


def content_type(value: bytes) -> tuple[str, str, Parameters] | None:
    """Type and subtype in lower case and the parameters of a Content-Type value, or None where it is not valid
    (RFC 2045 §5.1). Each parameter counts once: the first. Names are in lower case."""
    return _cached_type(value) if len(value) <= _CACHED_LENGTH else _type(value)


def disposition(value: bytes) -> tuple[str, Parameters] | None:
    """Disposition type in lower case and parameters of a Content-Disposition value (RFC 2183 §2), or None."""
    line = _line(value)
    match = _VALUE.match(line)
    if match is None:
        return None
    return _name(match[1]), _parameters(line, match.end())


def text(parameters: Parameters, name: bytes) -> str | None:
    """A parameter as text: its RFC 2231 §4 form decoded, or else its plain form, with the encoded-words which
    many mailers put there against RFC 2047 §5; None where it is absent."""
    extended = parameters.get(name + b"*")
    if extended is not None:
        charset, mark, rest = extended.partition(b"'")
        _language, mark2, octets = rest.partition(b"'")
        if mark and mark2:
            return charsets.decode_known(unquote_to_bytes(octets), charset.decode("ascii", "replace"))
        return charsets.decode_known(unquote_to_bytes(extended), "")
    plain = parameters.get(name)
    return None if plain is None else decode_words(plain)


def _type(value: bytes) -> tuple[str, str, Parameters] | None:
    line = _line(value)
    match = _TYPE.match(line)
    if match is None:
        return None
    return _name(match[1]), _name(match[2]), _parameters(line, match.end())


_cached_type = lru_cache(_CACHED)(_type)


def _name(token: bytes) -> str:
    return token.decode("ascii", "replace").replace("\ufffd", "?").lower()


def _line(value: bytes) -> bytes:
    line = unfold(value[:VALUE_LENGTH])
    return _COMMENT_OR_QUOTED.sub(_without_comment, line) if b"(" in line else line


def _without_comment(match: re.Match[bytes]) -> bytes:
    return b" " if match[0][:1] == b"(" else match[0]


def _parameters(line: bytes, start: int) -> Parameters:
    found: dict[bytes, bytes] = {}
    sections = False
    for match in islice(_PARAMETER.finditer(line, start), PARAMETERS):
        name, quoted, bare = match.groups()
        name = name.lower()
        if quoted is None:
            quoted = bare.rstrip(b" \t")
        elif b"\\" in quoted:
            quoted = _QUOTED_PAIR.sub(rb"\1", quoted)
        found.setdefault(name, quoted)
        sections = sections or b"*" in name
    return _joined(found) if sections else found


def _joined(found: dict[bytes, bytes]) -> Parameters:
    """Parameters with their sections put together, in the order of the numbers (RFC 2231 §3)."""
    joined: dict[bytes, bytes] = {}
    pieces: dict[bytes, dict[int, tuple[bool, bytes]]] = {}
    for name, value in found.items():
        match = _SECTION.match(name)
        if match is None:
            joined.setdefault(name, value)
        else:
            pieces.setdefault(match[1], {}).setdefault(int(match[2]), (match[3] == b"*", value))
    for name, numbered in pieces.items():
        extended, value = _join(numbered)
        joined.setdefault(name + b"*" if extended else name, value)
    return joined


def _join(numbered: dict[int, tuple[bool, bytes]]) -> tuple[bool, bytes]:
    """The value of a parameter from its numbered sections; a gap is passed over, order of arrival is not."""
    extended = any(marked for marked, _ in numbered.values())
    ordered = [numbered[number] for number in sorted(numbered)]
    if not extended:
        return False, b"".join(value for _, value in ordered)
    value = b"".join(value if marked else quote_from_bytes(value, "'").encode("ascii") for marked, value in ordered)
    if value.count(b"'") < 2:
        value = b"''" + value
    return True, value
