"""Commands printed as a client would write them, for round trips: `parse_command(print_command(c)) == c`.

Strings are atoms, quoted or literals by what they hold; literals stand in the assembled form, `{n}`, CRLF, octets.
"""

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from posthouse.mail.keyword import FLAG_BITS
from posthouse.mail.structure import SectionText
from posthouse.wire.imap import search
from posthouse.wire.imap.acl import DeleteAcl, GetAcl, ListRights, MyRights, RightsChange, SetAcl
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
    Subscribe,
    Unauthenticate,
    Unselect,
    Unsubscribe,
)
from posthouse.wire.imap.compress import Compress
from posthouse.wire.imap.condstore import Modified, SelectParameters
from posthouse.wire.imap.context import CancelUpdate
from posthouse.wire.imap.fetch import Attribute, Binary, BinarySize, BodySection, Fetch, FetchItem, Partial
from posthouse.wire.imap.grammar import FlagSet, Scanner
from posthouse.wire.imap.list import List, Lsub
from posthouse.wire.imap.metadata import GetMetadata, SetMetadata
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.notify import EventGroup, Notify
from posthouse.wire.imap.number_set import NumberSet, print_spans
from posthouse.wire.imap.quota import GetQuota, GetQuotaRoot, SetQuota
from posthouse.wire.imap.search import Search, SearchKey
from posthouse.wire.imap.search_return import SearchReturn, SearchReturns
from posthouse.wire.imap.sort import Sort, Thread
from posthouse.wire.imap.uidbatches import UidBatches
from posthouse.wire.imap.urlauth import GenUrlAuth, ResetKey, UrlFetch, UrlItem
from posthouse.wire.imap.utf7 import encode_utf7

ATOM = re.compile(rb"[A-Za-z0-9._$/-]+")
QUOTED = re.compile(rb"[^\x00\r\n]*")


def string(octets: bytes) -> bytes:
    if QUOTED.fullmatch(octets):
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", octets) + b'"'
    return b"{%d}\r\n%b" % (len(octets), octets)


def print_number_set(numbers: NumberSet) -> bytes:
    text = print_spans(numbers.spans)
    if not numbers.saved:
        return text
    return b"$," + text if text else b"$"


def parse_number_set(octets: bytes) -> NumberSet:
    """A sequence-set and nothing else. Raises Fault."""
    scanner = Scanner(octets)
    numbers = scanner.sequence_set()
    scanner.end()
    return numbers


def astring(octets: bytes) -> bytes:
    return octets if ATOM.fullmatch(octets) else string(octets)


def mailbox(name: str, utf8: bool) -> bytes:
    return astring(name.encode() if utf8 else encode_utf7(name))


def flags(value: FlagSet) -> bytes:
    names = [flag for flag, bit in FLAG_BITS if value.bits & bit] + [k.encode() for k in value.keywords]
    return b"(" + b" ".join(names) + b")"


def day(value: date) -> bytes:
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{value.day}-{months[value.month - 1]}-{value.year:04}".encode()


def words(items: Iterable[Any]) -> bytes:
    return b"(" + b" ".join(item.value for item in items) + b")"


def partial(value: Partial | None) -> bytes:
    return b"" if value is None else b"<%d.%d>" % (value.offset, value.length)


def item(value: FetchItem) -> bytes:
    if isinstance(value, Attribute):
        return value.value
    if isinstance(value, BinarySize):
        return b"BINARY.SIZE[" + part(value.part) + b"]"
    peek = b".PEEK" if value.peek else b""
    if isinstance(value, Binary):
        return b"BINARY" + peek + b"[" + part(value.part) + b"]" + partial(value.partial)
    assert isinstance(value, BodySection)
    if value.label.startswith(b"RFC822"):
        return value.label
    section = value.section
    text = section.text.value.encode() if section.text is not SectionText.WHOLE else b""
    if section.fields:
        text += b" (" + b" ".join(astring(field) for field in section.fields) + b")"
    spec = b".".join(piece for piece in (part(section.part), text) if piece)
    return b"BODY" + peek + b"[" + spec + b"]" + partial(value.partial)


