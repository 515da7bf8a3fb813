"""Hypothesis strategies for the values of wire/imap."""

import re
from dataclasses import dataclass
from datetime import date

from hypothesis import strategies as st

from posthouse.mail.keyword import FLAG_BITS, Keyword
from posthouse.mail.structure import Section, SectionText
from posthouse.mail.thread import ThreadAlgorithm
from posthouse.wire.imap import command as c
from posthouse.wire.imap import fetch as f
from posthouse.wire.imap import search as s
from posthouse.wire.imap.acl import RIGHTS, DeleteAcl, GetAcl, ListRights, MyRights, RightsChange, SetAcl
from posthouse.wire.imap.condstore import Modified, Resync, SelectParameters
from posthouse.wire.imap.context import CancelUpdate
from posthouse.wire.imap.fetch import Attribute
from posthouse.wire.imap.fetch_response import print_flag_list
from posthouse.wire.imap.grammar import FlagSet, canonical_mailbox
from posthouse.wire.imap.list import List, ListReturn, ListSelection, Lsub, StatusItem
from posthouse.wire.imap.multisearch import MultiSearch, Scope, Source
from posthouse.wire.imap.notify import MESSAGE_EVENTS, SELECTED_ONES, EventGroup, Notify, Occurrence, Which
from posthouse.wire.imap.number_set import LARGEST, STAR, NumberSet, merge
from posthouse.wire.imap.partial import PartialRange
from posthouse.wire.imap.quota import GetQuota, GetQuotaRoot, SetQuota
from posthouse.wire.imap.search_return import SearchReturn, SearchReturns
from posthouse.wire.imap.sort import Sort, SortCriterion, SortKey, Thread
from posthouse.wire.imap.uidbatches import UidBatches
from posthouse.wire.imap.urlauth import GenUrlAuth, ResetKey, UrlFetch, UrlItem

TAGS = st.from_regex(rb"[A-Za-z0-9.\]\[_-]{1,12}", fullmatch=True)
NUMBERS = st.integers(1, LARGEST)
SPANS = st.lists(
    st.tuples(NUMBERS | st.integers(1, 40), NUMBERS | st.just(STAR) | st.integers(1, 40)).map(
        lambda p: (min(p), max(p))
    )
    | st.just((STAR, STAR)),
    min_size=1,
    max_size=8,
)
NUMBER_SETS = (
    SPANS.map(lambda spans: NumberSet(merge(spans)))
    | st.just(NumberSet((), True))
    | SPANS.map(lambda spans: NumberSet(merge(spans), True))
)
KEYWORDS = (
    st.from_regex(r"\$?[a-z0-9_-]{1,20}", fullmatch=True)
    .filter(lambda word: word not in {"$seen", "$answered", "$flagged", "$draft"})
    .map(Keyword)
)
FLAG_SETS = st.builds(
    lambda bits, words: FlagSet(bits, tuple(sorted(words))), st.integers(0, 31), st.frozensets(KEYWORDS, max_size=4)
)
# No NUL anywhere, and no surrogates, which are no text.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
# Mailbox names hold no control characters and no line separators besides (RFC 5198 §2).
MAILBOX_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=30)
NAMES = MAILBOX_TEXTS.filter(bool).map(canonical_mailbox)
OCTETS = st.binary(max_size=40).filter(lambda octets: b"\0" not in octets)
FIELD_NAMES = st.from_regex(rb"[!-9;-~]{1,20}", fullmatch=True)

