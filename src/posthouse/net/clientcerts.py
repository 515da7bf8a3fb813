"""Whom the certificate of a client is for (RFC 4422 Appendix A, RFC 5280 §4.2.1.6).

Only a certificate that OpenSSL has found good has names here: signed by the authorities of the settings, in its time,
for clients, and not revoked. Any other, and none, have no names, and EXTERNAL is not offered.
"""

import ssl
import time
from collections.abc import Iterator
from typing import Any

from posthouse.net.openssl import certificate_good
from posthouse.net.tls import NamedBy, ServerContext

NAMES = 20  # of one certificate that are looked at


def names_of_client(session: ssl.SSLObject | None) -> tuple[str, ...]:
    """The names of users that a client's certificate holds, as the settings say where they stand."""
    if session is None or not isinstance(session.context, ServerContext) or session.context.clients is None:
        return ()
    shown = _good(session)
    if not shown:
        return ()
    by = session.context.clients.named_by
    names = _emails(shown) if by is NamedBy.EMAIL else _subject(shown)
    return tuple(dict.fromkeys(names))[:NAMES]


def _good(session: ssl.SSLObject) -> Any:
    """The certificate as `ssl` reads it, where there is a good one. A bad one is not read, because anybody can show it;
    and `ssl` raises for what it cannot read, text that is no UTF-8 for example."""
    if not certificate_good(session):
        return None
    try:
        shown: Any = session.getpeercert()
        # A session that is resumed brings its certificate along without another look at the time.
        return shown if shown and ssl.cert_time_to_seconds(shown["notAfter"]) >= time.time() else None
    except (ValueError, ssl.SSLError):
        return None


def _emails(shown: Any) -> Iterator[str]:
    yield from (value for kind, value in shown.get("subjectAltName", ()) if kind == "email")


def _subject(shown: Any) -> list[str]:
    """emailAddress where there is one, or else commonName."""
    found: dict[str, list[str]] = {}
    for kind, value in (pair for relative in shown.get("subject", ()) for pair in relative):
        found.setdefault(kind, []).append(value)
    return found.get("emailAddress") or found.get("commonName") or []
