"""Emails and their placements in mailboxes (RFC 9051 §2.3, RFC 8621 §4): arriving, reading, leaving.

An Email is one message of one account; a placement is its place in one mailbox under a UID. Flags are the bit set
of mail/keyword.py; keywords are canonical (lower case), and in rows are one str, sorted, separated by spaces. Keyword
bits and keywords belong to the Email and are the same in all its placements; \\Deleted belongs to the placement.

`spans` are inclusive (first, last) pairs of UIDs, ascending, not overlapping; (1, 4294967295) means all.
"""

from array import array
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from posthouse.mail.fieldmap import field_map
from posthouse.mail.ids import UID, AccountId, MailboxId, Millis, ModSeq, UIDValidity
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.store import quota, removed, sheets, siblings
from posthouse.store.blobs import BlobKey
from posthouse.store.crashpoint import crashpoint
from posthouse.store.flags import FlagChange, Mode, Stored, canonical_keywords, store_flags
from posthouse.store.incoming import NewEmail, insert_emails, insert_rows, keep_all
from posthouse.store.mailboxes import Box, MailboxRow, check, get, locked, next_modseq, touch_shared
from posthouse.store.quota import Asked, Usage
from posthouse.store.removed import Act, Removal
from posthouse.store.script import NotFound, OverQuota, Row, Script, sql
from posthouse.store.spans import ALL, LAST_UID, Spans, clip
from posthouse.store.touched import touched

__all__ = [
    "ALL",
    "Appended",
    "Changes",
    "Column",
    "Copied",
    "Expunged",
    "FlagChange",
    "Mode",
    "NewEmail",
    "Spans",
    "Stored",
    "add",
    "changes",
    "copy",
    "deliver",
    "expunge",
    "fetch",
    "first_unseen",
    "flags",
    "move",
    "store_flags",
    "uids",
]


SHORT = 16_384  # octets of a header block of which many are read at once
SMALL = 65_536  # octets of a message of which many are read at once


class Appended(NamedTuple):
    """RFC 4315 §3 APPENDUID."""

    uidvalidity: UIDValidity
    uids: tuple[UID, ...]
    modseq: ModSeq


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
    SAVED = "p.saved"  # Millis
    EMAIL = "p.email"  # int, EmailId
    THREAD = "coalesce(nullif(e.thread, 0), e.id)"  # int, ThreadId
    RECEIVED = "e.received"  # Millis
    SIZE = "e.size"  # octets
    ENVELOPE = "e.envelope"  # bytes, the wire text in parentheses
    STRUCTURE = "e.structure"  # bytes, the wire text of BODYSTRUCTURE
    HEADER_SIZE = "e.header_size"  # octets, with the empty line
    BLOB = "e.blob"  # int, BlobKey for store.blobs.get
    PREVIEW = "v.text"  # str, None where it was not made (store/previews.py)
    HEADER = "h.block"  # bytes, the header block with its empty line
    SHORT_HEADER = f"CASE WHEN length(h.block) <= {SHORT} THEN h.block END"  # the same, or None where it is longer
    SMALL = f"CASE WHEN e.size <= {SMALL} THEN o.packed END"  # for unpack_many; None where it is larger
    DIGEST = "b.digest"  # of the octets, for unpack_many
    FIELDS = "h.fields"  # bytes or None, the map of mail/fieldmap.py


def add(box: Box, new: Sequence[NewEmail], asked: Asked | None = None) -> Script[Appended]:
    """Append messages to one mailbox, all or none (RFC 9051 §6.3.12, RFC 3502). Raises NotFound, and Full where the
    quota that is `asked` for has no room."""
    size = sum(email.blob.size for email in new)
    modseq = (yield from quota.begin({box.account: Usage(size, len(new))}, asked))[box.account]
    keys = yield from keep_all(new)
    uidvalidity, given = yield from _append(box, new, keys, modseq)
    return Appended(uidvalidity, given, modseq)


