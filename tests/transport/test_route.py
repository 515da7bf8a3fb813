"""transport/route.py: where a recipient's mail goes, and what is remembered of it."""

from collections.abc import Callable

import pytest

from fakes import Seconds
from household import ANNA, INFO, credential
from posthouse.mail.address import Address, Domain
from posthouse.store import accounts
from posthouse.store.accounts import NoSuchDomain, NoSuchUser
from posthouse.store.store import Store
from posthouse.transport.route import REMEMBERED_SECONDS, Routes


@pytest.fixture
def asked(store: Store, asked_by: Callable[[str], list[Address]]) -> list[Address]:
    """The addresses the store was really asked for."""
    return asked_by("resolve")


async def test_success_is_remembered_for_a_second(store: Store, clock: Seconds, asked: list[Address]) -> None:
    routes = Routes(clock)
    first = await routes.resolve(ANNA, store)
    assert await routes.resolve(ANNA, store) == first
    assert asked == [ANNA]
    clock.now += REMEMBERED_SECONDS
    await routes.resolve(ANNA, store)
    assert asked == [ANNA, ANNA]


async def test_an_alias_leads_to_everybody(store: Store, clock: Seconds) -> None:
    found = await Routes(clock).resolve(INFO, store)
    assert isinstance(found, tuple)
    assert len(found) == 2


async def test_failure_is_not_remembered(store: Store, clock: Seconds, asked: list[Address]) -> None:
    routes = Routes(clock)
    carl = Address("carl", Domain("new.test"))
    assert isinstance(await routes.resolve(carl, store), NoSuchDomain)
    await store.run(accounts.add_domain, carl.domain)
    assert isinstance(await routes.resolve(carl, store), NoSuchUser)
    await store.run(accounts.add_account, carl, credential())
    assert isinstance(await routes.resolve(carl, store), tuple)
    assert len(asked) == 3


async def test_what_is_remembered_is_bounded(
    store: Store, clock: Seconds, asked: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.transport.route.ROUTES", 2)
    routes = Routes(clock)
    tagged = [Address(f"anna+{number}", ANNA.domain) for number in range(3)]
    for address in [*tagged, tagged[2], tagged[0]]:
        await routes.resolve(address, store)
    assert asked == [*tagged, tagged[0]]
