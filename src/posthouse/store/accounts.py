"""Domains, users, aliases, and where an address leads (RFC 5321 §3.9.1, §4.5.1).

Local parts are compared without regard to case (NFC, casefold); domains are canonical already.

An address is looked up in this order: a user or alias of exactly this name; the same without `+tag`; `postmaster` and
`abuse`, which every domain must have (RFC 5321 §4.5.1, RFC 2142 §2): the other one of the two where it is defined,
else the domain's first user; the domain's catch-all. Aliases may lead to aliases, which are expanded; every name is
visited once, so a loop ends by itself. A domain may be another name of one that is here: its addresses are those.
A group is an alias with a row in `grouping` (groups.py), which says who may write to it.
"""

import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.ids import AccountId, DeviceId, Millis
from posthouse.store import domainkeys, logins, removed, sending
from posthouse.store.mailboxes import NEW_MAILBOXES, Box, create, discard, list_mailboxes, next_modseq, subscribe
from posthouse.store.namespace import prefix_of
from posthouse.store.script import Exists, NotFound, Refused, Row, Script, sql

TARGETS = 1_000  # of one alias: as many as RCPTs of a transaction (limits.md)
READERS = 10_000  # users in one expansion: half a second of writing; more are refused, never cut
VISITS = 2_000  # names looked at in one expansion, so that aliases of aliases cannot multiply
TAG = "+"
EVERYBODY = "*"  # as the target of a group: all users of the domain
DUTIES = ("postmaster", "abuse")  # RFC 5321 §4.5.1, RFC 2142 §2


class ScramSecret(NamedTuple):
    """What a server keeps for SCRAM (RFC 5802 §3, RFC 5803 §2)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


class Credential(NamedTuple):
    """The proofs of one password: Argon2id in PHC form, SCRAM-SHA-256, and SCRAM-SHA-1. Passwords that were set before
    schema 5 have none of the last, until they are said once (decision 0103)."""

    password_hash: str
    scram_sha256: ScramSecret
    scram_sha1: ScramSecret | None = None


class Login(NamedTuple):
    """Who may open an account, and by what."""

    account: AccountId
    address: Address
    credential: Credential
    device: DeviceId | None = None  # the device password that opened it
    vouched: bool = False  # a provider's token or a certificate has opened it
    expires: Millis | None = None  # when the device password is over


NOWHERE = Credential("", ScramSecret(b"", 0, b"", b""))  # of a user of a directory: the secret is not here


class User(NamedTuple):
    """Somebody who has an account here, and the address of it."""

    account: AccountId
    address: Address


@dataclass(frozen=True, slots=True)
class NoSuchDomain:
    """The domain is not served here."""

    domain: Domain


@dataclass(frozen=True, slots=True)
class NoSuchUser:
    """The domain is served here; nobody has this local part."""

    address: Address


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Some way of the expansion leads out of this house: the addresses, and those who are here."""

    addresses: tuple[Address, ...]
    users: tuple[User, ...]


class Senders(Enum):
    """Who may write to a group."""

    ANYONE = "anyone"
    USERS = "users"  # who is logged in here
    MEMBERS = "members"  # who is logged in and gets its mail


@dataclass(frozen=True, slots=True)
class Closed:
    """A group that not everybody may write to, and whom it leads to."""

    senders: Senders
    users: tuple[User, ...]


@dataclass(frozen=True, slots=True)
class Overfull:
    """The address leads to more people than one message can be for."""

    address: Address


Nobody = NoSuchDomain | NoSuchUser | Overfull
Resolution = Nobody | Elsewhere | Closed | tuple[User, ...]


class DomainRow(NamedTuple):
    """A local domain."""

    name: Domain
    catch_all: Address | None
    accounts: int
    leads_to: Domain | None = None  # of which domain it is another name


class AccountRow(NamedTuple):
    """A user."""

    id: AccountId
    address: Address
    messages: int
    size: int  # octets
    directory: bool = False  # of a directory, which has the password


