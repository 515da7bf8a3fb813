"""Removed users, kept for a while, whole, so that a mistake can be undone (decision 0139).

Who is removed has no account: no name, no password, no sign-in, nothing that mail or a right could lead to. Mailboxes,
messages, UIDs and all else that knows the user by a number stays; the mailboxes are of the same number with its sign
changed, so that every verb finds them gone. What stood in the account's row, and what others had of the user by name,
is kept as an annotation of a mailbox that cannot be.
"""

import unicodedata
from typing import NamedTuple

import msgspec

from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import AccountId, Millis, ModSeq
from posthouse.store import accounts, aliases, logins
from posthouse.store.accounts import EVERYBODY, Credential, User, canonical, fold
from posthouse.store.crashpoint import crashpoint
from posthouse.store.mailboxes import next_modseq
from posthouse.store.namespace import prefix_of
from posthouse.store.script import NotFound, Refused, Row, Script, sql

GIVEN = (
    100_000  # rights and followers that are kept, of each: some 10 MiB in the row; beyond that they do not come back
)
NOWHERE = -1  # the mailbox of the annotations; no mailbox has such a number, and no mail program can name it
ENTRY = "removed user"  # their name, which is none that a mail program could write (RFC 5464 \u00a73.2)


class Kept(msgspec.Struct, frozen=True):
    """What a row of a removed user keeps. `rights`: mailboxes of others, the sign of the entry, and what was given;
    `followers`: who was subscribed to which mailbox of the user; `former`: names of the user before."""

    at: int  # Millis
    local: str
    domain: str
    modseq: int
    devices_only: int
    most: tuple[int | None, int | None, int | None]
    warned: int
    credential: Credential | None  # None: a directory has it
    rights: tuple[tuple[int, str, str], ...]
    followers: tuple[tuple[int, str], ...]
    former: tuple[tuple[str, str], ...]  # local part and domain


class RemovedUser(NamedTuple):
    """Somebody who may come back. What counts is what the mailboxes hold."""

    account: AccountId
    address: Address
    at: Millis
    messages: int
    octets: int
    directory: bool


Names = tuple[tuple[str, str], ...]

_decoder = msgspec.json.Decoder(Kept)


def aside(account: AccountId) -> AccountId:
    """Whose the mailboxes of a removed user are: nobody has such a number."""
    return AccountId(-account)


def set_aside(address: Address, now: Millis) -> Script[AccountId]:
    """Remove a user, and keep all of it. Raises NotFound, Refused while aliases or a catch-all lead to the user."""
    account, address = yield from accounts.require(address)
    former = yield from _take_former_names(account)
    yield from _require_alone(address)
    modseq = yield from next_modseq(account)  # open sessions look, and find that nothing is left
    yield from logins.sign_in_changed(account)
    kept = yield from _gather(User(account, address), (modseq, former), now)
    yield sql(
        "INSERT INTO annotation (mailbox, reader, entry, fold, value, change) VALUES ($1, $2, $3, $3, $4, 0)",
        NOWHERE, account, ENTRY, msgspec.json.encode(kept),
    )  # fmt: skip
    yield sql("DELETE FROM url_key WHERE account = $1", account)
    yield sql("DELETE FROM url_key WHERE mailbox IN (SELECT id FROM mailbox WHERE account = $1)", account)
    yield from accounts.forget_elsewhere(address)
    crashpoint("store.inside_set_aside")
    yield sql("UPDATE mailbox SET account = $2 WHERE account = $1", account, aside(account))
    yield from accounts.forget_name(account)
    return account


def remove(address: Address) -> Script[None]:
    """Remove a user for good, at once, as accounts.remove_account; former names go along. Raises NotFound, Refused."""
    account, address = yield from accounts.require(address)
    yield from _take_former_names(account)
    yield from accounts.remove_account(address)


def hindered(user: User) -> Script[str]:
    """What leads to a user, in words, so that the user cannot be removed; "" where nothing does, or where former names
    have to be looked through, as removing does."""
    if (yield sql("SELECT 1 FROM former WHERE account = $1 LIMIT 1", user.account)):
        return ""
    return (yield from accounts.leading_to(user.address))


