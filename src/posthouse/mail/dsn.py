"""Delivery status notifications: built, and read (RFC 3464, RFC 6522 §3, RFC 6533 §4 to §6).

A DSN is a multipart/report of three parts: a text for people, a message/delivery-status for programs, and the message
it is about, or only its header. `print_report` puts these together; `read_report` finds them in any message, with
patience for what other servers write. Where `utf8`, addresses stand as UTF-8 in
message/global-delivery-status; otherwise they are written in ASCII, whatever they are (RFC 6533 §3).

It does NOT know why a delivery failed, or what to tell people: that is transport/bounce.py.
"""

import re
from dataclasses import dataclass
from mmap import mmap

from posthouse.mail import compose, content, dates, header
from posthouse.mail.envelope import OriginalRecipient
from posthouse.mail.ids import Millis
from posthouse.mail.mime import Part, parse
from posthouse.mail.outcome import Action
from posthouse.mail.status import Reply, Status

RECIPIENTS_READ = 1_000  # groups of one report: as many as a transaction has recipients
STATUS_READ = 1024 * 1024  # octets of a delivery-status part that are looked at: 1,000 groups of 1 KiB
RETURNED_READ = 256 * 1024  # octets of the header of the returned message that are looked at
DIAGNOSTIC = 500  # characters of a Diagnostic-Code that are written: some servers answer with pages

_ADDRESS = re.compile(r"[ \t]*([A-Za-z0-9._-]{1,40})[ \t]*;[ \t]*(.*)\Z", re.DOTALL)
_STATUS = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})")
_REPLY = re.compile(r"(\d{3})(?:[ -](\d\.\d{1,3}\.\d{1,3}))?(?:[ -](.*))?\Z", re.DOTALL)
# RFC 6533 §3   utf-8-addr-xtext = 1*(QCHAR / EmbeddedUnicodeChar)
_NO_QCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
_EMBEDDED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_BLANK_LINES = re.compile(rb"\r?\n(?:[ \t]*\r?\n)+")
_STATUS_TYPES = ("delivery-status", "global-delivery-status")
_RETURNED_TYPES = (
    ("message", "rfc822"),
    ("text", "rfc822-headers"),
    ("message", "global"),
    ("message", "global-headers"),
)
_ACTIONS = {action.value: action for action in Action}
# Where a report has no status: what its action alone says.
_CLASSES = {action: Status(2, 0, 0) for action in Action} | {
    Action.FAILED: Status(5, 0, 0),
    Action.DELAYED: Status(4, 0, 0),
}


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """The fields of one recipient (RFC 3464 §2.3)."""

    final: OriginalRecipient
    action: Action
    status: Status
    original: OriginalRecipient | None = None
    remote_mta: str = ""
    diagnostic: str = ""  # as after "smtp;"
    last_attempt: Millis | None = None
    retry_until: Millis | None = None


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """A message/delivery-status: the fields of the message (RFC 3464 §2.2), and those of each recipient."""

    reporting_mta: str
    recipients: tuple[RecipientStatus, ...]
    envid: str | None = None
    arrival: Millis | None = None
    deliver_by: Millis | None = None  # Deliver-By-Date (RFC 2852 §5)


@dataclass(frozen=True, slots=True)
class Report:
    """A DSN that was read: `returned` are the octets of the header of the message it is about, b"" where none came."""

    status: DeliveryStatus
    returned: bytes


# --- built


def print_report(text: str, status: DeliveryStatus, returned: bytes, *, whole: bool, utf8: bool) -> bytes:
    """The body of a DSN with its Content-Type: for people, for programs, and the message or (not `whole`) its header
    (RFC 6522 §3)."""
    kind = "global-delivery-status" if utf8 else "delivery-status"
    parts = [
        compose.text_part(text),
        compose.part(f"message/{kind}", print_status(status, utf8=utf8)),
        _returned_part(returned, whole=whole),
    ]
    return compose.multipart("report", parts, [f"report-type={kind}"])


