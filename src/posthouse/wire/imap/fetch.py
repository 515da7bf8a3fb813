"""FETCH, both ways: its items read from a command, its responses printed (RFC 9051 §6.4.5, §7.5.2, RFC 3516).

Reading: `parse_items` turns the octets of an item list into a tuple of FetchItem values; clients repeat themselves, so
the results are cached by spelling.

Printing: `plan(items, uid)` is made once a command and cached. It says which `columns` a row must bring, and which
`contents` must be fetched from the message itself (sections, decoded parts).

* no contents: `print_rows(plan, numbers, rows)` prints any number of messages at once, column by column;
* with contents: `print_message(plan, number, row, contents)` prints one message as a list of octets, with literals
  passed through uncopied; a Span among them stands for octets of the message that the session sends piece by piece.

`print_flags` prints the unsolicited FETCH of a changed message. This file does not know sections of messages (that is
mail/structure.py), nor PREVIEW, or the other extensions of FETCH.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import cast

from posthouse.mail.dates import format_internaldate
from posthouse.mail.ids import EMAIL_LETTER, THREAD_LETTER, Millis
from posthouse.mail.keyword import FLAG_BITS
from posthouse.mail.mime import Part, Span
from posthouse.mail.structure import Section, SectionText
from posthouse.wire.imap.body import without_extension
from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.condstore import NO_MODIFIERS, FetchModifiers, split_fetch_modifiers
from posthouse.wire.imap.grammar import ASTRING_CHARS, OPEN, Scanner
from posthouse.wire.imap.number_set import NumberSet

PART_NUMBERS = 50  # depth of a section-part; mail/mime.py shows no deeper part (limits.md)
ITEMS = 200  # items of one FETCH; no client asks for more, and each may be a read of the message
CACHED_SPELLING = 500  # octets of an item list that is worth keeping; keeping longer ones would be a way to fill memory
CACHED_ITEMS = 30  # the same for plans
PART_NUMBER = 0xFFFF_FFFF  # nz-number (RFC 9051 §9)


class Attribute(Enum):
    """The fetch-att without an argument (RFC 9051 §6.4.5), by the name that stands in the response."""

    ENVELOPE = b"ENVELOPE"
    FLAGS = b"FLAGS"
    INTERNALDATE = b"INTERNALDATE"
    SIZE = b"RFC822.SIZE"
    BODY = b"BODY"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    UID = b"UID"
    EMAILID = b"EMAILID"
    THREADID = b"THREADID"
    SAVEDATE = b"SAVEDATE"
    PREVIEW = b"PREVIEW"
    PREVIEW_LAZY = b"PREVIEW (LAZY)"  # answered as PREVIEW (RFC 8970 §4.1)
    MODSEQ = b"MODSEQ"  # RFC 7162 §3.1.4.2


@dataclass(frozen=True, slots=True)
class Partial:
    """partial = "<" number64 "." nz-number64 ">": the octets from `offset` on, at most `length` (RFC 9051 §6.4.5)."""

    offset: int
    length: int

    def cut(self, octets: bytes) -> bytes:
        """The octets asked for; empty behind the end."""
        return octets[self.offset : self.offset + self.length]


@dataclass(frozen=True, slots=True)
class BodySection:
    """BODY[…], BODY.PEEK[…] and RFC822, RFC822.HEADER, RFC822.TEXT. `label` is its name in the response."""

    section: Section
    partial: Partial | None
    peek: bool
    label: bytes


@dataclass(frozen=True, slots=True)
class Binary:
    """BINARY[…] and BINARY.PEEK[…]: a part without its transfer encoding (RFC 9051 §6.4.5, RFC 3516 §4.2)."""

    part: tuple[int, ...]
    partial: Partial | None
    peek: bool
    label: bytes


@dataclass(frozen=True, slots=True)
class BinarySize:
    """BINARY.SIZE[…]: the size of the decoded part (RFC 9051 §6.4.5, RFC 3516 §4.3)."""

    part: tuple[int, ...]
    label: bytes


ContentItem = BodySection | Binary | BinarySize
FetchItem = Attribute | ContentItem


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH and UID FETCH (RFC 9051 §6.4.5, §6.4.9). `uid`: numbers are UIDs, and each answer brings the UID."""

    tag: bytes
    numbers: NumberSet
    items: tuple[FetchItem, ...]
    uid: bool = False
    modifiers: FetchModifiers = NO_MODIFIERS

    @property
    def sets_seen(self) -> bool:
        """Whether an item without PEEK sets \\Seen (RFC 9051 §6.4.5)."""
        return any(isinstance(item, BodySection | Binary) and not item.peek for item in self.items)


# --- reading

_NAME = re.compile(rb"[A-Za-z0-9.-]+")  # narrower than atom: `[` and `<` follow it at once

