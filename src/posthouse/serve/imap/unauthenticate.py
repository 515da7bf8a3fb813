"""UNAUTHENTICATE (RFC 8437): the connection forgets its user and may log in another.

Everything is reset but TLS and the count of failed logins. COMPRESS ends with the command on the client's side and with
the answer on ours. Where the end of the client's stream cannot be told, the connection ends with BYE, as RFC 8437 §3
allows.
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
    link = session.link
    if link.deflating and (session.engine.pending or not link.may_stop_deflate):
        session.end(bye("Where the compressed commands end cannot be told; connect again."))
        return None
    session.forget()
    answer = ok(command.tag, "Logged out; log in as whom you like.", code.capability(capabilities(session)))
    if not link.deflating:
        return answer
    await link.flush()
    link.stop_deflate(session.engine.send(answer))
    return None
