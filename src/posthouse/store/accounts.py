"""Domains, users, aliases, and where an address leads (RFC 5321 §3.9.1, §4.5.1).

Local parts are compared without regard to case (NFC, casefold); domains are canonical already.

An address is looked up in this order: a user or alias of exactly this name; the same without `+tag`; `postmaster` and
`abuse`, which every domain must have (RFC 5321 §4.5.1, RFC 2142 §2): the other one of the two where it is defined,
else the domain's first user; the domain's catch-all. Aliases may lead to aliases, which are expanded; every name is
visited once, so a loop ends by itself.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.ids import AccountId, DeviceId
from posthouse.store import logins, sending
from posthouse.store.mailboxes import NEW_MAILBOXES, Box, create, discard, list_mailboxes, next_modseq, subscribe
from posthouse.store.namespace import prefix_of
from posthouse.store.script import Exists, NotFound, Refused, Row, Script, sql

TARGETS = 1_000  # of one alias, and of one expansion: as many as RCPTs of a transaction (limits.md)
VISITS = 2_000  # names looked at in one expansion, so that aliases of aliases cannot multiply
TAG = "+"
DUTIES = ("postmaster", "abuse")  # RFC 5321 §4.5.1, RFC 2142 §2


class ScramSecret(NamedTuple):
    """What a server keeps for SCRAM-SHA-256 (RFC 5802 §3, RFC 7677)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


class Credential(NamedTuple):
    """The proofs of one password: Argon2id in PHC form, and SCRAM-SHA-256."""

    password_hash: str
    scram_sha256: ScramSecret


class Login(NamedTuple):
    """Who may open an account, and by what."""

    account: AccountId
    address: Address
    credential: Credential
    device: DeviceId | None = None  # the device password that opened it


class Target(NamedTuple):
    """A local account that gets the mail, and the address of that account."""

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
    targets: tuple[Target, ...]


Resolution = NoSuchDomain | NoSuchUser | Elsewhere | tuple[Target, ...]


class DomainRow(NamedTuple):
    """A local domain."""

    name: Domain
    catch_all: Address | None
    accounts: int


class AccountRow(NamedTuple):
    """A user."""

    id: AccountId
    address: Address
    messages: int
    size: int  # octets


class AliasRow(NamedTuple):
    """An alias and where it leads."""

    address: Address
    targets: tuple[Address, ...]