def fold(local: str) -> str:
    """The local part as it is compared."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())


def readable(text: str) -> Address:
    """A stored address. Raises NotFound."""
    address = parse_address(text)
    if address is None:
        raise NotFound(f"the stored address {text} cannot be read")
    return address


def is_local(domain: Domain) -> Script[bool]:
    """Whether the domain is served here."""
    rows = yield sql("SELECT 1 FROM domain WHERE name = $1", domain.name)
    return bool(rows)


def at_home(address: Address) -> Script[Address | None]:
    """The address in the domain that its domain is another name of; None where that is not served here."""
    rows = yield sql("SELECT leads_to FROM domain WHERE name = $1", address.domain.name)
    if not rows:
        return None
    return address if rows[0][0] is None else Address(address.local, Domain(rows[0][0]))


def require_domain(domain: Domain) -> Script[None]:
    """A domain of this house that is not another name of one. Raises NotFound, Refused."""
    rows = yield sql("SELECT leads_to FROM domain WHERE name = $1", domain.name)
    if not rows:
        raise NotFound(f"the domain {domain} is not served here")
    if rows[0][0] is not None:
        raise Refused(f"{domain} is another name of {rows[0][0]}, and has no users and aliases of its own")


def add_domain(name: Domain) -> Script[None]:
    """Raises Exists, Refused (an address literal)."""
    if name.literal:
        raise Refused("an address literal cannot be a domain of this server")
    if (yield from is_local(name)):
        raise Exists(f"the domain {name} exists")
    yield sql("INSERT INTO domain (name) VALUES ($1)", name.name)


def list_domains() -> Script[list[DomainRow]]:
    """Sorted by name."""
    rows = yield sql(
        "SELECT name, catch_all, (SELECT count(*) FROM account a WHERE a.domain = d.name), leads_to FROM domain d"
        " ORDER BY name"
    )
    return [
        DomainRow(Domain(name), readable(catch) if catch else None, count, Domain(to) if to else None)
        for name, catch, count, to in rows
    ]


def remove_domain(name: Domain) -> Script[None]:
    """Raises NotFound, Refused while it has users, aliases or other names."""
    if not (yield from is_local(name)):
        raise NotFound(f"the domain {name} is not served here")
    others = yield sql("SELECT name FROM domain WHERE leads_to = $1 LIMIT 1", name.name)
    if others:
        raise Refused(f"{others[0][0]} is another name of {name}; remove that first")
    [(users, aliases)] = yield sql(
        "SELECT (SELECT count(*) FROM account WHERE domain = $1), (SELECT count(*) FROM alias WHERE domain = $1)",
        name.name,
    )
    if users or aliases:
        raise Refused(f"the domain {name} still has {users} users and {aliases} aliases; remove them first")
    yield sql("DELETE FROM domain WHERE name = $1", name.name)
    yield from domainkeys.forget(name.name)


def set_catch_all(domain: Domain, address: Address | None) -> Script[None]:
    """Where mail for unknown local parts goes. Raises NotFound (domain, or an address that leads nowhere here), Refused
    (an alias that leads to another server)."""
    yield from require_domain(domain)
    found = () if address is None else (yield from resolve(address, catch_all=False))
    if isinstance(found, Elsewhere):
        raise Refused(f"{address} leads to another server, which would get all that is written to nobody")
    if isinstance(found, Closed):
        raise Refused(f"not everybody may write to the group {address}: it cannot have what is written to nobody")
    if not isinstance(found, tuple):
        raise NotFound(f"{address} is not an address here")
    here = None if address is None else (yield from at_home(address))
    yield sql(
        "UPDATE domain SET catch_all = $2 WHERE name = $1", domain.name, None if here is None else canonical(here)
    )


def add_account(address: Address, credential: Credential | None) -> Script[AccountId]:
    """A user with INBOX, Drafts, Sent, Junk, Trash and Archive, all subscribed; without a credential one of whom a
    directory knows it. Raises NotFound (domain), Refused (it is another name of one), Exists."""
    yield from require_domain(address.domain)
    if address.local == EVERYBODY:
        raise Refused(f"{EVERYBODY} alone stands for all users of a domain; the name must be another one")
    yield from require_free(address)
    [(identity,)] = yield sql(
        "INSERT INTO account (domain, fold, local, modseq) VALUES ($1, $2, $3, 1) RETURNING id",
        address.domain.name, fold(address.local), unicodedata.normalize("NFC", address.local),
    )  # fmt: skip
    account = AccountId(identity)
    if credential is None:
        yield sql("INSERT INTO directory_user (account) VALUES ($1)", account)
    else:
        yield from put_credential(account, credential)
    for name, role in NEW_MAILBOXES:
        yield from create(account, name, role)
        yield from subscribe(account, name, subscribed=True)
    return account


def require_free(address: Address) -> Script[None]:
    """That no user, group or alias has the address. Raises Exists, with the name."""
    if (yield from find(address)) is not None:
        raise Exists(f"the user {address} exists")
    if (yield from targets_of(address)):
        kind = "alias" if (yield from senders_of(address)) is None else "group"
        raise Exists(f"the {kind} {address} exists")


def find(address: Address) -> Script[User | None]:
    """The user of exactly this address."""
    rows = yield sql(
        "SELECT id, local FROM account WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local)
    )
    return User(AccountId(rows[0][0]), Address(rows[0][1], address.domain)) if rows else None


def require(address: Address) -> Script[User]:
    """The user of exactly this address. Raises NotFound."""
    found = yield from find(address)
    if found is None:
        raise NotFound(f"there is no user {address}")
    return found


def senders_of(address: Address) -> Script[Senders | None]:
    """Who may write to the group of exactly this address; None where it is no group."""
    rows = yield sql(
        "SELECT senders FROM grouping WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local)
    )
    return Senders(rows[0][0]) if rows else None


def targets_of(address: Address) -> Script[list[Address]]:
    """Where an alias or group of exactly this address leads; none where it is neither."""
    rows = yield sql(
        "SELECT target FROM alias WHERE domain = $1 AND fold = $2 ORDER BY target",
        address.domain.name, fold(address.local),
    )  # fmt: skip
    return [readable(target) for (target,) in rows]


def list_accounts() -> Script[list[AccountRow]]:
    """Sorted by domain, then local part."""
    rows = yield sql(
        "SELECT a.id, a.local, a.domain, coalesce(sum(m.total), 0), coalesce(sum(m.size), 0),"
        " EXISTS (SELECT 1 FROM directory_user u WHERE u.account = a.id)"
        " FROM account a LEFT JOIN mailbox m ON m.account = a.id GROUP BY a.id ORDER BY a.domain, a.fold"
    )
    return [
        AccountRow(AccountId(identity), Address(local, Domain(name)), total, size, bool(directory))
        for identity, local, name, total, size, directory in rows
    ]


def address_of(account: AccountId) -> Script[Address | None]:
    """The address of a user; None where there is none any more."""
    rows = yield sql("SELECT local, domain FROM account WHERE id = $1", account)
    return Address(rows[0][0], Domain(rows[0][1])) if rows else None


def inherited(owner: AccountId, address: Address) -> Script[bool]:
    """Whether an address with which that account sent is now the one of another user, who must not hear of it."""
    if (yield from may_send_as(owner, address)):
        return False
    found = yield from known_as(address)
    return found is not None and found.account != owner


def remove_account(address: Address) -> Script[None]:
    """Remove the user and all mail (rows go piece by piece afterwards: gc.purge). Raises NotFound, Refused while
    aliases or a catch-all lead to the user."""
    account, address = yield from require(address)
    leading = yield from leading_to(address)
    if leading:
        raise Refused(f"{leading} leads to {address}; change or remove it first")
    yield from next_modseq(account)  # open sessions look, and find that nothing is left
    yield from logins.sign_in_changed(account)
    yield from forget_belongings(account)
    yield from forget_elsewhere(address)
    yield from forget_name(account)


def forget_belongings(account: AccountId) -> Script[None]:
    """All that a user has, but for the name and the password."""
    for row in (yield from list_mailboxes(account)):
        yield from discard(Box(account, row.id))
    for table, column in (("subscription", "account"), ("annotation", "reader"), ("url_key", "account")):
        yield sql(f"DELETE FROM {table} WHERE {column} = $1", account)
    yield from sending.forget(account)
    yield from logins.forget_user(account)
    yield from removed.forget_account(account)


def forget_name(account: AccountId) -> Script[None]:
    """By which names and password the account was opened."""
    for table in ("directory_user", "former", "scram_sha1", "credential"):
        yield sql(f"DELETE FROM {table} WHERE account = $1", account)
    yield sql("DELETE FROM account WHERE id = $1", account)


def forget_elsewhere(address: Address) -> Script[None]:
    """Nobody's list names the user any more, lest the next one of the name inherit it; nobody is subscribed to what
    was the user's."""
    name = canonical(address)
    yield sql("DELETE FROM access WHERE identifier IN ($1, $2)", name, f"-{name}")
    prefix = prefix_of(address)  # "0" is the character after the separator "/"
    yield sql("DELETE FROM subscription WHERE name >= $1 AND name < $2", prefix, prefix[:-1] + "0")


