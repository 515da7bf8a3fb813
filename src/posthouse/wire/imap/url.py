"""IMAP URLs that name a message or a part of one, read and printed (RFC 5092 §11, RFC 4467 §9).

`parse_url` reads the absolute form, `imap://user@host/mailbox;UIDVALIDITY=n/;UID=n/;SECTION=s/;PARTIAL=o.l`, and behind
it what URLAUTH adds; `print_url` prints it. `parse_relative` reads what CATENATE takes, which names no server. URLs of
servers, lists of mailboxes, mailboxes and searches are no message, so they are read as None, like what is no URL at
all. It checks no right and no token, and knows no mailbox.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from urllib.parse import quote_from_bytes, unquote_to_bytes

from posthouse.mail.ids import Millis
from posthouse.mail.structure import Section
from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.fetch import Partial, parse_section, print_section
from posthouse.wire.imap.grammar import canonical_mailbox
from posthouse.wire.imap.number_set import LARGEST

LONGEST = 8_192  # octets of one URL; a mailbox name of 1,000 characters is shorter, whatever they are
_TO_THE_END = 2**63 - 1  # a partial-range without a length

_PCT = rb"%[0-9A-Fa-f]{2}"
# RFC 5092 §11   achar = uchar / "&" / "=" ;  bchar = achar / ":" / "@" / "/"
_ACHAR = rb"(?:[A-Za-z0-9._~!$'()*+,&=-]|%b)" % _PCT
_BCHAR = rb"(?:[A-Za-z0-9._~!$'()*+,&=:@/-]|%b)" % _PCT
# imsg-or-part = … / iuid-only ["/" isection-only] ["/" ipartial-only] / …
_MESSAGE = (
    rb";UID=(?P<uid>[1-9][0-9]{0,9})"
    rb"(?:/;SECTION=(?P<section>%b+?))?(?:/;PARTIAL=(?P<offset>[0-9]{1,18})(?:\.(?P<length>[1-9][0-9]{0,17}))?)?"
    % _BCHAR
)
# imessagepart = imailbox-ref iuid [isection] [ipartial] ;  iuid = "/" iuid-only
_PART = rb"(?:;UIDVALIDITY=(?P<uidvalidity>[1-9][0-9]{0,9}))?/%b" % _MESSAGE
# iurlauth-rump = [expire] ";URLAUTH=" access ;  iurlauth = iurlauth-rump ":" uauth-mechanism ":" enc-urlauth
_AUTH = (
    rb"(?:(?:;EXPIRE=(?P<expire>[0-9A-Za-z:.+-]{20,40}))?;URLAUTH=(?P<access>(?P<kind>submit\+|user\+)(?P<who>%b+)"
    rb"|authuser|anonymous)(?P<verifier>:(?P<mechanism>[A-Za-z0-9.-]+):(?P<token>[0-9A-Fa-f]{32,}))?)?" % _ACHAR
)
_HOST = rb"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"
_URL = re.compile(
    rb"imap://(?:(?P<user>%b+)(?:;AUTH=(?:\*|%b+))?@)?(?P<host>%b)(?::(?P<port>[0-9]{0,5}))?/(?P<mailbox>%b+?)%b%b"
    % (_ACHAR, _ACHAR, _HOST, _BCHAR, _PART, _AUTH),
    re.IGNORECASE,
)
# RFC 5092 §11   imapurl-rel = inetwork-path / iabsolute-path / irelative-path / ipath-empty
_RELATIVE = re.compile(
    rb"(?:(?P<mailbox>%b+?)(?:;UIDVALIDITY=(?P<uidvalidity>[1-9][0-9]{0,9}))?/)?%b" % (_BCHAR, _MESSAGE), re.IGNORECASE
)
# RFC 3339 §5.6   date-time
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:)([0-9]{2})(?:\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
)


class AccessKind(Enum):
    """access (RFC 4467 §3): who may use a URL."""

    SUBMIT = "submit+"
    USER = "user+"
    AUTHUSER = "authuser"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class UrlAuth:
    """What URLAUTH adds (RFC 4467 §3): `who` of submit+ and user+; `token` None in a rump. `rump`: the octets that the
    token is made of, exactly as they came."""

    kind: AccessKind
    who: str
    expire: Millis | None
    mechanism: str
    token: bytes | None
    rump: bytes


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """A message or a part of one (RFC 5092 §6). `user`: among whose mailboxes the name is read; "": none is
    named. A relative one has no `host`; its `mailbox` is "" where it is that of the base URL."""

    user: str
    host: str
    mailbox: str
    uidvalidity: int | None
    uid: int
    section: Section
    partial: Partial | None
    auth: UrlAuth | None = None


def parse_url(octets: bytes) -> MessageUrl | None:
    """The message that an absolute URL names, or None."""
    found = _URL.fullmatch(octets) if len(octets) <= LONGEST else None
    if found is None:
        return None
    try:
        user, host = _text(found["user"] or b""), found["host"].decode("ascii").lower()
        return _message(found, MessageUrl(user, host, _text(found["mailbox"]), None, 0, Section(), None, _auth(found)))
    except (Fault, ValueError):  # a section or a date that does not exist, octets that are not UTF-8
        return None


def parse_relative(octets: bytes, base: str) -> MessageUrl | None:
    """The message that a URL without a server names, or None (RFC 5092 §7). `base`: the mailbox of the base URL, which
    is the selected one; "": none is. `;UID=…` alone is a message of that mailbox, as RFC 4469 §3 means it."""
    found = _RELATIVE.fullmatch(octets) if len(octets) <= LONGEST else None
    if found is None:
        return None
    mailbox = b"" if found["mailbox"] is None else _resolved(found["mailbox"], base)
    if not mailbox and (found["mailbox"] is not None or not base):
        return None
    try:
        return _message(found, MessageUrl("", "", _text(mailbox), None, 0, Section(), None))
    except (Fault, ValueError):
        return None


def _resolved(path: bytes, base: str) -> bytes:
    """The mailbox that a path means, percent-encoded (RFC 3986 §5.2); b"": none, or one of another server."""
    if path.startswith(b"//") or b":" in path.partition(b"/")[0]:
        return b""
    names: list[bytes] = []
    if not path.startswith(b"/"):  # beside the mailbox of the base URL
        names = [quote_from_bytes(name.encode("utf-8")).encode("ascii") for name in base.split("/")[:-1]]
    for name in path.removeprefix(b"/").split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name != b".":
            names.append(name)
    return b"/".join(names)


def _message(found: re.Match[bytes], url: MessageUrl) -> MessageUrl | None:
    uidvalidity = found["uidvalidity"] and int(found["uidvalidity"])
    uid = int(found["uid"])
    if uid > LARGEST or (uidvalidity or 0) > LARGEST:
        return None
    section = Section() if found["section"] is None else parse_section(unquote_to_bytes(found["section"]))
    partial = None
    if found["offset"] is not None:
        partial = Partial(int(found["offset"]), int(found["length"] or _TO_THE_END))
    mailbox = canonical_mailbox(url.mailbox)
    return replace(url, mailbox=mailbox, uidvalidity=uidvalidity or None, uid=uid, section=section, partial=partial)


def _auth(found: re.Match[bytes]) -> UrlAuth | None:
    if found["access"] is None:
        return None
    expire = None if found["expire"] is None else _instant(found["expire"].decode("ascii"))
    kind = AccessKind((found["kind"] or found["access"]).decode("ascii").lower())
    verifier = found["verifier"] or b""
    rump = found[0].removesuffix(verifier)
    mechanism = (found["mechanism"] or b"").decode("ascii").upper()
    return UrlAuth(kind, _text(found["who"] or b""), expire, mechanism, found["token"], rump)


def _text(octets: bytes) -> str:
    """Percent-encoded UTF-8, without control characters (RFC 5092 §8). Raises ValueError."""
    text = unquote_to_bytes(octets).decode("utf-8")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError("a control character")
    return text


def _instant(text: str) -> Millis:
    """date-time (RFC 3339 §5.6); a leap second is taken as the one before it. Raises ValueError."""
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        raise ValueError("no date-time")
    second = "59" if found[2] == "60" else found[2]
    moment = datetime.fromisoformat((found[1] + second + found[3]).upper())
    return Millis(round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1000)


def print_url(url: MessageUrl) -> bytes:
    """The absolute form of a message's URL, without what URLAUTH adds (RFC 5092 §11)."""
    user = _quoted(url.user, "&=") + "@" if url.user else ""
    line = f"imap://{user}{url.host}/{_quoted(url.mailbox, '&=:@/')}"
    if url.uidvalidity is not None:
        line += f";UIDVALIDITY={url.uidvalidity}"
    line += f"/;UID={url.uid}"
    if url.section != Section():
        line += "/;SECTION=" + quote_from_bytes(print_section(url.section), "!$'()*+,&=:@/")
    if url.partial is not None:
        line += f"/;PARTIAL={url.partial.offset}"
        line += "" if url.partial.length == _TO_THE_END else f".{url.partial.length}"
    return line.encode("ascii")


def _quoted(text: str, safe: str) -> str:
    return quote_from_bytes(text.encode("utf-8"), "!$'()*+," + safe)
