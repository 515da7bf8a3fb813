"""Canonicalization of header fields and bodies, simple and relaxed (RFC 6376 §3.4).

A message is expected as it goes over the wire, with CRLF; a CR or LF alone in a body is an octet as any other. A body
is read in pieces and never copied whole, however large it is and whatever is in it.

It does NOT know what a signature is, and changes no message.
"""

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from hashlib import sha256
from mmap import mmap

PIECE = 65_536  # octets of a body that are looked at, and hashed, at once; even, so that no CRLF is cut from behind
_CRLF = b"\r\n"

_WSP = re.compile(rb"[ \t]++")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_CRLFS_BACKWARDS = re.compile(rb"(?:\n\r)*+")
_UNDECIDED = re.compile(rb"(?: \r?|\r)\Z")  # the end of a piece of which the next piece says what it is


class Canon(Enum):
    """How much may change on the way."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def canonical_field(octets: bytes, colon: int, canon: Canon) -> bytes:
    """A header field, the colon of which is at `colon`, with CRLF at its end (RFC 6376 §3.4.1, §3.4.2)."""
    octets = octets.removesuffix(b"\n").removesuffix(b"\r") if octets.endswith(b"\n") else octets
    if canon is Canon.SIMPLE:
        return octets + _CRLF
    value = _WSP.sub(b" ", _FOLD.sub(b"", octets[colon + 1 :]))
    return octets[:colon].rstrip(b" \t").lower() + b":" + value.strip(b" ") + _CRLF


def canonical_body(octets: bytes | mmap, start: int, canon: Canon) -> Iterator[bytes]:
    """The body from `start`, in pieces (RFC 6376 §3.4.3, §3.4.4)."""
    return _simple(octets, start) if canon is Canon.SIMPLE else _relaxed(octets, start)


def _simple(octets: bytes | mmap, start: int) -> Iterator[bytes]:
    """All but the empty lines at the end, and a CRLF; of an empty body that CRLF alone."""
    stop = len(octets)
    while stop > start:
        begin = max(start, stop - PIECE)
        count = 2 * _crlfs_at_end(octets[begin:stop])
        stop -= count
        if count < PIECE:
            break
    for at in range(start, stop, PIECE):
        yield octets[at : min(at + PIECE, stop)]
    yield _CRLF


def _crlfs_at_end(piece: bytes) -> int:
    found = _CRLFS_BACKWARDS.match(piece[::-1])
    assert found is not None  # it matches nothing, too
    return found.end() // 2


def _relaxed(octets: bytes | mmap, start: int) -> Iterator[bytes]:
    """White space is one SP, and none at the end of lines; no empty lines at the end; nothing of an empty body."""
    rest, held, anything = b"", 0, False  # held: how many CRLF wait for something behind them
    for at in range(start, len(octets), PIECE):
        piece = _WSP.sub(b" ", rest + octets[at : at + PIECE]).replace(b" \r\n", _CRLF)
        found = _UNDECIDED.search(piece, max(0, len(piece) - 2))
        rest = b"" if found is None else found[0]
        piece = piece[: len(piece) - len(rest)]
        ended = _crlfs_at_end(piece)
        text = piece[: len(piece) - 2 * ended]
        if text:
            yield from _line_ends(held)
            yield text
            held, anything = 0, True
        held += ended
    last = rest if rest.endswith(b"\r") else b""  # white space at the end of the last line is none
    if last:
        yield from _line_ends(held)
        yield last
    if last or anything:
        yield _CRLF


def _line_ends(count: int) -> Iterator[bytes]:
    most = PIECE // 2
    for at in range(0, count, most):
        yield _CRLF * min(most, count - at)


def body_hashes(
    octets: bytes | mmap, start: int, canon: Canon, lengths: Sequence[int | None] = (None,)
) -> tuple[dict[int | None, bytes], int]:
    """SHA-256 of the canonical body up to each of these lengths (None: all of it), in one pass, and how many octets
    it has (RFC 6376 §3.7)."""
    hashes = {length: sha256() for length in lengths}
    total = 0
    for piece in canonical_body(octets, start, canon):
        for length, digest in hashes.items():
            if length is None:
                digest.update(piece)
            elif total < length:
                digest.update(piece[: length - total])
        total += len(piece)
    return {length: digest.digest() for length, digest in hashes.items()}, total
