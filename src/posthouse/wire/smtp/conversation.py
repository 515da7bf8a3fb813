"""Conversation: what was said on one SMTP connection, line by line, for people who look for a fault.

Both engines keep one where they are handed it. Credentials are masked before anything is kept (RFC 4954 §9), and of a
message only its size is. It is bounded: of a talkative peer the beginning and the end of the conversation stay.

It does NOT know the time by itself: whoever makes it says which clock counts.
"""

import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

FIRST, LAST = 100, 50  # lines kept from the beginning and the end: a message to 60 recipients is told whole
LINE = 400  # octets kept of one line: at most 120 KiB a connection, whatever the peer says
REMEMBERED = 100  # of what we say, which is mostly the same: a reply to EHLO alone has a dozen lines

MASK = "***"
# RFC 4954 §4   AUTH mechanism [initial-response]
# Also as people mistype it: AUTHPLAIN, AUTH PLAIN=, AUTH without a mechanism; and PASS, which POP3 has (RFC 1939 §7).
_AUTH = re.compile(
    rb"(AUTH(?:[ \t]+[A-Z0-9_-]{1,20}(?![^ \t=\r\n]))?+|PASS(?=[ \t]))[ \t=]*[^ \t=\r\n].*", re.IGNORECASE | re.DOTALL
)
# RFC 3986 §3.2.1   userinfo of a URL may hold a password, though none should
_URL_PASSWORD = re.compile(rb"(BURL[ \t]+[^/ \t]*//[^/@:]*:)[^/ \t]*@", re.IGNORECASE)
# RFC 4468 §3.2   a URL that carries its authorization is as good as a password for what it names
_URL_TOKEN = re.compile(rb"(BURL[ \t].*?:)[0-9A-F]{32,}", re.IGNORECASE | re.DOTALL)
# A password typed where a command belongs, by people who try AUTH LOGIN by hand, is one word of base64.
_LONE_BASE64 = re.compile(rb"(?!STARTTLS\s*\Z)[A-Za-z0-9+/]{8,}={0,2}\s*\Z", re.IGNORECASE)
# How a line begins that one of these may fit; and what a URL has in any line.
_SUSPECT = re.compile(rb"AUTH|PASS|BURL|[A-Za-z0-9+/]{8}", re.IGNORECASE)


class Line(NamedTuple):
    """One line: when, by the clock; whether the peer said it; its text, without line end and control characters."""

    at: int
    heard: bool
    text: str


class Conversation:
    """The lines of one connection."""

    __slots__ = ("_clock", "_first", "_last", "dropped")

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._first: list[Line] = []
        self._last: deque[Line] = deque()
        self.dropped = 0  # lines between the beginning and the end

    def heard(self, line: bytes) -> None:
        """A line of the peer's."""
        self._keep(Line(self._clock(), True, _text(_masked(line))))

    def said(self, octets: bytes) -> None:
        """One or more lines of ours."""
        at = self._clock()
        for text in _texts(octets):
            self._keep(Line(at, False, text))

    def secret(self, *, heard: bool) -> None:
        """A line that holds a credential and nothing else."""
        self._keep(Line(self._clock(), heard, MASK))

    def content(self, size: int, *, heard: bool) -> None:
        """The octets of a message went over."""
        self._keep(Line(self._clock(), heard, f"({size} octets of the message)"))

    def mark(self, text: str) -> None:
        """What happened beside the lines: TLS begins, the connection ends."""
        self._keep(Line(self._clock(), False, _text(f"({text})".encode("utf-8", "replace"))))

    def begin(self, message: str) -> None:
        """What is said from here on is about this message."""
        self.mark(f"message {message}")

    @property
    def lines(self) -> list[Line]:
        """What is kept, in order."""
        return [*self._first, *self._last]

    def _keep(self, line: Line) -> None:
        if len(self._first) < FIRST:
            self._first.append(line)
            return
        self._last.append(line)
        if len(self._last) > LAST:
            self._last.popleft()
            self.dropped += 1


def _text(line: bytes) -> str:
    text = line[:LINE].decode("utf-8", "replace").rstrip("\r\n")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


@lru_cache(REMEMBERED)
def _texts(octets: bytes) -> tuple[str, ...]:
    """Of one or more lines of ours."""
    return tuple(_text(_masked(line)) for line in octets.splitlines())


def _masked(line: bytes) -> bytes:
    if not _SUSPECT.match(line) and b"//" not in line:  # as nearly all are
        return line
    found = _AUTH.match(line)
    if found is not None:
        return found[1] + b" " + MASK.encode()
    line = _URL_PASSWORD.sub(rb"\1***@", line)
    found = _URL_TOKEN.match(line)
    if found is not None:
        return found[1] + MASK.encode() + line[found.end() :]
    return MASK.encode() if _LONE_BASE64.match(line) else line
