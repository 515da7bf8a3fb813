"""One whole command of an IMAP client, read (RFC 9051 §9, RFC 3501 §9).

`parse_command` takes the octets of one whole command, literals in place (see assembler.py), and returns one of the
values of command.py. APPEND is read piece by piece in append.py because its messages stream. A list of parameters or
modifiers in parentheses behind SELECT, EXAMINE, CREATE, FETCH, SEARCH or STORE is RFC 4466's; those not known are
refused with BAD as §2.1 asks. It does not know states (server.py) nor what a command does.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable

from posthouse.wire.imap.acl import (
    parse_delete_acl,
    parse_get_acl,
    parse_list_rights,
    parse_my_rights,
    parse_set_acl,
)
from posthouse.wire.imap.command import (
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    Copy,
    Create,
    Delete,
    Enable,
    Expunge,
    Id,
    Idle,
    Login,
    Logout,
    Move,
    Namespace,
    Noop,
    Rename,
    Select,
    StartTls,
    Status,
    StoreFlags,
    StoreMode,
    Subscribe,
    Unauthenticate,
    Unselect,
    Unsubscribe,
)
from posthouse.wire.imap.compress import parse_compress
from posthouse.wire.imap.condition import Fault, over_limit
from posthouse.wire.imap.condstore import select_parameters, store_modifiers
from posthouse.wire.imap.context import parse_cancel_update
from posthouse.wire.imap.fetch import parse_fetch
from posthouse.wire.imap.grammar import OPEN, TAG, USUAL, GrammarLimits, Scanner, flag_set
from posthouse.wire.imap.list import parse_list, parse_lsub, parse_status_items
from posthouse.wire.imap.metadata import parse_get_metadata, parse_set_metadata
from posthouse.wire.imap.multisearch import parse_esearch
from posthouse.wire.imap.notify import parse_notify
from posthouse.wire.imap.number_set import NumberSet
from posthouse.wire.imap.quota import parse_get_quota, parse_get_quota_root, parse_set_quota
from posthouse.wire.imap.search import parse_search
from posthouse.wire.imap.sort import parse_sort, parse_thread
from posthouse.wire.imap.special_use import parse_uses
from posthouse.wire.imap.uidbatches import parse_uidbatches
from posthouse.wire.imap.urlauth import parse_gen_url_auth, parse_reset_key, parse_url_fetch

ID_FIELDS = 30  # RFC 2971 §3.3: a client must not send more
CAPABILITIES = 100  # of one ENABLE; there are not that many to enable

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
    b"CANCELUPDATE": parse_cancel_update,
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
    b"GENURLAUTH": parse_gen_url_auth,
    b"GETMETADATA": parse_get_metadata,
    b"GETACL": parse_get_acl,
    b"GETQUOTA": parse_get_quota,
    b"GETQUOTAROOT": parse_get_quota_root,
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
    b"RESETKEY": parse_reset_key,
    b"SEARCH": lambda tag, scanner: parse_search(tag, scanner, uid=False),
    b"SELECT": _select,
    b"SETACL": parse_set_acl,
    b"SETQUOTA": parse_set_quota,
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
    b"URLFETCH": parse_url_fetch,
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