# RFC 9051 §6.4.5   the macros
_FAST = (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE)
_MACROS: dict[bytes, tuple[FetchItem, ...]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, Attribute.ENVELOPE),
    b"FULL": (*_FAST, Attribute.ENVELOPE, Attribute.BODY),
}
_PLAIN: dict[bytes, FetchItem] = {
    **{attribute.value: attribute for attribute in Attribute},
    # RFC 3501 §6.4.5: equal to BODY[], BODY.PEEK[HEADER] and BODY[TEXT] but for the name in the answer
    b"RFC822": BodySection(Section((), SectionText.WHOLE, ()), None, False, b"RFC822"),
    b"RFC822.HEADER": BodySection(Section((), SectionText.HEADER, ()), None, True, b"RFC822.HEADER"),
    b"RFC822.TEXT": BodySection(Section((), SectionText.TEXT, ()), None, False, b"RFC822.TEXT"),
}
_TEXTS: dict[bytes, SectionText] = {
    b"HEADER": SectionText.HEADER,
    b"HEADER.FIELDS": SectionText.HEADER_FIELDS,
    b"HEADER.FIELDS.NOT": SectionText.HEADER_FIELDS_NOT,
    b"TEXT": SectionText.TEXT,
    b"MIME": SectionText.MIME,
}


def parse_items(octets: bytes) -> tuple[FetchItem, ...]:
    """The items of a FETCH: a macro, one fetch-att, or a list of them (RFC 9051 §9). Raises Fault."""
    return _cached_items(octets) if len(octets) <= CACHED_SPELLING else _items(octets)


def fetch_items(scanner: Scanner) -> tuple[FetchItem, ...]:
    """ "(" fetch-att *(SP fetch-att) ")" inside another command (RFC 5465 §8). Raises Fault."""
    items = scanner.parenthesized(_item)
    if len(items) > ITEMS:
        raise over_limit(f"At most {ITEMS} items can be shown.")
    return tuple(dict.fromkeys(items))


def _items(octets: bytes) -> tuple[FetchItem, ...]:
    scanner = Scanner(octets)
    macro = _MACROS.get(octets.upper())
    if macro is not None:
        return macro
    items = scanner.parenthesized(_item) if scanner.peek() == OPEN else [_item(scanner)]
    scanner.end()
    if len(items) > ITEMS:
        raise over_limit(f"FETCH takes at most {ITEMS} items.")
    return tuple(dict.fromkeys(items))


_cached_items = lru_cache(1024)(_items)


def parse_fetch(tag: bytes, scanner: Scanner, uid: bool) -> Fetch:
    """What follows `FETCH` (RFC 9051 §9)."""
    scanner.space()
    numbers = scanner.sequence_set()
    scanner.space()
    spelled, modifiers = split_fetch_modifiers(scanner.octets[scanner.position :])
    items = parse_items(spelled)
    scanner.position = len(scanner.octets)
    if modifiers.vanished and not uid:
        raise Fault("VANISHED may stand behind UID FETCH only.")
    if modifiers.partial is not None and not uid:
        raise Fault("PARTIAL may stand behind UID FETCH only.")  # RFC 9394 §3.3
    if modifiers.changed_since is not None and Attribute.MODSEQ not in items:
        items = (*items, Attribute.MODSEQ)  # RFC 7162 §3.1.4.1
    return Fetch(tag, numbers, items, uid, modifiers)


def _item(scanner: Scanner) -> FetchItem:
    word = scanner.match(_NAME, "an item name")[0].upper()
    if scanner.peek() == ord("["):
        return _sectioned(word, scanner)
    item = _PLAIN.get(word)
    if item is None:
        raise Fault(f"FETCH knows no item {word.decode('ascii')}.")
    if item is Attribute.PREVIEW and scanner.take(b" (LAZY"):  # other parentheses are FETCH's own (RFC 4466 §2.4)
        while scanner.take(b" LAZY"):
            pass
        scanner.mark(b")")
        return Attribute.PREVIEW_LAZY
    return item


def _sectioned(word: bytes, scanner: Scanner) -> FetchItem:
    match word:
        case b"BODY" | b"BODY.PEEK":
            return body_section(_section(scanner), _partial(scanner), word == b"BODY.PEEK")
        case b"BINARY" | b"BINARY.PEEK":
            return binary_section(_section_binary(scanner), _partial(scanner), word == b"BINARY.PEEK")
        case b"BINARY.SIZE":
            return binary_size(_section_binary(scanner))
    raise Fault(f"FETCH knows no item {word.decode('ascii')}[].")


def body_section(section: Section, partial: Partial | None, peek: bool) -> BodySection:
    """BODY[section]<partial> or BODY.PEEK[section]<partial>."""
    return BodySection(section, partial, peek, _label(b"BODY", _print_section(section), partial))


def binary_section(part: tuple[int, ...], partial: Partial | None, peek: bool) -> Binary:
    """BINARY[part]<partial> or BINARY.PEEK[part]<partial>."""
    return Binary(part, partial, peek, _label(b"BINARY", _print_part(part), partial))


def binary_size(part: tuple[int, ...]) -> BinarySize:
    """BINARY.SIZE[part]."""
    return BinarySize(part, _label(b"BINARY.SIZE", _print_part(part), None))