PARTS = st.lists(st.integers(1, 99), min_size=1, max_size=6).map(tuple)
PARTIALS = st.none() | st.builds(f.Partial, st.integers(0, 2**40), st.integers(1, 2**40))
PLAIN_SECTIONS = st.builds(
    Section,
    st.just(()) | PARTS,
    st.sampled_from([SectionText.WHOLE, SectionText.HEADER, SectionText.TEXT]),
    st.just(()),
)
MIME_SECTIONS = st.builds(Section, PARTS, st.just(SectionText.MIME), st.just(()))
FIELD_SECTIONS = st.builds(
    Section,
    st.just(()) | PARTS,
    st.sampled_from([SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT]),
    st.lists(FIELD_NAMES, min_size=1, max_size=4).map(tuple),
)
SECTIONS = PLAIN_SECTIONS | MIME_SECTIONS | FIELD_SECTIONS
_BODIES = st.builds(f.body_section, SECTIONS, PARTIALS, st.booleans())
_BINARIES = st.builds(f.binary_section, st.just(()) | PARTS, PARTIALS, st.booleans())
_SIZES = (st.just(()) | PARTS).map(f.binary_size)
ITEMS = st.sampled_from(list(f.Attribute)) | _BODIES | _BINARIES | _SIZES
ITEM_LISTS = st.lists(ITEMS, min_size=1, max_size=8, unique=True).map(tuple)

_DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
_HEADER_NAMES = FIELD_NAMES.map(lambda name: name.decode().lower())
_LEAVES = st.one_of(
    st.just(s.All()),
    st.just(s.Nothing()),
    st.sampled_from([s.HasFlags(bit) for _, bit in FLAG_BITS]),
    st.builds(s.HasKeyword, KEYWORDS),
    st.builds(s.Numbers, NUMBER_SETS, st.booleans()),
    st.builds(s.Younger, st.integers(1, 4294967295)),
    st.builds(s.Older, st.integers(1, 4294967295)),
    st.builds(s.Received, st.sampled_from(s.Comparison), _DAYS),
    st.builds(s.Sent, st.sampled_from(s.Comparison), _DAYS),
    st.builds(s.Larger, st.integers(0, 2**63 - 1)),
    st.builds(s.Smaller, st.integers(0, 2**63 - 1)),
    st.builds(s.HeaderContains, _HEADER_NAMES, TEXTS),
    st.builds(s.BodyContains, TEXTS),
    st.builds(s.TextContains, TEXTS),
    st.builds(Modified, st.integers(0, 2**63 - 1)),
    st.builds(s.OfFilter, st.from_regex(r"[A-Za-z0-9$_.-]{1,20}", fullmatch=True)),
)
SEARCH_KEYS: st.SearchStrategy[s.SearchKey] = st.recursive(
    _LEAVES,
    lambda inner: (
        st.builds(s.Not, inner)
        | inner.filter(lambda key: not isinstance(key, s.Fuzzy)).map(s.Fuzzy)
        | st.builds(s.Or, inner, inner)
        | st.builds(s.And, st.lists(inner, min_size=2, max_size=4).map(tuple))
    ),
    max_leaves=12,
)

_STATUS_ITEMS = st.lists(st.sampled_from(list(StatusItem)), min_size=1, unique=True).map(tuple)
_PATTERNS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]) | st.sampled_from("%*/"), max_size=12)
_ENTRY = st.from_regex(r"/(?:private|shared)/[a-z]{1,5}(?:/[a-z0-9$]{1,5}){0,2}", fullmatch=True)
_ENTRIES = st.lists(_ENTRY.filter(lambda entry: "/vendor" not in entry), min_size=1, max_size=4, unique=True).map(tuple)
_IDENTIFIERS = st.from_regex(r"-?[a-z]{1,8}(?:@[a-z]{1,8}\.test)?", fullmatch=True)
_NAMED = [Scope.MAILBOXES, Scope.SUBTREE, Scope.SUBTREE_ONE]
_SOURCES = st.builds(Source, st.sampled_from([scope for scope in Scope if scope not in _NAMED])) | st.builds(
    Source, st.sampled_from(_NAMED), st.lists(NAMES, min_size=1, max_size=3).map(tuple)
)


@st.composite
def _lists(draw: st.DrawFn) -> List:
    reference, patterns = draw(MAILBOX_TEXTS), draw(st.lists(_PATTERNS, min_size=1, max_size=3))
    if len(patterns) == 1 and draw(st.booleans()):
        return List(draw(TAGS), reference, tuple(patterns))
    selection = draw(st.frozensets(st.sampled_from(list(ListSelection))))
    if ListSelection.RECURSIVEMATCH in selection:
        selection |= {ListSelection.SUBSCRIBED}
    returns = draw(st.frozensets(st.sampled_from(list(ListReturn))))
    status = draw(_STATUS_ITEMS) if ListReturn.STATUS in returns else ()
    entries = draw(_ENTRIES) if ListReturn.METADATA in returns else ()
    return List(draw(TAGS), reference, tuple(patterns), selection, returns, status, extended=True, metadata=entries)


