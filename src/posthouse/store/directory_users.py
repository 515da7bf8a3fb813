"""Users whose passwords are in a directory (decision 0113), and how one becomes a user of this server."""

from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import AccountId
from posthouse.store import accounts
from posthouse.store.accounts import Credential
from posthouse.store.script import Script, sql


def of_directory(account: AccountId) -> Script[bool]:
    """Whether the user is one of a directory, which has the password."""
    return bool((yield sql("SELECT 1 FROM directory_user WHERE account = $1", account)))


def number_in(domain: Domain) -> Script[int]:
    """How many users of a domain are users of a directory."""
    [(count,)] = yield sql(
        "SELECT count(*) FROM directory_user u JOIN account a ON a.id = u.account WHERE a.domain = $1", domain.name
    )
    return int(count)


def former_names(account: AccountId) -> Script[list[Address]]:
    """What the user was called before, and still logs in by."""
    rows = yield sql("SELECT fold, domain FROM former WHERE account = $1 ORDER BY domain, fold", account)
    return [Address(local, Domain(domain)) for local, domain in rows]


def make_local(address: Address, credential: Credential) -> Script[None]:
    """A user of a directory is one of this server from now on, with all mail. Raises NotFound."""
    account, _ = yield from accounts.require(address)
    yield sql("DELETE FROM directory_user WHERE account = $1", account)
    yield from accounts.set_password(address, credential)
