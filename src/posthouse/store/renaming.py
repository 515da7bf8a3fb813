"""Users and domains get other names, and keep all the rest: mail, UIDs, flags, passwords, what others allowed them.

Accounts are known by their ids; their names stand in aliases, groups, catch-alls, access control lists, and in what
others are subscribed to. All of these change in the transaction that changes the name. What has happened keeps the name
it had then: the queue and the journal.
"""

import unicodedata

from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.ids import AccountId
from posthouse.store import accounts, aliases, domainkeys, logins
from posthouse.store.accounts import canonical, fold
from posthouse.store.mailboxes import SEPARATOR, next_modseq
from posthouse.store.namespace import OTHERS, prefix_of
from posthouse.store.script import Exists, Refused, Row, Script, sql

SHOWN = 5  # names said in a refusal

# Every place where a name stands as text, and may stand once more.
_NAMES = (("alias", "target"), ("domain", "catch_all"), ("access", "identifier"))


def rename_user(old: Address, new: Address, *, keep: bool) -> Script[None]:
    """Give a user another address; with `keep` the old one still leads there and still logs in.

    Raises NotFound (the user, the domain), Refused (the domain is another name of one), Exists (a user, group or alias
    has the name)."""
    account, old = yield from accounts.require(old)
    yield from accounts.require_domain(new.domain)
    if canonical(new) != canonical(old):
        yield from _make_room(account, new)
    others = yield from accounts.spellings_of(old)
    yield sql(
        "UPDATE account SET domain = $2, fold = $3, local = $4 WHERE id = $1",
        account, new.domain.name, fold(new.local), unicodedata.normalize("NFC", new.local),
    )  # fmt: skip
    for text in (canonical(old), *others):  # inside one script, in the writer's thread
        yield from _in_texts(text, canonical(new))
    yield from _in_subscriptions(prefix_of(old), prefix_of(new))
    if keep and canonical(new) != canonical(old):
        yield from aliases.put_targets(old, [canonical(new)])
        yield sql(
            "INSERT INTO former (domain, fold, account) VALUES ($1, $2, $3)", old.domain.name, fold(old.local), account
        )
    yield from next_modseq(account)
    yield from logins.sign_in_changed(account)


def _make_room(account: AccountId, new: Address) -> Script[None]:
    """An alias that leads to this user alone gives its name to the user."""
    rows = yield sql("SELECT target FROM alias WHERE domain = $1 AND fold = $2", new.domain.name, fold(new.local))
    target = parse_address(rows[0][0]) if len(rows) == 1 else None
    found = None if target is None else (yield from accounts.find(target))
    if found is not None and found.account == account and (yield from accounts.senders_of(new)) is None:
        yield from aliases.forget_targets(new)
    yield from accounts.require_free(new)


def name_domain(other: Domain, domain: Domain) -> Script[None]:
    """Make a domain another name of one that is here. Raises NotFound, Refused (it has users or aliases, or other
    names, or the other one is such a name itself)."""
    if other.literal:
        raise Refused("an address literal cannot be a domain of this server")
    if other == domain:
        raise Refused(f"{domain} would be another name of itself")
    yield from accounts.require_domain(domain)
    if (yield from accounts.is_local(other)):
        yield from accounts.remove_domain(other)
    yield sql("INSERT INTO domain (name, leads_to) VALUES ($1, $2)", other.name, domain.name)


def rename_domain(old: Domain, new: Domain, *, keep: bool) -> Script[int]:
    """Move all users, groups, aliases and the catch-all of a domain to another; how many users. With `keep` the old
    one is from now on another name of it. The new one may be here already, where no name is taken in both.

    Raises NotFound, Refused (an address literal, or a name of another domain), Exists (names that are taken)."""
    if new.literal:
        raise Refused("an address literal cannot be a domain of this server")
    yield from accounts.require_domain(old)
    if old == new:
        raise Refused(f"{old} is its name already")
    yield from _prepare(old, new)
    rows: list[Row] = yield sql("SELECT id, local FROM account WHERE domain = $1 ORDER BY id", old.name)
    for column in ("catch_all", "most_octets", "most_messages", "most_mailboxes"):  # what the new one says itself stays
        yield sql(
            f"UPDATE domain SET {column} = (SELECT {column} FROM domain WHERE name = $1)"
            f" WHERE name = $2 AND {column} IS NULL",
            old.name, new.name,
        )  # fmt: skip
    for table in ("account", "alias", "grouping", "former"):
        yield sql(f"UPDATE {table} SET domain = $2 WHERE domain = $1", old.name, new.name)
    yield from _move_texts(old, new)
    yield sql("UPDATE domain SET leads_to = $2 WHERE leads_to = $1", old.name, new.name)
    yield sql("DELETE FROM domain WHERE name = $1", old.name)
    if keep:
        yield sql("INSERT INTO domain (name, leads_to) VALUES ($1, $2)", old.name, new.name)
    else:
        yield from domainkeys.forget(old.name)
    for account, _ in rows:  # inside one script, in the writer's thread
        yield from next_modseq(AccountId(account))
        yield from logins.sign_in_changed(AccountId(account))
    return len(rows)


