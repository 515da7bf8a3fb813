"""Replies of a POP3 server, and messages as they are sent in one.

RFC 1939 §3, §5, §7 (TOP); RFC 2449 §3, §8; RFC 3206 §4.

    err("No such message").octets      -ERR No such message
    ok("...", lines=[b"1 120"])        a multi-line reply, its dot at the end

A message is sent behind the line of its reply, through a `Stuffing` when it comes in pieces: lines end with CRLF, one
that begins with a dot gets another, and a dot alone ends it. A LF without CR, which mail by APPEND or BDAT may hold,
is sent as CRLF: half of all clients would take LF, dot, CRLF for the end of the message, and read the rest as replies.
A CR alone stays.
"""

import re
from binascii import b2a_base64
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

END = b".\r\n"
_BARE = re.compile(rb"(?<!\r)\n")
_CHANGED = re.compile(rb"\n(?:\.|(?<!\r\n))")  # what needs another octet; found by LF, for re is quick at one octet


# Those of RFC 3206 only: IN-USE is never said, because nothing is locked; nor LOGIN-DELAY, which is 0.
class Code(Enum):
    """Response codes, for programs."""

    NONE = ""
    AUTH = "AUTH"  # RFC 3206 §4: the name or the password is at fault
    SYS_TEMP = "SYS/TEMP"  # RFC 3206 §4: it may go away by itself
    SYS_PERM = "SYS/PERM"  # RFC 3206 §4: somebody must do something


class Pop3Reply(NamedTuple):
    """One reply; a tuple, for one goes before each message. `lines`: it is a multi-line one; they are not stuffed, so
    none may begin with a dot. `opens`: a message follows. `challenge`: it goes on with the client's answer (RFC 5034
    §4). `close`: the connection ends."""

    positive: bool
    text: str
    code: Code = Code.NONE
    lines: bytes | None = None
    opens: bool = False
    challenge: bytes | None = None
    close: bool = False

    @property
    def octets(self) -> bytes:
        """As it is sent."""
        if self.challenge is not None:
            return b"+ " + self.challenge + b"\r\n"
        code = f"[{self.code.value}] " if self.code is not Code.NONE else ""
        first = f"{'+OK' if self.positive else '-ERR'} {code}{self.text}\r\n".encode("ascii")
        return first if self.lines is None else b"".join((first, self.lines, END))


def ok(text: str, *, lines: bytes | None = None, opens: bool = False, close: bool = False) -> Pop3Reply:
    """`+OK`. `lines` are whole, with their CRLFs."""
    return Pop3Reply(True, text, lines=lines, opens=opens, close=close)


def err(text: str, code: Code = Code.NONE, *, close: bool = False) -> Pop3Reply:
    """`-ERR`."""
    return Pop3Reply(False, text, code, close=close)


def challenge(octets: bytes) -> Pop3Reply:
    """A challenge of a SASL mechanism (RFC 5034 §4)."""
    return Pop3Reply(True, "", challenge=b2a_base64(octets, newline=False))


def several(lines: Iterable[str]) -> bytes:
    """The lines of a multi-line reply."""
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


class Stuffing:
    """A message on its way out, piece by piece."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b"\n"  # the last octet that was given; nothing is as a line end

    def write(self, octets: bytes) -> bytes:
        """The next piece as it is sent."""
        if not octets:
            return b""
        out = octets if _CHANGED.search(octets) is None else self._changed(octets)
        if self._last.endswith(b"\n") and out.startswith(b"."):
            out = b"." + out
        self._last = octets[-1:]
        return out

    def end(self) -> bytes:
        """What ends the message: its last line end where it has none, and the dot."""
        if self._last == b"\n":
            return END
        return b"\r\n" + END if self._last != b"\r" else b"\n" + END

    def _changed(self, octets: bytes) -> bytes:
        if octets.count(b"\n") != octets.count(b"\r\n") and not self._continues(octets):
            octets = self._with_cr(octets)
        return octets.replace(b"\n.", b"\n..")

    def _continues(self, octets: bytes) -> bool:
        """Whether the only LF without a CR in this piece is the one whose CR ended the last piece."""
        if self._last != b"\r" or not octets.startswith(b"\n"):
            return False
        return octets.count(b"\n") == octets.count(b"\r\n") + 1

    def _with_cr(self, octets: bytes) -> bytes:
        if self._last == b"\r" and octets.startswith(b"\n"):
            return b"\n" + _BARE.sub(b"\r\n", octets[1:])
        return _BARE.sub(b"\r\n", octets)


def stuffed(octets: bytes) -> tuple[bytes, bytes]:
    """A whole message as it is sent, and what ends it."""
    if _CHANGED.search(octets) is None and octets.endswith(b"\r\n") and not octets.startswith(b"."):
        return octets, END  # nearly every one
    stuffing = Stuffing()
    return stuffing.write(octets), stuffing.end()


class TopLines:
    """The header and the first lines of the body of a message that comes in pieces (RFC 1939 §7, TOP)."""

    __slots__ = ("_header", "_lines")

    def __init__(self, header: int, lines: int) -> None:
        """`header`: its octets, with the empty line."""
        self._header = header
        self._lines = lines

    @property
    def over(self) -> bool:
        """Whether nothing more belongs to them."""
        return self._header == 0 and self._lines == 0

    def take(self, octets: bytes) -> bytes:
        """What of this piece belongs to them."""
        start = min(self._header, len(octets))
        self._header -= start
        have = octets.count(b"\n", start)
        if have < self._lines:
            self._lines -= have
            return octets
        at = start
        for _ in range(self._lines if self._header == 0 else 0):
            at = octets.index(b"\n", at) + 1
            self._lines -= 1
        return octets[:at]
