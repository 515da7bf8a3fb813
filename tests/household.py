"""Who lives in the test store: two domains, two people, two aliases. For the tests of transport and serve."""

from functools import lru_cache
from pathlib import Path

from posthouse.config import settle
from posthouse.config_sections import Settings
from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import Millis
from posthouse.net import authority
from posthouse.serve.passwords import make_credential
from posthouse.store import accounts, aliases, emails, mailboxes
from posthouse.store.accounts import Credential
from posthouse.store.emails import Column
from posthouse.store.mailboxes import Box
from posthouse.store.script import Script
from posthouse.store.store import Store

HOSTNAME = "mail.home.test"
NOW = Millis(1_700_000_000_000)  # Tue, 14 Nov 2023 22:13:20 +0000
ANNA = Address("anna", Domain("home.test"))
BEN = Address("ben", Domain("work.test"))
INFO = Address("info", Domain("home.test"))  # an alias of both
HELLO = Address("hello", Domain("home.test"))  # an alias of Anna
PASSWORD = "correct horse"


@lru_cache
def credential(password: str = PASSWORD) -> Credential:
    """Hashed once for all tests."""
    return make_credential(password)


def everybody() -> Script[None]:
    """All who live here, in one transaction."""
    for address in (ANNA, BEN):
        yield from accounts.add_domain(address.domain)
        yield from accounts.add_account(address, credential())
    yield from aliases.add_alias(INFO, (ANNA, BEN))
    yield from aliases.add_alias(HELLO, (ANNA,))


def one_worker(folder: Path, **more: object) -> Settings:
    """Settings of a server with one worker and a certificate of its own."""
    files = authority.self_signed(folder / "tls", "localhost")
    return settle(
        {
            "hostname": HOSTNAME,
            "data": str(folder / "data"),
            "workers": 1,
            "drain_seconds": 1,
            "tls": {"certificates": [{"certificate": str(files.certificate), "key": str(files.key)}]},
            **more,
        }
    )


async def open_store(directory: Path) -> Store:
    """A new store with everybody in it."""
    store = await Store.open(directory)
    await store.run(everybody)
    return store


async def inbox(store: Store, address: Address) -> list[bytes]:
    """The messages in somebody's INBOX."""
    login = await store.read(accounts.find_login, address)
    assert login is not None
    row = await store.read(mailboxes.find, login.account, "INBOX")
    assert row is not None
    rows = await store.read(emails.fetch, Box(login.account, row.id), emails.ALL, (Column.BLOB,))
    return await store.blobs.get_many([blob for _, blob in rows])
