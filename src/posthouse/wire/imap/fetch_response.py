"""Responses to FETCH, printed (RFC 9051 §7.5.2, RFC 3516 §4.2, RFC 8970 §3, RFC 8474 §5.3).

`plan(items, uid)` is made once a command and cached. It says which `columns` a row must bring, and which `contents`
must be fetched from the message itself (sections, decoded parts).

* no contents: `print_rows(plan, numbers, rows)` prints any number of messages at once, column by column;
* with contents: `print_message(plan, number, row, contents)` prints one message as a list of octets, with literals
  passed through uncopied; a Span among them stands for octets of the message that the session sends piece by piece.

`print_flags` prints the unsolicited FETCH of a changed message. Items are read in fetch.py; how sections are cut out
of messages is known to mail/structure.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import cast

from posthouse.mail.dates import format_internaldate
from posthouse.mail.ids import EMAIL_LETTER, THREAD_LETTER, Millis
from posthouse.mail.keyword import FLAG_BITS
from posthouse.mail.mime import Part, Span
from posthouse.wire.imap.body import without_extension
from posthouse.wire.imap.fetch import Attribute, Binary, BodySection, ContentItem, FetchItem

CACHED_ITEMS = 30  # items of a plan that is worth keeping; keeping longer ones would be a way to fill memory


class Column(Enum):
    """What a row may bring, in the order of the row; the values are the store's column names.

    `flags`: bits of mail/keyword.py. `keywords`: text, separated by spaces. `received`: Millis. `size`: octets.
    `envelope`, `structure`: wire text as mail/structure.py printed it at arrival. `email`, `thread`: numbers.
    `saved`: Millis. `preview`: text, None where it was not made.
    """

    UID = "uid"
    FLAGS = "flags"
    KEYWORDS = "keywords"
    RECEIVED = "received"
    SIZE = "size"
    ENVELOPE = "envelope"
    STRUCTURE = "structure"
    EMAIL = "email"
    THREAD = "thread"
    SAVED = "saved"
    PREVIEW = "preview"
    MODSEQ = "modseq"


_COLUMNS_OF: dict[Attribute, tuple[Column, ...]] = {
    Attribute.UID: (Column.UID,),
    Attribute.FLAGS: (Column.FLAGS, Column.KEYWORDS),
    Attribute.INTERNALDATE: (Column.RECEIVED,),
    Attribute.SIZE: (Column.SIZE,),
    Attribute.ENVELOPE: (Column.ENVELOPE,),
    Attribute.BODYSTRUCTURE: (Column.STRUCTURE,),
    Attribute.BODY: (Column.STRUCTURE,),
    Attribute.EMAILID: (Column.EMAIL,),
    Attribute.THREADID: (Column.THREAD,),
    Attribute.SAVEDATE: (Column.SAVED,),
    Attribute.PREVIEW: (Column.PREVIEW,),
    Attribute.PREVIEW_LAZY: (Column.PREVIEW,),
    Attribute.MODSEQ: (Column.MODSEQ,),
}
_LABELS: dict[Attribute, bytes] = {Attribute.PREVIEW_LAZY: Attribute.PREVIEW.value}
# How a value that is no octets is printed; object ids are RFC 8474 §5.3's.
_FORMS: dict[Attribute, bytes] = {
    Attribute.UID: b" %d",
    Attribute.SIZE: b" %d",
    Attribute.MODSEQ: b" (%d)",
    Attribute.EMAILID: b" (" + EMAIL_LETTER.encode() + b"%d)",
    Attribute.THREADID: b" (" + THREAD_LETTER.encode() + b"%d)",
}

Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Octets of a part's decoded body that the session sends piece by piece; `nul`: whether the body holds NUL."""

    part: Part
    span: Span
    nul: bool


@dataclass(frozen=True, slots=True)
class Selected:
    """What the item selects of the message's own header: so many octets, which the session cuts when it sends them."""

    item: BodySection
    size: int


Content = bytes | Span | Decoded | Selected | int | None
Piece = bytes | Span | Decoded | Selected


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """How one FETCH is answered.

    `columns`: what every row brings, UID first whatever was asked for. `contents`: the items that need the message
    itself, in the order in which `print_message` wants them. `head` and `labels` are the fixed octets of an answer.
    """

    columns: tuple[Column, ...]
    contents: tuple[ContentItem, ...]
    attributes: tuple[Attribute, ...]
    template: bytes