def leading_to(address: Address) -> Script[str]:
    """What names the address as its target, in words; "" when nothing does."""
    for text in (canonical(address), *(yield from spellings_of(address))):
        rows = yield sql("SELECT local, domain FROM alias WHERE target = $1 LIMIT 1", text)
        if rows:
            leading = Address(rows[0][0], Domain(rows[0][1]))
            kind = "alias" if (yield from senders_of(leading)) is None else "group"
            return f"the {kind} {leading}"
        rows = yield sql("SELECT name FROM domain WHERE catch_all = $1 LIMIT 1", text)
        if rows:
            return f"the catch-all of {rows[0][0]}"
    return ""


def spellings_of(address: Address) -> Script[list[str]]:
    """The other texts by which aliases, groups and catch-alls lead to the address: with a `+tag`, and catch-alls that
    stand as they were typed once."""
    begin = fold(address.local) + TAG
    rows = yield sql(
        "SELECT target FROM alias WHERE target >= $1 AND target < $2"
        " UNION SELECT catch_all FROM domain WHERE catch_all IS NOT NULL",
        begin, begin[:-1] + chr(ord(TAG) + 1),
    )  # fmt: skip
    found = []
    for (text,) in rows:
        there = yield from at_home(readable(text))
        if there is None or there.domain != address.domain or text == canonical(address):
            continue
        base, tag, _ = there.local.partition(TAG)
        exact = canonical(there) == canonical(address)
        if not exact and tag and fold(base) == fold(address.local):
            exact = (yield from find(there)) is None and not (yield from targets_of(there))
        if exact:
            found.append(text)
    return found