def _section_binary(scanner: Scanner) -> tuple[int, ...]:
    """section-binary = "[" [section-part] "]" (RFC 9051 §9)."""
    scanner.mark(b"[")
    part: tuple[int, ...] = ()
    if not scanner.take(b"]"):
        part = _part(scanner)
        scanner.mark(b"]")
    return part


def _section(scanner: Scanner) -> Section:
    """section = "[" [section-spec] "]" (RFC 9051 §9)."""
    scanner.mark(b"[")
    if scanner.take(b"]"):
        return Section((), SectionText.WHOLE, ())
    part: tuple[int, ...] = ()
    if ord("0") <= scanner.peek() <= ord("9"):
        part = _part(scanner)
        if scanner.take(b"]"):
            return Section(part, SectionText.WHOLE, ())
        scanner.mark(b".")
    section = _section_text(scanner, part)
    scanner.mark(b"]")
    return section


def _section_text(scanner: Scanner, part: tuple[int, ...]) -> Section:
    word = scanner.match(_NAME, "a section name")[0].upper()
    text = _TEXTS.get(word)
    if text is None or (text is SectionText.MIME and not part):
        raise Fault(f"There is no section {word.decode('ascii')} here.")
    fields: tuple[bytes, ...] = ()
    if text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        scanner.space()
        fields = tuple(scanner.parenthesized(_field_name))
    return Section(part, text, fields)


def _field_name(scanner: Scanner) -> bytes:
    """header-fld-name = astring, of the characters a field name may have (RFC 9051 §9, RFC 5322 §2.2)."""
    name = scanner.astring()
    if not name or b":" in name or any(not 33 <= octet <= 126 for octet in name):
        raise Fault("A header field name is printable US-ASCII without spaces and colons.")
    return name


def _part(scanner: Scanner) -> tuple[int, ...]:
    """section-part = nz-number *("." nz-number) (RFC 9051 §9); a dot before a word is left in place."""
    numbers = [_part_number(scanner)]
    while scanner.peek() == ord(".") and scanner.octets[scanner.position + 1 : scanner.position + 2].isdigit():
        scanner.position += 1
        numbers.append(_part_number(scanner))
        if len(numbers) > PART_NUMBERS:
            raise over_limit(f"A part may be at most {PART_NUMBERS} levels deep.")
    return tuple(numbers)


def _part_number(scanner: Scanner) -> int:
    number = scanner.number(PART_NUMBER)
    if not number:
        raise Fault("Parts are numbered from 1.")
    return number


def _partial(scanner: Scanner) -> Partial | None:
    """partial = "<" number64 "." nz-number64 ">" (RFC 9051 §9)."""
    if not scanner.take(b"<"):
        return None
    offset = scanner.number()
    scanner.mark(b".")
    length = scanner.number()
    scanner.mark(b">")
    if not length:
        raise Fault("A partial fetch asks for at least one octet.")
    return Partial(offset, length)


def _print_part(part: tuple[int, ...]) -> bytes:
    return b".".join(b"%d" % number for number in part)


def _print_section(section: Section) -> bytes:
    text = next((word for word, value in _TEXTS.items() if value is section.text), b"")
    if section.fields:
        text += b" (" + b" ".join(_print_field(field) for field in section.fields) + b")"
    return b".".join(piece for piece in (_print_part(section.part), text) if piece)


def _print_field(name: bytes) -> bytes:
    if ASTRING_CHARS.fullmatch(name):
        return name
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _label(word: bytes, spec: bytes, partial: Partial | None) -> bytes:
    origin = b"" if partial is None else b"<%d>" % partial.offset
    return word + b"[" + spec + b"]" + origin


# --- printing


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


Content = bytes | Span | Decoded | int | None
Piece = bytes | Span | Decoded


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
    values = [_values(attribute, columns) for attribute in plan.attributes]
    labels = [item.label.replace(b"%", b"%%") + b" {%d}\r\n%b" for item in plan.contents]
    for octets in contents:
        values += [map(len, octets), octets]
    separator = b" " if plan.attributes and labels else b""
    template = plan.template + separator + b" ".join(labels) + b")\r\n"
    return b"".join(map(template.__mod__, zip(numbers, *values, strict=True)))


def _values(attribute: Attribute, columns: Mapping[Column, Sequence[object]]) -> Iterable[object]:
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
    already: octets, the Span of them in the message, Decoded or None (NIL) for sections and decoded parts, an int for
    BINARY.SIZE."""
    columns = {column: (value,) for column, value in zip(plan.columns, row, strict=True)}
    values = [next(iter(_values(attribute, columns))) for attribute in plan.attributes]
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
    if isinstance(content, Span):
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
# RFC 9051 §2.3.2 spells these so; we keep keywords in lower case, and they are the same in any.
_SPELLING = {
    keyword.lower(): keyword
    for keyword in ("$Forwarded", "$Important", "$Junk", "$MDNSent", "$NotJunk", "$Phishing", "$SubmitPending")
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