_PLAIN = [
    c.Capability,
    c.Check,
    c.Close,
    c.Compress,
    c.Expunge,
    c.Idle,
    c.Logout,
    c.Namespace,
    c.Noop,
    c.StartTls,
    c.Unauthenticate,
    c.Unselect,
]
_ATOMS = st.from_regex(r"[A-Z][A-Z0-9=+-]{0,15}", fullmatch=True)
_PARTIALS = st.builds(PartialRange, NUMBERS, NUMBERS)
_PARTIALS |= _PARTIALS.map(lambda partial: PartialRange(-partial.first, -partial.last))
_RETURNS = (
    st.none()
    | st.frozensets(st.sampled_from(list(SearchReturn)), min_size=1).map(SearchReturns)
    | st.builds(
        SearchReturns,
        st.frozensets(st.sampled_from(sorted(set(SearchReturn) - {SearchReturn.ALL}, key=str))),
        _PARTIALS,
    )
    | st.builds(
        SearchReturns,
        st.just(frozenset({SearchReturn.UPDATE, SearchReturn.COUNT})),
        items=st.just((Attribute.UID, Attribute.FLAGS)),
    )
)
_MODSEQS = st.integers(0, 2**63 - 1)
_DEFINITE = st.lists(st.tuples(NUMBERS, NUMBERS).map(sorted).map(tuple), min_size=1, max_size=5).map(merge)
_PARAMETERS = (
    st.sampled_from([SelectParameters(), SelectParameters(True)])
    | st.builds(Resync, NUMBERS, _MODSEQS, st.none() | _DEFINITE).map(lambda asked: SelectParameters(True, asked))
    | st.builds(Resync, NUMBERS, _MODSEQS, st.none() | _DEFINITE, _DEFINITE, _DEFINITE).map(
        lambda asked: SelectParameters(True, asked)
    )
)
_ID_FIELDS = st.lists(st.tuples(OCTETS, st.none() | OCTETS), max_size=4).map(tuple)
_MESSAGES = st.sampled_from([frozenset(), MESSAGE_EVENTS, MESSAGE_EVENTS - {Occurrence.FLAG_CHANGE}])
_EVENTS = st.tuples(_MESSAGES, st.frozensets(st.sampled_from(sorted(set(Occurrence) - MESSAGE_EVENTS, key=str)))).map(
    lambda both: both[0] | both[1]
)
_NAMED = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
_GROUPS = st.tuples(
    st.sampled_from(sorted(SELECTED_ONES, key=str)).flatmap(
        lambda which: st.builds(EventGroup, st.just(which), st.just(()), st.just(MESSAGE_EVENTS), ITEM_LISTS)
    ),
    st.builds(EventGroup, st.sampled_from([Which.SUBTREE, Which.MAILBOXES]), _NAMED, _EVENTS),
    st.builds(EventGroup, st.sampled_from([Which.INBOXES, Which.PERSONAL, Which.SUBSCRIBED]), st.just(()), _EVENTS),
)
_MECHANISMS = st.from_regex(r"[A-Z0-9.-]{1,12}", fullmatch=True)
_URL_ITEMS = st.sampled_from([(), (UrlItem.BODY,), (UrlItem.BINARY, UrlItem.STRUCTURE), (UrlItem.STRUCTURE,)])
FAMILIES: dict[str, st.SearchStrategy[c.Command]] = {
    "resetkey": st.builds(ResetKey, TAGS, st.none())
    | st.builds(ResetKey, TAGS, NAMES, st.lists(_MECHANISMS, max_size=3).map(tuple)),
    "genurlauth": st.builds(
        GenUrlAuth, TAGS, st.lists(st.tuples(OCTETS, _MECHANISMS), min_size=1, max_size=4).map(tuple)
    ),
    "urlfetch": st.builds(UrlFetch, TAGS, st.lists(st.tuples(OCTETS, _URL_ITEMS), min_size=1, max_size=4).map(tuple)),
    "plain": st.sampled_from(_PLAIN).flatmap(lambda kind: st.builds(kind, TAGS)),
    "id": st.builds(c.Id, TAGS, _ID_FIELDS),
    "authenticate": st.builds(c.Authenticate, TAGS, _ATOMS, st.none() | st.binary(max_size=50)),
    "login": st.builds(c.Login, TAGS, OCTETS, OCTETS),
    "enable": st.builds(c.Enable, TAGS, st.lists(_ATOMS, min_size=1, max_size=4).map(tuple)),
    "select": st.builds(c.Select, TAGS, NAMES, st.booleans(), _PARAMETERS),
    "cancelupdate": st.builds(CancelUpdate, TAGS, st.lists(TAGS, min_size=1, max_size=5).map(tuple)),
    "uidbatches": st.builds(
        UidBatches, TAGS, NUMBERS, st.none() | st.lists(NUMBERS, min_size=2, max_size=2).map(sorted).map(tuple)
    ),
    "mailbox": st.sampled_from([c.Create, c.Delete, c.Subscribe, c.Unsubscribe]).flatmap(
        lambda kind: st.builds(kind, TAGS, NAMES)
    ),
    "notify": st.builds(Notify, TAGS) | st.builds(Notify, TAGS, _GROUPS, st.booleans()),
    "rename": st.builds(c.Rename, TAGS, NAMES, NAMES),
    "status": st.builds(c.Status, TAGS, NAMES, _STATUS_ITEMS),
    "list": _lists(),
    "sort": st.builds(
        Sort,
        TAGS,
        st.lists(
            st.builds(SortCriterion, st.sampled_from(list(SortKey)), st.booleans()),
            min_size=1,
            unique_by=lambda criterion: criterion.key,
        ).map(tuple),
        SEARCH_KEYS,
        _RETURNS,
        st.booleans(),
    ),
    "thread": st.builds(Thread, TAGS, st.sampled_from(list(ThreadAlgorithm)), SEARCH_KEYS, st.booleans()),
    "setacl": st.builds(
        SetAcl,
        TAGS,
        NAMES,
        _IDENTIFIERS,
        st.builds(RightsChange, st.sampled_from(["", "+", "-"]), st.frozensets(st.sampled_from(RIGHTS))),
    ),
    "deleteacl": st.builds(DeleteAcl, TAGS, NAMES, _IDENTIFIERS),
    "getacl": st.builds(GetAcl, TAGS, NAMES),
    "listrights": st.builds(lambda tag, name, who: ListRights(tag, name, who, who.encode()), TAGS, NAMES, _IDENTIFIERS),
    "myrights": st.builds(MyRights, TAGS, NAMES),
    "getquota": st.builds(GetQuota, TAGS, _IDENTIFIERS),
    "getquotaroot": st.builds(GetQuotaRoot, TAGS, NAMES),
    "setquota": st.builds(
        SetQuota,
        TAGS,
        _IDENTIFIERS,
        st.dictionaries(
            st.sampled_from(["STORAGE", "MESSAGE", "MAILBOX", "ANNOTATION-STORAGE", "X.1_Y"]),
            st.integers(0, 2**63 - 1),
        ).map(lambda limits: tuple(limits.items())),
    ),
    "esearch": st.builds(
        MultiSearch,
        TAGS,
        st.lists(_SOURCES, min_size=1, max_size=4).map(tuple),
        SEARCH_KEYS,
        _RETURNS.filter(lambda returns: returns is not None and not returns.saving),
    ),
    "getmetadata": st.builds(
        c.GetMetadata,
        TAGS,
        NAMES | st.just(""),
        _ENTRIES,
        st.sampled_from([0, 1, 1000]),
        st.none() | st.integers(0, 2**32 - 1),
    ),
    "setmetadata": st.builds(
        c.SetMetadata,
        TAGS,
        NAMES | st.just(""),
        st.lists(
            st.tuples(_ENTRY.filter(lambda e: "/vendor" not in e), st.none() | st.binary(max_size=20)),
            min_size=1,
            max_size=4,
        ).map(tuple),
    ),
    "search": st.builds(s.Search, TAGS, SEARCH_KEYS, _RETURNS, st.booleans()),
    "fetch": st.builds(f.Fetch, TAGS, NUMBER_SETS, ITEM_LISTS, st.booleans()),
    "store": st.builds(
        c.StoreFlags,
        TAGS,
        NUMBER_SETS,
        st.sampled_from(c.StoreMode),
        st.booleans(),
        FLAG_SETS,
        st.booleans(),
        st.none() | _MODSEQS,
    ),
    "copy": st.sampled_from([c.Copy, c.Move]).flatmap(
        lambda kind: st.builds(kind, TAGS, NUMBER_SETS, NAMES, st.booleans())
    ),
    "uid expunge": st.builds(c.Expunge, TAGS, NUMBER_SETS),
}
LSUBS = st.builds(Lsub, TAGS, MAILBOX_TEXTS, _PATTERNS)


