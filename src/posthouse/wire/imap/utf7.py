"""Modified UTF-7 of mailbox names for IMAP4rev1 clients (RFC 3501 §5.1.3).

Printable US-ASCII stands for itself, `&` is `&-`, all else is UTF-16BE in a base64 without padding and with `,` for
`/`, between `&` and `-`. Decoding is strict: only the one form that encoding gives is taken, so two spellings never
name one mailbox. It does not know IMAP4rev2 clients, which write UTF-8 (RFC 9051 §5.1).
"""

import binascii
import re

_DIRECT = re.compile(r"[^\x20-\x7e]+|&")
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")


def encode_utf7(name: str) -> bytes:
    """The modified UTF-7 of a mailbox name (RFC 3501 §5.1.3)."""
    if name.isascii() and name.isprintable() and "&" not in name:
        return name.encode("ascii")
    return _DIRECT.sub(_shift, name).encode("ascii")


def _shift(match: re.Match[str]) -> str:
    text = match[0]
    if text == "&":
        return "&-"
    base64 = binascii.b2a_base64(text.encode("utf-16-be"), newline=False).decode("ascii")
    return "&" + base64.rstrip("=").replace("/", ",") + "-"


def decode_utf7(octets: bytes) -> str | None:
    """The mailbox name, or None where this is not modified UTF-7 (RFC 3501 §5.1.3)."""
    if not octets.isascii():
        return None
    if b"&" not in octets:
        name = octets.decode("ascii")
        return name if name.isprintable() else None
    try:
        shifted = _unshift(octets)
    except (binascii.Error, UnicodeDecodeError):
        return None
    return shifted if shifted is not None and encode_utf7(shifted) == octets else None


def _unshift(octets: bytes) -> str | None:
    pieces: list[str] = []
    done = 0
    while (start := octets.find(b"&", done)) >= 0:
        match = _SHIFTED.match(octets, start)
        if match is None:
            return None
        pieces.append(octets[done:start].decode("ascii"))
        base64 = match[1].replace(b",", b"/")
        pieces.append("&" if not base64 else _decode_shifted(base64))
        done = match.end()
    pieces.append(octets[done:].decode("ascii"))
    return "".join(pieces)


def _decode_shifted(base64: bytes) -> str:
    return binascii.a2b_base64(base64 + b"=" * (-len(base64) % 4)).decode("utf-16-be")
