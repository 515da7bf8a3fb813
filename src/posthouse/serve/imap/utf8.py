"""UTF8=ACCEPT (RFC 9755): once it is enabled, strings are UTF-8, and no command may say otherwise."""

from posthouse.serve.imap.state import Session
from posthouse.wire.imap.command import Command
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import StatusResponse, bad
from posthouse.wire.imap.search import Search
from posthouse.wire.imap.sort import Sort, Thread


def refused(session: Session, command: Command) -> StatusResponse | None:
    """BAD where the command names a charset although it need not, or one that is not UTF-8 although it must
    (RFC 9755 §3, and erratum 4029 of RFC 6855 before it)."""
    if "UTF8=ACCEPT" not in session.enabled:
        return None
    match command:
        case Search() | MultiSearch() if command.labelled:
            return bad(command.tag, "UTF8=ACCEPT is enabled: all texts are UTF-8; leave CHARSET out.")
        case Sort() | Thread() if command.charset != "utf-8":
            return bad(command.tag, "UTF8=ACCEPT is enabled: all texts are UTF-8; name no other charset.")
    return None
