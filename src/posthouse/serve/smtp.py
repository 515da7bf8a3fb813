"""SMTP and LMTP sessions: mail from other servers, from our users, and from a server in front of us.

RFC 5321 §3, §4; RFC 6409 (submission), RFC 8314 §3.3 (TLS from the first octet), RFC 2033 (LMTP).
"""

from posthouse.net.link import Link
from posthouse.serve.limits import SessionLimits
from posthouse.serve.login import Door
from posthouse.transport.house import House, SmtpRole


async def session(link: Link, house: House, door: Door, role: SmtpRole, limits: SessionLimits | None = None) -> None:
    """Serve one connection to its end. Never raises for what a peer does."""
    raise NotImplementedError