def set_password(address: Address, credential: Credential) -> Script[None]:
    """Raises NotFound."""
    account, _ = yield from require(address)
    yield from logins.sign_in_changed(account)
    yield from put_credential(account, credential)


def renew_hash(account: AccountId, old: str, new: str) -> Script[None]:
    """Another hash of the same password, where nobody has changed it meanwhile."""
    yield sql("UPDATE credential SET password_hash = $3 WHERE account = $1 AND password_hash = $2", account, old, new)


def put_credential(account: AccountId, credential: Credential) -> Script[None]:
    """The password of a user, instead of the one before."""
    yield sql("DELETE FROM credential WHERE account = $1", account)
    yield sql(
        "INSERT INTO credential (account, password_hash, scram_salt, scram_iterations, scram_stored_key,"
        " scram_server_key) VALUES ($1, $2, $3, $4, $5, $6)",
        account, credential.password_hash, *credential.scram_sha256,
    )  # fmt: skip
    if credential.scram_sha1 is not None:
        yield from add_scram_sha1(account, credential.scram_sha256, credential.scram_sha1)


def add_scram_sha1(account: AccountId, beside: ScramSecret, secret: ScramSecret) -> Script[None]:
    """Keys for SCRAM-SHA-1 beside those of SCRAM-SHA-256; nothing where the password has been changed meanwhile. An
    older Posthouse changes a password without them: they count only beside the keys with which they came."""
    yield sql("DELETE FROM scram_sha1 WHERE account = $1", account)
    yield sql(
        "INSERT INTO scram_sha1 (account, beside, salt, iterations, stored_key, server_key)"
        " SELECT account, scram_stored_key, $3, $4, $5, $6 FROM credential"
        " WHERE account = $1 AND scram_stored_key = $2",
        account, beside.stored_key, *secret,
    )  # fmt: skip


