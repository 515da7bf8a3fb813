"""Who is speaking to us: what a session knows about its peer when it hands over a message."""

from dataclasses import dataclass

from posthouse.net.link import TlsState
from posthouse.store.accounts import Login


@dataclass(frozen=True, slots=True)
class Client:
    """The SMTP client of RFC 5321 §2.3.5.

    `ip` is "" on a Unix socket; `name` is the argument of EHLO, HELO or LHLO; `extended` is False after HELO; `lmtp`
    when it speaks LMTP (RFC 2033); `login` once it has proved who it is (RFC 4954).
    """

    ip: str
    name: str = ""
    extended: bool = True
    lmtp: bool = False
    tls: TlsState | None = None
    login: Login | None = None
