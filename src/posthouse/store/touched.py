"""The log of spans in which messages were changed, so that a change is found without a look at every message
(decision 0030).

A row says: of the messages of this mailbox that have this ModSeq, all that did not arrive with it lie between `first`
and `last`. Rows may claim too much, never too little. A row over all UIDs stands for everything up to its ModSeq.
"""

from collections.abc import Sequence

from posthouse.mail.ids import MailboxId, ModSeq
from posthouse.store.script import Row, Script, sql
from posthouse.store.spans import LAST_UID

SPANS = 1_000  # of one change; those of a larger one are logged as one
KEPT = 5_000  # rows of a mailbox; older ones are made one
EVERY = 64  # changes of the account between two looks at the number of rows: it stays below KEPT + SPANS * EVERY

_ROWS = (
    "SELECT uid, flags, keywords, modseq FROM placement WHERE mailbox = $1 AND modseq > $2 AND uid < $3 ORDER BY uid"
)
_LOGGED = (
    "SELECT p.uid, p.flags, p.keywords, p.modseq FROM touched t CROSS JOIN placement p ON p.mailbox = $1"
    " AND p.uid {} AND p.modseq = t.modseq"
    " WHERE t.mailbox = $1 AND t.modseq > $2 AND p.uid < $3 ORDER BY p.uid"
)
_SPANS = _LOGGED.format("BETWEEN t.first AND t.last")
_SINGLE = _LOGGED.format("= t.first")  # each message once: there is one row of its ModSeq that begins with it


def log(mailbox: MailboxId, modseq: ModSeq, spans: Sequence[tuple[int, int]]) -> Script[None]:
    """Note that messages in these spans got this ModSeq."""
    if len(spans) > SPANS:
        spans = ((spans[0][0], max(last for _, last in spans)),)
    for first, last in spans:
        yield sql(
            "INSERT INTO touched (mailbox, modseq, first, last) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (mailbox, modseq, first) DO UPDATE SET last = CASE WHEN touched.last < $4 THEN $4"
            " ELSE touched.last END",
            mailbox, modseq, first, last,
        )  # fmt: skip
    if modseq % EVERY == 0:
        yield from _shorten(mailbox)


def log_siblings(mailboxes: Sequence[Row], modseq: ModSeq) -> Script[None]:
    """The same for rows (mailbox, lowest uid, highest uid): where the other placements of some Emails stand."""
    for mailbox, first, last in mailboxes:
        yield from log(mailbox, modseq, ((first, last),))


def _shorten(mailbox: MailboxId) -> Script[None]:
    rows = yield sql(
        f"SELECT modseq FROM touched WHERE mailbox = $1 ORDER BY modseq DESC, first LIMIT 1 OFFSET {KEPT}", mailbox
    )
    if not rows:
        return
    [(modseq,)] = rows
    yield sql("DELETE FROM touched WHERE mailbox = $1 AND modseq <= $2", mailbox, modseq)
    yield sql(f"INSERT INTO touched (mailbox, modseq, first, last) VALUES ($1, $2, 1, {LAST_UID})", mailbox, modseq)


def touched(mailbox: MailboxId, since: int, uidnext: int, total: int) -> Script[list[Row]]:
    """(uid, flags, keywords, modseq) of the messages below `uidnext` that were changed after `since`, ascending. Some
    that arrived after it may be among them, or not."""
    [(count, width)] = yield sql(
        "SELECT count(*), sum(last - first + 1) FROM touched WHERE mailbox = $1 AND modseq > $2", mailbox, since
    )  # of spans one message wide both are the same
    if not count:
        return []
    if width > total or count * 10 > total:  # reading every message is cheaper
        return (yield sql(_ROWS, mailbox, since, uidnext))
    if width == count:
        return (yield sql(_SINGLE, mailbox, since, uidnext))
    rows = yield sql(_SPANS, mailbox, since, uidnext)
    return [row for place, row in enumerate(rows) if not place or row[0] != rows[place - 1][0]]


def arrived(mailbox: MailboxId, since: int) -> Script[list[Row]]:
    """The same of messages that came into the mailbox after `since`: UIDs rise with the ModSeq of arrival."""
    before = yield sql(
        "SELECT uid FROM placement WHERE mailbox = $1 AND created <= $2 ORDER BY uid DESC LIMIT 1", mailbox, since
    )
    return (yield sql(
        "SELECT uid, flags, keywords, modseq FROM placement WHERE mailbox = $1 AND uid > $2 ORDER BY uid",
        mailbox, before[0][0] if before else 0,
    ))  # fmt: skip


def forget(mailbox: MailboxId) -> Script[None]:
    """The mailbox is gone."""
    yield sql("DELETE FROM touched WHERE mailbox = $1", mailbox)
