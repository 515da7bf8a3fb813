"""How Posthouse reads a message, in the words of JMAP's Email object (RFC 8621 §4). For `posthouse message FILE`.

`show_message` gives what is in the message itself: no blobId, keywords or mailboxIds, which belong to a stored Email.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from posthouse.mail import content, dates
from posthouse.mail import parameters as parameterized
from posthouse.mail.address_list import mailboxes
from posthouse.mail.header import Octets, decode_text, decode_words, message_ids, pairs, searchable, unfold
from posthouse.mail.mime import Part, parse
from posthouse.mail.structure import find_part

PART_ID_LENGTH = 400  # characters; 50 levels of numbers up to 2,000 need fewer

Json = dict[str, object]


class _Shown(NamedTuple):
    """A part with its partId, IMAP's part number; "" for the multipart that is the message itself."""

    id: str
    part: Part
    json: Json  # the EmailBodyPart
    children: "tuple[_Shown, ...]"


def show_message(octets: Octets) -> Json:
    """A message as an Email object: header fields, bodyStructure, bodyValues of every text part, textBody, htmlBody
    and attachments (RFC 8621 §4.1). Never raises for what a message contains."""
    octets = searchable(octets)
    root = parse(octets)
    fields = {name.lower(): value for name, value in pairs(octets[: root.header.stop])}  # the last of each name
    shown = _show_part(octets, root, (), whole=True)
    lists = _Lists()
    _decompose([shown], "mixed", False, lists)
    return {
        "size": len(octets),
        **_header(fields),
        "hasAttachment": any(one.json["disposition"] != "inline" for one in lists.attachments),
        "bodyStructure": _with_sub_parts(shown),
        "bodyValues": {one.id: _body_value(octets, one.part) for one in _walk(shown) if one.part.type == "text"},
        "textBody": [one.json for one in lists.text or ()],
        "htmlBody": [one.json for one in lists.html or ()],
        "attachments": [one.json for one in lists.attachments],
    }


def part_octets(octets: Octets, part_id: str) -> bytes | None:
    """The decoded octets of the part with this partId (RFC 8621 §4.1.4, blobId), or None where there is none. Part
    numbers that lead into an enclosed message, as IMAP counts them, are understood too."""
    numbers = part_id.split(".") if len(part_id) <= PART_ID_LENGTH else []
    if not numbers or not all(number.isascii() and number.isdigit() and len(number) < 9 for number in numbers):
        return None
    octets = searchable(octets)
    part = find_part(parse(octets), tuple(map(int, numbers)))
    return None if part is None else content.octets_of(octets, part)


def _header(fields: dict[bytes, bytes]) -> Json:
    """The convenience properties for header fields (RFC 8621 §4.1.3). Where a field occurs more than once, the last
    one counts."""
    date = fields.get(b"date")
    sent = None if date is None else dates.parse_date(date)
    return {
        "messageId": _ids(fields.get(b"message-id")),
        "inReplyTo": _ids(fields.get(b"in-reply-to")),
        "references": _ids(fields.get(b"references")),
        "sender": _addresses(fields.get(b"sender")),
        "from": _addresses(fields.get(b"from")),
        "to": _addresses(fields.get(b"to")),
        "cc": _addresses(fields.get(b"cc")),
        "bcc": _addresses(fields.get(b"bcc")),
        "replyTo": _addresses(fields.get(b"reply-to")),
        "subject": _text(fields.get(b"subject")),
        "sentAt": None if sent is None else dates.format_rfc3339(*sent),
    }


def _text(value: bytes | None) -> str | None:
    """The Text form of a header field (RFC 8621 §4.1.2.2)."""
    return None if value is None else unicodedata.normalize("NFC", decode_words(value))


def _ids(value: bytes | None) -> list[str] | None:
    """The MessageIds form (RFC 8621 §4.1.2.5)."""
    return None if value is None else message_ids(value) or None


def _addresses(value: bytes | None) -> list[Json] | None:
    """The Addresses form (RFC 8621 §4.1.2.3)."""
    if value is None:
        return None
    return [
        {"name": None if one.text is None else unicodedata.normalize("NFC", one.text), "email": one.addr_spec}
        for one in mailboxes(value)
    ]


def _show_part(octets: Octets, part: Part, numbers: tuple[int, ...], *, whole: bool = False) -> _Shown:
    """A part as an EmailBodyPart, without subParts (RFC 8621 §4.1.4)."""
    if whole and not part.children:
        numbers = (1,)
    children = tuple(_show_part(octets, child, (*numbers, n)) for n, child in enumerate(part.children, 1))
    disposition = part.disposition
    json: Json = {
        "partId": None if part.multipart else ".".join(map(str, numbers)),
        "size": part.body.size if part.multipart else len(content.octets_of(octets, part)),
        "name": _name(part),
        "type": f"{part.type}/{part.subtype}",
        "charset": content.charset_of(part) if part.type == "text" else parameterized.text(part.parameters, b"charset"),
        "disposition": None if disposition is None else disposition[0],
        "cid": _cid(part.fields.get(b"content-id")),
        "language": _languages(part.fields.get(b"content-language")),
        "location": _location(part.fields.get(b"content-location")),
    }
    return _Shown(".".join(map(str, numbers)), part, json, children)