def deliver(items: Sequence[tuple[Box, NewEmail]], asked: Asked | None = None) -> Script[list[UID]]:
    """Put messages into mailboxes of one or many accounts, all or none; accounts are locked in id order.

    The same NewEmail (the same object's blob) for several boxes of one account makes one Email each: a delivery is
    not a COPY. Gives the UIDs in the order of `items`. Raises NotFound, and Full where the quota has no room."""
    coming: dict[AccountId, Usage] = {}
    for box, new in items:
        octets, messages, _ = coming.get(box.account, Usage())
        coming[box.account] = Usage(octets + new.blob.size, messages + 1)
    modseqs = yield from quota.begin(coming, asked)
    keys = yield from keep_all([new for _, new in items])
    order: dict[Box, list[int]] = {}
    for position, (box, _) in enumerate(items):
        order.setdefault(box, []).append(position)
    given: dict[int, UID] = {}
    for box, positions in order.items():
        news = [items[position][1] for position in positions]
        _, assigned = yield from _append(box, news, keys, modseqs[box.account])
        given.update(zip(positions, assigned, strict=True))
    return [given[position] for position in range(len(items))]


def _append(
    box: Box, new: Sequence[NewEmail], keys: dict[str, BlobKey], modseq: ModSeq
) -> Script[tuple[UIDValidity, tuple[UID, ...]]]:
    unseen = sum(1 for email in new if not email.flags & SEEN_BIT)
    deleted = sum(1 for email in new if email.flags & DELETED_BIT)
    size = sum(email.blob.size for email in new)
    uidvalidity, first = yield from take_uids(box, modseq, (len(new), unseen, deleted, size))
    ids = yield from insert_emails(box.account, new, keys)
    placements: list[Row] = []
    for uid, (identity, email) in enumerate(zip(ids, new, strict=True), first):
        words = " ".join(canonical_keywords(email.keywords)) if email.keywords else ""
        saved = email.received if email.saved is None else email.saved
        placements.append((box.mailbox, uid, identity, email.flags, words, 0, modseq, modseq, saved))
    beside = list(zip(ids, new, strict=True))
    headers = [(identity, email.header, email.fields or field_map(email.header)) for identity, email in beside]
    yield from insert_rows("header (email, block, fields)", headers)
    yield from insert_rows("summary", [(identity, *email.summary) for identity, email in beside])
    yield from insert_rows(
        "placement (mailbox, uid, email, flags, keywords, shared, created, modseq, saved)", placements
    )
    return uidvalidity, tuple(UID(uid) for uid in range(first, first + len(new)))


def take_uids(box: Box, modseq: ModSeq, counts: tuple[int, int, int, int]) -> Script[tuple[UIDValidity, int]]:
    """Count `counts` (messages, unseen, deleted, octets) in; the UIDVALIDITY and the first of the new UIDs."""
    rows = yield sql(
        "UPDATE mailbox SET uidnext = uidnext + $3, total = total + $3, unseen = unseen + $4, deleted = deleted + $5,"
        " size = size + $6, modseq = $7 WHERE id = $1 AND account = $2 AND noselect = 0"
        " RETURNING uidvalidity, uidnext",
        box.mailbox, box.account, *counts, modseq,
    )  # fmt: skip
    if not rows:
        raise NotFound("there is no such mailbox")
    [(uidvalidity, uidnext)] = rows
    if uidnext > LAST_UID:
        raise OverQuota("the mailbox has given out all its UIDs; move its messages to a new one")
    return UIDValidity(uidvalidity), uidnext - counts[0]


def uids(box: Box, above: int = 0) -> "Script[array[int]]":
    """All UIDs, or those above one, ascending, as array('I'). Raises NotFound."""
    yield from check(box)
    rows = yield sql("SELECT uid FROM placement WHERE mailbox = $1 AND uid > $2 ORDER BY uid", box.mailbox, above)
    return array("I", [uid for (uid,) in rows])


@lru_cache(256)
def _fetch_text(columns: tuple[Column, ...]) -> str:
    names = ", ".join(["p.uid", *(column.value for column in columns)])
    text = f"SELECT {names} FROM placement p"
    if any("e." in column.value for column in columns):
        text += " JOIN email e ON e.id = p.email"
    if any("h." in column.value for column in columns):
        text += " JOIN header h ON h.email = p.email"
    if Column.DIGEST in columns:
        text += " JOIN blob b ON b.id = e.blob LEFT JOIN octets o ON o.blob = e.blob"
    if Column.PREVIEW in columns:
        text += " LEFT JOIN preview v ON v.email = p.email"
    return text + " WHERE p.mailbox = $1 AND p.uid BETWEEN $2 AND $3 ORDER BY p.uid LIMIT $4"


