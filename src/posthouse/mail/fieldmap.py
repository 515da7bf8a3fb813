"""Where the fields of a header block lie, kept beside it, so that a selection of fields is cut without reading it.

A mail program that lists a mailbox asks for the same dozen fields of every message (RFC 9051 §6.4.5, HEADER.FIELDS).
The map of a block is written once, at arrival: one octet for each field's name, then two octets for each place where
one begins or the last ends. Blocks of one order of names share what has to be cut, which is remembered by that order.

A block that cannot be mapped (longer than 65,535 octets, lines that are no fields, too many fields) has no map and is
read as ever, by `select_fields`.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from struct import Struct

from posthouse.mail.header import select_fields, whole_fields

MAPPED_FIELDS = 200  # fields of one block; listed mail has 10 to 60
LONGEST = 0xFFFF  # octets of a block: an end has two octets
ORDERS = 2_000  # orders of names that a worker remembers for all selections together

# The number of a name is its place here, from 1; 0 is any other name. It is kept in databases: only add at the end.
_NAMES = (
    b"received return-path delivered-to from sender to cc bcc reply-to subject date message-id in-reply-to references"
    b" mime-version content-type content-transfer-encoding content-disposition content-description content-id"
    b" content-language content-location content-class priority x-priority x-msmail-priority importance newsgroups"
    b" lines list-id list-post list-subscribe list-unsubscribe list-unsubscribe-post list-archive list-help list-owner"
    b" precedence x-label x-original-to x-mailer user-agent organization keywords comments auto-submitted"
    b" x-auto-response-suppress x-spam-flag x-spam-score x-spam-level x-spam-status authentication-results"
    b" dkim-signature arc-seal arc-message-signature arc-authentication-results received-spf resent-from resent-to"
    b" resent-cc resent-date resent-message-id disposition-notification-to return-receipt-to mail-followup-to"
    b" mail-reply-to thread-topic thread-index x-gm-message-state x-forwarded-message-id x-google-dkim-signature"
    b" x-universally-unique-identifier x-uniform-type-identifier x-apple-content-length x-mozilla-draft-info"
    b" feedback-id"
    b" autocrypt errors-to face x-face status x-status x-keywords x-evolution-source followup-to archived-at"
    b" sensitivity accept-language x-originating-ip x-ms-exchange-organization-authas x-report-abuse supersedes"
).split()
_NUMBER_OF = {name: number for number, name in enumerate(_NAMES, 1)}
_OTHER = 0
SPELLED = 2_000  # names, as they are spelled in mail, whose numbers are kept; those of others are looked for again
SPELLED_LENGTH = 64  # octets of such a name
_BLANK = (b"\r\n", b"\n", b"")


def field_map(block: bytes) -> bytes | None:
    """The map of a header block, or None where it can have none."""
    if len(block) > LONGEST:
        return None
    fields = whole_fields(block)
    if len(fields) > MAPPED_FIELDS:
        return None
    ends = array("H", accumulate([len(field) for field, _ in fields], initial=0))
    if block[ends[-1] :] not in _BLANK or not block.startswith(b"".join([field for field, _ in fields])):
        return None  # something between the fields, or behind them, belongs to none
    return _printed(ends, [name for _, name in fields])


def field_map_of(block: bytes, found: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The same of a block in which `header.pairs` has found these names and values, in half the time.

    A field has as many octets as its name, its value, the colon and LF, or more where white space stands before the
    colon. The blank line is of no field. So where the fewest octets of all fields and the blank line are all of the
    block, nothing else is in it, and each field has its fewest octets."""
    places = list(accumulate([len(name) + len(value) + 2 for name, value in found], initial=0))
    blank = b"\n\r\n" if block.endswith(b"\n\r\n") else b"\n\n"
    usual = block.endswith(blank) and places[-1] + len(blank) - 1 == len(block)
    if not usual or not found or len(block) > LONGEST or len(found) > MAPPED_FIELDS:
        return field_map(block)
    return _printed(array("H", places), [name for name, _ in found])


def _printed(ends: "array[int]", names: Iterable[bytes]) -> bytes:
    if sys.byteorder == "big":
        ends.byteswap()
    return bytes(map(_NUMBERS.__getitem__, names)) + ends.tobytes()


class _Numbers(dict[bytes, int]):
    """The numbers of the names that were met so far, by their spelling."""

    def __missing__(self, name: bytes) -> int:
        number = _NUMBER_OF.get(name.lower(), _OTHER)
        if len(self) < SPELLED and len(name) <= SPELLED_LENGTH:
            self[name] = number
        return number


_NUMBERS = _Numbers()


class Selection:
    """The fields that HEADER.FIELDS or, with matching=False, HEADER.FIELDS.NOT names, to be cut from many blocks."""

    __slots__ = ("_cuts", "_kept", "_matching", "_names", "_strange")

    def __init__(self, names: frozenset[bytes], *, matching: bool) -> None:
        """`names` in lower case."""
        self._names = names
        self._matching = matching
        named = {_NUMBER_OF.get(name, _OTHER) for name in names}
        self._strange = _OTHER in named  # a name without a number: only the block itself knows
        self._kept = frozenset(
            number for number in range(len(_NAMES) + 1) if ((number in named and number != _OTHER) is matching)
        )
        self._cuts = lru_cache(ORDERS)(self._order)

    def cut(self, block: bytes, fields: bytes | None) -> bytes:
        """The chosen fields octet for octet and the blank line behind them, as `select_fields` gives them."""
        order = self._cuts(fields[: (len(fields) - 2) // 3]) if fields else None
        if order is None or fields is None:
            return select_fields(block, self._names, matching=self._matching)
        return _kept(block, order.unpack(fields))

    def cut_many(self, blocks: Sequence[bytes], maps: Sequence[bytes | None]) -> list[bytes]:
        """The same of many messages, in half the time: there is one call for all, and most messages keep one stretch
        and their end."""
        cuts = self._cuts
        chosen: list[bytes] = []
        for block, fields in zip(blocks, maps, strict=True):
            order = cuts(fields[: (len(fields) - 2) // 3]) if fields else None
            if order is None or fields is None:
                chosen.append(self.cut(block, fields))
                continue
            places = order.unpack(fields)
            if len(places) == _STRETCH_AND_END:
                start, stop, end = places
                chosen.append(block[start:stop] + block[end:])
            else:
                chosen.append(_kept(block, places))
        return chosen

    def _order(self, numbers: bytes) -> Struct | None:
        """For blocks whose names are these, in this order: the form that takes out of a map the places where keeping
        begins and stops in turn. The last stretch, which has the blank line, ends with the block."""
        if self._strange and _OTHER in numbers:
            return None
        form = [f"<{len(numbers)}x"]
        read, keeping = 0, False
        for place, number in enumerate(numbers):
            if (number in self._kept) is not keeping:
                keeping = not keeping
                form.append(f"{2 * (place - read)}xH")
                read = place + 1
        if not keeping:
            form.append(f"{2 * (len(numbers) - read)}xH")
            read = len(numbers) + 1
        form.append(f"{2 * (len(numbers) + 1 - read)}x")
        return Struct("".join(form))


_STRETCH_AND_END = 3  # places: where one stretch begins and stops, and where the last begins


def _kept(block: bytes, places: Sequence[int]) -> bytes:
    kept = [block[start:stop] for start, stop in zip(places[:-1:2], places[1::2], strict=False)]
    kept.append(block[places[-1] :])
    return b"".join(kept)
