"""Building a message: folded fields, encoded-words, text and multipart bodies (RFC 5322 §2.2, RFC 2045 to 2047).

Everything comes out as octets with CRLF, ready to be sent; nothing in here looks at a clock or throws dice, so the
caller says the Date and the Message-ID. With `utf8` a field may hold UTF-8 as it is (RFC 6532
§3); without, what is outside ASCII becomes encoded-words, and an address outside ASCII cannot be written at all.
"""

import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Sequence
from hashlib import sha256

from posthouse.mail.address import Address
from posthouse.mail.dates import format_rfc5322
from posthouse.mail.ids import Millis

FOLD_AT = 78  # characters of a line with its blanks, RFC 5322 §2.1.1
LONGEST_LINE = 998  # octets of a line without CRLF, RFC 5322 §2.1.1
ENCODED_OCTETS = 45  # in base64 60; with "=?utf-8?B??=" an encoded-word stays below 75 characters, RFC 2047 §2

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_PLAIN_TEXT = re.compile(r"[\t\r\n\x20-\x7e]*\Z")
# RFC 5322 §3.2.3   atext, and the blanks between atoms: what a display name may hold without quotation marks
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")


def field(name: str, text: str, *, utf8: bool = False) -> bytes:
    """An unstructured field (RFC 5322 §3.6.5, RFC 2047 §5): control characters become blanks, long text is folded."""
    text = _CONTROL.sub(" ", text).strip()
    plain = (text.isascii() or utf8) and "=?" not in text and _longest(text) < LONGEST_LINE - len(name) - 2
    words = text.split(" ") if plain else _encoded_words(text)
    return _folded(name, [word for word in words if word])


def structured(name: str, words: Sequence[str]) -> bytes:
    """A field whose words are written as they are, folded between them (RFC 5322 §2.2.2)."""
    return _folded(name, [_CONTROL.sub("", word) for word in words])


def written_by_machine(at: Millis, ident: str, kind: str) -> bytes:
    """The fields of a letter that nobody wrote (RFC 5322 §3.6.1, §3.6.4, RFC 3834 §5): `kind` is auto-generated, or
    auto-replied where it answers a message. `ident` is the Message-ID without its brackets."""
    return b"".join(
        [
            structured("Date", format_rfc5322(at).split(" ")),
            structured("Message-ID", [f"<{ident}>"]),
            structured("Auto-Submitted", [kind]),
            b"MIME-Version: 1.0\r\n",
        ]
    )


def mailbox(address: Address, display: str = "", *, utf8: bool = False) -> str:
    """mailbox = name-addr / addr-spec (RFC 5322 §3.4)."""
    if not display:
        return f"<{address}>"
    display = _CONTROL.sub(" ", display).strip()
    if not display.isascii() and not utf8:
        return f"{' '.join(_encoded_words(display))} <{address}>"
    if not _PHRASE.match(display) or "=?" in display:
        display = '"' + re.sub(r'(["\\])', r"\\\1", display) + '"'
    return f"{display} <{address}>"


def part(kind: str, body: bytes, fields: Sequence[bytes] = ()) -> bytes:
    """An entity with a body that is written as it is (RFC 2045 §3): `kind` is the value of Content-Type."""
    return b"".join([structured("Content-Type", kind.split(" ")), *fields, b"\r\n", body])


def text_part(text: str, subtype: str = "plain") -> bytes:
    """text/plain and its like (RFC 2046 §4.1): ASCII as it is, anything else, and long lines, quoted-printable."""
    lines = text.replace("\r\n", "\n").split("\n")
    if _PLAIN_TEXT.match(text) and all(len(line) <= LONGEST_LINE for line in lines):
        body = "\r\n".join(lines).encode("ascii")
        return part(f"text/{subtype}; charset=us-ascii", body)
    body = b"\r\n".join(_quoted_printable(line.encode("utf-8", "replace")) for line in lines)
    encoding = structured("Content-Transfer-Encoding", ["quoted-printable"])
    return part(f"text/{subtype}; charset=utf-8", body, [encoding])


def _quoted_printable(line: bytes) -> bytes:
    """One line (RFC 2045 §6.7); a dot or "From" at its start is left to the protocols that mind it."""
    return b2a_qp(line, quotetabs=False, istext=True).replace(b"\n", b"\r\n")


def multipart(subtype: str, parts: Sequence[bytes], parameters: Sequence[str] = ()) -> bytes:
    """multipart/* (RFC 2046 §5.1): its Content-Type field, a blank line, and the parts. The boundary is made of what
    they hold, so that the same parts give the same octets, and stands in none of them."""
    boundary = _boundary(parts)
    kind = "; ".join([f"multipart/{subtype}", *parameters, f'boundary="{boundary}"'])
    line = b"--" + boundary.encode("ascii")
    body = b"".join(b"%b\r\n%b\r\n" % (line, each) for each in parts)
    eight_bit = [] if body.isascii() else [structured("Content-Transfer-Encoding", ["8bit"])]
    return part(kind, body + line + b"--\r\n", eight_bit)


def _boundary(parts: Sequence[bytes]) -> str:
    digest = sha256()
    for each in parts:
        digest.update(each)
    boundary = f"=_{digest.hexdigest()[:32]}"
    while any(boundary.encode("ascii") in each for each in parts):  # somebody put it there; the next is another
        digest.update(b"again")
        boundary = f"=_{digest.hexdigest()[:32]}"
    return boundary


def _folded(name: str, words: Sequence[str]) -> bytes:
    """Lines of at most FOLD_AT characters where blanks allow it (RFC 5322 §2.2.3)."""
    lines, line = [], f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > FOLD_AT and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    return "".join(f"{each}\r\n" for each in [*lines, line]).encode("utf-8")


def _longest(text: str) -> int:
    return max((len(word.encode("utf-8")) for word in text.split(" ")), default=0)


def _encoded_words(text: str) -> list[str]:
    """encoded-words that together stand for the text, none of which cuts a character (RFC 2047 §2, §5)."""
    words, piece = [], b""
    for letter in text:
        octets = letter.encode("utf-8", "replace")
        if len(piece) + len(octets) > ENCODED_OCTETS:
            words.append(piece)
            piece = b""
        piece += octets
    return [f"=?utf-8?B?{b64encode(each).decode('ascii')}?=" for each in [*words, piece] if each]
