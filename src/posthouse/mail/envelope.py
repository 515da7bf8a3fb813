"""The Envelope of a mail object and the parameters of MAIL and RCPT as values (RFC 5321 §2.3.1, RFC 3461 §4)."""

from dataclasses import dataclass
from enum import Enum

from posthouse.mail.address import ForwardPath, ReversePath


class BodyType(Enum):
    """BODY= of MAIL (RFC 6152 §3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


class Notify(Enum):
    """When a DSN is wanted: the values of NOTIFY= beside NEVER (RFC 3461 §4.1)."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class DsnReturn(Enum):
    """RET= of MAIL: how much of the message a DSN of failure gives back (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


@dataclass(frozen=True, slots=True)
class OriginalRecipient:
    """ORCPT= of RCPT, decoded from xtext: whom the sender wrote to (RFC 3461 §4.2)."""

    kind: str  # addr-type, "rfc822" or "utf-8" (RFC 6533 §3)
    address: str


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """BY= of MAIL, with the seconds turned into a moment when the message came (RFC 2852 §4)."""

    until: int  # Millis
    give_back: bool  # by-mode R: past that moment it comes back; otherwise (N) only a notice says so
    trace: bool  # by-trace T


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT (RFC 5321 §4.1.1.3). `notify` is None where NOTIFY was not given, empty for NEVER (RFC 3461 §4.1)."""

    path: ForwardPath
    notify: frozenset[Notify] | None = None
    orcpt: OriginalRecipient | None = None

    def wants(self, occasion: Notify) -> bool:
        """Whether a DSN is to be sent: failure, and delay if we like, where nothing was said (RFC 3461 §5.2)."""
        if self.notify is None:
            return occasion is not Notify.SUCCESS
        return occasion in self.notify


@dataclass(frozen=True, slots=True)
class Envelope:
    """What SMTP carries beside the message itself (RFC 5321 §2.3.1)."""

    sender: ReversePath
    recipients: tuple[Recipient, ...]
    body: BodyType = BodyType.SEVEN_BIT
    utf8: bool = False  # SMTPUTF8 (RFC 6531 §3.4)
    ret: DsnReturn | None = None  # RFC 3461 §4.3
    envid: str | None = None  # ENVID=, decoded from xtext (RFC 3461 §4.4)
    require_tls: bool = False  # REQUIRETLS (RFC 8689 §2)
    priority: int = 0  # MT-PRIORITY, -9 to 9 (RFC 6710 §4)
    deliver_by: DeliverBy | None = None
    tls_optional: bool = False  # TLS-Required: No in its header (RFC 8689 §3): delivery matters more than TLS