def _require_alone(address: Address) -> Script[None]:
    leading = yield from accounts.leading_to(address)
    if leading:
        raise Refused(f"{leading} leads to {address}; change or remove it first")


def _take_former_names(account: AccountId) -> Script[Names]:
    """What the user was called before leads nowhere any more. Raises Refused where something leads to such a name."""
    rows = yield sql(
        "SELECT DISTINCT a.local, a.domain FROM former f JOIN alias a ON a.domain = f.domain AND a.fold = f.fold"
        " WHERE f.account = $1 ORDER BY a.domain, a.local",
        account,
    )
    for local, domain in rows:  # inside one script, in the writer's thread
        yield from _require_alone(Address(local, Domain(domain)))
    for local, domain in rows:
        yield from aliases.forget_targets(Address(local, Domain(domain)))
    return tuple((local, domain) for local, domain in rows)


def _gather(user: User, last: tuple[ModSeq, Names], now: Millis) -> Script[Kept]:
    account, address = user
    modseq, former = last
    [(devices_only, *most, warned)] = yield sql(
        "SELECT devices_only, most_octets, most_messages, most_mailboxes, warned FROM account WHERE id = $1", account
    )
    name, prefix = canonical(address), prefix_of(address)
    rights = yield sql(
        "SELECT mailbox, substr(identifier, 1, length(identifier) - length($1)), rights FROM access"
        " WHERE identifier IN ($1, $2) ORDER BY mailbox, identifier LIMIT $3",
        name, f"-{name}", GIVEN,
    )  # fmt: skip
    followers = yield sql(
        "SELECT account, substr(name, $3) FROM subscription WHERE name >= $1 AND name < $2 ORDER BY account, name"
        " LIMIT $4",
        prefix, prefix[:-1] + "0", len(prefix) + 1, GIVEN,
    )  # fmt: skip
    return Kept(
        now, address.local, address.domain.name, modseq, devices_only, tuple(most), warned,
        (yield from accounts.credential_of(account)), _triples(rights),
        tuple((one, rest) for one, rest in followers), former,
    )  # fmt: skip


def _triples(rows: list[Row]) -> tuple[tuple[int, str, str], ...]:
    return tuple((mailbox, sign, letters) for mailbox, sign, letters in rows)


def list_removed() -> Script[list[RemovedUser]]:
    """Those who may come back, the one removed last first."""
    rows = yield sql(
        "SELECT n.reader, n.value, (SELECT coalesce(sum(total), 0) FROM mailbox WHERE account = -n.reader),"
        " (SELECT coalesce(sum(size), 0) FROM mailbox WHERE account = -n.reader) FROM annotation n"
        " WHERE n.mailbox = $1",
        NOWHERE,
    )
    found = [_shown(AccountId(account), _decoder.decode(value), *counts) for account, value, *counts in rows]
    return sorted(found, key=lambda one: (one.at, one.account), reverse=True)


def _shown(account: AccountId, kept: Kept, messages: int, octets: int) -> RemovedUser:
    address = Address(kept.local, Domain(kept.domain))
    return RemovedUser(account, address, Millis(kept.at), messages, octets, kept.credential is None)


def _kept(account: AccountId) -> Script[Kept]:
    rows = yield sql("SELECT value FROM annotation WHERE mailbox = $1 AND reader = $2", NOWHERE, account)
    if not rows:
        raise NotFound("there is no such removed user")
    return _decoder.decode(rows[0][0])


