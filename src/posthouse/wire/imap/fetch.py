"""FETCH as a client asks it: the items of a command as values (RFC 9051 §6.4.5, RFC 3516, RFC 8970, RFC 8474).

`parse_items` turns the octets of an item list into a tuple of FetchItem values; clients repeat themselves, so the
results are cached by spelling. It does not print the answer (fetch_response.py does), nor know what a section of a
message is (mail/structure.py does).
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from posthouse.mail.structure import Section, SectionText
from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.condstore import NO_MODIFIERS, FetchModifiers, split_fetch_modifiers
from posthouse.wire.imap.grammar import ASTRING_CHARS, OPEN, Scanner
from posthouse.wire.imap.number_set import NumberSet

PART_NUMBERS = 50  # depth of a section-part; mail/mime.py shows no deeper part (limits.md)
ITEMS = 200  # items of one FETCH; no client asks for more, and each may be a read of the message
CACHED_SPELLING = 500  # octets of an item list that is worth keeping; keeping longer ones would be a way to fill memory
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
    return BodySection(section, partial, peek, _label(b"BODY", print_section(section), partial))


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


def parse_section(octets: bytes) -> Section:
    """section-spec alone, as a URL has it behind SECTION= (RFC 5092 §6). Raises Fault."""
    scanner = Scanner(b"[%b]" % octets)
    section = _section(scanner)
    scanner.end()
    return section


def _print_part(part: tuple[int, ...]) -> bytes:
    return b".".join(b"%d" % number for number in part)


def print_section(section: Section) -> bytes:
    """section-spec (RFC 9051 §9)."""
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
