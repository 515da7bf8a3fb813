"""Commands of an IMAP client as frozen values, and their parser (RFC 9051 §6, RFC 3501 §6).

`parse_command` takes the octets of one whole command, literals in place (see assembler.py), and returns one of the
values named in `Command`; each has its `tag`. FETCH, SEARCH and LIST live in files of their own; APPEND is read piece
by piece in append.py because its messages stream. A session dispatches by type: `{Select: select, Fetch: fetch,
…}[type(c)]`.

Mailbox names are text, INBOX in upper case. User names and passwords are octets: they are never cut at NUL but
refused. It does not know states (server.py) nor what a command does. A list of parameters or modifiers in parentheses
behind SELECT, EXAMINE, CREATE, FETCH, SEARCH or STORE is RFC 4466's; those not known are refused with BAD as §2.1
asks.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from posthouse.mail.ids import Millis
from posthouse.wire.imap.acl import (
    AclCommand,
    parse_delete_acl,
    parse_get_acl,
    parse_list_rights,
    parse_my_rights,
    parse_set_acl,
)
from posthouse.wire.imap.compress import Compress, parse_compress
from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.condstore import NO_PARAMETERS, SelectParameters, select_parameters, store_modifiers
from posthouse.wire.imap.fetch import Fetch, parse_fetch
from posthouse.wire.imap.grammar import OPEN, TAG, USUAL, FlagSet, GrammarLimits, Scanner, flag_set
from posthouse.wire.imap.list import List, Lsub, StatusItem, parse_list, parse_lsub, parse_status_items
from posthouse.wire.imap.metadata import GetMetadata, SetMetadata, parse_get_metadata, parse_set_metadata
from posthouse.wire.imap.multisearch import MultiSearch, parse_esearch
from posthouse.wire.imap.notify import Notify, parse_notify
from posthouse.wire.imap.number_set import NumberSet
from posthouse.wire.imap.search import Search, parse_search
from posthouse.wire.imap.sort import Sort, Thread, parse_sort, parse_thread
from posthouse.wire.imap.special_use import parse_uses
from posthouse.wire.imap.uidbatches import UidBatches, parse_uidbatches

ID_FIELDS = 30  # RFC 2971 §3.3: a client must not send more
CAPABILITIES = 100  # of one ENABLE; there are not that many to enable


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


@dataclass(frozen=True, slots=True)
class AppendMessage:
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
)
CommandSelect = (
    UidBatches | Check | Close | Unselect | Expunge | Search | Sort | Thread | Fetch | StoreFlags | Copy | Move
)
Command = CommandAny | CommandNonauth | CommandAuth | CommandSelect

# RFC 9051 §9   command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF
_COMMAND = re.compile(rb"(?P<tag>%b) (?P<uid>[Uu][Ii][Dd] )?(?P<name>[A-Za-z]+)" % TAG.pattern)
_NO_LITERAL = "{} takes a mailbox and then each message as a literal."
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def parse_command(octets: bytes, utf8: bool = False, limits: GrammarLimits = USUAL) -> Command:
    """The command in these octets: one whole command without its last CRLF, literals in place (RFC 9051 §9).
    `utf8`: mailbox names are UTF-8 (RFC 9051 §5.1). Spaces at the end are overlooked, which people and scripts leave
    there and Dovecot takes too; behind a literal they may be its octets. Raises Fault."""
    if octets.endswith(b" ") and b"}\r\n" not in octets:
        octets = octets.rstrip(b" ")
    found = _COMMAND.match(octets)
    if found is None:
        raise Fault("A command begins with a tag, one space and its name.")
    name = found["name"].upper()
    scanner = Scanner(octets, found.end(), utf8, limits)
    if found["uid"]:
        parse_uid = _UID_PARSERS.get(name)
        if parse_uid is None and name == b"REPLACE":
            raise Fault(_NO_LITERAL.format("UID REPLACE, behind the UID,"))
        if parse_uid is None:
            raise Fault(f"There is no command UID {name.decode('ascii')}.")
        command = parse_uid(found["tag"], scanner)
    else:
        parse = _PARSERS.get(name)
        if parse is None and name in (b"APPEND", b"REPLACE"):
            raise Fault(_NO_LITERAL.format(name.decode("ascii")))
        if parse is None:
            raise Fault(f"There is no command {name.decode('ascii')}.")
        command = parse(found["tag"], scanner)
    scanner.end()
    return command


def decode_base64(octets: bytes) -> bytes:
    """base64 of a SASL exchange (RFC 9051 §9, RFC 4648 §4). Raises Fault."""
    if not _BASE64.fullmatch(octets):
        raise Fault("The line is not base64.")
    return a2b_base64(octets)


def _id(tag: bytes, scanner: Scanner) -> Id:
    scanner.space()
    if scanner.take(b"NIL"):
        return Id(tag)
    fields: list[tuple[bytes, bytes | None]] = []
    scanner.mark(b"(")
    while not scanner.take(b")"):
        if fields:
            scanner.space()
        name = scanner.string()
        scanner.space()
        fields.append((name, scanner.nstring()))
        if len(fields) > ID_FIELDS:
            raise over_limit(f"ID takes at most {ID_FIELDS} fields.")
    return Id(tag, tuple(fields))


def _authenticate(tag: bytes, scanner: Scanner) -> Authenticate:
    scanner.space()
    mechanism = scanner.word().decode("ascii")
    if scanner.ended:
        return Authenticate(tag, mechanism)
    scanner.space()
    initial = scanner.octets[scanner.position :]
    scanner.position = len(scanner.octets)
    if initial == b"=":
        return Authenticate(tag, mechanism, b"")
    return Authenticate(tag, mechanism, decode_base64(initial))


def _login(tag: bytes, scanner: Scanner) -> Login:
    scanner.space()
    user = scanner.astring()
    scanner.space()
    return Login(tag, user, scanner.astring())  # neither holds NUL: no astring does


def _enable(tag: bytes, scanner: Scanner) -> Enable:
    names: list[str] = []
    while not scanner.ended or not names:
        scanner.space()
        names.append(scanner.word().decode("ascii"))
        if len(names) > CAPABILITIES:
            raise over_limit(f"ENABLE takes at most {CAPABILITIES} names.")
    return Enable(tag, tuple(names))


def _select(tag: bytes, scanner: Scanner) -> Select:
    return Select(tag, _mailbox(scanner), parameters=select_parameters(scanner))


def _examine(tag: bytes, scanner: Scanner) -> Select:
    return Select(tag, _mailbox(scanner), read_only=True, parameters=select_parameters(scanner))


def _create(tag: bytes, scanner: Scanner) -> Create:
    return Create(tag, _mailbox(scanner), parse_uses(scanner) or ())


def _mailbox(scanner: Scanner) -> str:
    scanner.space()
    return scanner.mailbox()


def _rename(tag: bytes, scanner: Scanner) -> Rename:
    return Rename(tag, _mailbox(scanner), _mailbox(scanner))


def _status(tag: bytes, scanner: Scanner) -> Status:
    mailbox = _mailbox(scanner)
    scanner.space()
    return Status(tag, mailbox, parse_status_items(scanner))


def _uid_expunge(tag: bytes, scanner: Scanner) -> Expunge:
    return Expunge(tag, _numbers(scanner))


def _numbers(scanner: Scanner) -> NumberSet:
    scanner.space()
    return scanner.sequence_set()


def _store(tag: bytes, scanner: Scanner, uid: bool) -> StoreFlags:
    numbers = _numbers(scanner)
    unchanged_since = store_modifiers(scanner)
    scanner.space()
    word = scanner.word()
    silent = word.endswith(b".SILENT")
    try:
        mode = StoreMode(word.removesuffix(b".SILENT"))
    except ValueError:
        raise Fault("STORE changes FLAGS, +FLAGS or -FLAGS, each with .SILENT or without.") from None
    scanner.space()
    if scanner.peek() == OPEN:
        flags = scanner.flag_list()
    else:
        spelled = [scanner.flag()]
        while not scanner.ended:
            scanner.space()
            spelled.append(scanner.flag())
        flags = flag_set(spelled)
    return StoreFlags(tag, numbers, mode, silent, flags, uid, unchanged_since)


def _plain(make: Callable[[bytes], Command]) -> Callable[[bytes, Scanner], Command]:
    return lambda tag, scanner: make(tag)


_PARSERS: dict[bytes, Callable[[bytes, Scanner], Command]] = {
    b"AUTHENTICATE": _authenticate,
    b"CAPABILITY": _plain(Capability),
    b"CHECK": _plain(Check),
    b"CLOSE": _plain(Close),
    b"COMPRESS": parse_compress,
    b"COPY": lambda tag, scanner: Copy(tag, _numbers(scanner), _mailbox(scanner)),
    b"CREATE": _create,
    b"DELETEACL": parse_delete_acl,
    b"DELETE": lambda tag, scanner: Delete(tag, _mailbox(scanner)),
    b"ENABLE": _enable,
    b"ESEARCH": parse_esearch,
    b"EXAMINE": _examine,
    b"EXPUNGE": _plain(Expunge),
    b"FETCH": lambda tag, scanner: parse_fetch(tag, scanner, uid=False),
    b"GETMETADATA": parse_get_metadata,
    b"GETACL": parse_get_acl,
    b"ID": _id,
    b"IDLE": _plain(Idle),
    b"LIST": parse_list,
    b"LISTRIGHTS": parse_list_rights,
    b"LOGIN": _login,
    b"LOGOUT": _plain(Logout),
    b"LSUB": parse_lsub,
    b"MOVE": lambda tag, scanner: Move(tag, _numbers(scanner), _mailbox(scanner)),
    b"MYRIGHTS": parse_my_rights,
    b"NAMESPACE": _plain(Namespace),
    b"NOOP": _plain(Noop),
    b"NOTIFY": parse_notify,
    b"RENAME": _rename,
    b"SEARCH": lambda tag, scanner: parse_search(tag, scanner, uid=False),
    b"SELECT": _select,
    b"SETACL": parse_set_acl,
    b"SORT": lambda tag, scanner: parse_sort(tag, scanner, uid=False),
    b"SETMETADATA": parse_set_metadata,
    b"STARTTLS": _plain(StartTls),
    b"STATUS": _status,
    b"STORE": lambda tag, scanner: _store(tag, scanner, uid=False),
    b"SUBSCRIBE": lambda tag, scanner: Subscribe(tag, _mailbox(scanner)),
    b"UNAUTHENTICATE": _plain(Unauthenticate),
    b"THREAD": lambda tag, scanner: parse_thread(tag, scanner, uid=False),
    b"UIDBATCHES": parse_uidbatches,
    b"UNSELECT": _plain(Unselect),
    b"UNSUBSCRIBE": lambda tag, scanner: Unsubscribe(tag, _mailbox(scanner)),
}
# RFC 9051 §6.4.9
_UID_PARSERS: dict[bytes, Callable[[bytes, Scanner], Command]] = {
    b"COPY": lambda tag, scanner: Copy(tag, _numbers(scanner), _mailbox(scanner), uid=True),
    b"EXPUNGE": _uid_expunge,
    b"FETCH": lambda tag, scanner: parse_fetch(tag, scanner, uid=True),
    b"MOVE": lambda tag, scanner: Move(tag, _numbers(scanner), _mailbox(scanner), uid=True),
    b"SEARCH": lambda tag, scanner: parse_search(tag, scanner, uid=True),
    b"SORT": lambda tag, scanner: parse_sort(tag, scanner, uid=True),
    b"STORE": lambda tag, scanner: _store(tag, scanner, uid=True),
    b"THREAD": lambda tag, scanner: parse_thread(tag, scanner, uid=True),
}
