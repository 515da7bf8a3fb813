"""COPY and MOVE where the mailbox of another takes part (RFC 4314 §4): new Emails of the same octets.

Keywords belong to an Email (decision 0002). Who is a guest in one of the mailboxes must not reach, by what he copied,
the flags of the message he copied it from; so nothing but the blob is shared, even between two mailboxes of one owner.
The work is some statements for each message, and bounded.
"""

from typing import NamedTuple

from posthouse.mail.ids import UID, AccountId, EmailId, Millis, ModSeq
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.mail.summary import Summary
from posthouse.store import removed, threads
from posthouse.store.access import Rights, settable
from posthouse.store.emails import Copied, Count, bury, count_in, take_away, take_uids
from posthouse.store.mailboxes import Box, MailboxRow, get, lock, next_modseq
from posthouse.store.removed import Removal
from posthouse.store.script import OverQuota, Row, Script, sql
from posthouse.store.spans import Spans, clip

MESSAGES = 5_000  # of one COPY or MOVE: about a second of the writer
HEADERS = 64 << 20  # octets of their header blocks, which are kept once more


class Crossing(NamedTuple):
    """How: with the flags that these rights on the target allow (RFC 4314 §4), saved `now` (RFC 8514 §3). `kept`: what
    is moved can come back to its owner (removed.py)."""

    rights: Rights
    now: Millis
    move: bool
    kept: Removal | None = None


def cross(box: Box, spans: Spans, target: Box, crossing: Crossing) -> Script[Copied]:
    """Copy or move, all or none; accounts are locked in id order.

    Raises NotFound (either mailbox), OverQuota (too much at once)."""
    accounts = sorted({box.account, target.account})
    for account in accounts:
        yield from lock(account)
    row = yield from get(box)
    spans = clip(spans, row.uidnext)
    there = yield from get(target)
    rows = yield from _chosen(box, spans, crossing.rights)
    if not rows:
        return Copied(there.uidvalidity, (), (), there.modseq)
    modseqs: dict[AccountId, ModSeq] = {}
    for account in accounts if crossing.move else [target.account]:
        modseqs[account] = yield from next_modseq(account)
    modseq = modseqs[target.account]
    going = yield from count_in(box.mailbox, spans)
    unseen = sum(1 for _, _, flags, *_ in rows if not flags & SEEN_BIT)
    deleted = sum(1 for _, _, flags, *_ in rows if flags & DELETED_BIT)
    counts = (len(rows), unseen, deleted, sum(size for *_, size in rows))
    uidvalidity, base = yield from take_uids(target, modseq, counts)
    for uid, (_, email, flags, keywords, _) in enumerate(rows, base):
        identity = yield from _again(target.account, email)
        yield sql(
            "INSERT INTO placement (mailbox, uid, email, flags, keywords, shared, created, modseq, saved)"
            " VALUES ($1, $2, $3, $4, $5, 0, $6, $6, $7)",
            target.mailbox, uid, identity, flags, keywords, modseq, crossing.now,
        )  # fmt: skip
    if crossing.move:
        yield from _leave(row, spans, modseqs[box.account], going, crossing.kept)
    return Copied(
        uidvalidity, tuple(UID(uid) for uid, *_ in rows), tuple(map(UID, range(base, base + len(rows)))), modseq
    )


def _leave(row: MailboxRow, spans: Spans, modseq: ModSeq, going: Count, kept: Removal | None) -> Script[None]:
    """What was moved leaves the mailbox where it stood."""
    act = None if kept is None else (yield from removed.begin(row.account, row.id, row.name, kept))
    if act is not None:
        yield from removed.keep(act, spans, shared=going.shared > 0)
    yield from take_away(row.id, spans, modseq, going)
    yield from bury(row.id, modseq, going, act)
    if act is not None and going.shared:
        yield from removed.settle(act, spans)


def _chosen(box: Box, spans: Spans, rights: Rights) -> Script[list[Row]]:
    """uid, email, flags, keywords and size of each message, the flags and keywords as far as they may be set."""
    found: list[Row] = []
    headers = 0
    for first, last in spans:
        rows = yield sql(
            "SELECT p.uid, p.email, p.flags, p.keywords, e.size, e.header_size FROM placement p"
            " JOIN email e ON e.id = p.email WHERE p.mailbox = $1 AND p.uid BETWEEN $2 AND $3 ORDER BY p.uid LIMIT $4",
            box.mailbox, first, last, MESSAGES + 1 - len(found),
        )  # fmt: skip
        bits, words = settable(rights), "w" in rights
        found += [(uid, email, flags & bits, keys if words else "", size) for uid, email, flags, keys, size, _ in rows]
        headers += sum(row[5] for row in rows)
        if len(found) > MESSAGES:
            raise OverQuota(f"at most {MESSAGES} messages at once go to or from the mailbox of another")
        if headers > HEADERS:
            raise OverQuota("the headers of these messages are too large together; copy fewer at once")
    return found


def _again(account: AccountId, email: EmailId) -> Script[EmailId]:
    """The Email once more, in this account, in its thread there."""
    [(_, *columns)] = yield sql("SELECT * FROM summary WHERE email = $1", email)
    found = yield from threads.find(account, threads.keys(Summary(*columns)))
    [(identity,)] = yield sql(
        "INSERT INTO email (account, blob, size, received, header_size, envelope, structure, thread)"
        " SELECT $1, blob, size, received, header_size, envelope, structure, $3 FROM email WHERE id = $2 RETURNING id",
        account, email, found.thread or 0,
    )  # fmt: skip
    yield from threads.keep(account, found, identity)
    yield sql("UPDATE blob SET refs = refs + 1 WHERE id = (SELECT blob FROM email WHERE id = $1)", email)
    yield sql(
        "INSERT INTO header (email, block, fields) SELECT $2, block, fields FROM header WHERE email = $1",
        email,
        identity,
    )
    yield sql("INSERT INTO summary VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", identity, *columns)
    yield sql("INSERT INTO preview (email, text) SELECT $2, text FROM preview WHERE email = $1", email, identity)
    return EmailId(identity)
