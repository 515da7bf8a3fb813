"""Emails and their placements in mailboxes (RFC 9051 §2.3, RFC 8621 §4).

An Email is one message of one account; a placement is its standing in one mailbox under a UID. Flags are the bit set
of mail/keyword.py; keywords are canonical (lower case), and in rows are one str, sorted, separated by spaces. Keyword
bits and keywords belong to the Email and are the same in all its placements; \\Deleted belongs to the placement.

`spans` are inclusive (first, last) pairs of UIDs, ascending, not overlapping; (1, 4294967295) means all.
"""

from array import array
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from posthouse.mail.ids import UID, MailboxId, Millis, ModSeq, UIDValidity
from posthouse.mail.structure import Description
from posthouse.store.blobs import NewBlob
from posthouse.store.mailboxes import Box
from posthouse.store.script import Row, Script

Spans = Sequence[tuple[int, int]]
ALL: Spans = ((1, 0xFFFFFFFF),)


class NewEmail(NamedTuple):
    """A message ready to be kept: its blob is prepared (`await store.blobs.put(octets)`)."""

    blob: NewBlob
    description: Description
    header: bytes  # the header block as in the blob, with its empty line: octets[:description.header_size]
    received: Millis  # INTERNALDATE, receivedAt
    flags: int = 0  # bits of mail/keyword.py; DELETED_BIT is allowed (APPEND)
    keywords: tuple[str, ...] = ()


class Appended(NamedTuple):
    """RFC 4315 §3 APPENDUID."""

    uidvalidity: UIDValidity
    uids: tuple[UID, ...]
    modseq: ModSeq


class Mode(Enum):
    """How STORE changes flags (RFC 9051 §6.4.6)."""

    SET = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


class FlagChange(NamedTuple):
    """A change of flags: bits of mail/keyword.py incl. DELETED_BIT, and other keywords in any case."""

    mode: Mode
    bits: int
    keywords: tuple[str, ...] = ()


class Stored(NamedTuple):
    """After STORE: `count` messages differ from before and now have `modseq`; nothing changed: (present, 0)."""

    modseq: ModSeq
    count: int


class Copied(NamedTuple):
    """After COPY or MOVE: the n-th source uid became the n-th target uid (RFC 4315 §3 COPYUID)."""

    uidvalidity: UIDValidity  # of the target
    source: tuple[UID, ...]  # ascending
    target: tuple[UID, ...]  # ascending, consecutive
    modseq: ModSeq


class Expunged(NamedTuple):
    """After EXPUNGE: what is gone, ascending."""

    uids: tuple[UID, ...]
    modseq: ModSeq


class Changes(NamedTuple):
    """What happened to a mailbox after `since`."""

    modseq: ModSeq  # the mailbox's now; ask `since` this the next time
    uidnext: int
    total: int
    arrived: tuple[tuple[UID, int, str, ModSeq], ...]  # uid, flags, keywords, modseq: uid >= the uidnext known
    changed: tuple[tuple[UID, int, str, ModSeq], ...]  # of messages known before, ascending
    vanished: tuple[UID, ...]  # ascending; of messages known before (uid < the uidnext known)


class Column(Enum):
    """What fetch() can give. A row has the uid first, then the columns in the order they were asked for."""

    FLAGS = "p.flags"  # int
    KEYWORDS = "p.keywords"  # str
    MODSEQ = "p.modseq"  # int
    EMAIL = "p.email"  # int, EmailId
    RECEIVED = "e.received"  # Millis
    SIZE = "e.size"  # octets
    ENVELOPE = "e.envelope"  # bytes, the wire text in parentheses
    STRUCTURE = "e.structure"  # bytes, the wire text of BODYSTRUCTURE
    HEADER_SIZE = "e.header_size"  # octets, with the empty line
    BLOB = "e.blob"  # int, BlobKey for store.blobs.get
    HEADER = "h.block"  # bytes, the header block with its empty line


def add(box: Box, new: Sequence[NewEmail]) -> Script[Appended]:
    """Append messages to one mailbox, all or none (RFC 9051 §6.3.12, RFC 3502). Raises NotFound."""
    raise NotImplementedError


def deliver(items: Sequence[tuple[Box, NewEmail]]) -> Script[list[UID]]:
    """Put messages into mailboxes of one or many accounts, all or none; accounts are locked in id order.

    The same NewEmail (the same object's blob) for several boxes of one account makes one Email each: a delivery is
    not a COPY. Gives the UIDs in the order of `items`. Raises NotFound."""
    raise NotImplementedError


def uids(box: Box) -> "Script[array[int]]":
    """All UIDs, ascending, as array('I'). Raises NotFound."""
    raise NotImplementedError


def fetch(box: Box, spans: Spans, columns: Sequence[Column], limit: int = 500) -> Script[list[Row]]:
    """Rows (uid, *columns) ascending by uid, at most `limit`: ask again from the last uid + 1. Raises NotFound."""
    raise NotImplementedError


def flags(box: Box, spans: Spans) -> Script[list[tuple[UID, int, str, ModSeq]]]:
    """(uid, flags, keywords, modseq) of the narrow table alone, ascending; no limit. Raises NotFound."""
    raise NotImplementedError


def keywords_used(box: Box) -> Script[list[str]]:
    """The keywords in use in this mailbox, sorted: for the FLAGS answer of SELECT (RFC 9051 §7.3.5)."""
    raise NotImplementedError


def first_unseen(box: Box) -> Script[UID | None]:
    """The lowest UID without \\Seen: for UNSEEN of RFC 3501 §6.3.1. Answered at once where the row counts none."""
    raise NotImplementedError


def store_flags(box: Box, spans: Spans, change: FlagChange) -> Script[Stored]:
    """STORE (RFC 9051 §6.4.6): all or nothing. UIDs that are not there are passed over.

    Raises NotFound, OverQuota (more than KEYWORDS_PER_EMAIL), Refused (a keyword that cannot be one)."""
    raise NotImplementedError


def copy(box: Box, spans: Spans, target: MailboxId) -> Script[Copied]:
    """COPY (RFC 9051 §6.4.7): placements are added, no octet is copied. Raises NotFound (box or target)."""
    raise NotImplementedError


def move(box: Box, spans: Spans, target: MailboxId) -> Script[Copied]:
    """MOVE (RFC 9051 §6.4.8): each message is in exactly one of the two mailboxes at any moment."""
    raise NotImplementedError


def expunge(box: Box, spans: Spans | None = None) -> Script[Expunged]:
    """EXPUNGE and UID EXPUNGE: messages with \\Deleted, in `spans` when given (RFC 9051 §6.4.3, §6.4.9)."""
    raise NotImplementedError


def changes(box: Box, since: ModSeq, uidnext: int) -> Script[Changes]:
    """What is new after `since` for somebody who knows all messages below `uidnext`: by ranges and indexes, so that
    one arrival in 100,000 messages costs one row. Raises NotFound when the mailbox is gone."""
    raise NotImplementedError