def plan(items: tuple[FetchItem, ...], uid: bool = False) -> FetchPlan:
    """The plan for these items; `uid` adds the UID that UID FETCH always brings (RFC 9051 §6.4.9)."""
    return _cached_plan(items, uid) if len(items) <= CACHED_ITEMS else _plan(items, uid)


def _plan(items: tuple[FetchItem, ...], uid: bool) -> FetchPlan:
    attributes = [item for item in items if isinstance(item, Attribute)]
    if uid and Attribute.UID not in attributes:
        attributes.insert(0, Attribute.UID)
    contents = tuple(item for item in items if not isinstance(item, Attribute))
    needed = {Column.UID}.union(*(_COLUMNS_OF[attribute] for attribute in attributes))
    columns = tuple(column for column in Column if column in needed)
    pairs = [_LABELS.get(attribute, attribute.value) + _FORMS.get(attribute, b" %b") for attribute in attributes]
    return FetchPlan(columns, contents, tuple(attributes), b"* %d FETCH (" + b" ".join(pairs))


_cached_plan = lru_cache(1024)(_plan)


def print_rows(
    plan: FetchPlan, numbers: Iterable[int], rows: Sequence[Row], contents: Sequence[Sequence[bytes]] = ()
) -> bytes:
    """The FETCH responses of many messages. `numbers` are their message sequence numbers; each row begins with
    `plan.columns`; `contents` are the octets of each of `plan.contents`, message by message (RFC 9051 §7.5.2)."""
    if not rows:
        return b""
    columns = dict(zip(plan.columns, zip(*rows, strict=True), strict=False))
    values = [values_of(attribute, columns) for attribute in plan.attributes]
    labels = [item.label.replace(b"%", b"%%") + b" {%d}\r\n%b" for item in plan.contents]
    for octets in contents:
        values += [map(len, octets), octets]
    separator = b" " if plan.attributes and labels else b""
    template = plan.template + separator + b" ".join(labels) + b")\r\n"
    return b"".join(map(template.__mod__, zip(numbers, *values, strict=True)))


def values_of(attribute: Attribute, columns: Mapping[Column, Sequence[object]]) -> Iterable[object]:
    """What stands behind the name of an attribute, message by message."""
    match attribute:
        case Attribute.FLAGS:
            bits = cast("Sequence[int]", columns[Column.FLAGS])
            return map(print_flag_list, bits, cast("Sequence[str]", columns[Column.KEYWORDS]))
        case Attribute.INTERNALDATE:
            return map(_internaldate, cast("Sequence[int]", columns[Column.RECEIVED]))
        case Attribute.BODY:
            return map(without_extension, cast("Sequence[bytes]", columns[Column.STRUCTURE]))
        case Attribute.SAVEDATE:
            return map(_internaldate, cast("Sequence[int]", columns[Column.SAVED]))
        case Attribute.PREVIEW:
            return [print_preview(text or "") for text in cast("Sequence[str | None]", columns[Column.PREVIEW])]
        case Attribute.PREVIEW_LAZY:
            texts = cast("Sequence[str | None]", columns[Column.PREVIEW])
            return [b"NIL" if text is None else print_preview(text) for text in texts]
    return columns[_COLUMNS_OF[attribute][0]]


def print_preview(text: str) -> bytes:
    """nstring of UTF-8: quoted where every client can read it so, else a literal (RFC 8970 §3.3)."""
    octets = text.encode("utf-8")
    if octets.isascii() and text.isprintable():
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(octets), octets)


def print_message(plan: FetchPlan, number: int, row: Row, contents: Sequence[Content]) -> list[Piece]:
    """The FETCH response of one message, in pieces. `contents` answers `plan.contents` one by one, partials cut
    already: octets, the Span of them in the message, Decoded, Selected or None (NIL) for sections and decoded parts,
    an int for BINARY.SIZE."""
    columns = {column: (value,) for column, value in zip(plan.columns, row, strict=True)}
    values = [next(iter(values_of(attribute, columns))) for attribute in plan.attributes]
    pieces: list[Piece] = [plan.template % (number, *values)]
    separator = b" " if plan.attributes else b""
    for item, content in zip(plan.contents, contents, strict=True):
        pieces.append(separator)
        pieces.extend(_print_content(item, content))
        separator = b" "
    pieces.append(b")\r\n")
    return pieces


