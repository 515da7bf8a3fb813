"""SMTP replies: printing, the EHLO keywords, and the replies that the engine itself gives.

RFC 5321 §4.2 (replies), §4.1.1.1 (EHLO), RFC 2034 §4 (enhanced status on each line), RFC 4954 §4 (334).

It does NOT hold the texts of policy (unknown user, relaying, quota): these stand in `serve` and `transport`.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache

from posthouse.mail.status import Reply, reply
from posthouse.wire.smtp import parameters

REPLY_LINE = 512  # octets of a reply line with code and CRLF, RFC 5321 §4.5.3.1.5; longer texts go on in a next line
PRINTED = 256  # replies kept in their printed form; a session says the same few again and again

UNRECOGNIZED = reply(500, "5.5.2", "Command not recognized")
BAD_BASE64 = reply(501, "5.5.2", "That is not base64")
AUTH_CANCELLED = reply(501, "5.7.0", "Authentication cancelled, as you asked")


@dataclass(frozen=True, slots=True)
class Extensions:
    """What EHLO announces (RFC 5321 §2.2). `auth` holds mechanism names, () for no AUTH."""

    size: int
    starttls: bool = False
    auth: tuple[str, ...] = ()
    chunking: bool = True
    smtputf8: bool = True
    dsn: bool = False  # RFC 3461 §3
    require_tls: bool = False  # RFC 8689 §2
    priority: bool = False  # MT-PRIORITY (RFC 6710 §3)
    deliver_by: int | None = None  # DELIVERBY: the least seconds of BY= with R (RFC 2852 §4)
    future_release: tuple[int, str] | None = None  # seconds from now at most, and until when (RFC 4865 §4)
    burl: tuple[str, ...] | None = None  # RFC 4468 §3.3; () before the login

    @property
    def parameters(self) -> frozenset[bytes]:
        """What a client that was told this may put behind MAIL and RCPT."""
        offered = (
            (self.dsn, parameters.DSN),
            (self.require_tls, parameters.REQUIRETLS),
            (self.priority, parameters.MT_PRIORITY),
            (self.deliver_by is not None, parameters.DELIVERBY),
            (self.future_release is not None, parameters.FUTURERELEASE),
            (bool(self.burl), parameters.BURL),
        )
        return parameters.ALWAYS.union(*(words for offer, words in offered if offer))


def greeting_reply(hostname: str, hello: str, extensions: Extensions) -> Reply:
    """The 250 to EHLO or LHLO: host name and a greeting, then one keyword a line (RFC 5321 §4.1.1.1)."""
    lines = [f"{hostname} {hello}", "PIPELINING", f"SIZE {extensions.size}", "8BITMIME", "ENHANCEDSTATUSCODES"]
    if extensions.smtputf8:
        lines.append("SMTPUTF8")
    if extensions.chunking:
        lines.append("CHUNKING")
    lines += _optional(extensions)
    if extensions.starttls:
        lines.append("STARTTLS")
    if extensions.auth:
        lines.append("AUTH " + " ".join(extensions.auth))
    return Reply(250, None, tuple(lines))


def _optional(extensions: Extensions) -> list[str]:
    """The keywords that only some ports have."""
    lines = ["DSN"] if extensions.dsn else []
    if extensions.require_tls:
        lines.append("REQUIRETLS")
    if extensions.priority:
        lines.append("MT-PRIORITY")
    if extensions.deliver_by is not None:
        lines.append(f"DELIVERBY {extensions.deliver_by}")
    if extensions.future_release is not None:
        lines.append("FUTURERELEASE {} {}".format(*extensions.future_release))
    if extensions.burl is not None:
        lines.append(" ".join(["BURL", *extensions.burl]))
    return lines


def challenge(octets: bytes) -> Reply:
    """334 with a SASL challenge in base64 (RFC 4954 §4)."""
    return Reply(334, None, (b64encode(octets).decode("ascii"),))


@lru_cache(PRINTED)
def print_reply(answer: Reply) -> bytes:
    """The octets of a reply. The status stands on every line (RFC 2034 §4); control characters and letters outside
    ASCII become `?`, so that no text can forge a line; a text too long for one line goes on in the next."""
    prefix = f"{answer.status} " if answer.status else ""
    room = REPLY_LINE - len("250-") - len(prefix) - len("\r\n")
    texts = [piece for line in answer.lines or ("",) for piece in _pieces(line, room)]
    last = len(texts) - 1
    return b"".join(
        b"%d%c%s%s\r\n" % (answer.code, b" " if number == last else b"-", prefix.encode("ascii"), text)
        for number, text in enumerate(texts)
    )


_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def _pieces(text: str, room: int) -> list[bytes]:
    octets = _CONTROL.sub(b"?", text.encode("ascii", "replace"))
    pieces = []
    while len(octets) > room:
        cut = octets.rfind(b" ", 1, room + 1)
        cut = cut if cut > 0 else room
        pieces.append(octets[:cut])
        octets = octets[cut:].lstrip(b" ")
    return [*pieces, octets]