def fetch(box: Box, spans: Spans, columns: Sequence[Column], limit: int = 500) -> Script[list[Row]]:
    """Rows (uid, *columns) ascending by uid, at most `limit`: ask again from the last uid + 1. Raises NotFound."""
    yield from check(box)
    text = _fetch_text(tuple(columns))
    found: list[Row] = []
    for first, last in spans:
        found += yield sql(text, box.mailbox, first, last, limit - len(found))
        if len(found) >= limit:
            break
    return found


def flags(box: Box, spans: Spans) -> Script[list[tuple[UID, int, str, ModSeq]]]:
    """(uid, flags, keywords, modseq) of the narrow table alone, ascending; no limit. Raises NotFound."""
    yield from check(box)
    found: list[Row] = []
    for first, last in spans:
        found += yield sql(
            "SELECT uid, flags, keywords, modseq FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3"
            " ORDER BY uid",
            box.mailbox, first, last,
        )  # fmt: skip
    return found


def first_unseen(box: Box) -> Script[UID | None]:
    """The lowest UID without \\Seen: for UNSEEN of RFC 3501 §6.3.1. Answered at once where the row counts none."""
    row = yield from get(box)
    if row.unseen == 0:
        return None
    rows = yield sql(
        "SELECT uid FROM placement WHERE mailbox = $1 AND (flags & $2) = 0 ORDER BY uid LIMIT 1", box.mailbox, SEEN_BIT
    )
    return UID(rows[0][0]) if rows else None


class Count(NamedTuple):
    """What a set of placements adds to the counters of a mailbox."""

    total: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    shared: int = 0

    def plus(self, row: Row) -> "Count":
        return Count(*(have + (more or 0) for have, more in zip(self, row, strict=True)))


_COUNTED = (
    "SELECT count(*), count(*) - sum(p.flags & 1), sum((p.flags & 16) / 16), sum(e.size), sum(p.shared)"
    " FROM placement p JOIN email e ON e.id = p.email WHERE p.mailbox = $1 AND p.uid BETWEEN $2 AND $3"
)
_MARKED = " AND (flags & 16) <> 0"


def count_in(mailbox: MailboxId, spans: Spans, where: str = "") -> Script[Count]:
    count = Count()
    for first, last in spans:
        [row] = yield sql(_COUNTED + where, mailbox, first, last)
        count = count.plus(row)
    return count


def _uids_in(mailbox: MailboxId, spans: Spans, where: str = "") -> Script[tuple[UID, ...]]:
    found: list[int] = []
    text = f"SELECT uid FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3{where} ORDER BY uid"
    for first, last in spans:
        width = last - first + 1
        if not where and width > siblings.MANY and (yield from _count(mailbox, first, last)) == width:
            found += range(first, last + 1)
        else:
            found += [uid for (uid,) in (yield sql(text, mailbox, first, last))]
    return tuple(map(UID, found))


def _count(mailbox: MailboxId, first: int, last: int) -> Script[int]:
    rows = yield sql(
        "SELECT count(*) FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3", mailbox, first, last
    )
    count: int = rows[0][0]
    return count


class _Chosen(NamedTuple):
    """Placements of one mailbox, at least one: all in `spans`, or those among them that a script looks for."""

    spans: Spans
    uids: tuple[UID, ...]
    counted: Count


def _choose(row: MailboxRow, spans: Spans, where: str = "") -> Script[_Chosen | None]:
    """What stands in `spans`. All messages of a mailbox count what its row says, which spares a look at each Email."""
    spans = clip(spans, row.uidnext)
    chosen = yield from _uids_in(row.id, spans, where)
    if not chosen:
        return None
    if len(chosen) < row.total:
        return _Chosen(spans, chosen, (yield from count_in(row.id, spans, where)))
    [(shared,)] = yield sql("SELECT sum(shared) FROM placement WHERE mailbox = $1", row.id)
    return _Chosen(spans, chosen, Count(row.total, row.unseen, row.deleted, row.size, shared))


