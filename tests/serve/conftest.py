"""A store with people in it, and the bundle that sessions get."""

import asyncio
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path

import pytest

from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import Millis
from posthouse.serve.limits import PeerLimits, Peers
from posthouse.serve.login import Door, make_credential
from posthouse.store import accounts
from posthouse.store.accounts import Credential
from posthouse.store.store import Store
from posthouse.transport.house import House

HOSTNAME = "mail.home.test"
NOW = Millis(1_700_000_000_000)  # Tue, 14 Nov 2023 22:13:20 +0000
ANNA = Address("anna", Domain("home.test"))
BEN = Address("ben", Domain("work.test"))
PASSWORD = "correct horse"


@lru_cache
def credential(password: str = PASSWORD) -> Credential:
    """Hashed once for all tests."""
    return make_credential(password)


async def no_sleep(seconds: float) -> None:
    """A refusal that does not keep tests waiting."""
    await asyncio.sleep(0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Two domains; anna@home.test, ben@work.test; aliases info@home.test (both) and hello@home.test (Anna)."""
    store = await Store.open(tmp_path / "store")
    for address in (ANNA, BEN):
        await store.run(accounts.add_domain, address.domain)
        await store.run(accounts.add_account, address, credential())
    await store.run(accounts.add_alias, Address("info", ANNA.domain), (ANNA, BEN))
    await store.run(accounts.add_alias, Address("hello", ANNA.domain), (ANNA,))
    yield store
    await store.close()


@pytest.fixture
def house(store: Store) -> House:
    """A house without TLS that lets users log in without it."""
    return House(store, HOSTNAME, lambda: NOW, allow_plaintext_login=True)


@pytest.fixture
async def door(store: Store) -> AsyncIterator[Door]:
    """Refuses without delay; loopback is not counted."""
    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)
    yield door
    door.close()