def _returned_part(octets: bytes, *, whole: bool) -> bytes:
    """The message, or its header. One whose header is UTF-8 has a type of its own (RFC 6533 §5, §6)."""
    eight_bit = [] if octets.isascii() else [_EIGHT_BIT]
    family = "global" if _utf8_header(octets) else "rfc822"
    if whole:
        return compose.part(f"message/{family}", octets, eight_bit)
    return compose.part("message/global-headers" if family == "global" else "text/rfc822-headers", octets, eight_bit)


def _utf8_header(octets: bytes) -> bool:
    """Whether the header is one of RFC 6532: not in ASCII, and in UTF-8 and nothing else."""
    head = octets[: header.body_start(octets)] or octets
    try:
        return not head.isascii() and bool(head.decode("utf-8"))
    except UnicodeDecodeError:
        return False


_EIGHT_BIT = b"Content-Transfer-Encoding: 8bit\r\n"


def print_status(status: DeliveryStatus, *, utf8: bool = False) -> bytes:
    """message/delivery-status (RFC 3464 §2.1), or with `utf8` message/global-delivery-status (RFC 6533 §4)."""
    fields = []
    if status.envid is not None:
        fields.append(_line("Original-Envelope-Id", status.envid, utf8=utf8))
    fields.append(_line("Reporting-MTA", f"dns; {status.reporting_mta}", utf8=utf8))
    fields += _date("Arrival-Date", status.arrival)
    fields += _date("Deliver-By-Date", status.deliver_by)
    groups = [b"".join(fields), *(_group(each, utf8=utf8) for each in status.recipients)]
    return b"\r\n".join(groups)


def _group(recipient: RecipientStatus, *, utf8: bool) -> bytes:
    """Fields of one recipient, in the order of RFC 3464 §2.3."""
    fields = []
    if recipient.original is not None:
        fields.append(_line("Original-Recipient", print_address(recipient.original, utf8=utf8), utf8=utf8))
    fields.append(_line("Final-Recipient", print_address(recipient.final, utf8=utf8), utf8=utf8))
    fields.append(_line("Action", recipient.action.value, utf8=utf8))
    fields.append(_line("Status", str(recipient.status), utf8=utf8))
    if recipient.remote_mta:
        fields.append(_line("Remote-MTA", f"dns; {recipient.remote_mta}", utf8=utf8))
    if recipient.diagnostic:
        fields.append(_line("Diagnostic-Code", f"smtp; {recipient.diagnostic[:DIAGNOSTIC]}", utf8=utf8))
    fields += _date("Last-Attempt-Date", recipient.last_attempt)
    fields += _date("Will-Retry-Until", recipient.retry_until)
    return b"".join(fields)


def _line(name: str, text: str, *, utf8: bool) -> bytes:
    """A field in which encoded-words have no place: what is outside ASCII becomes `?` where that must be."""
    text = text if utf8 else text.encode("ascii", "replace").decode("ascii")
    most = compose.LONGEST_LINE - len(f"{name}: ")
    return compose.structured(name, [piece for word in text.split() for piece in _cut_word(word, most)])


def _cut_word(word: str, most: int) -> list[str]:
    """A word of more octets than a line may have, in pieces: some servers answer without a blank. An address stays
    whole, however its letters are written: a blank in it would make another of it."""
    if len(word.encode("utf-8", "replace")) <= most:
        return [word]
    step = most // 4  # octets of UTF-8
    return [word[at : at + step] for at in range(0, len(word), step)]


def _date(name: str, moment: Millis | None) -> list[bytes]:
    return [] if moment is None else [compose.structured(name, dates.format_rfc5322(moment).split(" "))]


def print_address(address: OriginalRecipient, *, utf8: bool) -> str:
    """Typed address of Original-Recipient and Final-Recipient (RFC 3464 §2.3.1, RFC 6533 §3)."""
    if address.kind.lower() != "utf-8" or utf8:
        return f"{address.kind};{address.address}"
    embedded = _NO_QCHAR.sub(lambda match: f"\\x{{{ord(match[0]):02X}}}", address.address)
    return f"{address.kind};{embedded}"


def diagnostic(answer: Reply) -> str:
    """What a server answered, as Diagnostic-Code gives it (RFC 3464 §2.3.6)."""
    status = f" {answer.status}" if answer.status else ""
    return f"{answer.code}{status} {answer.text}".strip()


# --- read


