"""COMPRESS (RFC 4978): from the answer on, both sides compress.

A capability for users only: what a stranger sends is never inflated.
"""

import re

from posthouse.serve.imap.state import Session
from posthouse.wire.imap import code
from posthouse.wire.imap.compress import Compress
from posthouse.wire.imap.response import StatusResponse, bad, ok

_LAST = re.compile(rb"unauthenticate\r?\n", re.IGNORECASE)  # RFC 8437 §4.1: behind it the client compresses no more


async def compress(session: Session, command: Compress) -> StatusResponse | None:
    """RFC 4978 §3."""
    if session.link.deflating:
        return bad(command.tag, "DEFLATE is active already, by COMPRESS.", code.COMPRESSIONACTIVE)
    if session.engine.pending:  # plain or compressed? The client may not know either
        return bad(command.tag, "Nothing may follow COMPRESS before its answer.")
    session.say(ok(command.tag, "DEFLATE is active."))
    session.link.start_deflate(_LAST if session.house.unauthenticate else None)
    return None