def canonical(address: Address) -> str:
    """An address as targets and lists have it: folded, so that one is not stored in two spellings."""
    return str(Address(fold(address.local), address.domain))


def find_login(address: Address) -> Script[Login | None]:
    """The user who logs in by this address: the own one, one in another name of the domain, or a former one that still
    leads to the user (no other alias, no tag)."""
    found = yield from known_as(address)
    credential = None if found is None else (yield from credential_of(found.account))
    return None if found is None or credential is None else Login(found.account, found.address, credential)


def credential_of(account: AccountId) -> Script[Credential | None]:
    """What proves the password of a user; None for one of a directory."""
    rows: list[Row] = yield sql(
        "SELECT c.password_hash, c.scram_salt, c.scram_iterations, c.scram_stored_key, c.scram_server_key,"
        " s.salt, s.iterations, s.stored_key, s.server_key FROM credential c LEFT JOIN scram_sha1 s"
        " ON s.account = c.account AND s.beside = c.scram_stored_key WHERE c.account = $1",
        account,
    )
    if not rows:
        return None
    password_hash, *scram = rows[0]
    sha1 = None if scram[4] is None else ScramSecret._make(scram[4:])
    return Credential(password_hash, ScramSecret._make(scram[:4]), sha1)


def known_as(address: Address) -> Script[User | None]:
    """The user of this address: the own one, one in another name of the domain, or a former one."""
    found = yield from find(address)
    here = address if found is not None else (yield from at_home(address))
    if found is not None or here is None:
        return found
    if here.domain != address.domain:
        found = yield from find(here)
    if found is not None:
        return found
    rows = yield sql(
        "SELECT a.id, a.local, a.domain FROM former f JOIN account a ON a.id = f.account"
        " WHERE f.domain = $1 AND f.fold = $2",
        here.domain.name, fold(here.local),
    )  # fmt: skip
    return User(AccountId(rows[0][0]), Address(rows[0][1], Domain(rows[0][2]))) if rows else None


def resolve(address: Address, *, catch_all: bool = True) -> Script[Resolution]:
    """Where mail for the address goes: user, alias (expanded, bounded), `user+tag`, postmaster and abuse,
    catch-all, in this order (RFC 5321 §3.9.1, §4.5.1)."""
    here = yield from at_home(address)
    if here is None:
        return NoSuchDomain(address.domain)
    name, pending = yield from _lookup(here)
    if pending is None and catch_all:
        [(caught,)] = yield sql("SELECT catch_all FROM domain WHERE name = $1", here.domain.name)
        pending = [readable(caught)] if caught else None
    if pending is None:
        return NoSuchUser(address)
    expanded = yield from _expand(pending)
    if expanded is None:
        return Overfull(address)
    users, outside = expanded
    if outside:
        return Elsewhere(outside, users)
    if not users:  # a group of everybody where nobody is yet
        return NoSuchUser(address)
    senders = None if name is None else (yield from senders_of(name))
    return users if senders in (None, Senders.ANYONE) else Closed(senders, users)