def copy(box: Box, spans: Spans, target: MailboxId, now: Millis) -> Script[Copied]:
    """COPY (RFC 9051 §6.4.7): placements are added, no octet is copied. `now` is the save date of the copies
    (RFC 8514 §3). Raises NotFound (box or target)."""
    row = yield from locked(box)
    there = yield from get(Box(box.account, target))
    chosen = yield from _choose(row, spans)
    if chosen is None:
        return Copied(there.uidvalidity, (), (), there.modseq)
    copied = yield from _place(box, chosen, target, _Marks(1, now))
    for first, last in chosen.spans:
        yield sql(
            "UPDATE placement SET shared = 1 WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND shared = 0",
            box.mailbox, first, last,
        )  # fmt: skip
    crashpoint("store.inside_copy")
    yield from touch_shared(box.mailbox, chosen.spans, copied.modseq)
    return copied


def move(box: Box, spans: Spans, target: MailboxId, now: Millis) -> Script[Copied]:
    """MOVE (RFC 9051 §6.4.8): each message is in exactly one of the two mailboxes at any moment. It gets a new save
    date (RFC 8514 §3)."""
    row = yield from locked(box)
    there = yield from get(Box(box.account, target))
    chosen = yield from _choose(row, spans)
    if chosen is None:
        return Copied(there.uidvalidity, (), (), there.modseq)
    copied = yield from _place(box, chosen, target, _Marks(None, now))
    crashpoint("store.inside_move")
    if chosen.counted.shared:
        yield from touch_shared(box.mailbox, chosen.spans, copied.modseq)
    yield from take_away(box.mailbox, chosen.spans, copied.modseq, chosen.counted)
    return copied


class _Marks(NamedTuple):
    """What new placements of old Emails have of their own; `shared` None: as the old one has it."""

    shared: int | None
    saved: Millis


_PLACED = (
    "INSERT INTO placement (mailbox, uid, email, flags, keywords, shared, created, modseq, saved)"
    " SELECT $4, $5 - 1 + row_number() OVER (ORDER BY uid), email, flags, keywords, coalesce($7, shared), $6, $6, $8"
    " FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3"
)
_PLACED_ALONG = _PLACED.replace("- 1 + row_number() OVER (ORDER BY uid)", "- $2 + uid")  # the same without a gap


def _place(box: Box, chosen: _Chosen, target: MailboxId, marks: _Marks) -> Script[Copied]:
    """The placements once more, in the target."""
    modseq = yield from next_modseq(box.account)
    uidvalidity, base = yield from take_uids(Box(box.account, target), modseq, chosen.counted[:4])
    uid = base
    for first, last in chosen.spans:
        some = yield from _count(box.mailbox, first, last)
        gapless = some == last - first + 1
        yield sql(_PLACED_ALONG if gapless else _PLACED, box.mailbox, first, last, target, uid, modseq, *marks)
        uid += some
    return Copied(uidvalidity, chosen.uids, tuple(map(UID, range(base, uid))), modseq)


def take_away(mailbox: MailboxId, spans: Spans, modseq: ModSeq, count: Count, where: str = "") -> Script[None]:
    """Remove the placements, leave tombstones, count them out."""
    for first, last in spans:
        yield sql(
            "INSERT INTO expunged (mailbox, modseq, uid, email) SELECT mailbox, $4, uid, email FROM placement"
            f" WHERE mailbox = $1 AND uid BETWEEN $2 AND $3{where}",
            mailbox, first, last, modseq,
        )  # fmt: skip
        yield sql(f"DELETE FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3{where}", mailbox, first, last)
    yield from sheets.drop(mailbox, modseq)
    yield sql(
        "UPDATE mailbox SET total = total - $2, unseen = unseen - $3, deleted = deleted - $4, size = size - $5,"
        " modseq = $6, expunged_modseq = $6 WHERE id = $1",
        mailbox, *count[:4], modseq,
    )  # fmt: skip


