"""Commands of an IMAP client as frozen values, each with its `tag` (RFC 9051 §6, RFC 3501 §6).

Commands with a grammar of their own (FETCH, SEARCH, LIST, ...) have files of their own; `Command` names them all. A
session dispatches by type: `{Select: select, Fetch: fetch, ...}[type(command)]`.

Mailbox names are text, INBOX in upper case. User names and passwords are octets: they are never cut at NUL but
refused. How the values are read from octets is in parse.py; states are server.py's, meaning is the session's.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.wire.imap.acl import (
    AclCommand,
)
from posthouse.wire.imap.compress import Compress
from posthouse.wire.imap.condstore import NO_PARAMETERS, SelectParameters
from posthouse.wire.imap.context import CancelUpdate
from posthouse.wire.imap.fetch import Fetch
from posthouse.wire.imap.grammar import FlagSet
from posthouse.wire.imap.list import List, Lsub, StatusItem
from posthouse.wire.imap.metadata import GetMetadata, SetMetadata
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.notify import Notify
from posthouse.wire.imap.number_set import NumberSet
from posthouse.wire.imap.quota import QuotaCommand
from posthouse.wire.imap.search import Search
from posthouse.wire.imap.sort import Sort, Thread
from posthouse.wire.imap.uidbatches import UidBatches
from posthouse.wire.imap.urlauth import UrlAuthCommand


@dataclass(frozen=True, slots=True)
class Capability:
    """CAPABILITY (RFC 9051 §6.1.1)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP (RFC 9051 §6.1.2)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Logout:
    """LOGOUT (RFC 9051 §6.1.3)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Id:
    """ID (RFC 2971 §3.1): field and value pairs, empty for NIL."""

    tag: bytes
    fields: tuple[tuple[bytes, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS (RFC 9051 §6.2.1)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Authenticate:
    """AUTHENTICATE (RFC 9051 §6.2.2, RFC 4959): mechanism in upper case; `initial` decoded, None when there was
    none."""

    tag: bytes
    mechanism: str
    initial: bytes | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """LOGIN (RFC 9051 §6.2.3)."""

    tag: bytes
    user: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class Enable:
    """ENABLE (RFC 9051 §6.3.1): capability names in upper case."""

    tag: bytes
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE where `read_only` (RFC 9051 §6.3.2, §6.3.3)."""

    tag: bytes
    mailbox: str
    read_only: bool = False
    parameters: SelectParameters = NO_PARAMETERS


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE (RFC 9051 §6.3.4). A delimiter at the end, which announces children, is still there. `uses`: what USE
    names (RFC 6154 §3)."""

    tag: bytes
    mailbox: str
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE (RFC 9051 §6.3.5)."""

    tag: bytes
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RENAME (RFC 9051 §6.3.6)."""

    tag: bytes
    mailbox: str
    target: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE (RFC 9051 §6.3.7)."""

    tag: bytes
    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE (RFC 9051 §6.3.8)."""

    tag: bytes
    mailbox: str


@dataclass(frozen=True, slots=True)
class Unauthenticate:
    """UNAUTHENTICATE (RFC 8437 §3)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Namespace:
    """NAMESPACE (RFC 9051 §6.3.10, RFC 2342)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS (RFC 9051 §6.3.11)."""

    tag: bytes
    mailbox: str
    items: tuple[StatusItem, ...]


class AppendMessage(NamedTuple):
    """One message of an APPEND. `date` is None for now; `binary`: it came as a literal8; `has_nul`: NUL was in it."""

    flags: FlagSet
    date: Millis | None
    size: int
    binary: bool = False
    has_nul: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """APPEND or REPLACE, complete: its messages went before as Octets (RFC 9051 §6.3.12, RFC 8508 §3.2)."""

    tag: bytes
    mailbox: str
    messages: tuple[AppendMessage, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """IDLE (RFC 9051 §6.3.13, RFC 2177)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """DONE: the end of IDLE, with the tag of that command (RFC 9051 §6.3.13)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Check:
    """CHECK (RFC 3501 §6.4.1)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE (RFC 9051 §6.4.1)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Unselect:
    """UNSELECT (RFC 9051 §6.4.2, RFC 3691)."""

    tag: bytes


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE, or UID EXPUNGE where `uids` are given (RFC 9051 §6.4.3, §6.4.9, RFC 4315 §2.1)."""

    tag: bytes
    uids: NumberSet | None = None


class StoreMode(Enum):
    """FLAGS, +FLAGS and -FLAGS (RFC 9051 §6.4.6)."""

    REPLACE = b"FLAGS"
    ADD = b"+FLAGS"
    REMOVE = b"-FLAGS"


@dataclass(frozen=True, slots=True)
class StoreFlags:
    """STORE and UID STORE (RFC 9051 §6.4.6, §6.4.9)."""

    tag: bytes
    numbers: NumberSet
    mode: StoreMode
    silent: bool
    flags: FlagSet
    uid: bool = False
    unchanged_since: int | None = None  # RFC 7162 §3.1.3


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY and UID COPY (RFC 9051 §6.4.7, §6.4.9)."""

    tag: bytes
    numbers: NumberSet
    mailbox: str
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """MOVE and UID MOVE (RFC 9051 §6.4.8, §6.4.9, RFC 6851)."""

    tag: bytes
    numbers: NumberSet
    mailbox: str
    uid: bool = False


CommandAny = Capability | Noop | Logout | Id
CommandNonauth = StartTls | Authenticate | Login
CommandAuth = (
    Enable
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | Unsubscribe
    | List
    | Lsub
    | Namespace
    | Unauthenticate
    | Status
    | Append
    | Compress
    | MultiSearch
    | GetMetadata
    | SetMetadata
    | Notify
    | Idle
    | Done
    | AclCommand
    | UrlAuthCommand
    | QuotaCommand
)
CommandSelect = (
    UidBatches
    | CancelUpdate
    | Check
    | Close
    | Unselect
    | Expunge
    | Search
    | Sort
    | Thread
    | Fetch
    | StoreFlags
    | Copy
    | Move
)
Command = CommandAny | CommandNonauth | CommandAuth | CommandSelect