def _print_content(item: ContentItem, content: Content) -> tuple[Piece, ...]:
    if content is None:
        return (item.label + b" NIL",)
    if isinstance(content, int):
        return (item.label + b" %d" % content,)
    if isinstance(content, Span | Selected):
        return (item.label + b" {%d}\r\n" % (content.size), content)
    if isinstance(content, Decoded):
        return (item.label + b" %b{%d}\r\n" % (b"~" if content.nul else b"", content.span.size), content)
    # Only BINARY may carry NUL (RFC 3516 §4.2); a message that holds NUL is stored as received and shown as it is.
    tilde = b"~" if isinstance(item, Binary) and b"\0" in content else b""
    return (item.label + b" %b{%d}\r\n" % (tilde, len(content)), content)


def print_flags(number: int, bits: int, keywords: str, uid: int | None = None, modseq: int | None = None) -> bytes:
    """The FETCH response that tells of changed flags; with UID and MODSEQ where the client wants them
    (RFC 9051 §7.5.2, RFC 7162 §3.2.4)."""
    flags = print_flag_list(bits, keywords)
    if uid is None:
        return b"* %d FETCH (FLAGS %b)\r\n" % (number, flags)
    if modseq is None:
        return b"* %d FETCH (UID %d FLAGS %b)\r\n" % (number, uid, flags)
    return b"* %d FETCH (UID %d MODSEQ (%d) FLAGS %b)\r\n" % (number, uid, modseq, flags)


def print_changes(numbered: Iterable[tuple[int, tuple[int, int, str, int]]]) -> bytes:
    """The same, with UID and MODSEQ, of many messages: their numbers and (uid, flags, keywords, modseq)."""
    shown = [(number, uid, modseq, print_flag_list(bits, words)) for number, (uid, bits, words, modseq) in numbered]
    return b"".join(map(b"* %d FETCH (UID %d MODSEQ (%d) FLAGS %b)\r\n".__mod__, shown))


def print_modseq(number: int, uid: int, modseq: int) -> bytes:
    """The FETCH response that tells of a new mod-sequence alone: after STORE.SILENT (RFC 7162 §3.1.3)."""
    return b"* %d FETCH (UID %d MODSEQ (%d))\r\n" % (number, uid, modseq)


@lru_cache(512)  # a keyword list may have 10 KB
def print_flag_list(bits: int, keywords: str = "") -> bytes:
    """flag-list of a message: system flags first, then its keywords as registered (RFC 9051 §9, RFC 5788)."""
    flags = [name for name, bit in FLAG_BITS if bits & bit]
    flags += [_SPELLING.get(keyword, keyword).encode("ascii") for keyword in keywords.split()]
    return b"(" + b" ".join(flags) + b")"


ALL_FLAGS = sum(bit for _, bit in FLAG_BITS)
# RFC 9051 §2.3.2 and the registry (RFC 5788) spell these so; we keep keywords in lower case, and they are the same in
# any. Those of Apple Mail's colours are in draft-ietf-mailmaint-messageflag-mailboxattribute-13.
_SPELLING = {
    keyword.lower(): keyword
    for keyword in (
        *("$Forwarded", "$Important", "$Junk", "$MDNSent", "$NotJunk", "$Phishing", "$SubmitPending", "$Submitted"),
        *("$MailFlagBit0", "$MailFlagBit1", "$MailFlagBit2"),
    )
}
_MINUTES = [b"%02d:%02d" % divmod(minute, 60) for minute in range(24 * 60)]
_SECONDS = [b':%02d +0000"' % second for second in range(60)]
_DAY = 86_400  # seconds
_DATE_OCTETS = len(b'"17-Jul-1996 ')


@lru_cache(8192)
def _date(day: int) -> bytes:
    return format_internaldate(Millis(day * _DAY * 1000))[:_DATE_OCTETS]


def _internaldate(received: int) -> bytes:
    """As format_internaldate, put together from tables: a mailbox has few days and many messages."""
    day, seconds = divmod(received // 1000, _DAY)
    minutes, seconds = divmod(seconds, 60)
    return _date(day) + _MINUTES[minutes] + _SECONDS[seconds]