def expunge(
    box: Box, spans: Spans | None = None, *, marked: bool = True, kept: Removal | None = None
) -> Script[Expunged]:
    """EXPUNGE and UID EXPUNGE: messages with \\Deleted, in `spans` when given (RFC 9051 §6.4.3, §6.4.9); without
    `marked` all of them (RFC 8508 §3.4). `kept`: they may come back (removed.py)."""
    row = yield from locked(box)
    where = _MARKED if marked and row.deleted < row.total else ""
    if marked and row.deleted == 0:
        return Expunged((), row.modseq)
    gone = yield from _choose(row, ALL if spans is None else spans, where)
    if gone is None:
        return Expunged((), row.modseq)
    modseq = yield from next_modseq(box.account)
    act = None if kept is None else (yield from removed.begin(box.account, box.mailbox, row.name, kept))
    if act is not None:
        yield from removed.keep(act, gone.spans, where, shared=gone.counted.shared > 0)
    yield from take_away(box.mailbox, gone.spans, modseq, gone.counted, where)
    crashpoint("store.inside_expunge")
    yield from bury(box.mailbox, modseq, gone.counted, act)
    if act is not None and gone.counted.shared:
        yield from removed.settle(act, gone.spans)
    return Expunged(gone.uids, modseq)


def bury(mailbox: MailboxId, modseq: ModSeq, count: Count, act: Act | None = None) -> Script[None]:
    """End the Emails whose last placement went with this tombstone's ModSeq, unless an act keeps them (removed.py).
    `count` is what left.

    Those that live on elsewhere get the ModSeq, and are unshared where one placement is left."""
    left = "SELECT email FROM expunged WHERE mailbox = $1 AND modseq = $2"
    if not count.shared:
        if act is None:
            yield from removed.end_emails(*(yield from _all_of(mailbox, modseq, left)))
        return
    many = count.shared == count.total >= siblings.MANY
    if many and (yield from siblings.touch_left_abreast(left, (mailbox, modseq), modseq)):
        return
    gone = "NOT EXISTS (SELECT 1 FROM placement p WHERE p.email = expunged.email)"
    if act is None and (count.shared < count.total or (yield sql(f"{left} AND {gone} LIMIT 1", mailbox, modseq))):
        yield from removed.end_emails(f"IN ({left} AND {gone})", (mailbox, modseq))
    yield from siblings.touch_left(left, (mailbox, modseq), modseq)


def _all_of(mailbox: MailboxId, modseq: ModSeq, left: str) -> Script[tuple[str, tuple[object, ...]]]:
    """All Emails with this tombstone, each with one. Those that arrived one after another are taken without a look at
    each."""
    [(first, last, number)] = yield sql(
        "SELECT min(email), max(email), count(*) FROM expunged WHERE mailbox = $1 AND modseq = $2", mailbox, modseq
    )
    if number and last - first + 1 == number:
        return "BETWEEN $1 AND $2", (first, last)
    return f"IN ({left})", (mailbox, modseq)


def changes(box: Box, since: ModSeq, uidnext: int) -> Script[Changes]:
    """What is new after `since` for somebody who knows all messages below `uidnext`: by ranges and indexes, so that
    one arrival in 100,000 messages costs one row. Raises NotFound when the mailbox is gone."""
    row = yield from get(box)
    arrived: list[Row] = []
    changed: list[Row] = []
    vanished: list[Row] = []
    if row.uidnext > uidnext:
        arrived = yield sql(
            "SELECT uid, flags, keywords, modseq FROM placement WHERE mailbox = $1 AND uid >= $2 ORDER BY uid",
            box.mailbox, uidnext,
        )  # fmt: skip
    if row.flags_modseq > since:
        changed = yield from touched(box.mailbox, since, uidnext, row.total)
    if row.expunged_modseq > since:
        vanished = yield sql(
            "SELECT uid FROM expunged WHERE mailbox = $1 AND modseq > $2 AND uid < $3 ORDER BY uid",
            box.mailbox, since, uidnext,
        )  # fmt: skip
    gone = tuple(UID(uid) for (uid,) in vanished)
    return Changes(row.modseq, row.uidnext, row.total, tuple(arrived), tuple(changed), gone)
