"""Recently deleted: Emails whose last placement went are kept for a while and may come back (decision 0099).

Removing is one act, a row of `removal`; what it removed for good stands in `removed`. An Email that lives on in another
mailbox is not recently deleted. It has either placements or one row here, never both: so nothing else need know of
`removed`, and what restores an Email gives it a placement again. Nothing here counts for its owner.
"""

from itertools import accumulate
from typing import NamedTuple

from posthouse.mail.ids import AccountId, MailboxId, Millis
from posthouse.store.script import Script, sql
from posthouse.store.spans import Spans

AGENT = 200  # characters that say who removed something
END_CHUNK = 500  # Emails that one script ends: about 20 ms of the writer
FORGOTTEN = Millis(-(1 << 62))  # the time of an act that shall not be kept any longer: before every moment

_DEAD = ("header", "preview", "summary")


class Removal(NamedTuple):
    """When messages are removed, and by whom or what, for people: "anna@home.test by IMAP from 192.0.2.7"."""

    at: Millis
    agent: str


class Act(NamedTuple):
    """A removal that has begun."""

    id: int
    mailbox: MailboxId


def begin(account: AccountId, mailbox: MailboxId, name: str, removal: Removal) -> Script[Act]:
    """Write down the act; what it removes is told by keep()."""
    [(number,)] = yield sql(
        "INSERT INTO removal (account, mailbox, name, at, agent) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        account, mailbox, name, removal.at, removal.agent[:AGENT],
    )  # fmt: skip
    return Act(number, mailbox)


_KEPT = (
    "INSERT INTO removed (removal, uid, email, flags, keywords) SELECT $4, p.uid, p.email, p.flags, p.keywords"
    " FROM placement p WHERE p.mailbox = $1 AND p.uid BETWEEN $2 AND $3"
)
_LAST = " AND (p.shared = 0 OR NOT EXISTS (SELECT 1 FROM placement o WHERE o.email = p.email AND o.mailbox <> $1))"


def keep(act: Act, spans: Spans, where: str = "", *, shared: bool) -> Script[None]:
    """Keep what is about to leave `spans`. `shared`: some of it may stand elsewhere too; then settle() must follow
    once it has left."""
    for first, last in spans:
        yield sql(_KEPT + where + (_LAST if shared else ""), act.mailbox, first, last, act.id)


def settle(act: Act, spans: Spans) -> Script[None]:
    """Take out what has a placement left, in the same mailbox, and Emails that stood there twice."""
    if not spans:
        return
    first, last = spans[0][0], spans[-1][1]
    yield sql(
        "DELETE FROM removed WHERE removal = $1 AND uid BETWEEN $2 AND $3"
        " AND (EXISTS (SELECT 1 FROM placement p WHERE p.email = removed.email) OR uid NOT IN"
        " (SELECT min(uid) FROM removed WHERE removal = $1 AND uid BETWEEN $2 AND $3 GROUP BY email))",
        act.id, first, last,
    )  # fmt: skip
    yield from close_if_empty(act.id)


def close_if_empty(act: int) -> Script[None]:
    """An act of which nothing is left goes, unless a deleted mailbox is still being emptied for it."""
    yield sql(
        "DELETE FROM removal WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM removed WHERE removal = $1)"
        " AND NOT EXISTS (SELECT 1 FROM discarded WHERE removal = $1)",
        act,
    )


def end_emails(which: str, args: tuple[object, ...]) -> Script[None]:
    """End the Emails whose id is `which`: row, header, reference to the blob."""
    yield sql(
        "UPDATE blob SET refs = refs - ended.number FROM (SELECT blob, count(*) AS number FROM email"
        f" WHERE id {which} GROUP BY blob) AS ended WHERE blob.id = ended.blob",
        *args,
    )  # fmt: skip
    for table in _DEAD:
        yield sql(f"DELETE FROM {table} WHERE email {which}", *args)
    yield sql(f"DELETE FROM email WHERE id {which}", *args)