def read_report(octets: bytes | mmap) -> Report | None:
    """The DSN that this message is; None where it is something else (RFC 6522 §3, RFC 3464 §2)."""
    root = parse(octets)
    if (root.type, root.subtype) != ("multipart", "report"):
        return None
    status = next((part for part in root.children if part.type == "message" and part.subtype in _STATUS_TYPES), None)
    if status is None:
        return None
    found = parse_status(_octets_of(octets, status, STATUS_READ))
    if found is None:
        return None
    returned = next((part for part in root.children if (part.type, part.subtype) in _RETURNED_TYPES), None)
    return Report(found, b"" if returned is None else _octets_of(octets, returned, RETURNED_READ))


def _octets_of(octets: bytes | mmap, part: Part, most: int) -> bytes:
    body = octets[part.body.start : min(part.body.stop, part.body.start + most)]
    pieces = content.decoded_pieces([body], part)
    return body if pieces is None else b"".join(pieces)


def parse_status(octets: bytes) -> DeliveryStatus | None:
    """message/delivery-status, message/global-delivery-status (RFC 3464 §2.1); None where no recipient is named."""
    blocks = _BLANK_LINES.split(octets, maxsplit=RECIPIENTS_READ + 1)[: RECIPIENTS_READ + 1]
    groups = [_fields(block) for block in blocks]
    recipients = [found for group in groups if (found := _read_group(group)) is not None]
    if not recipients:
        return None
    about = groups[0]
    envid = about.get("original-envelope-id")
    return DeliveryStatus(
        _read_name(about.get("reporting-mta", "")),
        tuple(recipients),
        envid,
        _read_date(about.get("arrival-date")),
        _read_date(about.get("deliver-by-date")),
    )


def _fields(group: bytes) -> dict[str, str]:
    """The fields of one group, the first of each name."""
    block = group.strip(b"\r\n") + b"\r\n"
    return {
        name.decode("ascii", "replace"): header.unfold(value).strip().decode("utf-8", "replace")
        for name, value in header.firsts(block).items()
    }


def _read_group(fields: dict[str, str]) -> RecipientStatus | None:
    final = _read_address(fields.get("final-recipient", ""))
    action = _ACTIONS.get(fields.get("action", "").lower().strip())
    status = _STATUS.match(fields.get("status", ""))
    if final is None or action is None:
        return None
    said = _ADDRESS.match(fields.get("diagnostic-code", ""))
    return RecipientStatus(
        final,
        action,
        Status(*(int(number) for number in status.groups())) if status else _CLASSES[action],
        _read_address(fields.get("original-recipient", "")),
        _read_name(fields.get("remote-mta", "")),
        said[2] if said else "",
        _read_date(fields.get("last-attempt-date")),
        _read_date(fields.get("will-retry-until")),
    )


def _read_address(text: str) -> OriginalRecipient | None:
    match = _ADDRESS.match(text)
    if match is None or not match[2].strip():
        return None
    kind, address = match[1], match[2].strip()
    if kind.lower() == "utf-8":
        address = _EMBEDDED.sub(_character, address)
    return OriginalRecipient(kind, address)


def _character(match: re.Match[str]) -> str:
    point = int(match[1], 16)
    return match[0] if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF else chr(point)


def _read_name(text: str) -> str:
    """The name behind the type in Reporting-MTA and Remote-MTA (RFC 3464 §2.2.2)."""
    match = _ADDRESS.match(text)
    return match[2].strip() if match else ""


def _read_date(text: str | None) -> Millis | None:
    found = dates.parse_date(text.encode("ascii", "replace")) if text else None
    return found[0] if found else None


def parse_reply(text: str) -> Reply | None:
    """The reply that a Diagnostic-Code of type smtp tells of (RFC 3464 §2.3.6)."""
    match = _REPLY.match(text.strip())
    if match is None:
        return None
    status = _STATUS.match(match[2] or "")
    found = Status(*(int(number) for number in status.groups())) if status else None
    return Reply(int(match[1]), found, (match[3] or "",))


def typed(address: str) -> OriginalRecipient:
    """An address with the type that it has in a DSN (RFC 3464 §2.3.2, RFC 6533 §3)."""
    return OriginalRecipient("rfc822" if address.isascii() else "utf-8", address)