def part(numbers: tuple[int, ...]) -> bytes:
    return b".".join(b"%d" % number for number in numbers)


def key(value: SearchKey) -> bytes:
    return KEYS[type(value)](value)


KEYS: dict[type, Callable[[Any], bytes]] = {
    search.All: lambda k: b"ALL",
    search.Nothing: lambda k: b"RECENT",
    search.HasFlags: lambda k: next(flag[1:].upper() for flag, bit in FLAG_BITS if bit == k.bits),
    search.HasKeyword: lambda k: b"KEYWORD " + k.keyword.encode(),
    search.Numbers: lambda k: (b"UID " if k.uid else b"") + print_number_set(k.numbers),
    search.Younger: lambda k: b"YOUNGER %d" % k.seconds,
    search.Older: lambda k: b"OLDER %d" % k.seconds,
    search.Received: lambda k: k.comparison.value.upper().encode() + b" " + day(k.day),
    search.Sent: lambda k: b"SENT" + k.comparison.value.upper().encode() + b' "' + day(k.day) + b'"',
    search.Larger: lambda k: b"LARGER %d" % k.octets,
    search.Smaller: lambda k: b"SMALLER %d" % k.octets,
    search.HeaderContains: lambda k: b"HEADER " + astring(k.field.encode()) + b" " + astring(k.text.encode()),
    search.BodyContains: lambda k: b"BODY " + astring(k.text.encode()),
    search.TextContains: lambda k: b"TEXT " + astring(k.text.encode()),
    search.OfFilter: lambda k: b"FILTER " + k.name.encode(),
    Modified: lambda k: b"MODSEQ %d" % k.modseq,
    search.Fuzzy: lambda k: b"FUZZY " + key(k.key),
    search.Not: lambda k: b"NOT " + key(k.key),
    search.Or: lambda k: b"OR " + key(k.first) + b" " + key(k.second),
    search.And: lambda k: b"(" + b" ".join(map(key, k.keys)) + b")",
}


def select(parameters: SelectParameters) -> bytes:
    if parameters.resync is None:
        return b" (CONDSTORE)" if parameters.condstore else b""
    asked = parameters.resync
    out = b" (QRESYNC (%d %d" % (asked.uidvalidity, asked.modseq)
    if asked.known is not None:
        out += b" " + print_spans(asked.known)
    if asked.numbers:
        out += b" (" + print_spans(asked.numbers) + b" " + print_spans(asked.uids) + b")"
    return out + b"))"


def fields(pairs: tuple[tuple[bytes, bytes | None], ...]) -> bytes:
    if not pairs:
        return b"NIL"
    return b"(" + b" ".join(string(n) + b" " + (b"NIL" if v is None else string(v)) for n, v in pairs) + b")"


def name(text: str, utf8: bool) -> bytes:
    return string(text.encode() if utf8 else encode_utf7(text))


def entries(names: tuple[str, ...]) -> bytes:
    return b"(" + b" ".join(astring(entry.encode()) for entry in names) + b")"


def get_metadata(c: GetMetadata, utf8: bool) -> bytes:
    most = b"" if c.most is None else b"MAXSIZE %d " % c.most
    depth = {0: b"0", 1: b"1"}.get(c.depth, b"infinity")
    return b"GETMETADATA (" + most + b"DEPTH " + depth + b") " + mailbox(c.mailbox, utf8) + b" " + entries(c.entries)


def entry_value(pair: tuple[str, bytes | None]) -> bytes:
    entry, value = pair
    return entry.encode() + (b" NIL" if value is None else b" ~{%d}\r\n%b" % (len(value), value))


def set_metadata(c: SetMetadata, utf8: bool) -> bytes:
    return b"SETMETADATA " + mailbox(c.mailbox, utf8) + b" (" + b" ".join(map(entry_value, c.values)) + b")"


def rights(change: RightsChange) -> bytes:
    return (change.sign + "".join(sorted(change.rights))).encode()


def multisearch(c: MultiSearch, utf8: bool) -> bytes:
    sources = b" ".join(
        source.scope.value + (b" (" + b" ".join(mailbox(n, utf8) for n in source.names) + b")" if source.names else b"")
        for source in c.sources
    )
    return b"ESEARCH IN (" + sources + b") " + search_returns(c.returns) + key(c.key)


