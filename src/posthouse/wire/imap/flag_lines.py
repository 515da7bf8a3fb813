"""FETCH responses with flags, and UIDs, of many messages in a row: the first thing every client asks of a mailbox.

Lines are made by the thousand. The thousands of a number are the same in all of them, so they are what joins the
lines, and no number is printed digit by digit (RFC 9051 §7.5.2).
"""

from array import array
from collections.abc import Sequence
from operator import add

from posthouse.wire.imap.fetch_response import print_flag_list

_BLOCK = 1_000
_RESTS = [b"%03d" % rest for rest in range(_BLOCK)]


def flag_lines(first: int, values: bytes, kinds: Sequence[tuple[int, str]], uids: "array[int] | None" = None) -> bytes:
    """The responses of messages numbered from `first`, without a gap. `kinds[values[n]]` are the flags and keywords of
    the n-th; `uids` where UIDs are shown, too."""
    form = b" FETCH (FLAGS %b)\r\n" if uids is None else b" FLAGS %b)\r\n"
    ends = [form % print_flag_list(bits, keywords) for bits, keywords in kinds]
    pieces: list[bytes] = []
    start = 0
    while start < len(values):
        thousands, rest = divmod(first + start, _BLOCK)
        stop = min(start + _BLOCK - rest, len(values))
        numbers: Sequence[bytes] = _RESTS[rest : rest + stop - start]
        head = b"* %d" % thousands
        if not thousands:
            numbers, head = [b"%d" % number for number in range(rest, rest + stop - start)], b"* "
        tails = map(ends.__getitem__, values[start:stop])
        if uids is None:
            lines = map(add, numbers, tails)
        else:
            lines = map(b"%b FETCH (UID %d%b".__mod__, zip(numbers, uids[start:stop], tails, strict=True))
        pieces += (head, head.join(lines))
        start = stop
    return b"".join(pieces)