# --- APPEND, which is no value of its own: its octets, and what they are made of


@dataclass(frozen=True)
class Literal:
    """A message, or a text of CATENATE; within UTF8 (…) where `utf8`."""

    octets: bytes
    sync: bool
    binary: bool
    utf8: bool = False

    @property
    def size(self) -> int:
        return len(self.octets)

    def printed(self, word: bytes) -> bytes:
        plus = b"" if self.sync else b"+"
        literal = b"%b{%d%b}\r\n%b" % (b"~" if self.binary else b"", self.size, plus, self.octets)
        return b"UTF8 (%b)" % literal if self.utf8 else word + literal


@dataclass(frozen=True)
class UrlOf:
    """A URL of CATENATE: quoted, or a literal of both kinds."""

    url: bytes
    form: str

    @property
    def printed(self) -> bytes:
        if self.form == "quoted":
            return b'URL "%b"' % re.sub(rb'(["\\])', rb"\\\1", self.url)
        return b"URL {%d%b}\r\n%b" % (len(self.url), b"+" if self.form == "+" else b"", self.url)


@dataclass(frozen=True)
class Plain:
    """A message of APPEND."""

    bits: int
    literal: Literal


@dataclass(frozen=True)
class Made:
    """A message that CATENATE makes of parts."""

    bits: int
    parts: tuple[Literal | UrlOf, ...]


