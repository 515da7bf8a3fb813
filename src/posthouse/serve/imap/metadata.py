"""GETMETADATA and SETMETADATA (RFC 5464 §4.2, §4.3), and the checks of filters kept there (RFC 5466 §3.2)."""

from posthouse.serve.imap.filters import fault_of
from posthouse.serve.imap.notices import MUTED
from posthouse.serve.imap.refusals import sentence
from posthouse.serve.imap.state import Session
from posthouse.store import annotations
from posthouse.store.script import NotFound, OverQuota, UseRefused
from posthouse.wire.imap import code
from posthouse.wire.imap.metadata import GetMetadata, SetMetadata
from posthouse.wire.imap.response import Metadata, StatusResponse, no, ok


async def get_metadata(session: Session, command: GetMetadata) -> StatusResponse:
    """RFC 5464 §4.2."""
    try:
        found = await session.store.read(
            annotations.read, session.reader, command.mailbox, command.entries, command.depth
        )
    except NotFound:
        return _no_such_mailbox(command.tag)
    longest = 0
    shown = []
    for entry, value in found.values:
        if command.most is not None and value is not None and len(value) > command.most:
            longest = max(longest, len(value))
        else:
            shown.append((entry, value))
    if shown:
        session.say(Metadata(found.name, tuple(shown)))
    response_code = code.metadata_longentries(longest) if longest else None
    return ok(command.tag, "GETMETADATA completed.", response_code)


async def set_metadata(session: Session, command: SetMetadata) -> StatusResponse:
    """RFC 5464 §4.3."""
    for entry, value in command.values:
        if value is not None and len(value) > annotations.VALUE:
            text = f"A value may have at most {annotations.VALUE} octets; nothing was set."
            return no(command.tag, text, code.metadata_maxsize(annotations.VALUE))
        wrong = fault_of(entry, value)
        if wrong:
            return no(command.tag, f"That is no search program: {wrong}", code.CANNOT)
    try:
        change = await session.store.run(annotations.write, session.reader, command.mailbox, command.values)
    except NotFound:
        return _no_such_mailbox(command.tag)
    except OverQuota as error:
        return no(command.tag, sentence(str(error)), code.METADATA_TOOMANY)
    except UseRefused as error:
        return no(command.tag, sentence(str(error)), code.USEATTR)
    if session.notices is not None and len(session.notices.own) < MUTED:
        session.notices.own.add(change)
    return ok(command.tag, "SETMETADATA completed.")


def _no_such_mailbox(tag: bytes) -> StatusResponse:
    return no(tag, "There is no mailbox of that name.", code.NONEXISTENT)
