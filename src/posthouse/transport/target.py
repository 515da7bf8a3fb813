"""Where a message can be handed over: the servers of a destination, and what TLS each of them must show.

`targets.py` finds them, `send.py` tries them in order.
"""

from dataclasses import dataclass
from enum import Enum

from posthouse.mail.status import Status
from posthouse.trust.reports import Applied
from posthouse.trust.resolver import Tlsa

SMTP_PORT = 25  # RFC 5321 §4.5.4.2


class TlsLevel(Enum):
    """What the session with a server must be, weakest first."""

    OPPORTUNISTIC = "opportunistic"  # TLS where it is offered, whatever the certificate (RFC 7435)
    ENCRYPTED = "encrypted"  # TLS or nothing, whatever the certificate: what is remembered of the domain
    VERIFIED = "verified"  # a certificate of a public authority for one of `names` (RFC 8461 §4.1, smart hosts)
    DANE = "dane"  # a certificate that `tlsa` knows (RFC 7672 §2.2)


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """What TLS must show. `names` are the reference identifiers; `tlsa` is empty but for DANE."""

    level: TlsLevel = TlsLevel.OPPORTUNISTIC
    names: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()
    why: str = ""  # which policy asks for it, in words: "DANE of mx.example", "MTA-STS of example"


@dataclass(frozen=True, slots=True)
class RelayLogin:
    """How we log in at a smart host (RFC 4954)."""

    user: str
    password: str
    without_tls: bool = False  # whether the password may be said in plain text
    channel_binding: bool = True  # whether SCRAM is bound to the connection where the server can do that

    def __repr__(self) -> str:
        return f"RelayLogin(user={self.user!r}, password=...)"


@dataclass(frozen=True, slots=True)
class Target:
    """One server to try: its name as the log and the DSN show it, its addresses, best first."""

    host: str
    ips: tuple[str, ...]
    port: int = SMTP_PORT
    preference: int = 0  # of the MX record; equal ones are tried in any order (RFC 5321 §5.1)
    tls: TlsDemand = TlsDemand()
    implicit_tls: bool = False  # TLS from the first octet (RFC 8314 §3.3)
    login: RelayLogin | None = None
    source: str = ""  # the address to connect from, "" for any
    applied: Applied | None = None  # to whom, and as what, sessions with it are reported (RFC 8460); None: to nobody


@dataclass(frozen=True, slots=True)
class Unreachable:
    """No server can be tried: why, for people and for programs. `status.cls` 5 ends it, 4 lets it wait."""

    status: Status
    reason: str
