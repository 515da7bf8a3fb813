"""COMPRESS (RFC 4978): from the answer on, both sides compress.

A capability for users only: what a stranger sends is never inflated.
"""

from posthouse.serve.imap.state import Session
from posthouse.wire.imap import code
from posthouse.wire.imap.compress import Compress
from posthouse.wire.imap.response import StatusResponse, bad, ok


async def compress(session: Session, command: Compress) -> StatusResponse | None:
    """RFC 4978 §3."""
    if session.link.deflating:
        return bad(command.tag, "DEFLATE is active already, by COMPRESS.", code.COMPRESSIONACTIVE)
    if session.engine.pending:  # plain or compressed? The client may not know either
        return bad(command.tag, "Nothing may follow COMPRESS before its answer.")
    session.say(ok(command.tag, "DEFLATE is active."))
    session.link.start_deflate()
    return None
