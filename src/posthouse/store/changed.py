"""What has changed in a mailbox since a ModSeq: messages, and the UIDs that are gone (RFC 7162 §3.1.4, §3.2.6).

What was changed is found by the log of touched.py, what arrived by its place at the end.
"""

from typing import NamedTuple

from posthouse.mail.ids import UID, MailboxId, ModSeq
from posthouse.store.flags import FlagChange, Mode, canonical_keywords
from posthouse.store.mailboxes import Box, get
from posthouse.store.script import Row, Script, sql
from posthouse.store.spans import LAST_UID, Spans
from posthouse.store.touched import arrived, touched

PIECES = 10_000  # spans that one conditional STORE changes: what lies behind them fails, and the client asks again

FlagRow = tuple[UID, int, str, ModSeq]


class Since(NamedTuple):
    """What happened after a ModSeq: messages that are there, ascending, and UIDs that are gone, ascending."""

    rows: tuple[FlagRow, ...]
    vanished: tuple[UID, ...]


def changed(box: Box, since: int) -> Script[list[FlagRow]]:
    """(uid, flags, keywords, modseq) of all messages with a higher ModSeq, arrivals too. Raises NotFound."""
    row = yield from get(box)
    if row.modseq <= since:
        return []
    new = yield from arrived(box.mailbox, since)
    below = new[0][0] if new else row.uidnext
    return [*(yield from touched(box.mailbox, since, below, row.total)), *new]


def uids_changed(box: Box, since: int) -> Script[list[int]]:
    """The UIDs alone. Raises NotFound."""
    return [row[0] for row in (yield from changed(box, since))]


def vanished(box: Box, since: int, until: int) -> Script[tuple[UID, ...]]:
    """UIDs that left the mailbox after `since`, up to `until`, ascending. Raises NotFound."""
    row = yield from get(box)
    if row.expunged_modseq <= since:
        return ()
    return (yield from _gone(box.mailbox, since, until))


def _gone(mailbox: MailboxId, since: int, until: int) -> Script[tuple[UID, ...]]:
    rows = yield sql(
        "SELECT uid FROM expunged WHERE mailbox = $1 AND modseq > $2 AND modseq <= $3 ORDER BY uid",
        mailbox, since, until,
    )  # fmt: skip
    return tuple(UID(uid) for (uid,) in rows)


def catch_up(box: Box, since: int) -> Script[Since]:
    """Both, of one snapshot: what QRESYNC asks (RFC 7162 §3.2.5.1). Raises NotFound."""
    row = yield from get(box)
    rows = yield from changed(box, since)
    gone = yield from vanished(box, since, row.modseq)
    return Since(tuple(rows), gone)


def failing(box: Box, spans: Spans, change: FlagChange, unchanged_since: int) -> Script[list[FlagRow]]:
    """The messages that a conditional STORE must leave alone, ascending (RFC 7162 §3.1.3). With 0 a keyword that the
    message does not have may be added: it does not exist yet."""
    fresh: frozenset[str] = frozenset()
    if unchanged_since == 0 and change.mode is Mode.ADD and not change.bits:
        fresh = frozenset(canonical_keywords(change.keywords or ()))
    found: list[Row] = []
    for first, last in spans:
        found += yield sql(
            "SELECT uid, flags, keywords, modseq FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3"
            " AND modseq > $4 ORDER BY uid",
            box.mailbox, first, last, unchanged_since,
        )  # fmt: skip
    if fresh:
        found = [row for row in found if not fresh.isdisjoint(row[2].split())]
    return found


def without(spans: Spans, uids: list[int]) -> Spans:
    """The spans less these UIDs, which are ascending and inside them."""
    left: list[tuple[int, int]] = []
    place = 0
    for first, last in spans:
        start = first
        while place < len(uids) and uids[place] <= last:
            if start < uids[place]:
                left.append((start, uids[place] - 1))
            start = uids[place] + 1
            place += 1
        if start <= min(last, LAST_UID):
            left.append((start, last))
    return left


def passing(box: Box, spans: Spans, change: FlagChange, unchanged_since: int) -> Script[tuple[Spans, list[FlagRow]]]:
    """The spans that a conditional STORE changes, and the messages it leaves alone: those changed later, and all behind
    the first PIECES spans."""
    failed = yield from failing(box, spans, change, unchanged_since)
    left = without(spans, [row[0] for row in failed])
    if len(left) <= PIECES:
        return left, failed
    left = left[:PIECES]
    last = left[-1][1]
    rest = [(max(first, last + 1), end) for first, end in spans if end > last]
    return left, [*(row for row in failed if row[0] <= last), *(yield from failing(box, rest, change, -1))]


def highest(box: Box, uids: frozenset[int]) -> Script[int | None]:
    """The highest ModSeq of these messages (RFC 7162 §3.1.5). Raises NotFound."""
    rows = yield from changed(box, 0)
    return max((row[3] for row in rows if row[0] in uids), default=None)
