"""Trace fields: what we write in front of a message, once, and how loops are found (RFC 5321 §4.4, §6.3).

Nothing that arrived is changed: one `Received`, and `Return-Path` where somebody here gets it, are put in front, and
that is the message from then on. There is no `Delivered-To`, because all recipients share the same octets.
"""

import re
from mmap import mmap
from random import getrandbits

from posthouse.mail.address import Domain, quote_local
from posthouse.mail.dates import format_rfc5322
from posthouse.mail.envelope import Envelope
from posthouse.mail.ids import Millis, Trail
from posthouse.transport.client import Client

# A name a peer gives itself may be anything an engine lets through; only this goes into a field (RFC 5321 §4.4).
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}\Z")
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


def new_trail() -> Trail:
    """The id of a message's journey: it stands in our Received field, in the journal and in the queue."""
    return Trail(f"{getrandbits(64):016x}")


def return_path(envelope: Envelope) -> bytes:
    """`Return-Path`, which final delivery puts first, and nobody else: what goes on to another server has none
    (RFC 5321 §4.4)."""
    return f"Return-Path: <{envelope.sender}>\r\n".encode()


def received_field(client: Client, envelope: Envelope, hostname: str, received: Millis, trail: Trail) -> bytes:
    """`Received`, ready to be put in front of the message (RFC 5321 §4.4)."""
    lines = [
        f"Received: from {_from(client)}",
        f"\tby {hostname} (Posthouse) with {protocol(client, envelope)} id {trail}{_tls(client)}",
        f"\t{_for(envelope)}{_priority(envelope)}; {format_rfc5322(received)}",
    ]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n"


def protocol(client: Client, envelope: Envelope) -> str:
    """The With clause: SMTP or LMTP, E when EHLO was said, S under TLS, A after AUTH (RFC 3848), UTF8 in front when
    the transaction asked for it (RFC 6531 §4.3)."""
    if not client.extended:
        return "SMTP"
    marks = ("S" if client.tls else "") + ("A" if client.login else "")
    family = "LMTP" if client.lmtp else "SMTP"
    if envelope.utf8:
        return f"UTF8{family}{marks}"
    return f"{family}{marks}" if client.lmtp else f"E{family}{marks}"


def _from(client: Client) -> str:
    """Extended-Domain: the name the client gave, and in parentheses the address we saw (RFC 5321 §4.4)."""
    name = client.name if _PLAIN_NAME.match(client.name) else "unknown"
    if not client.ip:  # a Unix socket has no address
        return name
    literal = f"IPv6:{client.ip}" if ":" in client.ip else client.ip
    return f"{name} ([{literal}])"


def _tls(client: Client) -> str:
    return f"\r\n\t({client.tls.version} {client.tls.cipher})" if client.tls else ""


def _for(envelope: Envelope) -> str:
    """The For clause names the recipient only when there is one: it must not tell one about the others
    (RFC 5321 §7.2)."""
    if len(envelope.recipients) != 1:
        return "(several recipients)"
    address = envelope.recipients[0].path.address
    if address.domain == Domain(""):
        return f"for <{quote_local(address.local)}>"
    return f"for <{address}>"


def _priority(envelope: Envelope) -> str:
    """The PRIORITY clause (RFC 6710 §7)."""
    return f"\r\n\tPRIORITY {envelope.priority}" if envelope.priority else ""


def hops(octets: bytes | mmap, header_stop: int) -> int:
    """How many Received fields the header has: each is a server the message went through (RFC 5321 §6.3)."""
    return len(_RECEIVED.findall(octets, 0, header_stop))
