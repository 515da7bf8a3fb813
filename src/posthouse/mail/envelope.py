"""The Envelope of a mail object and the parameters of MAIL and RCPT as values (RFC 5321 §2.3.1)."""

from dataclasses import dataclass
from enum import Enum

from posthouse.mail.address import ForwardPath, ReversePath


class BodyType(Enum):
    """BODY= of MAIL (RFC 6152 §3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT (RFC 5321 §4.1.1.3)."""

    path: ForwardPath


@dataclass(frozen=True, slots=True)
class Envelope:
    """What SMTP carries beside the message itself (RFC 5321 §2.3.1)."""

    sender: ReversePath
    recipients: tuple[Recipient, ...]
    body: BodyType = BodyType.SEVEN_BIT
    utf8: bool = False
