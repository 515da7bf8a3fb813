"""Who asks to come in: where from, by which service, under which TLS, with which program."""

from dataclasses import dataclass, field

from posthouse.net.binding import bindings
from posthouse.net.clientcerts import names_of_client
from posthouse.net.link import Link, TlsState
from posthouse.serve.limits import Service
from posthouse.wire.sasl import Offer


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of one login. `ip` is "" on a Unix socket; `program` is what it calls itself: ID of IMAP, EHLO of
    SMTP, "" where it has not said. `offer`: by which SASL mechanisms it may come in."""

    ip: str
    service: Service
    tls: TlsState | None = None
    program: str = ""
    offer: Offer = field(default_factory=Offer)


def offer(link: Link, withheld: frozenset[str], *, bearer: bool) -> Offer:
    """What a connection offers: -PLUS where TLS can be bound to, EXTERNAL where the client has shown a good
    certificate, tokens where there is TLS (RFC 7628 §3) and somebody to check them (`bearer`)."""
    session = link.tls_session
    return Offer(bindings(session), names_of_client(session), bearer and session is not None, withheld)