def listing(c: List, utf8: bool) -> bytes:
    out = b"LIST "
    if c.selection:
        out += words(c.selection) + b" "
    patterns = b" ".join(name(pattern, utf8) for pattern in c.patterns)
    out += name(c.reference, utf8) + b" " + (b"(" + patterns + b")" if c.extended else patterns)
    arguments = {b"STATUS": words(c.status), b"METADATA": entries(c.metadata)}
    options = [b" ".join(filter(None, (option.value, arguments.get(option.value)))) for option in c.returns]
    return out + (b" RETURN (" + b" ".join(options) + b")" if options else b"")


def search_returns(returns: SearchReturns | None) -> bytes:
    if returns is None:
        return b""
    shown = b" (" + b" ".join(map(item, returns.items)) + b")" if returns.items else b""
    options = [option.value + (shown if option is SearchReturn.UPDATE else b"") for option in returns.options]
    if returns.partial is not None:
        options.append(b"PARTIAL %d:%d" % (returns.partial.first, returns.partial.last))
    return b"RETURN (" + b" ".join(options) + b") "


def notify(c: Notify, utf8: bool) -> bytes:
    if c.groups is None:
        return b"NOTIFY NONE"
    return (
        b"NOTIFY SET " + (b"STATUS " if c.status else b"") + b" ".join(event_group(group, utf8) for group in c.groups)
    )


def event_group(group: EventGroup, utf8: bool) -> bytes:
    names = b" (" + b" ".join(mailbox(name, utf8) for name in group.names) + b")" if group.names else b""
    events = [event.value for event in group.events]
    if group.items:
        shown = b" (" + b" ".join(map(item, group.items)) + b")"
        events = [event + shown if event == b"MessageNew" else event for event in events]
    return b"(%b%b %b)" % (group.which.value, names, b"(" + b" ".join(events) + b")" if events else b"NONE")


