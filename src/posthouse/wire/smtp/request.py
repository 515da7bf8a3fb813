"""Commands of an SMTP client, printed (RFC 5321 §4.1.1), each parameter only where the server has offered it.

RFC 1870 §3 (SIZE), RFC 6152 §3 (BODY), RFC 6531 §3.4 (SMTPUTF8), RFC 3461 §4 (RET, ENVID, NOTIFY, ORCPT), RFC 6533 §3
(ORCPT of type utf-8), RFC 8689 §2 (REQUIRETLS), RFC 6710 §3 (MT-PRIORITY), RFC 2852 §4 (BY), RFC 4954 §4 (AUTH).

The commands without parameters are those of `command.py`, which reads what is printed here; MAIL and RCPT carry the
Envelope that they are made of.

It does NOT decide what to do where the server has not offered what the Envelope needs: who sends must not come here
then (an address outside ASCII, REQUIRETLS). What only helps is left out, as each RFC wants.
"""

import re
from base64 import b64encode
from dataclasses import dataclass

from posthouse.mail.address import Address, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, OriginalRecipient, Recipient
from posthouse.wire.smtp import command
from posthouse.wire.smtp.grammar import print_xtext
from posthouse.wire.smtp.replied import Announced

BY_MOST = 999_999_999  # RFC 2852 §4   by-time = ["-" / "+"]1*9digit


@dataclass(frozen=True, slots=True)
class MailFrom:
    """MAIL (RFC 5321 §4.1.1.2). `by` is what is left of DELIVERBY in seconds; `size` the octets of the content."""

    envelope: Envelope
    size: int
    eight_bit: bool = False  # the content has octets above 127 (RFC 6152 §3)
    by: int = 0


@dataclass(frozen=True, slots=True)
class RcptTo:
    """RCPT (RFC 5321 §4.1.1.3)."""

    recipient: Recipient


Request = (
    command.Ehlo
    | command.Helo
    | command.StartTls
    | command.Auth
    | command.AuthLine
    | MailFrom
    | RcptTo
    | command.Data
    | command.Bdat
    | command.Rset
    | command.Noop
    | command.Quit
)
_WORDS: dict[type[object], bytes] = {
    command.StartTls: b"STARTTLS\r\n",
    command.Data: b"DATA\r\n",
    command.Rset: b"RSET\r\n",
    command.Noop: b"NOOP\r\n",
    command.Quit: b"QUIT\r\n",
}


def print_request(asked: Request, announced: Announced) -> bytes:
    """The octets of a command, with its CRLF."""
    match asked:
        case RcptTo(recipient):
            return _rcpt(recipient, announced)
        case MailFrom():
            return _mail(asked, announced)
        case command.Bdat(size, last):
            return b"BDAT %d LAST\r\n" % size if last else b"BDAT %d\r\n" % size
        case command.Ehlo(name):
            return b"EHLO %s\r\n" % name.encode("ascii")
        case command.Helo(name):
            return b"HELO %s\r\n" % name.encode("ascii")
        case command.Auth(mechanism, initial):
            # RFC 4954 §4: an initial response of no octets is written as "=".
            octets = b"" if initial is None else b" " + (b64encode(initial) or b"=")
            return b"AUTH %s%s\r\n" % (mechanism.encode("ascii"), octets)
        case command.AuthLine(answer):
            return b"*\r\n" if answer is None else b64encode(answer) + b"\r\n"
    return _WORDS[type(asked)]


def _mail(mail: MailFrom, announced: Announced) -> bytes:
    envelope = mail.envelope
    words = [b"MAIL FROM:<%s>" % _path(envelope.sender)]
    if announced.size is not None:
        words.append(b"SIZE=%d" % mail.size)
    if mail.eight_bit and announced.eight_bit:
        words.append(b"BODY=8BITMIME")
    if envelope.utf8 and announced.utf8:
        words.append(b"SMTPUTF8")
    if announced.dsn and envelope.ret is not None:
        words.append(b"RET=" + envelope.ret.value.encode("ascii"))
    if announced.dsn and envelope.envid is not None:
        words.append(b"ENVID=" + print_xtext(envelope.envid))
    if envelope.require_tls and announced.require_tls:
        words.append(b"REQUIRETLS")
    if envelope.priority and announced.priority:
        words.append(b"MT-PRIORITY=%d" % envelope.priority)
    if envelope.deliver_by is not None and announced.deliver_by is not None:
        mode = b"R" if envelope.deliver_by.give_back else b"N"
        trace = b"T" if envelope.deliver_by.trace else b""
        words.append(b"BY=%d;%s%s" % (max(-BY_MOST, min(mail.by, BY_MOST)), mode, trace))
    return b" ".join(words) + b"\r\n"


def _rcpt(recipient: Recipient, announced: Announced) -> bytes:
    if not announced.dsn or (recipient.notify is None and recipient.orcpt is None):
        return b"RCPT TO:<%s>\r\n" % _path(recipient.path)
    words = [b"RCPT TO:<%s>" % _path(recipient.path)]
    if recipient.notify is not None:
        occasions = sorted(occasion.value for occasion in recipient.notify)
        words.append(b"NOTIFY=" + (",".join(occasions) or "NEVER").encode("ascii"))
    if recipient.orcpt is not None:
        words.append(b"ORCPT=" + _original(recipient.orcpt))
    return b" ".join(words) + b"\r\n"


def _path(path: ReversePath | ForwardPath) -> bytes:
    return str(path).encode("utf-8")


# RFC 6533 §3   utf-8-addr-xtext = 1*( QCHAR / EmbeddedUnicodeChar ): all but "\", "+", "=" and what is not printable
_NO_QCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")


def _original(original: OriginalRecipient) -> bytes:
    """original-recipient-address of ORCPT (RFC 3461 §4.2), always in ASCII (RFC 6533 §3)."""
    kind = original.kind.encode("ascii", "replace")
    if original.kind.lower() == "utf-8":
        embedded = _NO_QCHAR.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", original.address)
        return b"%s;%s" % (kind, embedded.encode("ascii"))
    return b"%s;%s" % (kind, print_xtext(original.address))


def outside_ascii(path: ReversePath | ForwardPath) -> bool:
    """Whether this path may only be sent to a server that offers SMTPUTF8 (RFC 6531 §3.1)."""
    address: Address | None = path.address
    return address is not None and not address.ascii