def fold(local: str) -> str:
    """The local part as it is compared."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())


def _address(text: str) -> Address:
    address = parse_address(text)
    if address is None:
        raise NotFound(f"the stored address {text} cannot be read")
    return address


def is_local(domain: Domain) -> Script[bool]:
    """Whether the domain is served here."""
    rows = yield sql("SELECT 1 FROM domain WHERE name = $1", domain.name)
    return bool(rows)


def _require_domain(domain: Domain) -> Script[None]:
    if not (yield from is_local(domain)):
        raise NotFound(f"the domain {domain} is not served here")


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
        "SELECT name, catch_all, (SELECT count(*) FROM account a WHERE a.domain = d.name) FROM domain d ORDER BY name"
    )
    return [DomainRow(Domain(name), _address(catch) if catch else None, count) for name, catch, count in rows]


def remove_domain(name: Domain) -> Script[None]:
    """Raises NotFound, Refused while it has users or aliases."""
    yield from _require_domain(name)
    [(users, aliases)] = yield sql(
        "SELECT (SELECT count(*) FROM account WHERE domain = $1), (SELECT count(*) FROM alias WHERE domain = $1)",
        name.name,
    )
    if users or aliases:
        raise Refused(f"the domain {name} still has {users} users and {aliases} aliases; remove them first")
    yield sql("DELETE FROM domain WHERE name = $1", name.name)


def set_catch_all(domain: Domain, address: Address | None) -> Script[None]:
    """Where mail for unknown local parts goes. Raises NotFound (domain, or an address that leads nowhere here), Refused
    (an alias that leads to another server)."""
    yield from _require_domain(domain)
    found = () if address is None else (yield from resolve(address, catch_all=False))
    if isinstance(found, Elsewhere):
        raise Refused(f"{address} leads to another server, which would get all that is written to nobody")
    if not isinstance(found, tuple):
        raise NotFound(f"{address} is not an address here")
    yield sql(
        "UPDATE domain SET catch_all = $2 WHERE name = $1", domain.name, None if address is None else str(address)
    )


def add_account(address: Address, credential: Credential) -> Script[AccountId]:
    """A user with INBOX, Drafts, Sent, Junk, Trash and Archive, all subscribed. Raises NotFound (domain), Exists."""
    yield from _require_domain(address.domain)
    yield from _require_free(address)
    [(identity,)] = yield sql(
        "INSERT INTO account (domain, fold, local, modseq) VALUES ($1, $2, $3, 1) RETURNING id",
        address.domain.name, fold(address.local), unicodedata.normalize("NFC", address.local),
    )  # fmt: skip
    account = AccountId(identity)
    yield from _put_credential(account, credential)
    for name, role in NEW_MAILBOXES:
        yield from create(account, name, role)
        yield from subscribe(account, name, subscribed=True)
    return account


def _require_free(address: Address) -> Script[None]:
    if (yield from _find(address)) is not None:
        raise Exists(f"the user {address} exists")
    if (yield from _targets(address)):
        raise Exists(f"the alias {address} exists")


def _find(address: Address) -> Script[Target | None]:
    rows = yield sql(
        "SELECT id, local FROM account WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local)
    )
    return Target(AccountId(rows[0][0]), Address(rows[0][1], address.domain)) if rows else None


def _require(address: Address) -> Script[Target]:
    found = yield from _find(address)
    if found is None:
        raise NotFound(f"there is no user {address}")
    return found


def _targets(address: Address) -> Script[list[Address]]:
    rows = yield sql(
        "SELECT target FROM alias WHERE domain = $1 AND fold = $2 ORDER BY target",
        address.domain.name, fold(address.local),
    )  # fmt: skip
    return [_address(target) for (target,) in rows]


def list_accounts() -> Script[list[AccountRow]]:
    """Sorted by domain, then local part."""
    rows = yield sql(
        "SELECT a.id, a.local, a.domain, coalesce(sum(m.total), 0), coalesce(sum(m.size), 0)"
        " FROM account a LEFT JOIN mailbox m ON m.account = a.id GROUP BY a.id ORDER BY a.domain, a.fold"
    )
    return [AccountRow(AccountId(i), Address(local, Domain(name)), total, size) for i, local, name, total, size in rows]


def address_of(account: AccountId) -> Script[Address | None]:
    """The address of a user; None where there is none any more."""
    rows = yield sql("SELECT local, domain FROM account WHERE id = $1", account)
    return Address(rows[0][0], Domain(rows[0][1])) if rows else None


def remove_account(address: Address) -> Script[None]:
    """Remove the user and all mail (rows go piece by piece afterwards: gc.purge). Raises NotFound, Refused while
    aliases or a catch-all lead to the user."""
    account, address = yield from _require(address)
    leading = yield from _leading_to(address)
    if leading:
        raise Refused(f"{leading} leads to {address}; change or remove it first")
    yield from next_modseq(account)  # open sessions look, and find that nothing is left
    for row in (yield from list_mailboxes(account)):
        yield from discard(Box(account, row.id))
    yield from _forget_elsewhere(address)
    yield sql("DELETE FROM subscription WHERE account = $1", account)
    yield sql("DELETE FROM annotation WHERE reader = $1", account)
    yield sql("DELETE FROM url_key WHERE account = $1", account)
    yield from sending.forget(account)
    yield from logins.forget_user(account)
    yield sql("DELETE FROM credential WHERE account = $1", account)
    yield sql("DELETE FROM account WHERE id = $1", account)


def _forget_elsewhere(address: Address) -> Script[None]:
    """Nobody's list names the user any more, lest the next one of the name inherit it; nobody is subscribed to what
    was the user's."""
    name = _canonical(address)
    yield sql("DELETE FROM access WHERE identifier IN ($1, $2)", name, f"-{name}")
    prefix = prefix_of(address)  # "0" is the character after the separator "/"
    yield sql("DELETE FROM subscription WHERE name >= $1 AND name < $2", prefix, prefix[:-1] + "0")


def _leading_to(address: Address) -> Script[str]:
    """What names the address as its target, in words; "" when nothing does."""
    rows = yield sql("SELECT local, domain FROM alias WHERE target = $1 LIMIT 1", _canonical(address))
    if rows:
        return f"the alias {Address(rows[0][0], Domain(rows[0][1]))}"
    rows = yield sql("SELECT name FROM domain WHERE catch_all = $1 LIMIT 1", _canonical(address))
    return f"the catch-all of {rows[0][0]}" if rows else ""