# --- for good


class Ended(NamedTuple):
    """What one step ended for good: Emails, and when the last of them was removed; `more` may be left."""

    emails: int
    at: Millis
    more: bool


def end(before: Millis, limit: int = END_CHUNK) -> Script[Ended]:
    """End up to `limit` Emails that were removed before this moment, those removed first."""
    ended, at = 0, FORGOTTEN
    for _ in range(limit):  # inside one script, in the writer's thread; each turn ends an act or fills the limit
        if ended == limit:
            break
        acts = yield sql(
            "SELECT id, at FROM removal r WHERE at < $1"
            " AND NOT EXISTS (SELECT 1 FROM discarded d WHERE d.removal = r.id) ORDER BY at, id LIMIT 1",
            before,
        )
        if not acts:
            return Ended(ended, at, more=False)
        [(act, at)] = acts
        ended += yield from _end_some(act, limit - ended)
    return Ended(ended, at, more=True)


def _end_some(act: int, limit: int) -> Script[int]:
    rows = yield sql("SELECT uid FROM removed WHERE removal = $1 ORDER BY uid LIMIT $2", act, limit)
    if rows:
        yield from end_uids(act, [uid for (uid,) in rows])
    yield from close_if_empty(act)
    return len(rows)


def next_account(after: AccountId) -> Script[AccountId | None]:
    """The next account that removed something."""
    rows = yield sql("SELECT account FROM removal WHERE account > $1 ORDER BY account LIMIT 1", after)
    return AccountId(rows[0][0]) if rows else None


def kept_of(account: AccountId) -> Script[tuple[int, int]]:
    """How many Emails of an account are kept, and how many octets."""
    [(count, octets)] = yield sql(
        "SELECT count(*), coalesce(sum(e.size), 0) FROM removal r CROSS JOIN removed d ON d.removal = r.id"
        " CROSS JOIN email e ON e.id = d.email WHERE r.account = $1",
        account,
    )
    return int(count), int(octets)


def end_oldest(account: AccountId, octets: int, limit: int = END_CHUNK) -> Script[tuple[int, int]]:
    """End what was removed first of one account, until so many octets are gone, and at most `limit` Emails; how many
    Emails and octets."""
    emails, gone = 0, 0
    for _ in range(limit):  # inside one script, in the writer's thread; each turn ends an act or is the last
        acts = yield sql(
            "SELECT id FROM removal r WHERE account = $1 AND EXISTS (SELECT 1 FROM removed d WHERE d.removal = r.id)"
            " ORDER BY at, id LIMIT 1",
            account,
        )
        if not acts or gone >= octets or emails == limit:
            break
        [(act,)] = acts
        rows = yield sql(
            "SELECT d.uid, e.size FROM removed d JOIN email e ON e.id = d.email WHERE d.removal = $1"
            " ORDER BY d.uid LIMIT $2",
            act, limit - emails,
        )  # fmt: skip
        before = accumulate((size for _, size in rows), initial=gone)
        uids = [uid for (uid, _), so_far in zip(rows, before, strict=False) if so_far < octets]
        yield from end_uids(act, uids)
        yield from close_if_empty(act)
        emails, gone = emails + len(uids), gone + sum(size for _, size in rows[: len(uids)])
    return emails, gone


def end_uids(act: int, uids: list[int]) -> Script[None]:
    """End Emails of one act. `uids` ascend, and between them none of the act is missing."""
    args = (act, uids[0], uids[-1])
    yield from end_emails("IN (SELECT email FROM removed WHERE removal = $1 AND uid BETWEEN $2 AND $3)", args)
    yield sql("DELETE FROM removed WHERE removal = $1 AND uid BETWEEN $2 AND $3", *args)


def forget_account(account: AccountId) -> Script[None]:
    """Nothing of this account shall be kept any longer: end() takes it next."""
    yield sql("UPDATE removal SET at = $2 WHERE account = $1", account, FORGOTTEN)
