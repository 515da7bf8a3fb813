"""Responses of an IMAP server as frozen values, and their octets (RFC 9051 §7, RFC 3501 §7, RFC 5530).

`print_response(response, utf8)` prints any of them; `utf8` says that the client enabled IMAP4rev2, so mailbox names
and texts go out as UTF-8 instead of modified UTF-7 and US-ASCII (RFC 9051 §5.1). Response codes are made by
`code.py`. The FETCH responses of fetch.py are octets already; `Printed` carries octets of that kind through
`ImapServer.send`.

It does not decide anything: which response may be sent when is the View's and the session's matter.
"""

import re
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from posthouse.mail.ids import MAILBOX_LETTER
from posthouse.wire.imap.condition import Condition
from posthouse.wire.imap.context import Edits, print_edits
from posthouse.wire.imap.fetch_response import ALL_FLAGS, print_flag_list
from posthouse.wire.imap.grammar import ASTRING_CHARS
from posthouse.wire.imap.list import DELIMITER, StatusItem
from posthouse.wire.imap.number_set import print_each, print_in_order, print_numbers
from posthouse.wire.imap.partial import PartialRange
from posthouse.wire.imap.utf7 import encode_utf7


@dataclass(frozen=True, slots=True)
class StatusResponse:
    """OK, NO, BAD or BYE: tagged, or untagged where `tag` is None (RFC 9051 §7.1). `code` goes in brackets."""

    condition: Condition
    text: str
    code: bytes | None = None
    tag: bytes | None = None


def ok(tag: bytes | None, text: str, code: bytes | None = None) -> StatusResponse:
    """OK, tagged or not (RFC 9051 §7.1.1)."""
    return StatusResponse(Condition.OK, text, code, tag)


def no(tag: bytes | None, text: str, code: bytes | None = None) -> StatusResponse:
    """NO (RFC 9051 §7.1.2)."""
    return StatusResponse(Condition.NO, text, code, tag)


def bad(tag: bytes | None, text: str, code: bytes | None = None) -> StatusResponse:
    """BAD (RFC 9051 §7.1.3)."""
    return StatusResponse(Condition.BAD, text, code, tag)


def bye(text: str, code: bytes | None = None) -> StatusResponse:
    """BYE: the connection ends (RFC 9051 §7.1.5)."""
    return StatusResponse(Condition.BYE, text, code)


@dataclass(frozen=True, slots=True)
class ContinueRequest:
    """`+ text`: go on (RFC 9051 §7.6)."""

    text: str = "Go on."


