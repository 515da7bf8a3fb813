"""Who asks to come in: where from, by which service, under which TLS, with which program."""

from dataclasses import dataclass

from posthouse.net.link import TlsState
from posthouse.serve.limits import Service


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of one login. `ip` is "" on a Unix socket; `program` is what it calls itself: ID of IMAP, EHLO of
    SMTP, "" where it has not said."""

    ip: str
    service: Service
    tls: TlsState | None = None
    program: str = ""