def set_password(address: Address, credential: Credential) -> Script[None]:
    """Raises NotFound."""
    account, _ = yield from _require(address)
    yield from next_modseq(account)  # open sessions look, and find that their login has gone
    yield from _put_credential(account, credential)


def renew_hash(account: AccountId, old: str, new: str) -> Script[None]:
    """Another hash of the same password, where nobody has changed it meanwhile."""
    yield sql("UPDATE credential SET password_hash = $3 WHERE account = $1 AND password_hash = $2", account, old, new)


def _put_credential(account: AccountId, credential: Credential) -> Script[None]:
    yield sql("DELETE FROM credential WHERE account = $1", account)
    yield sql(
        "INSERT INTO credential (account, password_hash, scram_salt, scram_iterations, scram_stored_key,"
        " scram_server_key) VALUES ($1, $2, $3, $4, $5, $6)",
        account, credential.password_hash, *credential.scram_sha256,
    )  # fmt: skip


def _canonical(address: Address) -> str:
    """An alias's target as it is stored: folded, so that one target is not stored in two spellings."""
    return str(Address(fold(address.local), address.domain))


def add_alias(address: Address, targets: Sequence[Address]) -> Script[None]:
    """Raises NotFound (the domain), Exists (a user or alias has the name), Refused (no target, too many, one leading
    nowhere or to a machine that is no domain, a loop)."""
    yield from _require_domain(address.domain)
    yield from _require_free(address)
    if not 0 < len(targets) <= TARGETS:
        raise Refused(f"an alias has 1 to {TARGETS} targets")
    for target in targets:
        yield from _accept_target(address, target)
    for spelling in (yield from _spellings(targets)):
        yield sql(
            "INSERT INTO alias (domain, fold, target, local) VALUES ($1, $2, $3, $4)",
            address.domain.name, fold(address.local), spelling, unicodedata.normalize("NFC", address.local),
        )  # fmt: skip


def _spellings(targets: Sequence[Address]) -> Script[list[str]]:
    """As they are stored: of those elsewhere only their server knows whether case matters (RFC 5321 §2.4)."""
    found = set()
    for target in targets:  # inside one script, in the writer's thread
        found.add(_canonical(target) if (yield from is_local(target.domain)) else str(target))
    return sorted(found)


