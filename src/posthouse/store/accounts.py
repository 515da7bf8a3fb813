"""Domains, users, aliases, and where an address leads (RFC 5321 §3.9.1, §4.5.1).

Local parts are compared without regard to case (NFC, casefold); domains are canonical already. `user+tag` leads to
`user` unless exactly that name exists.
"""

from typing import NamedTuple

from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import AccountId
from posthouse.store.script import Script


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


class Target(NamedTuple):
    """A local account that gets the mail, and the address of that account."""

    account: AccountId
    address: Address


class NoSuchDomain(NamedTuple):
    """The domain is not served here."""

    domain: Domain


class NoSuchUser(NamedTuple):
    """The domain is served here; nobody has this local part."""

    address: Address


class Elsewhere(NamedTuple):
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


def add_domain(name: Domain) -> Script[None]:
    """Raises Exists."""
    raise NotImplementedError


def list_domains() -> Script[list[DomainRow]]:
    """Sorted by name."""
    raise NotImplementedError


def remove_domain(name: Domain) -> Script[None]:
    """Raises NotFound, Refused while it has users or aliases."""
    raise NotImplementedError


def set_catch_all(domain: Domain, address: Address | None) -> Script[None]:
    """Where mail for unknown local parts goes. Raises NotFound (domain, or an address that leads nowhere here)."""
    raise NotImplementedError


def add_account(address: Address, credential: Credential) -> Script[AccountId]:
    """A user with INBOX, Drafts, Sent, Junk, Trash and Archive. Raises NotFound (domain), Exists."""
    raise NotImplementedError


def list_accounts() -> Script[list[AccountRow]]:
    """Sorted by domain, then local part."""
    raise NotImplementedError


def remove_account(address: Address) -> Script[None]:
    """Remove the user and all mail (rows go piece by piece afterwards: gc.purge). Raises NotFound."""
    raise NotImplementedError


def set_password(address: Address, credential: Credential) -> Script[None]:
    """Raises NotFound."""
    raise NotImplementedError


def add_alias(address: Address, targets: tuple[Address, ...]) -> Script[None]:
    """Raises NotFound (the domain), Exists (a user or alias has the name), Refused (a target outside, a loop,
    too many targets)."""
    raise NotImplementedError


def list_aliases() -> Script[list[AliasRow]]:
    """Sorted by domain, then local part."""
    raise NotImplementedError


def remove_alias(address: Address) -> Script[None]:
    """Raises NotFound."""
    raise NotImplementedError


def find_login(address: Address) -> Script[Login | None]:
    """The user of exactly this address (no alias, no tag)."""
    raise NotImplementedError


def resolve(address: Address) -> Script[Resolution]:
    """Where mail for the address goes: user, alias (expanded, bounded), `user+tag`, postmaster and abuse,
    catch-all, in this order (RFC 5321 §3.9.1, §4.5.1)."""
    raise NotImplementedError


def may_send_as(account: AccountId, address: Address) -> Script[bool]:
    """Whether the address is the user's: the own one, `+tag` of it, or an alias that leads to the account."""
    raise NotImplementedError
