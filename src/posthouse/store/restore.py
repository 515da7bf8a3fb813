"""What is recently deleted, shown and brought back, or removed for good before its time (decision 0099).

A message comes back into the mailbox in which it stood last, under whatever name that has now, or else into one of its
old name, which is made where it is missing. It is the same Email: its INTERNALDATE, EMAILID and THREADID are as they
were, and so are flags and keywords, but for \\Deleted. Its UID is new, and its save date (RFC 8514 §2) is the moment of
its return, lest a rule of that mailbox remove it again at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.ids import UID, AccountId, EmailId, MailboxId, Millis
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.store import mailboxes, removed
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import take_uids
from posthouse.store.incoming import insert_rows
from posthouse.store.mailboxes import MailboxRow, lock, next_modseq
from posthouse.store.removed import FORGOTTEN
from posthouse.store.script import Row, Script, sql

ACTS = 200_000  # of one account, listed at once, about 200 octets each; what is older is found once these are back
RESTORE_CHUNK = 500  # messages of one act that one script brings back: about 20 ms of the writer
LISTED = 500  # messages read at once, with their header blocks


class ActRow(NamedTuple):
    """An act of removing, as it is listed."""

    id: int
    mailbox: MailboxId
    name: str  # of the mailbox, then
    at: Millis
    agent: str


class KeptRow(NamedTuple):
    """A message that may come back. `uid` is the one it had."""

    uid: UID
    email: EmailId
    size: int
    header: bytes


class Restored(NamedTuple):
    """What came back: the UIDs that were, ascending, and where the messages are now, from this UID on one by one."""

    uids: tuple[UID, ...]
    place: MailboxRow
    first: UID


def acts(account: AccountId, since: int = 0) -> Script[list[ActRow]]:
    """The acts from this moment on, newest first, that something is kept of."""
    rows = yield sql(
        "SELECT id, mailbox, name, at, agent FROM removal r WHERE account = $1 AND at >= $2"
        " AND EXISTS (SELECT 1 FROM removed d WHERE d.removal = r.id) ORDER BY at DESC, id DESC LIMIT $3",
        account, max(since, FORGOTTEN + 1), ACTS,
    )  # fmt: skip
    return [ActRow(*row) for row in rows]


def kept(act: int, below: int, limit: int = LISTED) -> Script[list[KeptRow]]:
    """Messages of an act whose UID was below this one, the highest first."""
    rows = yield sql(
        "SELECT d.uid, d.email, e.size, h.block FROM removed d JOIN email e ON e.id = d.email"
        " JOIN header h ON h.email = d.email WHERE d.removal = $1 AND d.uid < $2 ORDER BY d.uid DESC LIMIT $3",
        act, below, limit,
    )  # fmt: skip
    return [KeptRow(*row) for row in rows]


def restore(account: AccountId, act: int, uids: Sequence[int], now: Millis) -> Script[Restored | None]:
    """Bring back those of these messages of one act that are still kept; None: none of them is. At most RESTORE_CHUNK.

    Raises NotFound (account), OverQuota, Refused (the mailbox cannot be made again)."""
    yield from lock(account)
    found = yield sql("SELECT mailbox, name FROM removal WHERE id = $1 AND account = $2", act, account)
    rows = (yield from _wanted(act, uids)) if found else []
    if not rows:
        return None
    [(mailbox, name)] = found
    there = yield from _place(account, mailbox, name)
    modseq = yield from next_modseq(account)
    unseen = sum(1 for _, _, flags, *_ in rows if not flags & SEEN_BIT)
    counts = (len(rows), unseen, 0, sum(size for *_, size in rows))
    _, first = yield from take_uids(there.box, modseq, counts)
    placements: list[Row] = [
        (there.id, uid, email, flags & ~DELETED_BIT, keywords, 0, modseq, modseq, now)
        for uid, (_, email, flags, keywords, _) in enumerate(rows, first)
    ]
    yield from insert_rows(
        "placement (mailbox, uid, email, flags, keywords, shared, created, modseq, saved)", placements
    )
    crashpoint("store.inside_restore")
    for uid, *_ in rows:  # inside one script, in the writer's thread
        yield sql("DELETE FROM removed WHERE removal = $1 AND uid = $2", act, uid)
    yield from removed.close_if_empty(act)
    return Restored(tuple(UID(row[0]) for row in rows), there, UID(first))


def _wanted(act: int, uids: Sequence[int]) -> Script[list[Row]]:
    """uid, email, flags, keywords and size of those that are kept, ascending."""
    wanted = frozenset(sorted(uids)[:RESTORE_CHUNK])
    if not wanted:
        return []
    rows = yield sql(
        "SELECT d.uid, d.email, d.flags, d.keywords, e.size FROM removed d JOIN email e ON e.id = d.email"
        " WHERE d.removal = $1 AND d.uid BETWEEN $2 AND $3 ORDER BY d.uid",
        act, min(wanted), max(wanted),
    )  # fmt: skip
    return [row for row in rows if row[0] in wanted]


def _place(account: AccountId, mailbox: MailboxId, name: str) -> Script[MailboxRow]:
    for there in (yield from mailboxes.some([mailbox])):
        if there.account == account and not there.noselect:
            return there
    named = yield from mailboxes.find(account, name)
    if named is not None and not named.noselect:
        return named
    return (yield from mailboxes.create(account, name))


def forget(account: AccountId, act: int, uids: Sequence[int]) -> Script[int]:
    """End those of these messages of one act that are kept; how many. At most RESTORE_CHUNK. Raises NotFound."""
    yield from lock(account)
    if not (yield sql("SELECT 1 FROM removal WHERE id = $1 AND account = $2", act, account)):
        return 0
    rows = yield from _wanted(act, uids)
    for uid, *_ in rows:  # inside one script, in the writer's thread
        yield from removed.end_uids(act, [uid])
    yield from removed.close_if_empty(act)
    return len(rows)