def set_alias(address: Address, targets: Sequence[Address]) -> Script[None]:
    """Other targets for an alias. Raises NotFound, Refused as add_alias does."""
    if not (yield from _targets(address)):
        raise NotFound(f"there is no alias {address}")
    yield sql("DELETE FROM alias WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local))
    yield from add_alias(address, targets)


def _accept_target(address: Address, target: Address) -> Script[None]:
    if not (yield from is_local(target.domain)):
        if target.domain.literal:
            raise Refused(f"{target} names a machine and no domain; only mail for domains is sent on")
        return
    if _canonical(target) == _canonical(address):
        raise Refused(f"{address} would lead to itself")
    # A name that does not exist can be no part of a loop: an alias only ever leads to what was there before it.
    found = yield from resolve(target, catch_all=False)
    if not isinstance(found, tuple | Elsewhere):
        raise Refused(f"{target} leads nowhere; make the user or the alias first")


def list_aliases() -> Script[list[AliasRow]]:
    """Sorted by domain, then local part."""
    rows = yield sql("SELECT local, domain, target FROM alias ORDER BY domain, fold, target")
    found: dict[Address, list[Address]] = {}
    for local, domain, target in rows:
        found.setdefault(Address(local, Domain(domain)), []).append(_address(target))
    return [AliasRow(address, tuple(targets)) for address, targets in found.items()]


def remove_alias(address: Address) -> Script[None]:
    """Raises NotFound, Refused while another alias or a catch-all leads to it."""
    if not (yield from _targets(address)):
        raise NotFound(f"there is no alias {address}")
    leading = yield from _leading_to(address)
    if leading:
        raise Refused(f"{leading} leads to {address}; change or remove it first")
    yield sql("DELETE FROM alias WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local))


def find_login(address: Address) -> Script[Login | None]:
    """The user of exactly this address (no alias, no tag)."""
    found = yield from _find(address)
    if found is None:
        return None
    rows: list[Row] = yield sql(
        "SELECT password_hash, scram_salt, scram_iterations, scram_stored_key, scram_server_key FROM credential"
        " WHERE account = $1",
        found.account,
    )
    if not rows:
        return None
    password_hash, *scram = rows[0]
    return Login(found.account, found.address, Credential(password_hash, ScramSecret._make(scram)))


def resolve(address: Address, *, catch_all: bool = True) -> Script[Resolution]:
    """Where mail for the address goes: user, alias (expanded, bounded), `user+tag`, postmaster and abuse,
    catch-all, in this order (RFC 5321 §3.9.1, §4.5.1)."""
    if not (yield from is_local(address.domain)):
        return NoSuchDomain(address.domain)
    pending = yield from _lookup(address)
    if pending is None and catch_all:
        [(caught,)] = yield sql("SELECT catch_all FROM domain WHERE name = $1", address.domain.name)
        pending = [_address(caught)] if caught else None
    if pending is None:
        return NoSuchUser(address)
    targets, outside = yield from _expand(pending)
    if outside:
        return Elsewhere(tuple(outside), tuple(targets))
    return tuple(targets) if targets else NoSuchUser(address)


def resolve_postmaster(host: Domain) -> Script[Resolution]:
    """Where mail for `<Postmaster>` alone goes: to postmaster of the local domain that the server's hostname is, or
    lies in; else of the first user's domain (RFC 5321 §4.5.1)."""
    labels = host.name.split(".")  # RFC 5321 §4.5.3.1.2: 255 octets, so 127 of them
    for count in range(len(labels)):
        found = yield from resolve(Address(DUTIES[0], Domain(".".join(labels[count:]))))
        if not isinstance(found, NoSuchDomain | NoSuchUser):
            return found
    rows = yield sql("SELECT domain FROM account ORDER BY id LIMIT 1")
    if not rows:
        return NoSuchUser(Address(DUTIES[0], host))
    return (yield from resolve(Address(DUTIES[0], Domain(rows[0][0]))))


def _expand(pending: list[Target | Address]) -> Script[tuple[list[Target], list[Address]]]:
    targets: dict[AccountId, Target] = {}
    outside: dict[Address, None] = {}
    visited: set[str] = set()
    while pending and len(visited) < VISITS and len(targets) < TARGETS:
        found = pending.pop()
        if isinstance(found, Target):
            targets[found.account] = found
            continue
        if _canonical(found) in visited:
            continue
        visited.add(_canonical(found))
        if (yield from is_local(found.domain)):
            pending += (yield from _lookup(found)) or []
        else:
            outside[found] = None
    return sorted(targets.values(), key=lambda target: target.account), sorted(outside, key=str)


def _lookup(address: Address) -> Script[list[Target | Address] | None]:
    """One step: the user, or the alias's targets, or those of the names that stand for this one; None: nobody."""
    base, tag, _ = address.local.partition(TAG)
    names = [address.local]
    if tag and base:
        names.append(base)
    if fold(names[-1]) in DUTIES:
        names += [duty for duty in DUTIES if duty != fold(names[-1])]
    for name in names:
        exact = Address(name, address.domain)
        user = yield from _find(exact)
        if user is not None:
            return [user]
        targets = yield from _targets(exact)
        if targets:
            return list(targets)
    return (yield from _first_user(address.domain)) if fold(names[0]) in DUTIES or fold(base) in DUTIES else None


def _first_user(domain: Domain) -> Script[list[Target | Address] | None]:
    rows = yield sql("SELECT id, local FROM account WHERE domain = $1 ORDER BY id LIMIT 1", domain.name)
    return [Target(AccountId(rows[0][0]), Address(rows[0][1], domain))] if rows else None


def may_send_as(account: AccountId, address: Address) -> Script[bool]:
    """Whether the address is the user's: the own one, `+tag` of it, or an alias that leads to the account. A
    catch-all makes nobody the owner of every address, and postmaster by default nobody but the first user."""
    own = yield from address_of(account)
    if own is None:
        return False
    if own.domain == address.domain and fold(own.local) == fold(address.local):
        return True
    # An alias of many is usually one of the user's own address: one look instead of one for each target.
    place = (address.domain.name, fold(address.local))
    if (yield sql("SELECT 1 FROM alias WHERE domain = $1 AND fold = $2 AND target = $3", *place, _canonical(own))):
        return True
    found = yield from resolve(address, catch_all=False)
    targets = found.targets if isinstance(found, Elsewhere) else found
    if isinstance(targets, NoSuchDomain | NoSuchUser):
        return False
    return any(target.account == account for target in targets)