def _with_sub_parts(shown: _Shown) -> Json:
    """An EmailBodyPart with the parts below it; enclosed messages are not opened (RFC 8621 §4.1.4)."""
    sub_parts = [_with_sub_parts(child) for child in shown.children] if shown.part.multipart else None
    return {**shown.json, "subParts": sub_parts}


def _walk(shown: _Shown) -> Iterator[_Shown]:
    yield shown
    for child in shown.children:
        yield from _walk(child)


def _name(part: Part) -> str | None:
    """The file name: `filename` of the disposition, or else `name` of the type (RFC 8621 §4.1.4)."""
    disposition = part.disposition
    name = None if disposition is None else parameterized.text(disposition[1], b"filename")
    return parameterized.text(part.parameters, b"name") if name is None else name


def _cid(value: bytes | None) -> str | None:
    return None if value is None else next(iter(message_ids(value)), None)


def _languages(value: bytes | None) -> list[str] | None:
    if value is None:
        return None
    return [tag for tag in (decode_text(tag.strip()) for tag in unfold(value).split(b",")) if tag] or None


def _location(value: bytes | None) -> str | None:
    return None if value is None else decode_text(b"".join(unfold(value).split())) or None


def _body_value(octets: Octets, part: Part) -> Json:
    """An EmailBodyValue (RFC 8621 §4.1.4)."""
    value, problem = content.text(octets, part)
    return {"value": value, "isEncodingProblem": problem, "isTruncated": False}


@dataclass(slots=True)
class _Lists:
    """textBody, htmlBody and attachments while they grow; None where a branch has turned its list off."""

    text: list[_Shown] | None = field(default_factory=list)
    html: list[_Shown] | None = field(default_factory=list)
    attachments: list[_Shown] = field(default_factory=list)


def _is_media(part: Part) -> bool:
    return part.type in ("image", "audio", "video")


def _is_inline(shown: _Shown, index: int, multipart: str) -> bool:
    """Whether a part is body rather than attachment: not the later parts of a multipart/related, and not a text with
    a file name, unless it comes first (RFC 8621 §4.1.4, isInline)."""
    json, part = shown.json, shown.part
    if json["disposition"] == "attachment" or not (json["type"] in ("text/plain", "text/html") or _is_media(part)):
        return False
    return index == 0 or (multipart != "related" and (_is_media(part) or not json["name"]))


def _decompose(parts: "list[_Shown] | tuple[_Shown, ...]", multipart: str, in_alternative: bool, lists: _Lists) -> None:
    """RFC 8621 §4.1.4, parseStructure. `multipart` is the subtype of what holds these parts."""
    text_before, html_before = len(lists.text or ()), len(lists.html or ())
    branch = _Lists(lists.text, lists.html, lists.attachments)
    for index, shown in enumerate(parts):
        subtype = shown.part.subtype
        if shown.part.multipart:
            _decompose(shown.children, subtype, in_alternative or subtype == "alternative", branch)
        elif not _is_inline(shown, index, multipart):
            branch.attachments.append(shown)
        elif multipart == "alternative":
            _choose(shown, branch)
        else:
            _append(shown, branch, in_alternative=in_alternative)
    if multipart == "alternative" and branch.text is not None and branch.html is not None:
        text_new, html_new = branch.text[text_before:], branch.html[html_before:]
        if not text_new:
            branch.text.extend(html_new)
        if not html_new:
            branch.html.extend(text_new)


def _choose(shown: _Shown, lists: _Lists) -> None:
    """A part directly in a multipart/alternative: each list takes its own kind. A list that an alternative around
    this one has turned off takes nothing."""
    own = {"text/plain": lists.text, "text/html": lists.html}.get(str(shown.json["type"]), lists.attachments)
    if own is not None:
        own.append(shown)


def _append(shown: _Shown, lists: _Lists, *, in_alternative: bool) -> None:
    """A part of any other multipart. Below an alternative, text turns off the HTML list for what follows in its own
    branch, and HTML the text list."""
    if in_alternative and shown.json["type"] == "text/plain":
        lists.html = None
    if in_alternative and shown.json["type"] == "text/html":
        lists.text = None
    for own in (lists.text, lists.html):
        if own is not None:
            own.append(shown)
    if (lists.text is None or lists.html is None) and _is_media(shown.part):
        lists.attachments.append(shown)