def _prepare(old: Domain, new: Domain) -> Script[None]:
    """See that the new domain is here, and that no name of the old one is taken there."""
    there = yield sql("SELECT leads_to FROM domain WHERE name = $1", new.name)
    if not there:
        yield from accounts.add_domain(new)
        return
    if there[0][0] == old.name:  # it was another name of the old one: now it is the first
        yield sql("UPDATE domain SET leads_to = NULL WHERE name = $1", new.name)
        return
    if there[0][0] is not None:
        raise Refused(f"{new} is another name of {there[0][0]}; remove that first: posthouse domain remove {new}")
    theirs = "SELECT fold FROM account WHERE domain = $2 UNION SELECT fold FROM alias WHERE domain = $2"
    both = " UNION ".join(
        f"SELECT local FROM {table} WHERE domain = $1 AND fold IN ({theirs})" for table in ("account", "alias")
    )
    taken = yield sql(f"{both} ORDER BY local LIMIT {SHOWN}", old.name, new.name)
    if taken:
        names = ", ".join(str(Address(local, new)) for (local,) in taken)
        raise Exists(f"taken in both domains, so one of each has to go or be renamed first: {names}")


def _move_texts(old: Domain, new: Domain) -> Script[None]:
    """The same for all names of a domain at once; their local parts stay as they are."""
    ends = "substr({0}, length({0}) - $3 + 1) = $1"
    moved = "substr({0}, 1, length({0}) - $3) || $2"
    args = (f"@{old}", f"@{new}", len(old.name) + 1)
    for table, column in _NAMES:
        where = ends.format(column)
        yield sql(f"UPDATE OR IGNORE {table} SET {column} = {moved.format(column)} WHERE {where}", *args)
        if table != "domain":
            yield sql(f"DELETE FROM {table} WHERE {ends.format(column).replace('$3', '$2')}", args[0], args[2])
    # Of `Other Users/anna@old.example/Work` the owner is what stands between the first two separators.
    begin = f"{OTHERS}{SEPARATOR}"
    rest = f"substr(name, {len(begin) + 1})"
    owner = f"substr({rest}, 1, instr({rest}, '{SEPARATOR}') - 1)"
    below = f"substr({rest}, instr({rest}, '{SEPARATOR}'))"
    yield sql(
        f"UPDATE OR IGNORE subscription SET name = '{begin}' || {moved.format(owner)} || {below}"
        f" WHERE name >= '{begin}' AND name < '{begin[:-1]}0' AND {ends.format(owner)}",
        *args,
    )


def _in_texts(before: str, after: str) -> Script[None]:
    """The names in all texts that name a user. Some entries go where both names stood in one list."""
    if before == after:
        return
    for table, column in _NAMES:
        for sign in ("", "-") if table == "access" else ("",):
            names = (sign + before, sign + after)
            yield sql(f"UPDATE OR IGNORE {table} SET {column} = $2 WHERE {column} = $1", *names)
            if table != "domain":  # the primary key of the others has the name in it
                yield sql(f"DELETE FROM {table} WHERE {column} = $1", names[0])


def _in_subscriptions(before: str, after: str) -> Script[None]:
    """What others are subscribed to keeps its place under the new name; "0" follows the separator "/"."""
    if before == after:
        return
    among = "name >= $1 AND name < $2"
    edge = before[:-1] + "0"
    yield sql(
        f"UPDATE OR IGNORE subscription SET name = $3 || substr(name, $4) WHERE {among}",
        before, edge, after, len(before) + 1,
    )  # fmt: skip
    yield sql(f"DELETE FROM subscription WHERE {among}", before, edge)
