"""When what is in Trash and Junk, and what is recently deleted, is old enough to go (decision 0100).

Rules count the time in which this server could see it pass. The save date of a message (RFC 8514 §2) is a time of the
wall clock; where that clock was set forward, or the machine was away, a gap is noted that does not count. So a clock
that jumps ten years empties nobody's Trash, and what was there before the first rule is as old as that rule.
"""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.ids import UID, AccountId, MailboxId, Millis
from posthouse.store.mailboxes import Box
from posthouse.store.moment import Moment, jumped
from posthouse.store.script import NotFound, Row, Script, sql

DAY = 24 * 3_600_000  # milliseconds
AWAY = DAY  # of a time in which nobody looked at the clock so much counts: a machine that is off over night is usual
GAPS = 1_000  # kept, the newest; a machine that is off for more than a day has some in a month
MAILBOXES = 500  # with a rule, read at once
EXPIRE_CHUNK = 500  # messages that one script removes: about 10 ms of the writer

Gaps = Sequence[tuple[int, int]]  # (since, until) of the wall clock, in the order in which they came


class Rules(NamedTuple):
    """After how many days messages leave mailboxes of these uses; 0: never."""

    trash: int
    junk: int


class Ruled(NamedTuple):
    """A mailbox with a rule. `own`: it is the mailbox's, not that of its use."""

    account: AccountId
    mailbox: MailboxId
    name: str
    role: str | None
    days: int
    own: bool

    @property
    def box(self) -> Box:
        """What the verbs on messages take."""
        return Box(self.account, self.mailbox)


# --- the clock


def keep_time(at: Moment) -> Script[list[tuple[int, int]]]:
    """Look at the clocks, note a gap where there is one; all gaps that are known. To be called every few minutes."""
    [(known, ahead, seen)] = yield sql("SELECT boot, ahead, seen FROM retention_clock")
    started = at.boot != known or not at.boot
    jump = jumped(at, ahead, seen, started=started)
    gap: tuple[int, int] | None = None
    if jump > 0:
        gap = (at.now - jump, at.now)
    elif started and at.now - seen > AWAY:
        gap = (seen + AWAY, at.now)
    if jump < 0:  # what lies ahead now is still to come, and will count
        yield sql("DELETE FROM retention_gap WHERE since >= $1", at.now)
        yield sql("UPDATE retention_gap SET until = $1 WHERE until > $1", at.now)
    if gap is not None:
        yield sql("INSERT INTO retention_gap (since, until) VALUES ($1, $2)", *gap)
        yield sql(
            "DELETE FROM retention_gap WHERE until <= (SELECT until FROM retention_gap ORDER BY until DESC"
            " LIMIT 1 OFFSET $1)",
            GAPS,
        )
    yield sql("UPDATE retention_clock SET boot = $1, ahead = $2, seen = $3", at.boot, at.now - at.uptime, at.now)
    rows = yield sql("SELECT since, until FROM retention_gap ORDER BY until")
    return [(since, until) for since, until in rows]


def cutoff(now: Millis, days: int, gaps: Gaps) -> Millis:
    """The moment of the wall clock since which so many days have passed that count."""
    left, until = days * DAY, int(now)
    for since, end in reversed(gaps):
        lived = until - end
        if lived >= left:
            break
        left -= max(0, lived)
        until = min(until, since)
    return Millis(until - left)


# --- rules


def ruled(rules: Rules, after: MailboxId) -> Script[list[Ruled]]:
    """Mailboxes that have messages and a rule, by their ids, MAILBOXES of those above `after`."""
    rows = yield sql(
        "SELECT m.account, m.id, m.name, m.role, r.days FROM mailbox m LEFT JOIN retention_rule r ON r.mailbox = m.id"
        " WHERE m.id > $1 AND m.account > 0 AND m.total > 0 AND (r.days IS NOT NULL OR m.role IN ('trash', 'junk'))"
        " ORDER BY m.id LIMIT $2",
        after, MAILBOXES,
    )  # fmt: skip
    return [_ruled(rules, row) for row in rows]


def _ruled(rules: Rules, row: Row) -> Ruled:
    account, mailbox, name, role, days = row
    usual = {"trash": rules.trash, "junk": rules.junk}.get(role or "", 0)
    return Ruled(account, mailbox, name, role, usual if days is None else days, days is not None)


def rules_of(account: AccountId, rules: Rules) -> Script[list[Ruled]]:
    """The mailboxes of an account that have a rule, sorted by name, also where that is that messages stay."""
    rows = yield sql(
        "SELECT m.account, m.id, m.name, m.role, r.days FROM mailbox m LEFT JOIN retention_rule r ON r.mailbox = m.id"
        " WHERE m.account = $1 AND (r.days IS NOT NULL OR m.role IN ('trash', 'junk')) ORDER BY m.name",
        account,
    )
    return [_ruled(rules, row) for row in rows]


def inbox_days(account: AccountId) -> Script[int]:
    """After how many days messages leave this user's INBOX; 0: never. It has no use, so only a rule of its own."""
    rows = yield sql(
        "SELECT r.days FROM mailbox m JOIN retention_rule r ON r.mailbox = m.id WHERE m.account = $1 AND m.name = $2",
        account, "INBOX",
    )  # fmt: skip
    return int(rows[0][0]) if rows else 0


def least_inbox_days() -> Script[int]:
    """The fewest days after which messages leave the INBOX of anybody; 0: never."""
    [(days,)] = yield sql(
        "SELECT min(r.days) FROM retention_rule r JOIN mailbox m ON m.id = r.mailbox"
        " WHERE r.days > 0 AND m.name = $1 AND m.account > 0",
        "INBOX",
    )
    return int(days or 0)


def set_rule(box: Box, days: int | None) -> Script[None]:
    """Messages leave this mailbox after so many days; 0: never; None: as its use says. Raises NotFound."""
    if not (yield sql("SELECT 1 FROM mailbox WHERE id = $1 AND account = $2", box.mailbox, box.account)):
        raise NotFound("there is no such mailbox")
    yield sql("DELETE FROM retention_rule WHERE mailbox = $1", box.mailbox)
    if days is not None:
        yield sql("INSERT INTO retention_rule (mailbox, days) VALUES ($1, $2)", box.mailbox, days)


def overdue(box: Box, before: Millis, limit: int = EXPIRE_CHUNK) -> Script[list[UID]]:
    """Messages that came into the mailbox before this moment, ascending."""
    rows = yield sql(
        "SELECT uid FROM placement WHERE mailbox = $1 AND saved < $2 ORDER BY uid LIMIT $3", box.mailbox, before, limit
    )
    return [UID(uid) for (uid,) in rows]