def bring_back(account: AccountId, address: Address) -> Script[tuple[Address, ...]]:
    """The user is there again, under this address; which former names lead there again. Raises NotFound (the user, the
    domain), Refused (it is another name of one), Exists (a user, group or alias has the address)."""
    kept = yield from _kept(account)
    yield from accounts.require_domain(address.domain)
    yield from accounts.require_free(address)
    if address.local == EVERYBODY:
        raise Refused(f"{EVERYBODY} alone stands for all users of a domain; the name must be another one")
    [(newest, octets, messages, mailboxes)] = yield sql(
        "SELECT coalesce(max(modseq), 0), coalesce(sum(size), 0), coalesce(sum(total), 0), count(*) FROM mailbox"
        " WHERE account = $1",
        aside(account),
    )
    yield sql(
        "INSERT INTO account (id, domain, fold, local, modseq, devices_only, octets, messages, mailboxes, most_octets,"
        " most_messages, most_mailboxes, warned) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        account, address.domain.name, fold(address.local), _local(address), max(kept.modseq, newest), kept.devices_only,
        octets, messages, mailboxes, *kept.most, kept.warned,
    )  # fmt: skip
    yield sql("UPDATE mailbox SET account = $1 WHERE account = $2", account, aside(account))
    crashpoint("store.inside_bring_back")
    if kept.credential is None:
        yield sql("INSERT INTO directory_user (account) VALUES ($1)", account)
    else:
        yield from accounts.put_credential(account, kept.credential)
    yield from _give_again(kept, address)
    yield sql("DELETE FROM annotation WHERE mailbox = $1 AND reader = $2", NOWHERE, account)
    yield from next_modseq(account)
    yield from logins.sign_in_changed(account)
    return (yield from _name_again(User(account, address), kept.former))


def _name_again(user: User, former: Names) -> Script[tuple[Address, ...]]:
    """Former names that are free, in domains that are here, lead to the user again."""
    again = []
    for local, domain in former:  # inside one script, in the writer's thread
        name = Address(local, Domain(domain))
        here = yield from accounts.at_home(name)
        taken = (yield from accounts.find(name)) is not None or (yield from accounts.targets_of(name))
        if here != name or taken:
            continue
        yield from aliases.put_targets(name, [canonical(user.address)])
        yield sql("INSERT INTO former (domain, fold, account) VALUES ($1, $2, $3)", domain, fold(local), user.account)
        again.append(name)
    return tuple(again)


def _local(address: Address) -> str:
    return unicodedata.normalize("NFC", address.local)


def _give_again(kept: Kept, address: Address) -> Script[None]:
    """What others had given to the user, and what they were subscribed to, as far as it is still there."""
    name, prefix = canonical(address), prefix_of(address)
    for mailbox, sign, letters in kept.rights:  # inside one script, in the writer's thread
        yield sql(
            "INSERT INTO access (mailbox, identifier, rights) SELECT id, $2, $3 FROM mailbox WHERE id = $1"
            " ON CONFLICT DO NOTHING",
            mailbox, sign + name, letters,
        )  # fmt: skip
    for follower, rest in kept.followers:  # the same
        yield sql(
            "INSERT INTO subscription (account, name) SELECT $1, $2 WHERE EXISTS (SELECT 1 FROM account WHERE id = $1)"
            " OR EXISTS (SELECT 1 FROM annotation WHERE mailbox = $3 AND reader = $1) ON CONFLICT DO NOTHING",
            follower, prefix + rest, NOWHERE,
        )  # fmt: skip


# --- for good


def overdue(before: Millis) -> Script[list[RemovedUser]]:
    """Those who were removed before this moment, the first one first."""
    return [one for one in reversed((yield from list_removed())) if one.at < before]


def end(account: AccountId) -> Script[None]:
    """Nothing is kept of a removed user any longer; rows go piece by piece afterwards (gc.purge). Raises NotFound."""
    yield from _kept(account)
    yield sql("UPDATE mailbox SET account = $1 WHERE account = $2", account, aside(account))
    yield from accounts.forget_belongings(account)


def end_first() -> Script[RemovedUser | None]:
    """End the one who was removed first, to make room; None: there is none, or what went before is still going."""
    if (yield sql("SELECT 1 FROM discarded LIMIT 1")):
        return None
    some = yield from list_removed()
    if not some:
        return None
    yield from end(some[-1].account)
    return some[-1]
