"""The summary of a message: what SORT and THREAD compare (RFC 5256 §2, RFC 5957 §3), made once, at arrival.

Texts are casemapped, so that sorting compares them as they are. Message-IDs are normalized: without angle brackets,
white space and quoting. What is longer than the bounds below is cut, because a mailbox is sorted in memory.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from posthouse.mail.address_list import AddressGroup, first_address
from posthouse.mail.casemap import casemap
from posthouse.mail.dates import VALUE_LENGTH, parse_date
from posthouse.mail.header import FIELD_VALUE, decode_text, decode_words, firsts, unfold
from posthouse.mail.ids import Millis

CACHED = 512  # octets of an address field that are remembered with what was read of it
TEXT = 1_000  # characters of a subject, name or mailbox that are compared
ID_LENGTH = 998  # octets of a msg-id: it stands on one line (RFC 5322 §2.1.1, §3.6.4)
PARENTS = 200  # msg-ids kept of one References field: the first, which names the thread, and the last

# RFC 5256 §5   subj-blob = "[" *BLOBCHAR "]" *WSP ; subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
_BLOBS = re.compile(r"(?:\[[^\[\]]*+\] *+)*+")
_REFWD = re.compile(r"(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?+: *+", re.IGNORECASE)
_SPACES = re.compile(r" {2,}")
_TRAILER = "(fwd)"
_FORWARD = "[fwd:"
_MAY_HAVE_ARTIFACTS = re.compile(r"(?:re|fwd?)[ \[:]|\[|.*\(fwd\)\Z", re.IGNORECASE | re.DOTALL).match
_ID = re.compile(rb"<([^<>]*+)>")
# A field that begins with a msg-id as nearly all have it, in one line, without quoting.
_USUAL_ID = re.compile(rb"[ \t\r\n]*+<([!#-;=?A-~]*+@[!#-;=?-~]*+)>")
# All of References, and of In-Reply-To, in the same way.
_USUAL_IDS = re.compile(rb"(?:[ \t\r\n]*+<[!#-;=?A-~]*+@[!#-;=?-~]*+>)++[ \t\r\n]*+\Z")
_QUOTING = re.compile(rb'\\(.)|"', re.DOTALL)
# A Date field whose day can be read and whose time cannot (RFC 5256 §2.2).
_DAY = re.compile(
    rb"[ \t]*(?:[A-Za-z]{2,9}\.?[ \t]*,?[ \t]*)?(\d{1,2}[ \t.-]{1,4}[A-Za-z]{3,9}\.?[ \t,-]{1,4}\d{2,4})\b"
)
_TIME = re.compile(rb"[ \t,]{1,4}(\d{1,2}[:.]\d{1,2}(?:[:.]\d{1,2})?)(?!\d)")


class Summary(NamedTuple):
    """The columns of the table `summary` behind `email`, in their order."""

    sent: Millis  # the Date field, or else the INTERNALDATE (RFC 5256 §2.2)
    subject: str  # base subject, casemapped (RFC 5256 §2.1)
    reply: int  # 1: the subject was a reply's or a forward's
    sender: str  # addr-mailbox of the first address of From, casemapped; a group's name, as in ENVELOPE
    recipient: str  # of To
    cc: str  # of Cc
    display_from: str  # RFC 5957 §3, casemapped
    display_to: str
    message_id: str  # normalized, '' where there is none
    parents: str  # References, or else the first of In-Reply-To, oldest first, separated by single spaces


def summarize(header: bytes, received: Millis) -> Summary:
    """The summary of a message from its header block and its INTERNALDATE. Never raises; linear time."""
    return summarize_fields(firsts(header), received)


def summarize_fields(fields: Mapping[bytes, bytes], received: Millis) -> Summary:
    """The same from the first raw value of each field by lower-case name, as `Part.fields` has them."""
    get = fields.get
    subject, reply = base_subject(get(b"subject"))
    sender, display_from = _address(get(b"from"))
    recipient, display_to = _address(get(b"to"))
    cc, _ = _address(get(b"cc"))
    ids = _first_id(get(b"message-id"))
    return Summary(
        sent_date(get(b"date"), received),
        subject,
        int(reply),
        sender,
        recipient,
        cc,
        display_from,
        display_to,
        ids[0] if ids else "",
        _parents(get(b"references"), get(b"in-reply-to")),
    )


# --- subjects


def base_subject(value: bytes | None) -> tuple[str, bool]:
    """The base subject of a raw Subject field, casemapped, and whether the message is a reply or a forward
    (RFC 5256 §2.1, §3)."""
    if value is None:
        return "", False
    text = decode_words(value)
    if "  " in text:
        text = _SPACES.sub(" ", text)
    text = text.strip(" ")[:TEXT]
    reply = False
    if _MAY_HAVE_ARTIFACTS(text):
        text, reply = _without_artifacts(text)
    return casemap(text)[:TEXT], reply


def _without_artifacts(text: str) -> tuple[str, bool]:
    """Steps 2 to 6 of RFC 5256 §2.1; whether a mark of a reply or forward was among what went."""
    reply = False
    while True:
        text, trailed = _without_trailers(text)
        text, led = _without_leaders(text)
        reply = reply or trailed or led
        if not (text[: len(_FORWARD)].lower() == _FORWARD and text.endswith("]")):
            return text, reply
        text, reply = text[len(_FORWARD) : -1], True


def _without_trailers(text: str) -> tuple[str, bool]:
    found = False
    while (text := text.rstrip(" "))[-len(_TRAILER) :].lower() == _TRAILER:
        text, found = text[: -len(_TRAILER)], True
    return text, found


def _without_leaders(text: str) -> tuple[str, bool]:
    """Steps 3 to 5. Blobs in front of a subj-refwd go with it; blobs before anything else go too, but the last one
    stays where nothing stands behind it."""
    found = False
    text = text.lstrip(" ")
    at = 0
    while True:
        blobs = _BLOBS.match(text, at)
        begin = blobs.end() if blobs is not None else at
        mark = _REFWD.match(text, begin)
        if mark is None:
            break
        at, found = mark.end(), True
    if begin < len(text):
        return text[begin:], found
    return text[text.rfind("[", at) :] if begin > at else "", found


# --- dates


def sent_date(value: bytes | None, received: Millis) -> Millis:
    """The sent date of a raw Date field (RFC 5256 §2.2)."""
    if value is None:
        return received
    parsed = parse_date(value) or _in_utc(value)
    return received if parsed is None else parsed[0]


def _in_utc(value: bytes) -> tuple[Millis, int] | None:
    """A date that cannot be read whole: without its zone, or else without its time."""
    line = unfold(value[:VALUE_LENGTH])
    day = _DAY.match(line)
    if day is None:
        return None
    time = _TIME.match(line, day.end())
    parsed = None if time is None else parse_date(day[1] + b" " + time[1])
    return parsed or parse_date(day[1] + b" 00:00:00")


# --- addresses


def _address(value: bytes | None) -> tuple[str, str]:
    """addr-mailbox and DISPLAY sort value of the first address of a raw field, casemapped (RFC 5957 §3)."""
    if value is None:
        return "", ""
    return _cached_address(value) if len(value) <= CACHED else _read_address(value)


def _read_address(value: bytes) -> tuple[str, str]:
    address = first_address(value)
    if address is None:
        return "", ""
    if isinstance(address, AddressGroup):
        name = _text(address.name)
        return name, name
    mailbox = _text(address.local)
    shown = "" if address.name is None else casemap(decode_words(address.name).strip()[:TEXT])[:TEXT]
    return mailbox, shown or f"{mailbox}@{_text(address.domain)}"


_cached_address = lru_cache(1024)(_read_address)  # the same people write again and again


def _text(octets: bytes) -> str:
    return casemap(decode_text(octets)[:TEXT])[:TEXT]


# --- message ids


def _parents(references: bytes | None, in_reply_to: bytes | None) -> str:
    """RFC 5256 §3, REFERENCES: the ids of References, or else the first of In-Reply-To."""
    if references is not None and len(references) <= ID_LENGTH and _USUAL_IDS.match(references):
        usual = _ID.findall(references)
        if len(usual) <= PARENTS:
            return b" ".join(usual).decode("ascii")
    ids = [] if references is None else _ids(references)
    if not ids and in_reply_to is not None:
        ids = _first_id(in_reply_to)
    if len(ids) > PARENTS:
        ids = [ids[0], *ids[1 - PARENTS :]]
    return " ".join(ids)


def _first_id(value: bytes | None) -> list[str]:
    """The first of `_ids`, if there is one."""
    usual = None if value is None else _USUAL_ID.match(value, 0, ID_LENGTH)
    return _ids(value, 1) if usual is None else [usual[1].decode("ascii")]


def _ids(value: bytes | None, most: int = FIELD_VALUE) -> list[str]:
    """The valid msg-ids of a raw field, at most `most`: those with an `@` (RFC 5322 §3.6.4)."""
    if value is None or b"<" not in value:
        return []
    found: list[str] = []
    for match in _ID.finditer(unfold(value[:FIELD_VALUE])):
        octets = b"".join(match[1].split())
        if b'"' in octets:
            octets = _QUOTING.sub(rb"\1", octets)
        if b"@" in octets and len(octets) <= ID_LENGTH:
            found.append(decode_text(octets))
        if len(found) >= most:
            break
    return found
