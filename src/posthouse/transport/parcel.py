"""Parcel: the octets of a message on its way out, measured once, made fit for each server, and given in pieces.

What no server takes is found here: a CR or LF alone, through which mail could be smuggled (RFC 5321 §2.3.8), and NUL. A
message too large for memory stays where it is (mmap); only what is written next is copied.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

from posthouse.mail import downgrade
from posthouse.mail.downgrade import Unfit
from posthouse.mail.header import body_start
from posthouse.mail.mime import parse
from posthouse.mail.status import Reply
from posthouse.wire.smtp.data import LINE_TOO_LONG, Content
from posthouse.wire.smtp.replied import Announced

PIECE = 262_144  # octets that are copied and written at once
AT_ONCE = 262_144  # octets that may be looked at on the loop; more goes to a thread

# Only final delivery makes this field (RFC 5321 §4.4), and it stands first.
_RETURN_PATH = re.compile(rb"return-path[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parcel:
    """The content from `start`; `size` is what goes over the wire, with the CRLF it may lack, without dots added."""

    octets: bytes | mmap
    start: int
    size: int
    eight_bit: bool = False
    long_lines: bool = False  # RFC 5321 §4.5.3.1.6
    fault: Reply | None = None  # why no server may get it, in the words of our own

    def pieces(self) -> Iterator[bytes]:
        """The content, CRLF at its end."""
        octets, stop = self.octets, len(self.octets)
        if self.start >= stop:
            yield b"\r\n"
        for at in range(self.start, stop, PIECE):
            last = at + PIECE >= stop
            piece = octets[at : at + PIECE]
            yield piece + b"\r\n" if last and self.start + self.size > stop else piece

    def whole(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces())


async def measured(octets: bytes | mmap) -> Parcel:
    """The parcel of a message as it is kept."""
    if len(octets) > AT_ONCE:
        return await asyncio.to_thread(measure, octets)
    return measure(octets)


def measure(octets: bytes | mmap) -> Parcel:
    """As `measured`, at once."""
    field = _RETURN_PATH.match(octets)
    start = 0 if field is None else field.end()
    content = Content(len(octets), downgrade.LINE)
    eight_bit = False
    for at in range(start, len(octets), PIECE):
        piece = octets[at : at + PIECE]
        content.add(piece)
        eight_bit = eight_bit or not piece.isascii()
    fault = content.fault(complete=True)
    complete = octets[max(start, len(octets) - 2) :] == b"\r\n"
    size = len(octets) - start + (0 if complete else 2)
    long_lines = fault is LINE_TOO_LONG
    return Parcel(octets, start, size, eight_bit, long_lines, None if long_lines else fault)


async def fitted(parcel: Parcel, announced: Announced) -> Parcel | Unfit:
    """The parcel as this server can take it: itself, or encoded anew (RFC 6152 §3); a line is never folded."""
    if not parcel.long_lines and (announced.eight_bit or not parcel.eight_bit):
        return parcel
    if parcel.size > AT_ONCE:
        return await asyncio.to_thread(_fit, parcel, eight_bit=announced.eight_bit)
    return _fit(parcel, eight_bit=announced.eight_bit)


def _fit(parcel: Parcel, *, eight_bit: bool) -> Parcel | Unfit:
    done = downgrade.fit(parcel.whole(), eight_bit=eight_bit)
    return done if isinstance(done, Unfit) else measure(done)


def utf8_in_headers(parcel: Parcel) -> bool:
    """Whether a header of the message, or of a part, needs SMTPUTF8 (RFC 6531 §3.1, RFC 6532 §3)."""
    if not parcel.eight_bit:
        return False
    octets = parcel.octets
    if not octets[parcel.start : body_start(octets, parcel.start, len(octets))].isascii():
        return True
    whole = parcel.whole()
    return any(not whole[part.header.start : part.header.stop].isascii() for part in parse(whole).walk())
