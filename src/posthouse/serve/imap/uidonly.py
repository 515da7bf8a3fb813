"""UIDONLY (RFC 9586): once it is enabled, nothing that names message sequence numbers is taken, or said.

What is printed instead of FETCH is in state.py and fetch.py; here commands are refused.
"""

from posthouse.serve.imap.state import Session
from posthouse.wire.imap.command import Command, Copy, Move, Select, StoreFlags
from posthouse.wire.imap.fetch import Fetch
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import StatusResponse, bad
from posthouse.wire.imap.search import And, Not, Numbers, Or, Search, SearchKey
from posthouse.wire.imap.sort import Sort, Thread
from posthouse.wire.imap.uidonly import UIDREQUIRED


def refused(session: Session, command: Command) -> StatusResponse | None:
    """BAD where the command uses message sequence numbers that the client has given up (RFC 9586 §3.2, §3.5, §3.7)."""
    if not session.uid_only or not _by_number(command):
        return None
    return uid_required(command.tag)


def uid_required(tag: bytes) -> StatusResponse:
    """The BAD of RFC 9586 §4."""
    return bad(tag, "Message numbers are not used once UIDONLY is enabled; name UIDs.", UIDREQUIRED)


def _by_number(command: Command) -> bool:
    match command:
        case Fetch() | StoreFlags() | Copy() | Move():
            return not command.uid
        case Search() | Sort() | Thread():
            return not command.uid or names_numbers(command.key)
        case MultiSearch():
            return names_numbers(command.key)
        case Select():
            resync = command.parameters.resync
            return resync is not None and bool(resync.numbers)
    return False


def names_numbers(key: SearchKey) -> bool:
    """Whether a message sequence number is among the keys; `$` is none."""
    match key:
        case Numbers():
            return not key.uid and bool(key.numbers.spans)
        case Not(inner):
            return names_numbers(inner)
        case Or(first, second):
            return names_numbers(first) or names_numbers(second)
        case And(keys):
            return any(map(names_numbers, keys))
    return False