PRINTERS: dict[type, Callable[[Any, bool], bytes]] = {
    Authenticate: lambda c, u: (
        b"AUTHENTICATE "
        + c.mechanism.encode()
        + (b"" if c.initial is None else b" " + (b2a_base64(c.initial, newline=False) or b"="))
    ),
    Capability: lambda c, u: b"CAPABILITY",
    Check: lambda c, u: b"CHECK",
    Close: lambda c, u: b"CLOSE",
    Compress: lambda c, u: b"COMPRESS DEFLATE",
    MultiSearch: multisearch,
    SetAcl: lambda c, u: (
        b"SETACL " + mailbox(c.mailbox, u) + b" " + astring(c.identifier.encode()) + b' "' + rights(c.change) + b'"'
    ),
    DeleteAcl: lambda c, u: b"DELETEACL " + mailbox(c.mailbox, u) + b" " + astring(c.identifier.encode()),
    GetAcl: lambda c, u: b"GETACL " + mailbox(c.mailbox, u),
    ListRights: lambda c, u: b"LISTRIGHTS " + mailbox(c.mailbox, u) + b" " + astring(c.spelled),
    MyRights: lambda c, u: b"MYRIGHTS " + mailbox(c.mailbox, u),
    GetQuota: lambda c, u: b"GETQUOTA " + astring(c.root.encode()),
    GetQuotaRoot: lambda c, u: b"GETQUOTAROOT " + mailbox(c.mailbox, u),
    SetQuota: lambda c, u: (
        b"SETQUOTA "
        + astring(c.root.encode())
        + b" (%b)" % b" ".join(f"{name.lower()} {limit}".encode() for name, limit in c.limits)
    ),
    GetMetadata: get_metadata,
    SetMetadata: set_metadata,
    Copy: lambda c, u: uid(c) + b"COPY " + print_number_set(c.numbers) + b" " + mailbox(c.mailbox, u),
    Create: lambda c, u: b"CREATE " + mailbox(c.mailbox, u),
    Delete: lambda c, u: b"DELETE " + mailbox(c.mailbox, u),
    Enable: lambda c, u: b"ENABLE " + " ".join(c.names).encode(),
    Expunge: lambda c, u: b"EXPUNGE" if c.uids is None else b"UID EXPUNGE " + print_number_set(c.uids),
    Fetch: lambda c, u: uid(c) + b"FETCH " + print_number_set(c.numbers) + b" (" + b" ".join(map(item, c.items)) + b")",
    Id: lambda c, u: b"ID " + fields(c.fields),
    Idle: lambda c, u: b"IDLE",
    List: listing,
    Login: lambda c, u: b"LOGIN " + astring(c.user) + b" " + astring(c.password),
    Logout: lambda c, u: b"LOGOUT",
    Lsub: lambda c, u: b"LSUB " + string(encode_utf7(c.reference)) + b" " + string(encode_utf7(c.pattern)),
    Move: lambda c, u: uid(c) + b"MOVE " + print_number_set(c.numbers) + b" " + mailbox(c.mailbox, u),
    Notify: notify,
    Namespace: lambda c, u: b"NAMESPACE",
    Noop: lambda c, u: b"NOOP",
    Rename: lambda c, u: b"RENAME " + mailbox(c.mailbox, u) + b" " + mailbox(c.target, u),
    Search: lambda c, u: (
        uid(c)
        + b"SEARCH "
        + search_returns(c.returns)
        + (key(c.key) if not isinstance(c.key, search.And) else key(c.key)[1:-1])
    ),
    Select: lambda c, u: (b"EXAMINE " if c.read_only else b"SELECT ") + mailbox(c.mailbox, u) + select(c.parameters),
    Sort: lambda c, u: (
        uid(c)
        + b"SORT "
        + search_returns(c.returns)
        + b"("
        + b" ".join((b"REVERSE " if one.reverse else b"") + one.key.value for one in c.criteria)
        + b") UTF-8 "
        + key(c.key)
    ),
    StartTls: lambda c, u: b"STARTTLS",
    Status: lambda c, u: b"STATUS " + mailbox(c.mailbox, u) + b" " + words(c.items),
    StoreFlags: lambda c, u: (
        uid(c)
        + b"STORE "
        + print_number_set(c.numbers)
        + (b" " if c.unchanged_since is None else b" (UNCHANGEDSINCE %d) " % c.unchanged_since)
        + c.mode.value
        + (b".SILENT " if c.silent else b" ")
        + flags(c.flags)
    ),
    Subscribe: lambda c, u: b"SUBSCRIBE " + mailbox(c.mailbox, u),
    Unauthenticate: lambda c, u: b"UNAUTHENTICATE",
    Thread: lambda c, u: uid(c) + b"THREAD " + c.algorithm.value + b" UTF-8 " + key(c.key),
    CancelUpdate: lambda c, u: b"CANCELUPDATE " + b" ".join(b'"%b"' % tag for tag in c.tags),
    UidBatches: lambda c, u: b"UIDBATCHES %d" % c.size + (b" %d:%d" % c.wanted if c.wanted else b""),
    Unselect: lambda c, u: b"UNSELECT",
    Unsubscribe: lambda c, u: b"UNSUBSCRIBE " + mailbox(c.mailbox, u),
    ResetKey: lambda c, u: b" ".join(
        [b"RESETKEY", *([] if c.mailbox is None else [mailbox(c.mailbox, u)]), *(m.encode() for m in c.mechanisms)]
    ),
    GenUrlAuth: lambda c, u: b"GENURLAUTH" + b"".join(b" " + astring(a) + b" " + m.encode() for a, m in c.urls),
    UrlFetch: lambda c, u: b"URLFETCH" + b"".join(b" " + fetched(a, items) for a, items in c.urls),
}


def fetched(url: bytes, items: tuple[UrlItem, ...]) -> bytes:
    if not items:
        return astring(url)
    return b"(%b)" % b" ".join([astring(url), *(item.value for item in items)])


def uid(command: Any) -> bytes:
    return b"UID " if command.uid else b""


def print_command(command: Command, utf8: bool = False) -> bytes:
    """The command's octets in assembled form, without the last CRLF."""
    return command.tag + b" " + PRINTERS[type(command)](command, utf8)