@dataclass(frozen=True)
class Appended:
    """A whole APPEND."""

    mailbox: str
    messages: tuple[Plain | Made, ...]

    @property
    def printed(self) -> bytes:
        pieces = [b'a APPEND "%b"' % self.mailbox.encode()]
        for message in self.messages:
            if message.bits:
                pieces.append(print_flag_list(message.bits, ""))
            if isinstance(message, Plain):
                pieces.append(message.literal.printed(b""))
            else:
                parts = [part.printed if isinstance(part, UrlOf) else part.printed(b"TEXT ") for part in message.parts]
                pieces.append(b"CATENATE (%b)" % b" ".join(parts))
        return b" ".join(pieces)


_TEXT_OCTETS = st.binary(max_size=30) | st.sampled_from([b' URL "x" {3}\r\n', b"{3+}\r\n", b") CATENATE (URL {1}\r\n"])
_LITERALS = st.builds(Literal, _TEXT_OCTETS, st.booleans(), st.booleans()) | st.builds(
    Literal, _TEXT_OCTETS, st.booleans(), st.just(True), st.just(True)
)
_URLS_OF = st.builds(UrlOf, st.binary(max_size=20).filter(lambda url: b"\0" not in url), st.sampled_from(["", "+"]))
_URLS_OF |= st.builds(UrlOf, st.from_regex(rb"[ -~]{0,20}", fullmatch=True), st.just("quoted"))
_BITS = st.integers(0, 31)
_MADE = st.builds(Made, _BITS, st.lists(_LITERALS | _URLS_OF, min_size=1, max_size=5).map(tuple))
APPENDS = st.builds(
    Appended,
    st.sampled_from(["INBOX", "URL", "a CATENATE (URL", "Entwürfe"]),
    st.lists(st.builds(Plain, _BITS, _LITERALS) | _MADE, min_size=1, max_size=4).map(tuple),
)
