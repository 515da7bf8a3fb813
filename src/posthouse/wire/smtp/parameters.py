"""The parameters of MAIL and RCPT, each read by the rules of its own RFC.

RFC 5321 §4.1.1.11; RFC 1870 §4 (SIZE), RFC 6152 §3 (BODY), RFC 6531 §3.4 (SMTPUTF8), RFC 4954 §5 (AUTH), RFC 3461 §4
(RET, ENVID, NOTIFY, ORCPT), RFC 6533 §3 (ORCPT outside ASCII), RFC 8689 §2 (REQUIRETLS), RFC 6710 §3 (MT-PRIORITY),
RFC 2852 §4 (BY), RFC 4865 §4 (HOLDFOR, HOLDUNTIL).

A parameter that was not announced to this client gets 555 5.5.4, as one that nobody knows; one with a wrong value 501.

It does NOT know the time, so it cannot tell whether a moment lies too far ahead: the session can.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from posthouse.mail.address import parse_address
from posthouse.mail.dates import parse_rfc3339
from posthouse.mail.envelope import BodyType, DsnReturn, Notify, OriginalRecipient
from posthouse.mail.status import Reply, reply
from posthouse.wire.smtp import grammar
from posthouse.wire.smtp.command import By, Mail, Malformed, Rcpt

ENVID_LENGTH = 100  # characters as they are written, RFC 3461 §4.4
ORCPT_LENGTH = 500  # characters as they are written, RFC 3461 §4.2

# What is understood whatever was announced: old clients send SIZE and BODY after HELO too.
ALWAYS = frozenset({b"SIZE", b"BODY", b"SMTPUTF8", b"AUTH"})
DSN = frozenset({b"RET", b"ENVID", b"NOTIFY", b"ORCPT"})
REQUIRETLS = frozenset({b"REQUIRETLS"})
MT_PRIORITY = frozenset({b"MT-PRIORITY"})
DELIVERBY = frozenset({b"BY"})
FUTURERELEASE = frozenset({b"HOLDFOR", b"HOLDUNTIL"})
BURL = frozenset({b"BURL"})  # the command itself (RFC 4468 §3.1)

# RFC 6710 §7   priority-value = (["-"] NZDIGIT) / "0"
_PRIORITY = re.compile(rb"(?:-?[1-9]|0)\Z")
# RFC 2852 §4   by-value = by-time ";" by-mode [by-trace], by-time = ["-" / "+"] 1*9digit
_BY = re.compile(rb"(?P<time>[+-]?[0-9]{1,9});(?P<mode>[NR])(?P<trace>T?)\Z", re.IGNORECASE)
# RFC 4865 §4   future-release-integer = %x31-39 *8DIGIT
_HOLD_FOR = re.compile(rb"[1-9][0-9]{0,8}\Z")
# RFC 3461 §4.2   original-recipient-address = addr-type ";" xtext
_ORIGINAL = re.compile(rb"(?P<kind>[A-Za-z0-9!#$%&'*+/?^_`{|}~-]{1,40});(?P<address>.+)\Z", re.DOTALL)
# RFC 6533 §3   EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")  # RFC 3461 §4.2, §4.4: before it became xtext

UNKNOWN_PARAMETER = "is not a parameter that this server knows here"


def read_mail(mail: Mail, octets: bytes, known: frozenset[bytes]) -> Mail | Malformed:
    """Mail-parameters (RFC 5321 §4.1.1.11)."""
    if not octets:  # most of the time
        return mail
    parameters = grammar.split_parameters(octets)
    if isinstance(parameters, Reply):
        return Malformed(parameters)
    for keyword, value in parameters.items():
        read = _OF_MAIL.get(keyword) if keyword in known else None
        changed = read(mail, value) if read else _unknown(keyword)
        if isinstance(changed, Malformed):
            return changed
        mail = changed
    if mail.hold_for is not None and mail.hold_until is not None:
        return _wrong("HOLDFOR= or HOLDUNTIL=, not both")  # RFC 4865 §4
    return mail


def read_rcpt(rcpt: Rcpt, octets: bytes, known: frozenset[bytes]) -> Rcpt | Malformed:
    """Rcpt-parameters (RFC 5321 §4.1.1.11)."""
    if not octets:
        return rcpt
    parameters = grammar.split_parameters(octets)
    if isinstance(parameters, Reply):
        return Malformed(parameters)
    for keyword, value in parameters.items():
        read = _OF_RCPT.get(keyword) if keyword in known else None
        changed = read(rcpt, value) if read else _unknown(keyword)
        if isinstance(changed, Malformed):
            return changed
        rcpt = changed
    return rcpt


def _unknown(keyword: bytes) -> Malformed:
    return Malformed(reply(555, "5.5.4", f"{keyword.decode()} {UNKNOWN_PARAMETER}"))


def _wrong(text: str) -> Malformed:
    return Malformed(reply(501, "5.5.4", text))


# --- of MAIL


def _size(mail: Mail, value: bytes | None) -> Mail | Malformed:
    if value is None or not grammar.SIZE.match(value):
        return _wrong("SIZE= wants a number of octets")
    return replace(mail, size=int(value))


def _body(mail: Mail, value: bytes | None) -> Mail | Malformed:
    match (value or b"").upper():
        case b"7BIT":
            return replace(mail, body=BodyType.SEVEN_BIT)
        case b"8BITMIME":
            return replace(mail, body=BodyType.EIGHT_BIT_MIME)
        case b"":
            return _wrong("BODY= wants 7BIT or 8BITMIME")
    return Malformed(reply(555, "5.5.4", "BODY= is 7BIT or 8BITMIME here"))


def _smtputf8(mail: Mail, value: bytes | None) -> Mail | Malformed:
    return replace(mail, utf8=True) if value is None else _wrong("SMTPUTF8 takes no value")


def _auth(mail: Mail, value: bytes | None) -> Mail | Malformed:
    """AUTH= (RFC 4954 §5): a mailbox in xtext, or `<>`."""
    text = grammar.parse_xtext(value) if value else None
    if not text or (text != "<>" and parse_address(text) is None):
        return _wrong("AUTH= wants an address in xtext, or <>")
    return replace(mail, auth=text)


def _ret(mail: Mail, value: bytes | None) -> Mail | Malformed:
    """RET= (RFC 3461 §4.3)."""
    match (value or b"").upper():
        case b"FULL":
            return replace(mail, ret=DsnReturn.FULL)
        case b"HDRS":
            return replace(mail, ret=DsnReturn.HEADERS)
    return _wrong("RET= wants FULL or HDRS")


def _envid(mail: Mail, value: bytes | None) -> Mail | Malformed:
    """ENVID= (RFC 3461 §4.4)."""
    text = grammar.parse_xtext(value) if value and len(value) <= ENVID_LENGTH else None
    if not text or not _PRINTABLE.match(text):
        return _wrong(f"ENVID= wants xtext of at most {ENVID_LENGTH} characters")
    return replace(mail, envid=text)


def _require_tls(mail: Mail, value: bytes | None) -> Mail | Malformed:
    return replace(mail, require_tls=True) if value is None else _wrong("REQUIRETLS takes no value")


def _priority(mail: Mail, value: bytes | None) -> Mail | Malformed:
    if value is None or not _PRIORITY.match(value):
        return Malformed(reply(501, "5.5.2", "MT-PRIORITY= wants a number from -9 to 9"))  # RFC 6710 §4.1
    return replace(mail, priority=int(value))


def _by(mail: Mail, value: bytes | None) -> Mail | Malformed:
    match = _BY.match(value or b"")
    if not match:
        return _wrong("BY= wants seconds, a semicolon, and N or R")
    by = By(int(match["time"]), match["mode"].upper() == b"R", bool(match["trace"]))
    if by.give_back and by.seconds <= 0:  # RFC 2852 §4
        return _wrong("BY= with R wants more than 0 seconds")
    return replace(mail, by=by)


def _hold_for(mail: Mail, value: bytes | None) -> Mail | Malformed:
    if value is None or not _HOLD_FOR.match(value):
        return _wrong("HOLDFOR= wants a number of seconds")
    return replace(mail, hold_for=int(value))


def _hold_until(mail: Mail, value: bytes | None) -> Mail | Malformed:
    moment = parse_rfc3339(value) if value else None
    if moment is None:
        return _wrong("HOLDUNTIL= wants a moment such as 2030-01-31T08:00:00Z")
    return replace(mail, hold_until=moment)


# --- of RCPT


def _notify(rcpt: Rcpt, value: bytes | None) -> Rcpt | Malformed:
    """NOTIFY= (RFC 3461 §4.1): NEVER alone, or a list of occasions."""
    words = [word.strip() for word in (value or b"").upper().split(b",")]
    if words == [b"NEVER"]:
        return replace(rcpt, notify=frozenset())
    occasions = frozenset(_OCCASIONS[word] for word in words if word in _OCCASIONS)
    if not all(word in _OCCASIONS for word in words):
        return _wrong("NOTIFY= wants NEVER, or some of SUCCESS,FAILURE,DELAY")
    return replace(rcpt, notify=occasions)


_OCCASIONS = {occasion.value.encode("ascii"): occasion for occasion in Notify}


def _orcpt(rcpt: Rcpt, value: bytes | None) -> Rcpt | Malformed:
    """ORCPT= (RFC 3461 §4.2)."""
    match = _ORIGINAL.match(value or b"")
    address = None
    if match and len(match[0]) <= ORCPT_LENGTH:
        utf8 = match["kind"].lower() == b"utf-8"
        address = _unitext(match["address"]) if utf8 else _printable(match["address"])
    if match is None or not address:
        return _wrong(f"ORCPT= wants rfc822; and an address in xtext, at most {ORCPT_LENGTH} characters")
    return replace(rcpt, orcpt=OriginalRecipient(match["kind"].decode("ascii"), address))


def _printable(octets: bytes) -> str | None:
    text = grammar.parse_xtext(octets)
    return text if text is not None and _PRINTABLE.match(text) else None


def _unitext(octets: bytes) -> str | None:
    """utf-8-enc-addr = utf-8-addr-xtext / utf-8-addr-unitext / utf-8-address (RFC 6533 §3), decoded. None where a
    control character, or no character at all, is meant."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
    points = [int(match, 16) for match in _EMBEDDED.findall(text)]
    if any(point > 0x10FFFF or 0xD800 <= point <= 0xDFFF for point in points):
        return None
    text = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), text)
    return text if text.isprintable() else None


_OF_MAIL: dict[bytes, Callable[[Mail, bytes | None], Mail | Malformed]] = {
    b"SIZE": _size,
    b"BODY": _body,
    b"SMTPUTF8": _smtputf8,
    b"AUTH": _auth,
    b"RET": _ret,
    b"ENVID": _envid,
    b"REQUIRETLS": _require_tls,
    b"MT-PRIORITY": _priority,
    b"BY": _by,
    b"HOLDFOR": _hold_for,
    b"HOLDUNTIL": _hold_until,
}
_OF_RCPT: dict[bytes, Callable[[Rcpt, bytes | None], Rcpt | Malformed]] = {b"NOTIFY": _notify, b"ORCPT": _orcpt}
