"""UIDONLY (RFC 9586): once it is enabled, nothing that names message sequence numbers is taken, or said.

What is printed instead of FETCH is in state.py and fetch.py; here commands are refused.

Outlook (Microsoft 365) enables UIDONLY where it is offered, and then names message numbers. So a user for whom a client
did that is not offered UIDONLY again: the client's next connection works. It is judged by what it does, never by what
it says it is (RFC 2971 §3).
"""

from collections import OrderedDict
from weakref import WeakKeyDictionary

from posthouse.mail.ids import AccountId
from posthouse.serve.imap.state import Session
from posthouse.store.store import Store
from posthouse.wire.imap.command import Command, Copy, Move, Select, StoreFlags
from posthouse.wire.imap.fetch import Fetch
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import StatusResponse, bad
from posthouse.wire.imap.search import Fuzzy, Numbers, Search, SearchKey, leaves
from posthouse.wire.imap.sort import Sort, Thread
from posthouse.wire.imap.uidonly import UIDREQUIRED

REMEMBERED = 10_000  # users whose clients broke their word, in one worker; the oldest is forgotten

_broken: WeakKeyDictionary[Store, OrderedDict[AccountId, None]] = WeakKeyDictionary()


def offered(session: Session) -> bool:
    """Whether UIDONLY is announced to this user and may be enabled."""
    return session.who.account not in _broken.get(session.store, ())


def _note_broken(session: Session) -> None:
    users = _broken.setdefault(session.store, OrderedDict())
    users[session.who.account] = None
    users.move_to_end(session.who.account)
    if len(users) > REMEMBERED:
        users.popitem(last=False)


def refused(session: Session, command: Command) -> StatusResponse | None:
    """BAD where the command uses message sequence numbers that the client has given up (RFC 9586 §3.2, §3.5, §3.7)."""
    if not session.uid_only or not _by_number(command):
        return None
    _note_broken(session)
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
    return any(names_numbers(leaf.key) if isinstance(leaf, Fuzzy) else _numbered(leaf) for leaf in leaves(key))


def _numbered(key: SearchKey) -> bool:
    return isinstance(key, Numbers) and not key.uid and bool(key.numbers.spans)
