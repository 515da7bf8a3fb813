"""Sheets: FETCH responses of many messages as a form, in which their numbers and flags are left open (RFC 9051 §7.5.2).

All else that a list of messages shows never changes (RFC 9051 §2.3), so that a form that was drawn once is filled in
for whoever asks the same. `form_of` says whether, and by which name, a plan's responses may be kept.

What it does NOT do: keep anything, or know which messages a sheet is of.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain, repeat

from posthouse.mail.structure import SectionText
from posthouse.wire.imap.fetch import Attribute, BodySection, ContentItem
from posthouse.wire.imap.fetch_response import FetchPlan, Row, print_flag_list, values_of

VERSION = b"1"  # changes whenever responses of the same plan are printed in another way

_NEVER_CHANGE = frozenset(
    {
        Attribute.UID,
        Attribute.INTERNALDATE,
        Attribute.SIZE,
        Attribute.ENVELOPE,
        Attribute.BODYSTRUCTURE,
        Attribute.BODY,
        Attribute.EMAILID,
    }
)
_HEADERS = frozenset({SectionText.HEADER, SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT})
_LONG = frozenset({Attribute.ENVELOPE, Attribute.BODYSTRUCTURE, Attribute.BODY})


def form_of(plan: FetchPlan) -> int | None:
    """The name of these responses, a number of 64 bits; None where they change, or are short enough to be printed."""
    attributes = frozenset(plan.attributes)
    if len(attributes) < len(plan.attributes) or not attributes <= _NEVER_CHANGE | {Attribute.FLAGS}:
        return None
    if not plan.contents and not attributes & _LONG:
        return None
    if not all(map(_selects_header, plan.contents)):
        return None
    asked = b"\0".join([VERSION, plan.template, *(item.label for item in plan.contents)])
    return int.from_bytes(hashlib.sha256(asked).digest()[:8], "big", signed=True)


def _selects_header(item: ContentItem) -> bool:
    """Whether the item is of the message's own header, and not a part of it by octets."""
    if not isinstance(item, BodySection) or item.partial is not None:
        return False
    return not item.section.part and item.section.text in _HEADERS


def draw(plan: FetchPlan, rows: Sequence[Row], contents: Sequence[Sequence[bytes]]) -> bytes:
    """The sheet of these messages, of which there is at least one; arguments as for print_rows."""
    columns = dict(zip(plan.columns, zip(*rows, strict=True), strict=False))
    values: list[Iterable[object]] = [repeat(b"%d", len(rows))]
    for attribute in plan.attributes:
        changing = attribute is Attribute.FLAGS
        values.append(repeat(b"%b", len(rows)) if changing else map(_escaped, values_of(attribute, columns)))
    labels = [item.label.replace(b"%", b"%%%%") + b" {%d}\r\n%b" for item in plan.contents]
    for octets in contents:
        values += [map(len, octets), map(_escaped, octets)]
    separator = b" " if plan.attributes and labels else b""
    template = plan.template.replace(b"%d", b"%b", 1) + separator + b" ".join(labels) + b")\r\n"
    return b"".join(map(template.__mod__, zip(*values, strict=True)))


def _escaped(value: object) -> object:
    return value.replace(b"%", b"%%") if isinstance(value, bytes) else value


def fill_in(plan: FetchPlan, sheet: bytes, numbers: Iterable[int], flags: Iterable[tuple[int, str]]) -> bytes:
    """The responses, with message numbers and (flags, keywords) of all messages of the sheet."""
    if Attribute.FLAGS not in plan.attributes:
        return sheet % tuple(numbers)
    lists = [print_flag_list(bits, keywords) for bits, keywords in flags]
    return sheet % tuple(chain.from_iterable(zip(numbers, lists, strict=True)))
