"""ENVELOPE, BODYSTRUCTURE and sections of a message, as IMAP shows them (RFC 9051 §7.5.2, §6.4.5.1, RFC 3501 §7.4.2).

`describe` gives the wire text once, at arrival; `span` says where the octets of BODY[...] stand. The text is valid
for IMAP4rev1 and IMAP4rev2: header text as received, in quoted strings; octets above 127 and what else cannot stand
between quotes go into literals. It does not print responses: wire/imap/fetch.py does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from posthouse.mail.address_list import AddressGroup, NamedAddress, parse_address_list
from posthouse.mail.header import Octets, unfold
from posthouse.mail.mime import Part, Span, parse
from posthouse.mail.parameters import Parameters

# Octets of address fields read in the messages enclosed in one message. Beyond it their address lists are shown as NIL:
# a message of a thousand messages, each to a thousand people, would take minutes.
ENCLOSED_ADDRESSES = 262_144
REMEMBERED = 512  # octets of an address field that are remembered as they are printed: the same people write again
LANGUAGES = 100  # tags of one Content-Language shown; more is no language list

# RFC 9051 §9   quoted = DQUOTE *QUOTED-CHAR DQUOTE; in IMAP4rev1 only 7-bit characters, never CR, LF or NUL
_QUOTED_AS_IS = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]*+").fullmatch
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*+").fullmatch
_NEEDS_BACKSLASH = re.compile(rb'(["\\])')
_ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")


class SectionText(Enum):
    """What a section names of its part (RFC 9051 §9, section-text). WHOLE: no section-text was given."""

    WHOLE = ""
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """A section-spec: part numbers, () for the message itself, what of it, and for HEADER.FIELDS and
    HEADER.FIELDS.NOT the field names, in any case (RFC 9051 §6.4.5.1)."""

    part: tuple[int, ...] = ()
    text: SectionText = SectionText.WHOLE
    fields: tuple[bytes, ...] = ()


class Description(NamedTuple):
    """What the store keeps beside a message: the wire text of ENVELOPE and of BODYSTRUCTURE with extension data,
    without the names of the items, and the size of the header with its blank line in octets. `cut`: some of it lies
    beyond the limits of mime.py and is shown as opaque."""

    envelope: bytes
    structure: bytes
    header_size: int
    cut: bool = False


def describe(octets: Octets) -> Description:
    """ENVELOPE and BODYSTRUCTURE of a message (RFC 9051 §7.5.2). Never raises; linear time."""
    return describe_part(parse(octets))


def describe_part(part: Part) -> Description:
    """The same of a message that is parsed already."""
    return Description(envelope(part.fields), body_structure(part), part.header.stop, part.cut)


# ENVELOPE


def envelope(fields: Mapping[bytes, bytes]) -> bytes:
    """The ENVELOPE from the first raw value of each field by lower-case name (RFC 9051 §7.5.2). Sender and
    Reply-To are those of From where they are absent or empty; a date, subject, in-reply-to or message-id that is there
    but empty is "", one that is absent NIL."""
    get = fields.get
    sender = addresses(get(b"from"))
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _field(get(b"date")),
        _field(get(b"subject")),
        sender,
        _or(addresses(get(b"sender")), sender),
        _or(addresses(get(b"reply-to")), sender),
        addresses(get(b"to")),
        addresses(get(b"cc")),
        addresses(get(b"bcc")),
        _field(get(b"in-reply-to")),
        _field(get(b"message-id")),
    )


def _or(given: bytes, default: bytes) -> bytes:
    return default if given == b"NIL" else given


def _field(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    plain = value.strip(b" \t\r")  # which is all that unfolding does where nothing is folded
    return b'"%b"' % plain if _QUOTED_AS_IS(plain) else string(unfold(value))


def addresses(value: bytes | None) -> bytes:
    """A parenthesized list of address structures from a raw address field, or NIL where there is none
    (RFC 9051 §7.5.2). A group is bracketed by structures whose host is NIL."""
    if value is None:
        return b"NIL"
    return _remembered(value) if len(value) <= REMEMBERED else _addresses(value)


def _addresses(value: bytes) -> bytes:
    structures: list[bytes] = []
    for item in parse_address_list(value):
        if isinstance(item, AddressGroup):
            structures.append(b"(NIL NIL %b NIL)" % string(item.name))
            structures.extend(map(_address, item.members))
            structures.append(b"(NIL NIL NIL NIL)")
        else:
            structures.append(_address(item))
    return b"(%b)" % b"".join(structures) if structures else b"NIL"


_remembered = lru_cache(1024)(_addresses)


def _address(address: NamedAddress) -> bytes:
    """An address structure: name, source route, local part, host. The last two are never NIL here, because that
    would begin or end a group (RFC 9051 §7.5.2)."""
    name, route, local, domain = address
    if route is None:
        return b"(%b NIL %b %b)" % (nstring(name), string(local), string(domain))
    return b"(%b %b %b %b)" % (nstring(name), string(route), string(local), string(domain))


def string(value: bytes) -> bytes:
    """An IMAP string: quoted where that is possible in IMAP4rev1, else a literal (RFC 9051 §4.3). NUL, which
    neither may hold, is dropped."""
    if _QUOTED_AS_IS(value):
        return b'"%b"' % value
    if _QUOTABLE(value):
        return b'"%b"' % _NEEDS_BACKSLASH.sub(rb"\\\1", value)
    if b"\0" in value:
        return string(value.replace(b"\0", b""))
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    """An IMAP string, or NIL for None (RFC 9051 §9)."""
    return b"NIL" if value is None else string(value)


# BODYSTRUCTURE


def body_structure(part: Part) -> bytes:
    """BODYSTRUCTURE: the body structure with extension data (RFC 9051 §7.5.2)."""
    return _Printer().body(part)


class _Printer:
    """Prints one body structure, and counts what the addresses in it cost."""

    __slots__ = ("address_octets",)

    def __init__(self) -> None:
        self.address_octets = 0

    def body(self, part: Part) -> bytes:
        if part.children:
            return self.multipart(part)
        get = part.fields.get
        basic = b'"%b" "%b" %b %b %b %b %d' % (
            part.type.encode("ascii"),
            part.subtype.encode("ascii"),
            _parameters(part.parameters),
            _nfield(get(b"content-id")),
            _nfield(get(b"content-description")),
            string(part.encoding.encode("ascii")),
            part.body.stop - part.body.start,
        )
        if part.message is not None:
            enclosed = self.envelope(part.message.fields), self.body(part.message)
            basic = b"%b %b %b %d" % (basic, *enclosed, part.lines)
        elif part.type == "text":
            basic = b"%b %d" % (basic, part.lines)
        return b"(%b %b %b)" % (basic, _nfield(get(b"content-md5")), _extension(part))

    def multipart(self, part: Part) -> bytes:
        children = b"".join([self.body(child) for child in part.children])
        parameters = _parameters(part.parameters)
        return b'(%b "%b" %b %b)' % (children, part.subtype.encode("ascii"), parameters, _extension(part))

    def envelope(self, fields: Mapping[bytes, bytes]) -> bytes:
        """The ENVELOPE of an enclosed message, without addresses once ENCLOSED_ADDRESSES is used up."""
        self.address_octets += sum(len(fields.get(name, b"")) for name in _ADDRESS_FIELDS)
        if self.address_octets > ENCLOSED_ADDRESSES:
            fields = {name: value for name, value in fields.items() if name not in _ADDRESS_FIELDS}
        return envelope(fields)


def _nfield(value: bytes | None) -> bytes:
    """A field as nstring; one that is empty says nothing, so it is NIL."""
    return b"NIL" if value is None else string(unfold(value)) if value.strip() else b"NIL"


def _extension(part: Part) -> bytes:
    """Disposition, language and location (RFC 9051 §7.5.2)."""
    fields = part.fields
    disposition = b"NIL"
    if b"content-disposition" in fields and (found := part.disposition) is not None:
        disposition = b"(%b %b)" % (string(found[0].encode("ascii")), _parameters(found[1]))
    if b"content-language" not in fields and b"content-location" not in fields:
        return b"%b NIL NIL" % disposition
    return b"%b %b %b" % (
        disposition,
        _languages(fields.get(b"content-language")),
        _nfield(fields.get(b"content-location")),
    )


def _languages(value: bytes | None) -> bytes:
    """The tags of Content-Language (RFC 3282 §2), as a list where there are several."""
    tags = [] if value is None else [tag.strip() for tag in unfold(value).split(b",", LANGUAGES)[:LANGUAGES]]
    tags = [string(tag) for tag in tags if tag]
    if not tags:
        return b"NIL"
    return tags[0] if len(tags) == 1 else b"(%b)" % b" ".join(tags)


def _parameters(parameters: Parameters) -> bytes:
    """A parenthesized list of names and values, or NIL (RFC 9051 §9, body-fld-param)."""
    if not parameters:
        return b"NIL"
    return b"(%b)" % b" ".join([b"%b %b" % (string(name), string(value)) for name, value in parameters.items()])


# Sections


def find_part(root: Part, numbers: tuple[int, ...]) -> Part | None:
    """The part with these part numbers, or None (RFC 9051 §6.4.5.1). () is the message itself; a message that is not
    multipart has one part, 1, which is its body."""
    part = root
    in_message = True  # the next number counts the parts of the message `part`, not of the part `part`
    for number in numbers:
        if not in_message and part.message is not None:
            part, in_message = part.message, True
        if part.children:
            if not 1 <= number <= len(part.children):
                return None
            part, in_message = part.children[number - 1], False
        elif in_message and number == 1:
            in_message = False
        else:
            return None
    return part


def span(root: Part, size: int, section: Section) -> Span | None:
    """Where the octets of a section stand in a message of `size` octets, or None where there is no such section. For
    HEADER.FIELDS and HEADER.FIELDS.NOT it is the header they are taken from (RFC 9051 §6.4.5.1)."""
    part = find_part(root, section.part)
    if part is None:
        return None
    if section.text is SectionText.MIME:
        return part.header if section.part else None
    if section.text is SectionText.WHOLE:
        return part.body if section.part else Span(0, size)
    message = part.message if section.part else part
    if message is None:
        return None
    return message.body if section.text is SectionText.TEXT else message.header