@dataclass(frozen=True, slots=True)
class Challenge:
    """`+ base64`: the server's turn in a SASL exchange (RFC 9051 §6.2.2)."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Printed:
    """Octets that were printed before: FETCH responses of fetch.py."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Capabilities:
    """CAPABILITY (RFC 9051 §7.2.2)."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enabled:
    """ENABLED (RFC 9051 §7.2.1)."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identification:
    """ID (RFC 2971 §3.2); no fields is NIL."""

    fields: tuple[tuple[bytes, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """LIST, or LSUB where `lsub` (RFC 9051 §7.3.1, RFC 3501 §7.2.3). `attributes` as printed, with backslash.
    `childinfo`: the selection options that children of this mailbox match (CHILDINFO); `old_name`: OLDNAME (RFC 9051
    §6.3.9.7)."""

    attributes: tuple[bytes, ...]
    mailbox: str
    childinfo: tuple[bytes, ...] = ()
    old_name: str | None = None
    lsub: bool = False


@dataclass(frozen=True, slots=True)
class Delimiter:
    """The answer to LIST with an empty pattern: the delimiter and the root of the reference (RFC 9051 §6.3.9)."""

    root: str = ""


@dataclass(frozen=True, slots=True)
class NamespacePrefix:
    """One namespace-descr with the delimiter (RFC 9051 §7.3.3)."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Namespaces:
    """NAMESPACE: personal, other users', shared (RFC 9051 §7.3.3, RFC 2342 §5)."""

    personal: tuple[NamespacePrefix, ...] = (NamespacePrefix(""),)
    other: tuple[NamespacePrefix, ...] = ()
    shared: tuple[NamespacePrefix, ...] = ()


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """STATUS (RFC 9051 §7.3.4)."""

    mailbox: str
    values: tuple[tuple[StatusItem, int], ...]


@dataclass(frozen=True, slots=True)
class Flags:
    """FLAGS: all system flags and these keywords, canonical (RFC 9051 §7.3.5)."""

    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """SEARCH (RFC 3501 §7.2.5): ascending numbers; `modseq` where the search named MODSEQ (RFC 7162 §3.1.6)."""

    numbers: Sequence[int]
    modseq: int | None = None


@dataclass(frozen=True, slots=True)
class SortResult:
    """SORT (RFC 5256 §4): numbers in the order of the criteria; `modseq` as in SEARCH (RFC 7162 §3.1.9)."""

    numbers: Sequence[int]
    modseq: int | None = None


@dataclass(frozen=True, slots=True)
class ExtendedSearchResult:
    """ESEARCH (RFC 9051 §7.3.4): what was asked for and found; `all` is not printed when empty or None. `ascending`
    is false for the results of SORT, which keep their order (RFC 5267 §3.2)."""

    tag: bytes
    uid: bool
    min: int | None = None
    max: int | None = None
    all: Sequence[int] | None = None
    count: int | None = None
    partial: tuple[PartialRange, Sequence[int]] | None = None
    ascending: bool = True
    modseq: int | None = None  # RFC 7162 §3.1.10
    scores: Sequence[int] | None = None  # one for each message returned, in their order (RFC 6203 §4)
    mailbox: tuple[str, int] | None = None  # which was searched, and its UIDVALIDITY (RFC 7377 §2.1)


@dataclass(frozen=True, slots=True)
class ResultChange:
    """ESEARCH that says how the results of an earlier searching command have changed (RFC 5267 §4.3.2): first what is
    removed, then what is added."""

    tag: bytes
    uid: bool
    removed: Edits = ()
    added: Edits = ()
    mailbox: tuple[str, int] | None = None  # as in the response to ESEARCH (RFC 7377 §2.1)


@dataclass(frozen=True, slots=True)
class Metadata:
    """METADATA with values (RFC 5464 §4.4.1); the mailbox "" is the server, None is NIL."""

    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class MetadataChanged:
    """METADATA without values: these entries have changed (RFC 5464 §4.4.2)."""

    mailbox: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """EXISTS (RFC 9051 §7.4.1)."""

    count: int


@dataclass(frozen=True, slots=True)
class Recent:
    """RECENT, for IMAP4rev1 clients: always 0 here (RFC 3501 §7.3.2)."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Vanished:
    """VANISHED (RFC 7162 §3.2.10): ascending UIDs, at least one. `earlier`: the client does not count them any more."""

    uids: Sequence[int]
    earlier: bool = False


Response = (
    StatusResponse
    | ContinueRequest
    | Challenge
    | Printed
    | Capabilities
    | Enabled
    | Identification
    | Listed
    | Delimiter
    | Namespaces
    | MailboxStatus
    | Flags
    | SearchResult
    | SortResult
    | ExtendedSearchResult
    | ResultChange
    | Metadata
    | MetadataChanged
    | Exists
    | Recent
    | Vanished
)

_QUOTABLE = re.compile(rb"[^\x00\r\n\x7f-\xff]*")
_QUOTABLE_UTF8 = re.compile(rb"[^\x00\r\n\x7f]*")
_QUOTED_SPECIALS = re.compile(rb"([\"\\])")
_TEXT = re.compile(r"[\x00-\x1f\x7f]+")  # never in a text: a mailbox name in it could otherwise end the line
QUOTED_LENGTH = 1_000  # longer strings go as literals; some clients keep quoted strings in small buffers


def print_string(octets: bytes, utf8: bool = False) -> bytes:
    """string: quoted where it can be, else a literal (RFC 9051 §4.3, §9)."""
    quotable = _QUOTABLE_UTF8 if utf8 else _QUOTABLE
    if len(octets) <= QUOTED_LENGTH and quotable.fullmatch(octets):
        return b'"' + _QUOTED_SPECIALS.sub(rb"\\\1", octets) + b'"'
    return b"{%d}\r\n%b" % (len(octets), octets)


def print_nstring(octets: bytes | None, utf8: bool = False) -> bytes:
    """nstring (RFC 9051 §9)."""
    return b"NIL" if octets is None else print_string(octets, utf8)


def print_astring(octets: bytes, utf8: bool = False) -> bytes:
    """astring: an atom where it can be, else a string (RFC 9051 §9). NIL is quoted, lest it be read as nil."""
    if ASTRING_CHARS.fullmatch(octets) and octets.upper() != b"NIL":
        return octets
    return print_string(octets, utf8)


def print_mailbox(name: str, utf8: bool = False) -> bytes:
    """mailbox, in the spelling the client understands (RFC 9051 §5.1, RFC 3501 §5.1.3)."""
    return print_astring(name.encode("utf-8") if utf8 else encode_utf7(name), utf8)


def print_response(response: Response, utf8: bool = False) -> bytes:
    """The octets of a response, CRLF included (RFC 9051 §7)."""
    return _PRINTERS[type(response)](response, utf8)


def print_status_response(response: StatusResponse, utf8: bool = False) -> bytes:
    """response-tagged, resp-cond-state, resp-cond-bye, greeting (RFC 9051 §9)."""
    text = response.text if response.text.isprintable() else _TEXT.sub(" ", response.text)
    octets = text.encode("utf-8" if utf8 else "ascii", "replace")
    code = b"" if response.code is None else b"[%b] " % response.code
    return b"%b %b %b%b\r\n" % (response.tag or b"*", response.condition.value, code, octets)


def _continue_request(response: ContinueRequest, utf8: bool) -> bytes:
    return b"+ %b\r\n" % response.text.encode("ascii", "replace")


def _challenge(response: Challenge, utf8: bool) -> bytes:
    return b"+ %b\r\n" % b2a_base64(response.octets, newline=False)


def _printed(response: Printed, utf8: bool) -> bytes:
    return response.octets


def _capabilities(response: Capabilities, utf8: bool) -> bytes:
    return b"* CAPABILITY %b\r\n" % " ".join(response.names).encode("ascii")


def _enabled(response: Enabled, utf8: bool) -> bytes:
    return b" ".join([b"* ENABLED", *(name.encode("ascii") for name in response.names)]) + b"\r\n"


def _identification(response: Identification, utf8: bool) -> bytes:
    if not response.fields:
        return b"* ID NIL\r\n"
    pairs = (print_string(name) + b" " + print_nstring(value) for name, value in response.fields)
    return b"* ID (%b)\r\n" % b" ".join(pairs)


def _listed(response: Listed, utf8: bool) -> bytes:
    name = b"LSUB" if response.lsub else b"LIST"
    mailbox = print_mailbox(response.mailbox, utf8)
    line = b'* %b (%b) "%b" %b' % (name, b" ".join(response.attributes), DELIMITER.encode("ascii"), mailbox)
    extended: list[bytes] = []
    if response.childinfo:
        extended.append(b'"CHILDINFO" (%b)' % b" ".join(b'"%b"' % option for option in response.childinfo))
    if response.old_name is not None:
        extended.append(b'"OLDNAME" (%b)' % print_mailbox(response.old_name, utf8))
    if extended:
        line += b" (%b)" % b" ".join(extended)
    return line + b"\r\n"


def _delimiter(response: Delimiter, utf8: bool) -> bytes:
    return b'* LIST (\\Noselect) "%b" %b\r\n' % (DELIMITER.encode("ascii"), print_mailbox(response.root, utf8))


def _namespaces(response: Namespaces, utf8: bool) -> bytes:
    groups = (response.personal, response.other, response.shared)
    return b"* NAMESPACE %b\r\n" % b" ".join(_namespace(group, utf8) for group in groups)


def _namespace(group: tuple[NamespacePrefix, ...], utf8: bool) -> bytes:
    if not group:
        return b"NIL"
    prefixes = (namespace.prefix.encode("utf-8") if utf8 else encode_utf7(namespace.prefix) for namespace in group)
    delimiter = DELIMITER.encode("ascii")
    return b"(%b)" % b"".join(b'(%b "%b")' % (print_string(prefix, utf8), delimiter) for prefix in prefixes)


_STATUS_FORMS = {StatusItem.MAILBOXID: b" (" + MAILBOX_LETTER.encode() + b"%d)"}  # RFC 8474 §4.3


def _mailbox_status(response: MailboxStatus, utf8: bool) -> bytes:
    values = b" ".join(item.value + _STATUS_FORMS.get(item, b" %d") % number for item, number in response.values)
    return b"* STATUS %b (%b)\r\n" % (print_mailbox(response.mailbox, utf8), values)


def _flags(response: Flags, utf8: bool) -> bytes:
    return b"* FLAGS %b\r\n" % print_flag_list(ALL_FLAGS, " ".join(response.keywords))


def _search_result(response: SearchResult, utf8: bool) -> bytes:
    line = b"* SEARCH" + print_each(response.numbers)
    if response.modseq is not None:
        line += b" (MODSEQ %d)" % response.modseq
    return line + b"\r\n"


def _sort_result(response: SortResult, utf8: bool) -> bytes:
    line = " ".join(["* SORT", *map(str, response.numbers)]).encode()
    if response.modseq is not None:
        line += b" (MODSEQ %d)" % response.modseq
    return line + b"\r\n"


def _correlated(response: ExtendedSearchResult | ResultChange, utf8: bool) -> bytes:
    """search-correlator, and UID (RFC 9051 §9, RFC 7377 §4)."""
    line = b"* ESEARCH (TAG %b" % print_string(response.tag)
    if response.mailbox is not None:
        name, uidvalidity = response.mailbox
        line += b" MAILBOX %b UIDVALIDITY %d" % (print_mailbox(name, utf8), uidvalidity)
    return line + (b") UID" if response.uid else b")")


def _result_change(response: ResultChange, utf8: bool) -> bytes:
    line = _correlated(response, utf8)
    if response.removed:
        line += b" REMOVEFROM " + print_edits(response.removed)
    if response.added:
        line += b" ADDTO " + print_edits(response.added)
    return line + b"\r\n"


def _extended_search_result(response: ExtendedSearchResult, utf8: bool) -> bytes:
    listed = print_numbers if response.ascending else print_in_order
    line = _correlated(response, utf8)
    if response.min is not None:
        line += b" MIN %d" % response.min
    if response.max is not None:
        line += b" MAX %d" % response.max
    if response.all:
        line += b" ALL " + listed(response.all)
    if response.count is not None:
        line += b" COUNT %d" % response.count
    if response.partial is not None:
        partial, numbers = response.partial
        line += b" PARTIAL (%d:%d %b)" % (partial.first, partial.last, listed(numbers) if numbers else b"NIL")
    if response.scores is not None:
        line += b" RELEVANCY (%b)" % " ".join(map(str, response.scores)).encode()
    if response.modseq is not None:
        line += b" MODSEQ %d" % response.modseq
    return line + b"\r\n"


def _metadata(response: Metadata, utf8: bool) -> bytes:
    values = (print_astring(entry.encode("ascii")) + b" " + _value(value) for entry, value in response.values)
    return b"* METADATA %b (%b)\r\n" % (print_mailbox(response.mailbox, utf8), b" ".join(values))


def _metadata_changed(response: MetadataChanged, utf8: bool) -> bytes:
    entries = b" ".join(print_astring(entry.encode("ascii")) for entry in response.entries)
    return b"* METADATA %b %b\r\n" % (print_mailbox(response.mailbox, utf8), entries)


def _value(octets: bytes | None) -> bytes:
    """value = nstring / literal8 (RFC 5464 §5)."""
    if octets is not None and b"\0" in octets:
        return b"~{%d}\r\n%b" % (len(octets), octets)
    return print_nstring(octets)


def _exists(response: Exists, utf8: bool) -> bytes:
    return b"* %d EXISTS\r\n" % response.count


def _recent(response: Recent, utf8: bool) -> bytes:
    return b"* %d RECENT\r\n" % response.count


def print_expunged(numbers: Sequence[int]) -> bytes:
    """EXPUNGE of these message sequence numbers, in this order (RFC 9051 §7.5.1): there may be many."""
    return b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers])


def _vanished(response: Vanished, utf8: bool) -> bytes:
    return b"* VANISHED %b%b\r\n" % (b"(EARLIER) " if response.earlier else b"", print_numbers(response.uids))


# Any: a dict cannot say that the function takes just the type that is its key.
_PRINTERS: dict[type[Response], Callable[[Any, bool], bytes]] = {
    StatusResponse: print_status_response,
    ContinueRequest: _continue_request,
    Challenge: _challenge,
    Printed: _printed,
    Capabilities: _capabilities,
    Enabled: _enabled,
    Identification: _identification,
    Listed: _listed,
    Delimiter: _delimiter,
    Namespaces: _namespaces,
    MailboxStatus: _mailbox_status,
    Flags: _flags,
    SearchResult: _search_result,
    SortResult: _sort_result,
    ExtendedSearchResult: _extended_search_result,
    ResultChange: _result_change,
    Metadata: _metadata,
    MetadataChanged: _metadata_changed,
    Exists: _exists,
    Recent: _recent,
    Vanished: _vanished,
}
