"""Commands of a POP3 client as frozen values, and how one line becomes one. RFC 1939 §5 to §7, §9; RFC 2449 §3, §5;
RFC 2595 §4 (STLS), RFC 5034 §4 (AUTH), RFC 6856 §2.1, §3.2 (UTF8, LANG).

A keyword may be in any case. Blanks at the end of a line are passed over, except in a password. APOP is not offered: it
needs the password itself on the server, where only its hash is kept.

It does NOT look at the order of commands (`server.py`), nor whether a message of that number is there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from posthouse.wire.pop3.reply import Pop3Reply, err
from posthouse.wire.sasl import decode

DIGITS = 10  # of a number; no maildrop has more messages, no message more lines


@dataclass(frozen=True, slots=True)
class Capa:
    """RFC 2449 §5."""


@dataclass(frozen=True, slots=True)
class User:
    """RFC 1939 §7."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Pass:
    """RFC 1939 §7, with the name that USER gave. The rest of the line is the password, blanks too."""

    name: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"Pass(name={self.name!r}, password=...)"


@dataclass(frozen=True, slots=True)
class Auth:
    """RFC 5034 §4. Without a mechanism the client asks which there are, as old programs do."""

    mechanism: str
    initial: bytes | None

    def __repr__(self) -> str:
        return f"Auth(mechanism={self.mechanism!r}, initial=...)"


@dataclass(frozen=True, slots=True)
class AuthLine:
    """The client's answer to a challenge, without its base64; None: it cancels (RFC 5034 §4)."""

    octets: bytes | None

    def __repr__(self) -> str:
        return "AuthLine(...)"


@dataclass(frozen=True, slots=True)
class Stls:
    """RFC 2595 §4."""


@dataclass(frozen=True, slots=True)
class Utf8:
    """RFC 6856 §2.1."""


@dataclass(frozen=True, slots=True)
class Lang:
    """RFC 6856 §3.2: a language range, `*`, or "" for a list of all."""

    range: str


@dataclass(frozen=True, slots=True)
class Stat:
    """RFC 1939 §5."""


@dataclass(frozen=True, slots=True)
class List:
    """RFC 1939 §5, of one message or of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Uidl:
    """RFC 1939 §7, of one message or of all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Retr:
    """RFC 1939 §5."""

    number: int


@dataclass(frozen=True, slots=True)
class Top:
    """RFC 1939 §7: the header and so many lines of the body."""

    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Dele:
    """RFC 1939 §5."""

    number: int


@dataclass(frozen=True, slots=True)
class Noop:
    """RFC 1939 §5."""


@dataclass(frozen=True, slots=True)
class Rset:
    """RFC 1939 §5."""


@dataclass(frozen=True, slots=True)
class Quit:
    """RFC 1939 §4, §6."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The client broke the grammar or the order; the reply says how."""

    reply: Pop3Reply


@dataclass(frozen=True, slots=True)
class Closed:
    """The client hung up: nothing it marked is deleted (RFC 1939 §6)."""


Command = Capa | User | Pass | Auth | Stls | Utf8 | Lang | Stat | List | Uidl | Retr | Top | Dele | Noop | Rset | Quit
Event = Command | AuthLine | Malformed | Closed

UNKNOWN = Malformed(err("That command is not known here"))
BAD_BASE64 = Malformed(err("That is not base64"))
BAD_NUMBER = Malformed(err("A number is one to ten digits"))
NO_NUMBER = Malformed(err("The number of the message is missing"))
NO_LINES = Malformed(err("TOP wants the number of a message, and how many lines of its body"))
NO_APOP = Malformed(err("APOP is not offered here; use USER and PASS, or AUTH, under TLS"))
NO_ARGUMENT = Malformed(err("That command takes no argument"))
NO_NAME = Malformed(err("USER wants a name"))
BAD_AUTH = Malformed(err("AUTH wants a mechanism and perhaps one answer in base64"))

_PLAIN: dict[bytes, Command] = {
    b"CAPA": Capa(),
    b"STLS": Stls(),
    b"UTF8": Utf8(),
    b"STAT": Stat(),
    b"NOOP": Noop(),
    b"RSET": Rset(),
    b"QUIT": Quit(),
}


def parse(line: bytes, name: bytes | None) -> Command | Malformed:
    """One line without its CRLF. `name`: what USER gave, for PASS.

    command = keyword *(SP param) CRLF   ; RFC 2449 §3
    """
    keyword, _, rest = line.partition(b" ")
    keyword = keyword.upper()
    if keyword == b"PASS":
        return Malformed(err("Say USER before PASS")) if name is None else Pass(name, rest)
    rest = rest.strip(b" ")
    if keyword in _PLAIN:
        return NO_ARGUMENT if rest else _PLAIN[keyword]
    read = _READ.get(keyword)
    return UNKNOWN if read is None else read(rest)


def _number(word: bytes) -> int | None:
    return int(word) if word.isdigit() and len(word) <= DIGITS else None


def _of_one(kind: Callable[[int], Command]) -> Callable[[bytes], Command | Malformed]:
    def read(rest: bytes) -> Command | Malformed:
        number = _number(rest)
        if number is None:
            return BAD_NUMBER if rest else NO_NUMBER
        return kind(number)

    return read


def _of_one_or_all(kind: Callable[[int | None], Command]) -> Callable[[bytes], Command | Malformed]:
    def read(rest: bytes) -> Command | Malformed:
        number = _number(rest)
        return BAD_NUMBER if rest and number is None else kind(number)

    return read


def _top(rest: bytes) -> Command | Malformed:
    first, _, second = rest.partition(b" ")
    if not second:
        return NO_LINES
    number, lines = _number(first), _number(second.lstrip(b" "))
    return BAD_NUMBER if number is None or lines is None else Top(number, lines)


def _user(rest: bytes) -> Command | Malformed:
    return User(rest) if rest else NO_NAME


def _lang(rest: bytes) -> Command | Malformed:
    return Lang(rest.decode("ascii", "replace"))


def _auth(rest: bytes) -> Command | Malformed:
    """ "AUTH" mechanism [SP (base64 / "=")]   ; RFC 5034 §4"""
    words = rest.split()
    if len(words) > 2:
        return BAD_AUTH
    mechanism = words[0].decode("ascii", "replace") if words else ""
    if len(words) < 2:
        return Auth(mechanism, None)
    initial = b"" if words[1] == b"=" else decode(words[1])
    return BAD_BASE64 if initial is None else Auth(mechanism, initial)


def _apop(_rest: bytes) -> Command | Malformed:
    return NO_APOP


_READ: dict[bytes, Callable[[bytes], Command | Malformed]] = {
    b"APOP": _apop,
    b"AUTH": _auth,
    b"DELE": _of_one(Dele),
    b"LANG": _lang,
    b"LIST": _of_one_or_all(List),
    b"RETR": _of_one(Retr),
    b"TOP": _top,
    b"UIDL": _of_one_or_all(Uidl),
    b"USER": _user,
}