def resolve_postmaster(host: Domain) -> Script[Resolution]:
    """Where mail for `<Postmaster>` alone goes: to postmaster of the local domain that the server's hostname is, or
    lies in; else of the first user's domain (RFC 5321 §4.5.1)."""
    labels = host.name.split(".")  # RFC 5321 §4.5.3.1.2: 255 octets, so 127 of them
    for count in range(len(labels)):
        found = yield from resolve(Address(DUTIES[0], Domain(".".join(labels[count:]))))
        if not isinstance(found, Nobody):
            return found
    rows = yield sql("SELECT domain FROM account ORDER BY id LIMIT 1")
    if not rows:
        return NoSuchUser(Address(DUTIES[0], host))
    return (yield from resolve(Address(DUTIES[0], Domain(rows[0][0]))))


def _expand(pending: list[User | Address]) -> Script[tuple[tuple[User, ...], tuple[Address, ...]] | None]:
    """The users whom names lead to, and the addresses elsewhere; None where they are too many."""
    users: dict[AccountId, User] = {}
    outside: dict[Address, None] = {}
    visited: set[str] = set()
    while pending and len(visited) < VISITS and len(users) <= READERS:
        found = pending.pop()
        if isinstance(found, User):
            users[found.account] = found
            continue
        if canonical(found) in visited:
            continue
        visited.add(canonical(found))
        if found.local == EVERYBODY:
            pending += yield from users_of(found.domain)
        elif (here := (yield from at_home(found))) is not None:  # its domain may be another name of one since then
            pending += (yield from _lookup(here))[1] or []
        else:
            outside[found] = None
    if pending or len(users) > READERS:
        return None
    return tuple(sorted(users.values(), key=lambda user: user.account)), tuple(sorted(outside, key=str))


def users_of(domain: Domain) -> Script[list[User]]:
    """The users of a domain; READERS and one more at most."""
    rows = yield sql("SELECT id, local FROM account WHERE domain = $1 LIMIT $2", domain.name, READERS + 1)
    return [User(AccountId(identity), Address(local, domain)) for identity, local in rows]


def _lookup(address: Address) -> Script[tuple[Address | None, list[User | Address] | None]]:
    """One step: the user, or the alias's name and its targets, or those of the names that stand for this one; None:
    nobody."""
    base, tag, _ = address.local.partition(TAG)
    names = [address.local]
    if tag and base:
        names.append(base)
    if fold(names[-1]) in DUTIES:
        names += [duty for duty in DUTIES if duty != fold(names[-1])]
    for name in names:
        exact = Address(name, address.domain)
        user = yield from find(exact)
        if user is not None:
            return None, [user]
        targets = yield from targets_of(exact)
        if targets:
            return exact, list(targets)
    if fold(names[0]) in DUTIES or fold(base) in DUTIES:
        return None, (yield from _first_user(address.domain))
    return None, None


def _first_user(domain: Domain) -> Script[list[User | Address] | None]:
    rows = yield sql("SELECT id, local FROM account WHERE domain = $1 ORDER BY id LIMIT 1", domain.name)
    return [User(AccountId(rows[0][0]), Address(rows[0][1], domain))] if rows else None


def may_send_as(account: AccountId, address: Address) -> Script[bool]:
    """Whether the address is the user's: the own one, `+tag` of it, or an alias that leads to the account. A group
    belongs to none of its members; a catch-all makes nobody the owner of every address, and postmaster by default
    nobody but the first user."""
    own = yield from address_of(account)
    if own is None:
        return False
    if own.domain == address.domain and fold(own.local) == fold(address.local):
        return True
    here = yield from at_home(address)
    if here is None:
        return False
    if own.domain == here.domain and fold(own.local) == fold(here.local):
        return True
    if (yield from senders_of(here)) is not None:
        return False
    # An alias of many is usually one of the user's own address: one look instead of one for each target.
    place = (here.domain.name, fold(here.local))
    if (yield sql("SELECT 1 FROM alias WHERE domain = $1 AND fold = $2 AND target = $3", *place, canonical(own))):
        return True
    found = yield from resolve(here, catch_all=False)
    users = found.users if isinstance(found, Elsewhere) else found
    if isinstance(users, Nobody | Closed):
        return False
    return any(user.account == account for user in users)
