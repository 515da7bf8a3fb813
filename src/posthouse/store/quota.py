"""Quotas: what a user's mailboxes hold, how much they may, and who sets that (RFC 9208 §3, decisions 0095, 0096).

What counts is what IMAP shows: each message in each mailbox, with the octets of its RFC822.SIZE. The counters stand in
the row of the account and change with those of its mailboxes, by triggers (quota.sql), so they are exact in every
transaction. A limit that nobody has set is the domain's, then the house's, then that of the settings, which is handed
in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import AccountId, MailboxId, ModSeq
from posthouse.store.mailboxes import MAILBOXES, next_modseq
from posthouse.store.script import Changed, Full, NotFound, OverQuota, Row, Script, sql

UNLIMITED = -1  # as a limit: there is none, whatever the domain or the house says
LARGEST = ((1 << 53) - 1) * 1024  # octets of the largest limit: what fits into 63 bits (RFC 9208 §3.1.2)
DELETED_AT_ONCE = 5_000  # mailboxes of one STATUS or LIST, as many as there can be

_LIMITS = ("most_octets", "most_messages", "most_mailboxes")


class Limits(NamedTuple):
    """How much there may be. None: it is not said here; UNLIMITED: any number."""

    octets: int | None = None
    messages: int | None = None
    mailboxes: int | None = None


class Usage(NamedTuple):
    """How much there is."""

    octets: int = 0
    messages: int = 0
    mailboxes: int = 0


NOTHING = Usage()
NOTHING_SAID = Limits()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say: the limits where nobody has set others, and how far mail that was promised may pass them
    (decision 0097): so many percent of the limit, or so many octets and messages, whichever is more."""

    default: Limits = NOTHING_SAID
    overdraft_percent: int = 10
    overdraft_octets: int = 50 * 1024 * 1024
    overdraft_messages: int = 100

    def beyond(self, limits: Limits) -> Limits:
        """The limits with the overdraft on top."""
        octets, messages = limits.octets, limits.messages
        return limits._replace(
            octets=None if octets is None else octets + self._more(octets, self.overdraft_octets),
            messages=None if messages is None else messages + self._more(messages, self.overdraft_messages),
        )

    def _more(self, limit: int, least: int) -> int:
        return max(limit * self.overdraft_percent // 100, least)


class Quota(NamedTuple):
    """Usage and limits of an account as of one moment. As rows have it, a limit of None is not said; under the
    `Rules` it is none."""

    usage: Usage
    limits: Limits

    def under(self, rules: Rules) -> "Quota":
        """The limits as they apply. There is always one on mailboxes."""
        octets, messages, mailboxes = (
            None if most == UNLIMITED else most
            for most in (
                usual if most is None else most for most, usual in zip(self.limits, rules.default, strict=True)
            )
        )
        most_mailboxes = MAILBOXES if mailboxes is None else min(mailboxes, MAILBOXES)
        return Quota(self.usage, Limits(octets, messages, most_mailboxes))

    def fits(self, more: Usage, limits: Limits) -> bool:
        """Whether these octets and messages more are within `limits`."""
        return not any(
            most is not None and added and used + added > most
            for used, added, most in zip(self.usage, more, limits, strict=True)
        )

    @property
    def endless(self) -> bool:
        """Whether octets and messages may come without a limit, however many there are."""
        return self.limits.octets is None and self.limits.messages is None

    @property
    def full(self) -> bool:
        """Whether no octet or no message more may come."""
        used, most = self.usage, self.limits
        return (most.octets is not None and used.octets >= most.octets) or (
            most.messages is not None and used.messages >= most.messages
        )

    @property
    def percent(self) -> int:
        """How much of the limit on octets or messages is used, whichever is closer."""
        return max(
            percent_of(self.usage.octets, self.limits.octets), percent_of(self.usage.messages, self.limits.messages)
        )


def percent_of(used: int, most: int | None) -> int:
    """How much of a limit is used; 0 where there is none."""
    if most is None:
        return 0
    return used * 100 // most if most else 100


# --- how it stands

_HOLDING = ("limit_octets", "limit_messages", "limit_mailboxes")
_QUOTA = f"octets, messages, mailboxes, {', '.join(_HOLDING)}"


def _quota(row: Row) -> Quota:
    return Quota(Usage(*row[:3]), Limits(*row[3:6]))


def of(account: AccountId, rules: Rules) -> Script[Quota]:
    """Usage and limits of an account. Raises NotFound."""
    rows = yield sql(f"SELECT {_QUOTA} FROM account WHERE id = $1", account)
    if not rows:
        raise NotFound("there is no such account")
    return _quota(rows[0]).under(rules)


def quotas_of(accounts: Sequence[AccountId]) -> Script[dict[AccountId, Quota]]:
    """The same of several, as their rows have it; those who are gone are left out."""
    found: dict[AccountId, Quota] = {}
    for account in accounts:  # inside one script
        rows = yield sql(f"SELECT {_QUOTA} FROM account WHERE id = $1", account)
        found.update((account, _quota(row)) for row in rows)
    return found


class Asked(NamedTuple):
    """What comes into an account, and how far it may go: `promised` mail into the overdraft."""

    rules: Rules
    promised: bool = False

    def admits(self, row: Row, more: Usage) -> bool:
        """Whether so much more fits; the row has octets and messages, and the limits on both. It is asked of all that
        arrives, so it is short where there is room."""
        usual = self.rules.default
        for used, coming, most, default in zip(row[:2], more, row[2:], usual, strict=False):
            limit = default if most is None else most
            if limit is not None and used + coming > limit >= 0:
                if not self.promised:
                    return False
                found = _quota((*row[:2], 0, *row[2:], None)).under(self.rules)
                return found.fits(more, self.rules.beyond(found.limits))
        return True


def begin(coming: dict[AccountId, Usage], asked: Asked | None) -> Script[dict[AccountId, ModSeq]]:
    """The next ModSeq of each account that something comes into, locked in id order, as next_modseq gives it. What
    stands there is asked with the same statement. Raises NotFound, and Full with those who have no room; without
    `asked` nobody looks: what the house itself has to say is always let in."""
    modseqs: dict[AccountId, ModSeq] = {}
    full: list[AccountId] = []
    for account in sorted(coming):
        if asked is None:
            modseqs[account] = yield from next_modseq(account)
            continue
        rows = yield sql(_NEXT, account)
        if not rows:
            raise NotFound("there is no such account")
        modseqs[account] = modseq = ModSeq(rows[0][0])
        yield Changed(account, modseq)
        if not asked.admits(rows[0][1:], coming[account]):
            full.append(account)
    if full:
        raise Full(full)
    return modseqs


_NEXT = (
    "UPDATE account SET modseq = modseq + 1 WHERE id = $1"
    " RETURNING modseq, octets, messages, limit_octets, limit_messages"
)


def demand(account: AccountId, asked: Asked, before: Usage = NOTHING) -> Script[bool]:
    """After something has come into an account: whether it is beyond its limits, in the overdraft. Raises Full, which
    undoes the transaction, where it is further than it may be. What is not more than `before` is no matter."""
    found = yield from of(account, asked.rules)
    more = Usage(*(max(0, now - then) for now, then in zip(found.usage, before, strict=True)))
    earlier = Quota(Usage(*(now - much for now, much in zip(found.usage, more, strict=True))), found.limits)
    if earlier.fits(more, found.limits._replace(mailboxes=None)):
        return False
    if asked.promised and earlier.fits(more, asked.rules.beyond(found.limits)._replace(mailboxes=None)):
        return True
    raise Full([account])


def demand_mailboxes(account: AccountId, rules: Rules, before: int = 0) -> Script[None]:
    """After mailboxes were made. Raises OverQuota where there are too many now, and more than before."""
    found = yield from of(account, rules)
    most = found.limits.mailboxes
    if most is not None and found.usage.mailboxes > max(most, before):
        raise OverQuota(f"there may be at most {most} mailboxes here; delete some first")


def deleted_octets(mailboxes: Sequence[MailboxId]) -> Script[dict[MailboxId, int]]:
    """Octets of the messages with \\Deleted, of mailboxes that have some (RFC 9208 §4.1.4)."""
    found: dict[MailboxId, int] = {}
    for mailbox in mailboxes[:DELETED_AT_ONCE]:  # inside one script
        [(octets,)] = yield sql(
            "SELECT coalesce(sum(e.size), 0) FROM placement p JOIN email e ON e.id = p.email"
            " WHERE p.mailbox = $1 AND (p.flags & 16) <> 0",
            mailbox,
        )
        found[mailbox] = octets
    return found


# --- who sets it


class Whose(NamedTuple):
    """Whose limits: a user's, those of every user of a domain, or, with neither, of everybody."""

    account: AccountId | None = None
    domain: Domain | None = None

    @property
    def where(self) -> tuple[str, str, tuple[object, ...]]:
        """The table, its condition and what that needs."""
        if self.account is not None:
            return "account", "id = $1", (self.account,)
        if self.domain is not None:
            return "domain", "name = $1", (self.domain.name,)
        return "house_quota", "1 = 1", ()


def own_limits(whose: Whose) -> Script[Limits]:
    """What is set for exactly these, nothing of others. Raises NotFound."""
    table, condition, args = whose.where
    rows = yield sql(f"SELECT {', '.join(_LIMITS)} FROM {table} WHERE {condition}", *args)
    if not rows:
        raise NotFound("there is no such user or domain")
    return Limits(*rows[0])


def set_limits(whose: Whose, limits: Limits) -> Script[None]:
    """Set all three. It holds for whatever comes next, in all sessions. Raises NotFound."""
    yield from own_limits(whose)
    table, condition, args = whose.where
    first = len(args) + 1
    values = ", ".join(f"{name} = ${number}" for number, name in enumerate(_LIMITS, first))
    yield sql(f"UPDATE {table} SET {values} WHERE {condition}", *args, *limits)


# --- everybody


class Account(NamedTuple):
    """How a user stands."""

    id: AccountId
    address: Address
    quota: Quota
    warned: int


def everybody(rules: Rules, after: AccountId, limit: int) -> Script[list[Account]]:
    """Users in the order of their ids, so many after one."""
    rows = yield sql(
        f"SELECT id, local, domain, warned, {_QUOTA} FROM account WHERE id > $1 ORDER BY id LIMIT $2", after, limit
    )
    return [_account(row, rules) for row in rows]


def _account(row: Row, rules: Rules) -> Account:
    return Account(AccountId(row[0]), Address(row[1], Domain(row[2])), _quota(row[4:]).under(rules), row[3])


def concerned(rules: Rules, percent: int, after: AccountId, limit: int) -> Script[list[Account]]:
    """The same, of those only who use so much of a limit, or who were told that they did."""
    near = " OR ".join(
        f"(coalesce({most}, ${place}) >= 0 AND {used} * 100 >= coalesce({most}, ${place}) * $5)"
        for used, most, place in zip(Usage._fields[:2], _HOLDING, (3, 4), strict=False)
    )
    rows = yield sql(
        f"SELECT id, local, domain, warned, {_QUOTA} FROM account WHERE id > $1 AND (warned > 0 OR {near})"
        " ORDER BY id LIMIT $2",
        after, limit, *rules.default[:2], percent,
    )  # fmt: skip
    return [_account(row, rules) for row in rows]


def set_warned(account: AccountId, percent: int) -> Script[None]:
    """The percentage that the user knows of."""
    yield sql("UPDATE account SET warned = $2 WHERE id = $1", account, percent)


def warned(account: AccountId, rules: Rules) -> Script[tuple[int, Quota] | None]:
    """What the user was told of, and how it stands; None where nobody is there."""
    rows = yield sql(f"SELECT warned, {_QUOTA} FROM account WHERE id = $1", account)
    return (rows[0][0], _quota(rows[0][1:]).under(rules)) if rows else None


def largest(account: AccountId, limit: int) -> Script[list[tuple[str, int, int]]]:
    """The mailboxes that take most of the room: name, octets, messages."""
    rows = yield sql(
        "SELECT name, size, total FROM mailbox WHERE account = $1 AND total > 0 ORDER BY size DESC, name LIMIT $2",
        account, limit,
    )  # fmt: skip
    return [(name, size, total) for name, size, total in rows]


# --- proof


class Wrong(NamedTuple):
    """A counter that was not what a fresh count gives, and now is. `mailbox` is "" for the account's own."""

    mailbox: str
    counter: str
    counted: int
    found: int


_FRESH = (
    "SELECT count(*), coalesce(count(*) - sum(p.flags & 1), 0), coalesce(sum((p.flags & 16) / 16), 0),"
    " coalesce(sum(e.size), 0) FROM placement p JOIN email e ON e.id = p.email WHERE p.mailbox = $1"
)
_COUNTERS = ("total", "unseen", "deleted", "size")


def recount(account: AccountId) -> Script[list[Wrong]]:
    """Count all messages of an account, message by message, and mend what differs."""
    wrong: list[Wrong] = []
    rows = yield sql("SELECT id, name, total, unseen, deleted, size FROM mailbox WHERE account = $1", account)
    for mailbox, name, *counted in rows:  # inside one script, in the writer's thread
        [fresh] = yield sql(_FRESH, mailbox)
        differing = [
            Wrong(name, counter, had, has)
            for counter, had, has in zip(_COUNTERS, counted, fresh, strict=True)
            if had != has
        ]
        if differing:
            yield sql(
                "UPDATE mailbox SET total = $2, unseen = $3, deleted = $4, size = $5 WHERE id = $1", mailbox, *fresh
            )
            wrong += differing
    return wrong + (yield from _recount_account(account))


def _recount_account(account: AccountId) -> Script[list[Wrong]]:
    rows = yield sql("SELECT octets, messages, mailboxes FROM account WHERE id = $1", account)
    if not rows:
        return []
    [fresh] = yield sql(
        "SELECT coalesce(sum(size), 0), coalesce(sum(total), 0), count(*) FROM mailbox WHERE account = $1", account
    )
    if fresh == rows[0]:
        return []
    yield sql("UPDATE account SET octets = $2, messages = $3, mailboxes = $4 WHERE id = $1", account, *fresh)
    names = Usage._fields
    return [Wrong("", *each) for each in zip(names, rows[0], fresh, strict=True) if each[1] != each[2]]
