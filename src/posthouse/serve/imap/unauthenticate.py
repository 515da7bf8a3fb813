"""UNAUTHENTICATE (RFC 8437): the connection forgets its user and may log in another.

Everything is reset but TLS and the count of failed logins. Where COMPRESS is active nobody could tell the octets of
before from those of after, so it is not announced there, and the connection ends with BYE, as RFC 8437 §3 allows.
`imap.unauthenticate = false` turns the command off (RFC 8437 §8).
"""

from posthouse.serve.imap.entry import capabilities
from posthouse.serve.imap.state import Session
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Unauthenticate
from posthouse.wire.imap.response import StatusResponse, bad, bye, ok


async def unauthenticate(session: Session, command: Unauthenticate) -> StatusResponse | None:
    """RFC 8437 §3. There is no NO: a client may have sent its next login already."""
    if not session.house.unauthenticate:
        return bad(command.tag, "UNAUTHENTICATE is not offered here.")
    if session.link.deflating:
        session.end(bye("The connection was compressed; connect again to log in as somebody else."))
        return None
    session.forget()
    return ok(command.tag, "Logged out; log in as whom you like.", code.capability(capabilities(session)))
